"""Where a world puts the points of pairwise pointmaps, and how that changes with cameras, scales and depth.

Of side m, the map of view k in pair e whose camera is that of view i, the point of pixel p in the pair's unit is
``q = turn_e R_i' (R_k d(p) ray(p; f_k) + t_k - t_i) / s_e``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recon.alignment.pair_maps import Samples


@dataclass
class State:
    """All that is to be found.

    Attributes:
        rotation: ``[V,3,3]`` world_from_camera.
        centre: ``[V,3]`` of the cameras.
        log_focal: ``[V]``.
        turn: ``[P,3,3]``, rotation of each pair's second map about the pair's camera.
        log_scale: ``[P]``, of the world's units in one of the pair's.
        depth: ``[V,N]`` of the samples.
    """

    rotation: np.ndarray
    centre: np.ndarray
    log_focal: np.ndarray
    turn: np.ndarray
    log_scale: np.ndarray
    depth: np.ndarray

    def moved(self, step: np.ndarray, depth_step: np.ndarray) -> State:
        """The state after a step of all unknowns, as `Sides.index` counts them, and one of the logarithms of depth."""
        views, pairs = len(self.centre), len(self.turn)
        poses, log_focal, turns, log_scale = np.split(step, np.cumsum([6 * views, views, 3 * pairs]))
        poses = poses.reshape(views, 6)
        return State(
            rotations(poses[:, :3]) @ self.rotation,
            self.centre + poses[:, 3:],
            self.log_focal + np.clip(log_focal, -1, 1),
            rotations(turns.reshape(pairs, 3)) @ self.turn,
            self.log_scale + log_scale,
            self.depth * np.exp(np.clip(depth_step, -1, 1)),
        )

    def turns(self) -> np.ndarray:
        """``[P,3]`` rotation vectors of the pairs' turns."""
        return np.stack([cv2.Rodrigues(turn)[0][:, 0] for turn in self.turn])


@dataclass
class Points:
    """Where a state puts the samples of each side, ``[2P,N,3]``.

    Attributes:
        local: in their view's camera, in the world's unit.
        model: in the pair's camera, turned, in the pair's unit.
        residual: to the network's, relative to the distance.
        squares: ``[2P,N]``, its square.
    """

    local: np.ndarray
    model: np.ndarray
    residual: np.ndarray
    squares: np.ndarray


class Sides:
    """Both sides of all pairs: which views, cameras and unknowns they have to do with."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.views, self.pairs = len(samples.pixels), len(samples.first)
        self.pair = np.repeat(np.arange(self.pairs), 2)
        self.view, self.frame = samples.view, np.repeat(samples.first, 2)
        self.is_second = np.arange(2 * self.pairs) % 2 == 1
        self.inverse_distance = 1 / samples.distance
        six, three = np.arange(6), np.arange(3)
        self.turns = 7 * self.views
        self.scales = self.turns + 3 * self.pairs
        # Places ``[2P,17]`` among all unknowns: turn and step of the pair's camera and of the view's, the pair's turn,
        # its log scale, the view's log focal length.
        self.index = np.concatenate(
            [
                6 * self.frame[:, None] + six,
                6 * self.view[:, None] + six,
                self.turns + 3 * self.pair[:, None] + three,
                self.scales + self.pair[:, None],
                6 * self.views + self.view[:, None],
            ],
            1,
        )

    def project(self, state: State) -> Points:
        """Points of all sides."""
        rays = np.ones((*state.depth.shape, 3))
        rays[..., :2] = self.samples.pixels * np.exp(-state.log_focal)[:, None, None]
        local = (rays * state.depth[..., None])[self.view]
        rotation, offset = self.relative(state)
        model = (local @ np.swapaxes(rotation, 1, 2) + offset[:, None]) * self._per_unit(state)
        residual = (model - self.samples.points) * self.inverse_distance[..., None]
        return Points(local, model, residual, np.einsum("mni,mni->mn", residual, residual))

    def relative(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Rotations ``[2P,3,3]`` and offsets ``[2P,3]`` from each side's view to its pair's camera, turned."""
        turned_from_world = self._turned_from_world(state)
        rotation = turned_from_world @ state.rotation[self.view]
        rotation[~self.is_second] = np.eye(3)
        step = state.centre[self.view] - state.centre[self.frame]
        return rotation, np.einsum("mij,mj->mi", turned_from_world, step)

    def derivatives(self, state: State, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the relative residuals: by eight unknowns of each side, by log depth, and of the eight by all unknowns.

        Returns:
            ``[2P,N,3,8]`` by a turn and a step of the side's points, its log scale and log focal length; ``[2P,N,3]``;
            and ``[2P,8,17]``, by the unknowns at `index`.
        """
        rotation, offset = self.relative(state)
        per_unit = self._per_unit(state)
        relative = self.inverse_distance[..., None]
        model = points.model * relative
        by_eight = np.zeros((*model.shape, 8))
        x, y, z = np.moveaxis(model, -1, 0)
        by_eight[..., 0, 1], by_eight[..., 0, 2] = z, -y
        by_eight[..., 1, 0], by_eight[..., 1, 2] = -z, x
        by_eight[..., 2, 0], by_eight[..., 2, 1] = y, -x
        by_eight[..., [0, 1, 2], [3, 4, 5]] = per_unit * relative
        by_eight[..., 6] = -model
        across = points.local * [-1.0, -1.0, 0.0]
        by_eight[..., 7] = across @ np.swapaxes(rotation, 1, 2) * (per_unit * relative)
        by_depth = model - offset[:, None] * (per_unit * relative)
        turned_from_world = self._turned_from_world(state)
        by_all = np.zeros((2 * self.pairs, 8, 17))
        by_all[:, 0:3, 0:3] = by_all[:, 3:6, 3:6] = -turned_from_world
        by_all[:, 0:3, 6:9] = by_all[:, 3:6, 9:12] = turned_from_world
        by_all[:, 3:6, 6:9] = cross(offset) @ turned_from_world
        by_all[:, 0:3, 12:15] = np.eye(3)
        by_all[~self.is_second] = 0  # a first map is in its own camera, wherever that is
        by_all[:, 6, 15] = by_all[:, 7, 16] = 1
        return by_eight, by_depth, by_all

    def _turned_from_world(self, state: State) -> np.ndarray:
        return state.turn[self.pair] @ np.swapaxes(state.rotation[self.frame], 1, 2)

    def _per_unit(self, state: State) -> np.ndarray:
        return np.exp(-state.log_scale)[self.pair, None, None]


def rotations(vectors: np.ndarray) -> np.ndarray:
    """``[N,3,3]`` of rotation vectors ``[N,3]``."""
    return np.stack([cv2.Rodrigues(vector)[0] for vector in vectors])


def cross(vectors: np.ndarray) -> np.ndarray:
    """``[N,3,3]`` that take the cross product with ``[N,3]`` from the left."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
