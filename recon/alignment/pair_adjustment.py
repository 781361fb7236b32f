"""Global alignment of pairwise pointmaps: cameras, focal lengths, scales of pairs and depth at once.

What a network says of pixel p of view k in pair e, a point X in the camera of the pair's first view i, is compared
with where the world puts it: ``q = turn_e R_i' (R_k d(p) ray(p; f_k) + t_k - t_i) / s_e``. Residuals are
``(q - X) / |X|``, the error of the network in its own unit, so that no scale can shrink to please them (DUSt3R, Wang et
al. 2024, eq. 5, has to forbid that). They count as a Geman-McClure loss has it, whose width follows their median.

A pair's second map is often a good shape in a wrong place. ``turn_e``, a small rotation about the pair's camera, is
allowed for what its points agree on; it costs what turns cost that other pairs need, and large ones stop counting.

Levenberg-Marquardt steps; each sample's depth, which only its own residuals know, is eliminated (Schur complement).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from recon.alignment.depth_fusion import Witness
from recon.alignment.pair_maps import Known, PairMaps, Samples
from recon.alignment.spanning_tree import World

ITERATIONS = 30
WIDTH = 3.0  # of the loss, in standard deviations
LEAST_DEVIATION = 1e-4  # of points, relative to their distance
LEAST_TURN = np.radians(0.2)  # standard deviation of the turns of pairs, at least
FACTS = 50.0  # what a map is worth, however many its samples: its errors are smooth
ENOUGH = 1e-4  # relative change of the cost at which all has settled


@dataclass
class _State:
    rotation: np.ndarray  # [V,3,3] world_from_camera
    centre: np.ndarray  # [V,3]
    log_focal: np.ndarray  # [V]
    log_scale: np.ndarray  # [P]
    turn: np.ndarray  # [P,3,3]
    depth: np.ndarray  # [V,N]


@dataclass
class _Projection:
    local: np.ndarray  # [M,N,3] points in their view's camera
    turned: np.ndarray  # [M,N,3] points in the camera of the pair's first view, turned, in the world's unit
    model: np.ndarray  # [M,N,3] the same in the pair's unit
    residual: np.ndarray  # [M,N,3] relative to the distance
    squares: np.ndarray  # [M,N]


class PairAdjustment:
    """Unknown are a turn, a step and the log focal of each view, a turn and the log scale of each pair, and depth."""

    def __init__(self, samples: Samples, world: World, known: Known) -> None:
        self.samples = samples
        self.views, self.pairs = len(samples.pixels), len(samples.first)
        self.side_pair = np.repeat(np.arange(self.pairs), 2)
        self.frame, self.view = np.repeat(samples.first, 2), samples.view
        self.is_second = np.arange(2 * self.pairs) % 2 == 1
        self.inverse_distance = 1 / samples.distance
        self.weights = samples.weights * (FACTS / max(samples.weights.sum(1).mean(), 1e-12))
        self.trust = np.sqrt(samples.weights[0::2].mean(1) * samples.weights[1::2].mean(1))
        self.trust /= max(self.trust.mean(), 1e-12)
        self.column = self._columns(known)
        self.state = _State(
            world.world_from_camera[:, :3, :3].copy(), world.world_from_camera[:, :3, 3].copy(), np.log(world.focal),
            world.log_scale.copy(), np.tile(np.eye(3), (self.pairs, 1, 1)), world.depth.copy(),
        )  # fmt: skip
        self.deviation = np.ones(2 * self.pairs)
        self.turn_deviation = np.radians(2.0)

    def _columns(self, known: Known) -> np.ndarray:
        """Of all unknowns (views' poses, focals, pairs' turns, scales) the place among those to solve for, or -1."""
        views, pairs = self.views, self.pairs
        free = np.ones(7 * views + 4 * pairs, bool)
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

    def _project(self, state: _State) -> _Projection:
        rays = np.ones((self.views, state.depth.shape[1], 3))
        rays[..., :2] = self.samples.pixels * np.exp(-state.log_focal)[:, None, None]
        local = (rays * state.depth[..., None])[self.view]
        frame_from_view, offset = self._relative(state)
        turned = local @ np.swapaxes(frame_from_view, 1, 2) + offset[:, None]
        model = turned * np.exp(-state.log_scale)[self.side_pair, None, None]
        residual = (model - self.samples.points) * self.inverse_distance[..., None]
        return _Projection(local, turned, model, residual, np.square(residual).sum(-1))

    def _relative(self, state: _State) -> tuple[np.ndarray, np.ndarray]:
        """Rotations ``[M,3,3]`` and offsets ``[M,3]`` from each side's view to its pair's turned camera."""
        turned_from_world = self._turned_from_world(state)
        frame_from_view = turned_from_world @ state.rotation[self.view]
        frame_from_view[~self.is_second] = np.eye(3)
        step = state.centre[self.view] - state.centre[self.frame]
        return frame_from_view, np.einsum("mij,mj->mi", turned_from_world, step)

    def _turned_from_world(self, state: _State) -> np.ndarray:
        return state.turn[self.side_pair] @ np.swapaxes(state.rotation[self.frame], 1, 2)

    def _turns(self, state: _State) -> np.ndarray:
        """``[P,3]`` rotation vectors of the pairs' turns."""
        return np.stack([cv2.Rodrigues(turn)[0][:, 0] for turn in state.turn])

    def _widen(self, projection: _Projection) -> None:
        """Follow the residuals: standard deviations of first and of second maps, and of the pairs' turns."""
        # The median length of a 3-vector of unit normal noise is 1.54.
        for sides in (self.is_second, ~self.is_second):
            median = weighted_median(np.sqrt(projection.squares[sides]), self.samples.weights[sides])
            self.deviation[sides] = max(median / 1.54, LEAST_DEVIATION)
        angles = np.linalg.norm(self._turns(self.state), axis=1)
        self.turn_deviation = max(weighted_median(angles, self.trust) / 1.54, LEAST_TURN)

    def _cost(self, state: _State, projection: _Projection) -> float:
        squares = projection.squares / self.deviation[:, None] ** 2
        angles = np.square(self._turns(state)).sum(1) / self.turn_deviation**2
        return float((self.weights * _loss(squares)).sum() + (self.trust * _loss(angles)).sum())

    def _normal_equations(self, state: _State, projection: _Projection) -> tuple[np.ndarray, ...]:
        """Matrix and vector of all unknowns, and what the depths need: coupling, diagonal, and their own vector."""
        count = state.depth.shape[1]
        squares = projection.squares / self.deviation[:, None] ** 2
        weight = self.weights * _slope(squares) / self.deviation[:, None] ** 2 * self.inverse_distance**2
        per_unit = np.exp(-state.log_scale)[self.side_pair, None, None]
        frame_from_view, offset = self._relative(state)
        # Eight unknowns of a side: a turn and a step of its points, the logarithms of scale and focal length.
        jacobian = np.zeros((2 * self.pairs, count, 3, 8))
        x, y, z = np.moveaxis(projection.model, -1, 0)
        jacobian[..., 0, 1], jacobian[..., 0, 2] = z, -y
        jacobian[..., 1, 0], jacobian[..., 1, 2] = -z, x
        jacobian[..., 2, 0], jacobian[..., 2, 1] = y, -x
        jacobian[..., [0, 1, 2], [3, 4, 5]] = per_unit
        jacobian[..., 6] = -projection.model
        across = projection.local * [-1.0, -1.0, 0.0]
        jacobian[..., 7] = (across @ np.swapaxes(frame_from_view, 1, 2)) * per_unit
        by_depth = projection.model - offset[:, None] * per_unit  # of the logarithm of depth
        error = projection.model - self.samples.points

        flat = jacobian.reshape(2 * self.pairs, -1, 8)
        weighted = (jacobian * weight[..., None, None]).reshape(2 * self.pairs, -1, 8)
        transposed = np.swapaxes(weighted, 1, 2)
        small = transposed @ flat
        small_vector = (transposed @ error.reshape(2 * self.pairs, -1, 1))[..., 0]
        coupling = np.einsum("mnij,mni->mnj", weighted.reshape(jacobian.shape), by_depth)
        diagonal, depth_vector = np.zeros((2, self.views, count))
        np.add.at(diagonal, self.view, weight * np.square(by_depth).sum(-1))
        np.add.at(depth_vector, self.view, weight * (by_depth * error).sum(-1))

        chain, index = self._chain(state, offset)
        total = len(self.column)
        blocks = np.swapaxes(chain, 1, 2) @ small @ chain
        places = index[:, :, None] * total + index[:, None, :]
        matrix = np.bincount(places.ravel(), blocks.ravel(), total * total).reshape(total, total)
        vector = np.bincount(index.ravel(), np.einsum("mij,mi->mj", chain, small_vector).ravel(), total)
        by_view = np.zeros((self.views, count, total))
        for side, columns in enumerate(index):
            if self.is_second[side]:
                by_view[self.view[side]][:, columns] += coupling[side] @ chain[side]
            else:
                by_view[self.view[side]][:, columns[15:]] += coupling[side] @ chain[side][:, 15:]
        turns = self._turns(state)
        pull = self.trust * _slope(np.square(turns).sum(1) / self.turn_deviation**2) / self.turn_deviation**2
        own = 7 * self.views + np.arange(3 * self.pairs)
        matrix[own, own] += np.repeat(pull, 3)
        vector[own] += (pull[:, None] * turns).ravel()
        return matrix, vector, by_view, diagonal, depth_vector

    def _chain(self, state: _State, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives ``[M,8,17]`` of a side's eight unknowns by the world's, and their places ``[M,17]``."""
        turned_from_world = self._turned_from_world(state)
        chain = np.zeros((2 * self.pairs, 8, 17))
        chain[:, 0:3, 0:3] = -turned_from_world
        chain[:, 3:6, 3:6] = -turned_from_world
        chain[:, 0:3, 6:9] = turned_from_world
        chain[:, 3:6, 9:12] = turned_from_world
        chain[:, 3:6, 6:9] = _cross(offset) @ turned_from_world
        chain[:, 0:3, 12:15] = np.eye(3)
        chain[~self.is_second] = 0
        chain[:, 6, 15] = chain[:, 7, 16] = 1
        six, three = np.arange(6), np.arange(3)
        index = np.concatenate(
            [
                6 * self.frame[:, None] + six,
                6 * self.view[:, None] + six,
                7 * self.views + 3 * self.side_pair[:, None] + three,
                7 * self.views + 3 * self.pairs + self.side_pair[:, None],
                6 * self.views + self.view[:, None],
            ],
            1,
        )
        return chain, index

    def _moved(self, state: _State, step: np.ndarray, depth_step: np.ndarray) -> _State:
        views, pairs = self.views, self.pairs
        poses = step[: 6 * views].reshape(views, 6)
        turns = step[7 * views : 7 * views + 3 * pairs].reshape(pairs, 3)
        return _State(
            np.stack([cv2.Rodrigues(turn)[0] for turn in poses[:, :3]]) @ state.rotation,
            state.centre + poses[:, 3:],
            state.log_focal + step[6 * views : 7 * views],
            state.log_scale + step[7 * views + 3 * pairs :],
            np.stack([cv2.Rodrigues(turn)[0] for turn in turns]) @ state.turn,
            state.depth * np.exp(np.clip(depth_step, -1, 1)),
        )

    def run(self) -> Iterator[float]:
        """Adjust until nothing changes, yielding the cost after each step."""
        damping = 1e-4
        projection = self._project(self.state)
        free = self.column >= 0
        for _ in range(ITERATIONS):
            self._widen(projection)
            before = cost = self._cost(self.state, projection)
            matrix, vector, coupling, diagonal, depth_vector = self._normal_equations(self.state, projection)
            while damping < 1e6:
                inverse = 1 / (diagonal * (1 + damping) + 1e-12)
                reduced, right = matrix + damping * np.diag(np.diag(matrix)), vector.copy()
                for each, scale, own in zip(coupling, inverse, depth_vector, strict=True):
                    reduced -= each.T @ (each * scale[:, None])
                    right -= each.T @ (scale * own)
                step = self._solve(reduced, right, free)
                depth_step = -inverse * (depth_vector + coupling @ step)
                trial = self._moved(self.state, step, depth_step)
                trial_projection = self._project(trial)
                trial_cost = self._cost(trial, trial_projection)
                if trial_cost < cost:
                    self.state, projection, cost = trial, trial_projection, trial_cost
                    damping = max(damping / 10, 1e-7)
                    break
                damping *= 10
            yield cost
            if before - cost < ENOUGH * before:
                break

    def _solve(self, matrix: np.ndarray, vector: np.ndarray, free: np.ndarray) -> np.ndarray:
        """The step of all unknowns: 0 where one is known, the same where two are one."""
        count = int(self.column.max()) + 1
        columns = self.column[free]
        gathered = np.zeros((count, free.sum()))
        gathered[columns, np.arange(len(columns))] = 1
        small = gathered @ matrix[np.ix_(free, free)] @ gathered.T
        small[np.diag_indices(count)] += 1e-12 * max(np.trace(small) / count, 1e-12)
        step = np.zeros(len(free))
        step[free] = gathered.T @ -np.linalg.solve(small, gathered @ vector[free])
        return step

    def world(self) -> World:
        """Cameras, depth of the samples and scales as they are now."""
        poses = np.tile(np.eye(4), (self.views, 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = self.state.rotation, self.state.centre
        return World(poses, np.exp(self.state.log_focal), self.state.depth, self.state.log_scale)

    def witnesses(self, pairs: Sequence[PairMaps]) -> Iterator[tuple[int, Witness]]:
        """Each map as it stands in the world: first and second of each pair, with the index of its view."""
        self._widen(self._project(self.state))
        frame_from_view, centre = self._relative(self.state)
        scale = np.exp(self.state.log_scale)[self.side_pair]
        maps = [
            each
            for pair in pairs
            for each in ((pair.first_points, pair.first_confidence), (pair.second_points, pair.second_confidence))
        ]
        for side, (points, confidence) in enumerate(maps):
            yield int(self.view[side]), Witness(
                points, confidence, frame_from_view[side].T, centre[side], float(scale[side]),
                float(self.deviation[side]),
            )  # fmt: skip


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Half of the weight lies at or below it; 0 where there is no weight."""
    order = np.argsort(values, axis=None)
    total = np.cumsum(weights.ravel()[order])
    if not total[-1] > 0:
        return 0.0
    return float(values.ravel()[order[np.searchsorted(total, total[-1] / 2)]])


def _loss(squares: np.ndarray) -> np.ndarray:
    """Geman and McClure's (1987), of squared residuals in standard deviations."""
    return squares / (1 + squares / WIDTH**2)


def _slope(squares: np.ndarray) -> np.ndarray:
    return 1 / (1 + squares / WIDTH**2) ** 2


def _cross(vectors: np.ndarray) -> np.ndarray:
    """``[N,3,3]`` that take the cross product with ``[N,3]`` from the left."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
