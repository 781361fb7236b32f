"""Global alignment of pairwise pointmaps: cameras, focal lengths, scales of pairs and depth at once.

What a network says of a pixel in a pair, a point X in the camera of the pair's first view, is compared with where the
world puts it, q (`pair_model`). Residuals are ``(q - X) / |X|``, the error of the network in its own unit, so that no
scale can shrink to please them (DUSt3R, Wang et al. 2024, eq. 5, has to forbid that). They count as a Geman-McClure
loss has it, whose width follows their median.

A pair's second map is often a good shape in a wrong place. A small turn about the pair's camera is allowed where its
points agree on one. It costs what the turns of other pairs ask for, within bounds, and more in proportion to its angle
where that is large: maps that are bent would else hand all their error to turns, and cameras would drift.

Levenberg-Marquardt steps; each sample's depth, which only its own residuals know, is eliminated (Schur complement).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from recon.alignment.depth_fusion import Stance
from recon.alignment.focal import LONGEST, SHORTEST
from recon.alignment.pair_maps import Known, Samples
from recon.alignment.pair_model import Points, Sides, State
from recon.alignment.spanning_tree import World

ITERATIONS = 30
WIDTH = 3.0  # of the loss, in standard deviations
MEDIAN_LENGTH = 1.54  # of a vector of three numbers of standard deviation 1
LEAST_DEVIATION = 1e-4  # of points, relative to their distance
LEAST_TURN, LARGEST_TURN = np.radians(0.2), np.radians(0.5)  # standard deviation of the turns of pairs
FACTS = 50.0  # what a map is worth, however many its samples: its errors are smooth
ENOUGH = 3e-4  # relative change of the cost at which all has settled


@dataclass
class Equations:
    """The normal equations; of each view's depths those of its own, and what ties them to the unknowns ``columns``."""

    matrix: np.ndarray  # [U,U]
    vector: np.ndarray  # [U]
    diagonal: np.ndarray  # [V,N]
    depth_vector: np.ndarray  # [V,N]
    columns: list[np.ndarray]  # [C] of each view, ascending
    coupling: list[np.ndarray]  # [N,C] of each view

    def add(self, index: np.ndarray, blocks: np.ndarray, vectors: np.ndarray) -> None:
        """Add ``blocks [M,C,C]`` and ``vectors [M,C]`` for the unknowns ``index [M,C]``."""
        total = len(self.vector)
        places = index[:, :, None] * total + index[:, None, :]
        self.matrix += np.bincount(places.ravel(), blocks.ravel(), total * total).reshape(total, total)
        self.vector += np.bincount(index.ravel(), vectors.ravel(), total)

    def couple(self, view: int, columns: np.ndarray, coupling: np.ndarray) -> None:
        """Tie the depths of a view to more unknowns ``columns [C]``, ascending, by ``coupling [N,C]``."""
        together = np.union1d(self.columns[view], columns)
        merged = np.zeros((len(coupling), len(together)))
        merged[:, np.searchsorted(together, self.columns[view])] = self.coupling[view]
        merged[:, np.searchsorted(together, columns)] += coupling
        self.columns[view], self.coupling[view] = together, merged


class Term(Protocol):
    """Something that a world should agree with beside the pointmaps."""

    def follow(self, state: State) -> None:
        """Adapt the width of its losses to the residuals."""

    def cost(self, state: State) -> float:
        """What disagreement costs, in squares of standard deviations."""

    def add_to(self, equations: Equations, state: State) -> None:
        """Add the derivatives of half of the cost."""


class PairAdjustment:
    """A state, and the steps that make it fit the samples of all pairs, and ``terms`` where there are any."""

    def __init__(self, samples: Samples, world: World, known: Known) -> None:
        self.terms: list[Term] = []
        self.samples, self.sides = samples, Sides(samples)
        pairs = len(samples.first)
        self.weights = samples.weights * (FACTS / max(samples.weights.sum(1).mean(), 1e-12))
        self.trust = np.sqrt(samples.weights[0::2].mean(1) * samples.weights[1::2].mean(1))
        self.trust /= max(self.trust.mean(), 1e-12)
        self.column = self._columns(known)
        self.state = State(
            world.world_from_camera[:, :3, :3].copy(), world.world_from_camera[:, :3, 3].copy(), np.log(world.focal),
            np.tile(np.eye(3), (pairs, 1, 1)), world.log_scale.copy(), world.depth.copy(),
        )  # fmt: skip
        longest = samples.size.max(1).astype(float)
        longest = np.full_like(longest, longest.max()) if known.shared_focal else longest
        self.shortest_focal = np.minimum(np.log(SHORTEST * longest), self.state.log_focal)  # one that is known stays
        self.longest_focal = np.maximum(np.log(LONGEST * longest), self.state.log_focal)
        self.deviation = np.ones(2 * pairs)
        self.turn_deviation = LARGEST_TURN

    def run(self) -> Iterator[float]:
        """Adjust until nothing changes, yielding the cost after each step."""
        damping = 1e-4
        points = self.sides.project(self.state)
        for _ in range(ITERATIONS):
            self._widen(points)
            for term in self.terms:
                term.follow(self.state)
            before = cost = self._cost(self.state, points)
            equations = self._equations(points)
            while damping < 1e6:
                trial = self.state.moved(*self._step(equations, damping))
                trial.log_focal = np.clip(trial.log_focal, self.shortest_focal, self.longest_focal)
                trial_points = self.sides.project(trial)
                trial_cost = self._cost(trial, trial_points)
                if trial_cost < cost:
                    self.state, points, cost = trial, trial_points, trial_cost
                    damping = max(damping / 10, 1e-7)
                    break
                damping *= 10
            yield cost
            if before - cost < ENOUGH * before:
                break

    def world(self) -> World:
        """Cameras, depth of the samples and scales as they are now."""
        poses = np.tile(np.eye(4), (self.sides.views, 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = self.state.rotation, self.state.centre
        return World(poses, np.exp(self.state.log_focal), self.state.depth, self.state.log_scale)

    def stances(self) -> list[Stance]:
        """How each map stands in the world: first and second of each pair."""
        self._widen(self.sides.project(self.state))
        frame_from_view, centre = self.sides.relative(self.state)
        scale = np.exp(self.state.log_scale)[self.sides.pair]
        return [
            Stance(frame_from_view[side].T, centre[side], float(scale[side]), float(self.deviation[side]))
            for side in range(len(scale))
        ]

    def _columns(self, known: Known) -> np.ndarray:
        """Of all unknowns the place among those to solve for, or -1."""
        views = self.sides.views
        free = np.ones(self.sides.scales + self.sides.pairs, bool)
        for view in known.world_from_camera or [int(self.samples.first[0])]:
            free[6 * view : 6 * view + 6] = False
        focals = 6 * views + np.arange(views)
        free[focals[list(known.focal)]] = False
        if known.shared_focal:
            free[focals] = False
            free[focals[0]] = not known.focal
        column = np.where(free, np.cumsum(free) - 1, -1)
        if known.shared_focal:
            column[focals] = column[focals[0]]
        return column

    def _widen(self, points: Points) -> None:
        """Follow the residuals: standard deviations of first and of second maps, and of the pairs' turns."""
        for sides in (self.sides.is_second, ~self.sides.is_second):
            median = weighted_median(np.sqrt(points.squares[sides]), self.samples.weights[sides])
            self.deviation[sides] = max(median / MEDIAN_LENGTH, LEAST_DEVIATION)
        angles = np.linalg.norm(self.state.turns(), axis=1)
        usual = weighted_median(angles, self.trust) / MEDIAN_LENGTH
        self.turn_deviation = float(np.clip(usual, LEAST_TURN, LARGEST_TURN))

    def _cost(self, state: State, points: Points) -> float:
        squares = points.squares / self.deviation[:, None] ** 2
        turns = np.square(state.turns()).sum(1) / self.turn_deviation**2
        own = float((self.weights * loss(squares)).sum() + 2 * (self.trust * (np.sqrt(1 + turns) - 1)).sum())
        return own + sum(term.cost(state) for term in self.terms)

    def _equations(self, points: Points) -> Equations:
        state, sides = self.state, self.sides
        views, total = sides.views, len(self.column)
        precision = 1 / self.deviation[:, None] ** 2
        weight = self.weights * slope(points.squares * precision) * precision
        by_eight, by_depth, by_all = sides.derivatives(state, points)
        weighted = by_eight * weight[..., None, None]
        transposed = np.swapaxes(weighted.reshape(len(weight), -1, 8), 1, 2)
        small = transposed @ by_eight.reshape(len(weight), -1, 8)
        small_vector = transposed @ points.residual.reshape(len(weight), -1, 1)
        coupled = np.einsum("mnij,mni->mnj", weighted, by_depth) @ by_all

        across = np.swapaxes(by_all, 1, 2)
        matrix, vector = np.zeros((total, total)), np.zeros(total)
        diagonal, depth_vector = np.zeros((2, *state.depth.shape))
        equations = Equations(matrix, vector, diagonal, depth_vector, [], [])
        equations.add(sides.index, across @ small @ by_all, (across @ small_vector)[..., 0])
        turns = state.turns()
        pull = self.trust / np.sqrt(1 + np.square(turns).sum(1) / self.turn_deviation**2) / self.turn_deviation**2
        own = np.arange(sides.turns, sides.scales)
        matrix[own, own] += np.repeat(pull, 3)
        vector[own] += (pull[:, None] * turns).ravel()

        np.add.at(diagonal, sides.view, weight * np.einsum("mni,mni->mn", by_depth, by_depth))
        np.add.at(depth_vector, sides.view, weight * np.einsum("mni,mni->mn", by_depth, points.residual))
        for view in range(views):
            mine = np.flatnonzero(sides.view == view)
            touched = np.unique(sides.index[mine])
            dense = np.zeros((state.depth.shape[1], len(touched)))
            for side in mine:
                # A first map knows no poses, and its two cameras are one: only its own two unknowns are added.
                seen = slice(None) if sides.is_second[side] else slice(15, None)
                dense[:, np.searchsorted(touched, sides.index[side, seen])] += coupled[side][:, seen]
            equations.columns.append(touched)
            equations.coupling.append(dense)
        for term in self.terms:
            term.add_to(equations, state)
        return equations

    def _step(self, equations: Equations, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """The damped step of all unknowns and of all depths."""
        inverse = 1 / (equations.diagonal * (1 + damping) + 1e-12)
        matrix, vector = equations.matrix.copy(), equations.vector.copy()
        matrix[np.diag_indices(len(vector))] *= 1 + damping
        parts = list(zip(equations.columns, equations.coupling, inverse, equations.depth_vector, strict=True))
        for columns, coupling, scale, own in parts:
            matrix[np.ix_(columns, columns)] -= coupling.T @ (coupling * scale[:, None])
            vector[columns] -= coupling.T @ (scale * own)
        step = self._solve(matrix, vector)
        depth_step = [-scale * (own + coupling @ step[columns]) for columns, coupling, scale, own in parts]
        return step, np.array(depth_step)

    def _solve(self, matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """The step of all unknowns: 0 where one is known, the same where several are one."""
        free = np.flatnonzero(self.column >= 0)
        columns = self.column[free]
        first = free[np.unique(columns, return_index=True)[1]]
        again = np.setdiff1d(free, first)
        representative = first[self.column[again]]
        for one, other in zip(representative, again, strict=True):
            matrix[one] += matrix[other]
            vector[one] += vector[other]
        for one, other in zip(representative, again, strict=True):
            matrix[:, one] += matrix[:, other]
        small = matrix[np.ix_(first, first)]
        # Unknowns differ in their units: each is measured by how much it says. What says nothing stays.
        size = 1 / np.sqrt(np.maximum(np.diag(small), 1e-30))
        small *= size[:, None] * size
        small[np.diag_indices(len(small))] += 1e-10
        step = np.zeros(len(vector))
        step[free] = -(size * _solved(small, size * vector[first]))[columns]
        return step


def _solved(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The solution of symmetric equations; torch's Cholesky, which uses all cores, where they are positive definite."""
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
    if failed:
        solution: np.ndarray = np.linalg.solve(matrix, vector)
        return solution
    return torch.cholesky_solve(torch.from_numpy(vector)[:, None], factor)[:, 0].numpy()


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Half of the weight lies at or below it; 0 where there is no weight."""
    order = np.argsort(values, axis=None)
    total = np.cumsum(weights.ravel()[order])
    if not total[-1] > 0:
        return 0.0
    return float(values.ravel()[order[np.searchsorted(total, total[-1] / 2)]])


def loss(squares: np.ndarray) -> np.ndarray:
    """Geman and McClure's (1987), of squared residuals in standard deviations."""
    return squares / (1 + squares / WIDTH**2)


def slope(squares: np.ndarray) -> np.ndarray:
    """Of `loss`."""
    return 1 / (1 + squares / WIDTH**2) ** 2
