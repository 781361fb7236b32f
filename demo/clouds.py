"""The points of a scene in the viewer: chunks by confidence, so that a threshold never resends points.

Every frame's points lie in chunks by confidence, one node a chunk, and the chunks of one level hang under one parent:
``/points/<level>/<frame>``. The slider shows and hides the parents. A point is stored relative to the camera that saw
it, where half precision errs by less than half a pixel of a focal length of 1,000.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import viser
from viser import FrameHandle, PointCloudHandle

from demo.grid import Grid
from recon.filters import Filters, static_keep
from recon.placement import footprint
from recon.scene import Frame

FIRST_HUE, GOLDEN = 0.58, 0.618034


@dataclass
class Chunk:
    """One frame's points of one level, as drawn."""

    handle: PointCloudHandle
    colours: np.ndarray


class Clouds:
    """The points of one viewer."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._grid: Grid | None = None
        self._levels: list[FrameHandle] = []
        self._chunks: dict[int, dict[int, Chunk]] = {}
        self._size, self._factor = 0.01, 1.0
        self._colour = "photo"
        self._lowest = 0
        self._frames: Collection[int] | None = None

    @property
    def drawn(self) -> set[int]:
        """Indices of the frames whose points are here."""
        return set(self._chunks)

    def lay(self, grid: Grid, frames: Sequence[Frame]) -> None:
        """Take ``grid`` for all that is drawn from now on; ``frames`` say how large points are."""
        for parent in self._levels[len(grid.levels) :]:
            parent.remove()
        for index, chunks in self._chunks.items():
            self._chunks[index] = {level: chunk for level, chunk in chunks.items() if level < len(grid.levels)}
        self._levels = self._levels[: len(grid.levels)]
        for level in range(len(self._levels), len(grid.levels)):
            self._levels.append(self._server.scene.add_frame(f"/points/{level}", show_axes=False))
        self._grid = grid
        # a little more than the gap; viser draws a point twice as wide as its size says
        self._size = 0.65 * footprint(frames, grid.placement) / grid.share**0.5

    def draw(self, index: int, frame: Frame, filters: Filters) -> None:
        """Send what ``filters`` keep of a frame, whatever its confidence, in the place of what was there of it."""
        grid = self._grid
        assert grid is not None
        kept = static_keep(frame, filters) & grid.drawn(frame.depth.shape)
        level = grid.level(frame.confidence[kept])  # bytes, which sort fastest
        order = np.argsort(level, kind="stable")
        offsets = grid.placement.offsets(frame.world_points()[kept][order], frame.camera.centre)
        offsets = np.clip(offsets, -6e4, 6e4).astype(np.float16)
        colours = frame.image[kept][order]
        bounds = np.searchsorted(level[order], np.arange(len(grid.levels) + 1))
        former, chunks = self._chunks.get(index, {}), {}
        for number in range(len(grid.levels)):
            part = slice(bounds[number], bounds[number + 1])
            if part.start == part.stop:
                continue
            handle = self._server.scene.add_point_cloud(
                f"/points/{number}/{index}", offsets[part], self._colours(index, number, colours[part]),
                point_size=self._size * self._factor, point_shape="rounded", point_shading="flat",
                position=grid.placement.point(frame.camera.centre), visible=self._shown(index),
            )  # fmt: skip
            chunks[number] = Chunk(handle, colours[part])
        for number in former.keys() - chunks.keys():
            former[number].handle.remove()
        self._chunks[index] = chunks

    def remove(self, index: int) -> None:
        """Take a frame's points away, if there are any."""
        for chunk in self._chunks.pop(index, {}).values():
            chunk.handle.remove()

    def show(self, lowest: int, frames: Collection[int] | None) -> None:
        """Show the points of at least the level ``lowest`` that lie in ``frames``, None for all; nothing is resent."""
        self._lowest, self._frames = lowest, frames
        for level, parent in enumerate(self._levels):
            parent.visible = level >= lowest
        for index, chunks in self._chunks.items():
            for chunk in chunks.values():
                chunk.handle.visible = self._shown(index)

    def scale(self, factor: float) -> None:
        """Draw points ``factor`` times as large as the gap between neighbouring ones."""
        self._factor = factor
        for chunks in self._chunks.values():
            for chunk in chunks.values():
                chunk.handle.point_size = self._size * factor

    def paint(self, by: str) -> None:
        """Colour points by "photo", by "confidence" (its percentile, yellow is high) or by "frame"."""
        self._colour = by
        for index, chunks in self._chunks.items():
            for level, chunk in chunks.items():
                chunk.handle.colors = self._colours(index, level, chunk.colours)

    def _shown(self, index: int) -> bool:
        return self._frames is None or index in self._frames

    def _colours(self, index: int, level: int, photo: np.ndarray) -> np.ndarray:
        if self._colour == "photo":
            return photo
        if self._colour == "frame":
            return frame_colour(index)
        value = np.array([[round(255 * level / max(1, len(self._levels) - 1))]], np.uint8)
        return cv2.applyColorMap(value, cv2.COLORMAP_VIRIDIS)[0, 0, ::-1].copy()


def frame_colour(index: int) -> np.ndarray:
    """``[3] uint8``: hues in golden steps, so that neighbours differ."""
    hue = round(180 * ((FIRST_HUE + index * GOLDEN) % 1))
    return cv2.cvtColor(np.array([[[hue, 150, 235]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
