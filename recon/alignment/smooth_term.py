"""A camera that is carried moves smoothly: a term of global alignment for videos.

MonST3R (Zhang et al. 2025) draws each camera to the one before. That shortens the way, so here the change of
velocity and of the turning is what costs, by how fast the camera usually is.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from recon.alignment.pair_adjustment import Equations
from recon.alignment.pair_model import State

USUAL = 0.5  # standard deviation of a change of velocity, as a share of the usual one
SLOWEST = 0.002  # of depth, in a step from frame to frame: the least that counts as usual
SHORTEST = 0.1  # step, in usual ones: times may be rounded
WIDTH = 2.0  # standard deviations beyond which the cost is linear: cameras are jerked, and films cut


class SmoothTerm:
    """The prior that the views, in the order of time, are frames of one take; one `pair_adjustment.Term`.

    Args:
        times: of the views, ascending, in any unit.
        weight: of the prior.
    """

    def __init__(self, times: Sequence[float], weight: float = 1.0) -> None:
        steps = np.diff(np.asarray(times, np.float64))
        usual = float(np.median(steps)) if len(steps) else 0.0
        self.steps = np.maximum(steps / usual, SHORTEST) if usual > 0 else np.ones_like(steps)
        self.weight = weight
        self.deviation = np.ones(2)  # of turns in radians, of centres in the world's unit, a usual step

    def follow(self, state: State) -> None:
        """See `pair_adjustment.Term`."""
        turns, moves = self._velocities(state)
        depth = float(np.median(state.depth))
        usual = [float(np.median(np.linalg.norm(each, axis=1))) if len(each) else 0.0 for each in (turns, moves)]
        self.deviation = USUAL * np.maximum(usual, [SLOWEST, SLOWEST * depth])

    def cost(self, state: State) -> float:
        """See `pair_adjustment.Term`."""
        total = 0.0
        for change, size in zip(self._changes(state), self.deviation, strict=True):
            squares = np.square(change).sum(-1) / (size * WIDTH) ** 2
            total += float(2 * WIDTH**2 * (np.sqrt(1 + squares) - 1).sum())
        return self.weight * total

    def add_to(self, equations: Equations, state: State) -> None:
        """See `pair_adjustment.Term`. Turns are small: that of a step changes as its cameras turn."""
        if len(self.steps) < 2:
            return
        before, after = 1 / self.steps[:-1], 1 / self.steps[1:]
        factors = np.stack([before, -before - after, after], 1)
        middle = np.arange(1, len(self.steps))
        for part, (change, size) in enumerate(zip(self._changes(state), self.deviation, strict=True)):
            weight = self.weight / np.sqrt(1 + np.square(change).sum(-1) / size**2 / WIDTH**2) / size**2
            blocks = weight[:, None, None] * factors[:, :, None] * factors[:, None, :]
            for axis in range(3):
                index = 6 * (middle[:, None] + [-1, 0, 1]) + 3 * part + axis
                equations.add(index, blocks, weight[:, None] * factors * change[:, axis, None])

    def _changes(self, state: State) -> list[np.ndarray]:
        """``[V-2,3]`` of turning and of velocity, from step to step."""
        return [np.diff(each, axis=0) for each in self._velocities(state)]

    def _velocities(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Turn (in the world) and move ``[V-1,3]`` in a usual step."""
        relative = state.rotation[1:] @ np.swapaxes(state.rotation[:-1], 1, 2)
        turns = np.array([cv2.Rodrigues(each)[0][:, 0] for each in relative]).reshape(-1, 3)
        return turns / self.steps[:, None], np.diff(state.centre, axis=0) / self.steps[:, None]
