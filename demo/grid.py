"""How the points of a scene are dealt out to nodes: levels of confidence, and how many points are drawn at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon.drawing import selection, share_drawn
from recon.filters import confidence_levels
from recon.placement import Placement
from recon.scene import Scene

MAXIMUM_NODES = 1500
STEPS = (2, 4, 5, 10, 20)  # percent between levels; all divide the default threshold of 20


@dataclass(frozen=True)
class Grid:
    """The same for all frames drawn.

    Attributes:
        placement: of the world in the viewer.
        step: percent between two levels.
        levels: ``[100 / step + 1] float32``, the least confidence of each level.
        share: of a frame's points that are drawn, up to 1.
    """

    placement: Placement
    step: int
    levels: np.ndarray
    share: float

    def level(self, confidence: np.ndarray) -> np.ndarray:
        """``[...] uint8``, the levels of points; the lowest also takes what lies below it."""
        return np.searchsorted(self.levels[1:], confidence, side="right").astype(np.uint8)

    def drawn(self, shape: tuple[int, int]) -> np.ndarray:
        """``[H,W] bool``, about `share` of the pixels."""
        return selection(shape, self.share)

    def suits(self, fresh: Grid, exactly: bool) -> bool:
        """Whether what was dealt out by this grid may stay where ``fresh`` is due: exactly, or to within a step."""
        if self.step != fresh.step or self.share > 1.5 * fresh.share:
            return False
        if exactly:
            return self.share == fresh.share and np.array_equal(self.levels, fresh.levels)
        below, level, above = fresh.levels[:-2], self.levels[1:-1], fresh.levels[2:]
        return bool((below <= level).all() and (level <= above).all())


def survey(scene: Scene, placement: Placement) -> Grid:
    """The grid that is due for ``scene``: the finest steps that do not take too many nodes."""
    count = len(scene.frames) + sum(frame.moving is not None for frame in scene.frames)
    step = next((step for step in STEPS if (100 // step + 1) * count <= MAXIMUM_NODES), STEPS[-1])
    levels = confidence_levels(scene, range(0, 101, step))
    return Grid(placement, step, levels, share_drawn(scene.frames))
