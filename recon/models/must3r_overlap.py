"""Which frames of a video become keyframes of MUSt3R: those that show what none before has shown (section 3.5).

A frame's score is how far its points lie from those of the keyframes, as a share of their depth. Points are only
compared that were seen from about the same direction: the two sides of a wall are two surfaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from torch import Tensor

from recon.networks.must3r import Pointmaps

# FLANN's own names: one tree, and all of it to be searched, as far as that can bring anything.
EXACT: dict[str, bool | int | float | str] = {"algorithm": 4}
WHOLE: dict[str, bool | int | float | str] = {"checks": -1}
FARTHEST = float(np.finfo(np.float64).max)  # from any point where there is none


@dataclass(frozen=True)
class Rule:
    """When a frame becomes a keyframe.

    Attributes:
        overlap: the least score of a keyframe.
        confidence: points above it count; and so must the median of a keyframe's, where ``clear`` is set.
        subsample: every how many pixels count, in rows and columns.
        percentile: of the distances of a frame's points that is its score.
        cells: how finely directions are told apart: ``2 * cells ** 2`` of them; 0 for not at all.
        relative: whether distances are shares of the depth, else they are metres.
        clear: whether frames whose median confidence is low are never keyframes.
    """

    overlap: float = 0.05
    confidence: float = 1.5
    subsample: int = 2
    percentile: float = 85.0
    cells: int = 2
    relative: bool = True
    clear: bool = True


@dataclass
class Overlap:
    """The points of the keyframes, and what they say of a frame by a `Rule`."""

    rule: Rule = Rule()
    _points: dict[int, dict[int, np.ndarray]] = field(default_factory=dict)  # of each keyframe and each cell
    _trees: dict[int, cv2.flann.Index] = field(default_factory=dict)  # of each cell, as far as it has been looked up

    def clear(self) -> None:
        """Forget all keyframes."""
        self._points.clear()
        self._trees.clear()

    def score(self, maps: Pointmaps, world_from_camera: Tensor) -> float:
        """How much a frame, whose ``maps`` are those of one picture, shows that no keyframe has shown."""
        points, depth = self._chosen(maps)
        if not len(points):
            return 0.0
        distances = np.full(len(points), FARTHEST)
        for cell, members in self._cells(points, world_from_camera):
            tree = self._tree(cell)
            if tree is not None:
                squares = tree.knnSearch(np.ascontiguousarray(points[members]), 1, params=WHOLE)[1][:, 0]
                distances[members] = np.sqrt(squares) / (depth[members] + 1e-9 if self.rule.relative else 1)
        return float(np.percentile(distances, self.rule.percentile))

    def accepts(self, score: float, maps: Pointmaps) -> bool:
        """Whether a frame of that score becomes a keyframe."""
        if not score > self.rule.overlap:
            return False
        return not self.rule.clear or float(maps.confidence.median()) > self.rule.confidence

    def add(self, label: int, maps: Pointmaps, world_from_camera: Tensor) -> None:
        """Let a frame be a keyframe."""
        points, _ = self._chosen(maps)
        self._points[label] = {cell: points[members] for cell, members in self._cells(points, world_from_camera)}
        for cell in self._points[label]:
            self._trees.pop(cell, None)

    def remove(self, label: int) -> None:
        """Forget a keyframe, if it is one."""
        for cell in self._points.pop(label, {}):
            self._trees.pop(cell, None)

    def _chosen(self, maps: Pointmaps) -> tuple[np.ndarray, np.ndarray]:
        """The points ``[N,3]`` that count and their depths ``[N]``, both float32."""
        step = self.rule.subsample
        points, local, confidence = (
            each[0, ::step, ::step] for each in (maps.points, maps.points_in_camera, maps.confidence)
        )
        good = (confidence > self.rule.confidence) & points.isfinite().all(-1)
        return points[good].float().cpu().numpy(), local[good][:, 2].float().cpu().numpy()

    def _cells(self, points: np.ndarray, world_from_camera: Tensor) -> Iterator[tuple[int, np.ndarray]]:
        if not self.rule.cells:
            yield 0, np.ones(len(points), bool)
            return
        numbers = direction_cells(points - world_from_camera[:3, 3].float().cpu().numpy(), self.rule.cells)
        for cell in np.unique(numbers):
            yield int(cell), numbers == cell

    def _tree(self, cell: int) -> cv2.flann.Index | None:
        if cell not in self._trees:
            parts = [cells[cell] for cells in self._points.values() if cell in cells]
            if not parts:
                return None
            self._trees[cell] = cv2.flann.Index(np.concatenate(parts), EXACT)
        return self._trees[cell]


def direction_cells(rays: np.ndarray, count: int) -> np.ndarray:
    """Which of ``2 * count ** 2`` cells of directions each of ``rays [N,3]`` points to; ``[N] int64``.

    Cells are equal parts of the angle to the z axis and of that about it.
    """
    x, y, z = (rays / np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-5)).T
    theta = np.clip(np.arccos(np.clip(z, -1, 1)) / np.pi, 1e-5, 1 - 1e-5)
    phi = np.clip(np.arctan2(y, x) / np.pi, 1e-5 - 1, 1 - 1e-5)
    return (np.floor(theta * count) + count * (np.floor(phi * count) + count)).astype(np.int64)
