"""A soft bundle adjustment: rough cameras, rough depth and rough matches, brought to agree.

Where `bundle` wants precise points that are seen again and again, this takes what a network says of every view and of
every two of them, knows how much each of it is worth, and moves each as little as the others ask for. A match (i, j)
says where a pixel of view i is in view j. Depth of view i says where along its epipolar line; being rough, it counts
across that line as the match does, and along it as little as its own uncertainty lets it: the covariance of the error
is σ² I + σ_d² J Jᵀ, J the derivative of the projection by log-depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

from recon.alignment.dense_matching import DenseMatches
from recon.alignment.depth import sample

DEPTH_DEVIATION = 1.0  # of the log-depth of one pixel; what neighbours share makes it larger than it looks
SCALE_DEVIATION = 0.15  # of the logarithm of the unit of one view's depth
TURN_DEVIATION = np.radians(5)  # of a camera's rotation
STEP_DEVIATION = 0.5  # of a camera's place, over the usual distance between two
FOCAL_DEVIATION = 0.05  # of the logarithm of the focal length
CERTAIN = 0.4  # the confidence from which a match, and a pair of views on average, count fully
WEIGHT = 3.0  # of one match that counts fully
NEAREST = 0.05  # over the usual depth: nothing is nearer to a camera


@dataclass(frozen=True)
class Sightings:
    """Matches of all pairs, each as seen from its first view; both directions may be given.

    Attributes:
        view: ``[N] int``, the view that a match starts from.
        other: ``[N] int``, the view it leads to.
        ray: ``[N,3]`` in the camera of ``view``, z = 1.
        depth: ``[N]`` z-depth in ``view`` there.
        seen: ``[N,2]``, x and y of the ray in the camera of ``other``, z = 1.
        deviation: ``[N]`` of ``seen``.
        weight: ``[N]``, how much it counts.
    """

    view: np.ndarray
    other: np.ndarray
    ray: np.ndarray
    depth: np.ndarray
    seen: np.ndarray
    deviation: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(
        cls, pair: tuple[int, int], found: DenseMatches, depth: np.ndarray, tangents: Sequence[np.ndarray]
    ) -> Sightings:
        """What matches from the first view of ``pair`` to the second say.

        Args:
            pair: two views.
            found: matches of them.
            depth: ``[H,W]`` of the first view; matches where it is unknown are left out.
            tangents: of all views, ``[2]``, of half the horizontal and vertical field of view.
        """
        view, other = pair
        at = sample(depth, found.first * depth.shape[::-1])
        known = np.isfinite(at)
        count = int(known.sum())
        # A lone match is worth little where the rest of its pair is hardly more than chance.
        certain = np.minimum(found.confidence / CERTAIN, 1)
        certain = certain * min(float(found.confidence.mean()) / CERTAIN, 1) if len(certain) else certain
        return cls(
            np.full(count, view),
            np.full(count, other),
            np.column_stack([(2 * found.first[known] - 1) * tangents[view], np.ones(count)]),
            at[known],
            (2 * found.second[known] - 1) * tangents[other],
            np.full(count, 2 * found.deviation * tangents[other][0]),
            WEIGHT * certain[known],
        )

    @classmethod
    def joined(cls, parts: Sequence[Sightings]) -> Sightings:
        """All of ``parts``, at least one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class Settled:
    """What all agree on.

    Attributes:
        world_from_camera: ``[V,4,4]``, the first as it was.
        scale: ``[V]``, what to multiply each view's depth with.
        focal: what to divide x and y of all rays by.
        error: ``[N]``, the error of each sighting in its standard deviations.
    """

    world_from_camera: np.ndarray
    scale: np.ndarray
    focal: float
    error: np.ndarray


@dataclass
class _State:
    rotation: np.ndarray  # [V,3,3] world_from_camera
    centre: np.ndarray  # [V,3]
    log_scale: np.ndarray  # [V]
    log_focal: float  # of the field's tangent: rays are wider by its exponential

    def moved(self, step: np.ndarray) -> _State:
        by_view = step[:-1].reshape(-1, 7)
        turns = np.stack([cv2.Rodrigues(turn)[0] for turn in by_view[:, :3]])
        return _State(
            self.rotation @ turns,
            self.centre + by_view[:, 3:6],
            self.log_scale + by_view[:, 6],
            self.log_focal + float(step[-1]),
        )


class _Problem:
    """Seven unknowns a view (turn, step, logarithm of the depth's scale) and one for all (logarithm of the field)."""

    def __init__(self, world_from_camera: np.ndarray, sightings: Sightings, doubt: np.ndarray) -> None:
        order = np.lexsort([sightings.other, sightings.view])
        self.view, self.other, self.ray, self.depth, self.seen, self.deviation, self.weight = (
            np.asarray(values)[order]
            for values in (
                sightings.view, sightings.other, sightings.ray, sightings.depth, sightings.seen, sightings.deviation,
                sightings.weight,
            )
        )  # fmt: skip
        self.order = order
        poses = np.asarray(world_from_camera, np.float64)
        self.start = _State(poses[:, :3, :3].copy(), poses[:, :3, 3].copy(), np.zeros(len(poses)), 0.0)
        steps = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1)
        usual_depth = float(np.median(self.depth))
        self.nearest = NEAREST * usual_depth
        unit = max(float(np.median(steps[np.triu_indices(len(poses), 1)])), 0.02 * usual_depth)
        usual = np.array([TURN_DEVIATION] * 3 + [STEP_DEVIATION * unit] * 3 + [SCALE_DEVIATION])
        self.prior = 1 / np.append(np.outer(doubt, usual), FOCAL_DEVIATION * doubt.min()) ** 2
        keys = self.view * len(poses) + self.other
        self.bounds = np.append(np.flatnonzero(np.diff(keys, prepend=-1)), len(keys))

    def project(self, state: _State) -> tuple[np.ndarray, ...]:
        """Points in the first and in the second camera, the error, its derivative by the second, and its metric."""
        field = np.exp(state.log_focal)
        here = self.ray * [field, field, 1.0] * (self.depth * np.exp(state.log_scale[self.view]))[:, None]
        world = np.einsum("nij,nj->ni", state.rotation[self.view], here) + state.centre[self.view]
        there = np.einsum("nji,nj->ni", state.rotation[self.other], world - state.centre[self.other])
        z = np.maximum(there[:, 2], self.nearest) * field
        projected = there[:, :2] / z[:, None]
        by_point = np.zeros((len(z), 2, 3))
        by_point[:, 0, 0] = by_point[:, 1, 1] = 1 / z
        by_point[:, :, 2] = -projected / (z / field)[:, None]
        turned = there - np.einsum(
            "nji,nj->ni", state.rotation[self.other], state.centre[self.view] - state.centre[self.other]
        )
        by_depth = np.einsum("nab,nb->na", by_point, turned)
        covariance = DEPTH_DEVIATION**2 * by_depth[:, :, None] * by_depth[:, None, :]
        covariance[:, [0, 1], [0, 1]] += self.deviation[:, None] ** 2
        metric = np.linalg.inv(covariance)
        error = projected - self.seen
        squares = np.einsum("na,nab,nb->n", error, metric, error)
        squares = np.where(there[:, 2] > self.nearest, squares, 1e4)
        return here, there, turned, projected, error, by_point, metric, squares

    def from_start(self, state: _State) -> np.ndarray:
        """How far each unknown is from where it began."""
        turns = np.swapaxes(self.start.rotation, 1, 2) @ state.rotation
        by_view = np.concatenate(
            [
                np.stack([cv2.Rodrigues(turn)[0][:, 0] for turn in turns]),
                state.centre - self.start.centre,
                state.log_scale[:, None],
            ],
            1,
        )
        return np.append(by_view.ravel(), state.log_focal)

    def cost(self, state: _State, squares: np.ndarray) -> float:
        """Cauchy's of the matches, squares of the prior."""
        return float((self.weight * np.log1p(squares)).sum() + (self.prior * self.from_start(state) ** 2).sum())

    def normal_equations(self, state: _State, projection: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        here, there, turned, projected, error, by_point, metric, squares = projection
        other_from_world = np.swapaxes(state.rotation[self.other], 1, 2)
        other_from_view = other_from_world @ state.rotation[self.view]
        jacobian = np.empty((len(here), 2, 15))
        jacobian[:, :, 0:3] = -by_point @ other_from_view @ _cross(here)
        jacobian[:, :, 3:6] = by_point @ other_from_world
        jacobian[:, :, 6] = np.einsum("nab,nb->na", by_point, turned)
        jacobian[:, :, 7:10] = by_point @ _cross(there)
        jacobian[:, :, 10:13] = -jacobian[:, :, 3:6]
        across = np.einsum("nij,nj->ni", other_from_view, here * [1.0, 1.0, 0.0])
        jacobian[:, :, 13] = 0.0  # the other view's depth plays no part in this direction
        jacobian[:, :, 14] = np.einsum("nab,nb->na", by_point, across) - projected
        weighted = metric @ jacobian * (self.weight / (1 + squares))[:, None, None]
        matrix = np.diag(self.prior)
        vector = self.prior * self.from_start(state)
        for start, end in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            view, other = 7 * self.view[start], 7 * self.other[start]
            unknowns = np.r_[view : view + 7, other : other + 7, len(vector) - 1]
            flat = weighted[start:end].reshape(-1, 15)
            matrix[np.ix_(unknowns, unknowns)] += flat.T @ jacobian[start:end].reshape(-1, 15)
            vector[unknowns] += flat.T @ error[start:end].ravel()
        return matrix, vector


def settle(
    world_from_camera: np.ndarray, sightings: Sightings, doubt: np.ndarray | None = None, iterations: int = 20
) -> Settled:
    """Cameras, one scale of each view's depth and one focal length for all, as all sightings and the start agree.

    Levenberg and Marquardt's steps on a Cauchy loss; the first camera stays.

    Args:
        world_from_camera: ``[V,4,4]``, V >= 2, roughly.
        sightings: of at least one pair; depth and cameras have one unit.
        doubt: ``[V]`` of each view's camera and depth, as a factor to the usual deviations; None for 1 each.
        iterations: at most.
    """
    problem = _Problem(world_from_camera, sightings, np.ones(len(world_from_camera)) if doubt is None else doubt)
    state = problem.start
    projection = problem.project(state)
    cost, damping = problem.cost(state, projection[-1]), 1e-4
    for _ in range(iterations):
        matrix, vector = problem.normal_equations(state, projection)
        before = cost
        while damping < 1e6:
            damped = matrix + damping * np.diag(np.diag(matrix))
            step = np.zeros(len(vector))
            step[6:] = -np.linalg.solve(damped[6:, 6:], vector[6:])
            trial = state.moved(step)
            trial_projection = problem.project(trial)
            trial_cost = problem.cost(trial, trial_projection[-1])
            if trial_cost < cost:
                state, projection, cost = trial, trial_projection, trial_cost
                damping = max(damping / 10, 1e-6)
                break
            damping *= 10
        if before - cost < 1e-4 * before:
            break
    poses = np.tile(np.eye(4), (len(state.rotation), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = state.rotation, state.centre
    error = np.empty(len(problem.order))
    error[problem.order] = np.sqrt(projection[-1])
    return Settled(poses, np.exp(state.log_scale), float(np.exp(-state.log_focal)), error)


def _cross(vectors: np.ndarray) -> np.ndarray:
    """``[N,3,3]`` that take the cross product with ``[N,3]`` from the left."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
