"""The points of a scene in the viewer: chunks by confidence and by time, so that thresholds and playing resend nothing.

Every frame's points lie in chunks by confidence, one node a chunk. What is always there hangs under the parents of the
levels, ``/points/<level>/<frame>``, which the slider of confidence shows and hides. What is there at one moment only
(`recon.timeline.passing`) hangs under the parents of the frames, ``/moments/<frame>/<level>``: so one step in time is
two messages, however many levels there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import viser
from viser import FrameHandle, PointCloudHandle

from demo.grid import Grid
from demo.paint import Paint
from demo.playback import Moment
from recon.drawing import add_points, half_precision, point_size
from recon.filters import Filters, static_keep
from recon.scene import Frame


@dataclass(eq=False)
class Chunk:
    """One frame's points of one level, as drawn; ``passing`` are those of one moment only."""

    handle: PointCloudHandle
    colours: np.ndarray
    segments: np.ndarray | None
    frame: int
    level: int
    passing: bool


class Clouds:
    """The points of one viewer."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._grid: Grid | None = None
        self._roots = [server.scene.add_frame(name, show_axes=False) for name in ("/points", "/moments")]
        self._levels: list[FrameHandle] = []
        self._moments: dict[int, FrameHandle] = {}
        self._chunks: dict[int, list[Chunk]] = {}
        self._size, self._factor = 0.01, 1.0
        self._paint = Paint()
        self._lowest, self._filters, self._moment = 0, Filters(), Moment()
        self._moving: dict[int, bool] = {}  # of each frame, whether it is known that its passing points move

    @property
    def drawn(self) -> set[int]:
        """Indices of the frames whose points are here."""
        return set(self._chunks)

    @property
    def visible(self) -> bool:
        """Whether points are in sight."""
        return self._roots[0].visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        for root in self._roots:
            root.visible = visible

    @property
    def radius(self) -> float:
        """Of a point as it is drawn."""
        return self._size * self._factor

    def lay(self, grid: Grid, frames: Sequence[Frame]) -> None:
        """Take ``grid`` for all that is drawn from now on; ``frames`` say how large points are."""
        for chunk in self._all():
            if chunk.level >= len(grid.levels):
                chunk.handle.remove()
        for index, chunks in self._chunks.items():
            self._chunks[index] = [chunk for chunk in chunks if chunk.level < len(grid.levels)]
        for parent in self._levels[len(grid.levels) :]:
            parent.remove()
        self._levels = self._levels[: len(grid.levels)]
        for level in range(len(self._levels), len(grid.levels)):
            self._levels.append(self._server.scene.add_frame(f"/points/{level}", show_axes=False))
        self._grid = grid
        self._size = point_size(frames, grid.placement, grid.share)

    def draw(self, index: int, frame: Frame, passing: np.ndarray, filters: Filters) -> None:
        """Send what ``filters`` keep of a frame, whatever its confidence, in the place of what was there of it.

        Args:
            index: of the frame.
            frame: whose points are drawn.
            passing: ``[H,W] bool``, those of them that are there at the moment of the frame only.
            filters: what is kept; what moves is sent in any case, see `show`.
        """
        assert self._grid is not None
        kept = static_keep(frame, replace(filters, moving="show")) & self._grid.drawn(frame.depth.shape)
        former, self._chunks[index] = self._chunks.get(index, []), []
        self._moving[index] = frame.moving is not None
        if index not in self._moments and (kept & passing).any():
            self._moments[index] = self._server.scene.add_frame(f"/moments/{index}", show_axes=False)
            self._moments[index].visible = self._there(index)
        self._send(index, frame, kept & ~passing, passing=False)
        self._send(index, frame, kept & passing, passing=True)
        present = {chunk.handle.name for chunk in self._chunks[index]}
        for chunk in former:
            if chunk.handle.name not in present:
                chunk.handle.remove()

    def _send(self, index: int, frame: Frame, mask: np.ndarray, passing: bool) -> None:
        grid = self._grid
        assert grid is not None
        level = grid.level(frame.confidence[mask])  # bytes, which sort fastest
        order = np.argsort(level, kind="stable")
        offsets = half_precision(frame.world_points()[mask][order], frame, grid.placement)
        colours = frame.image[mask][order]
        segments = None if frame.segments is None else frame.segments[mask][order]
        centre = grid.placement.point(frame.camera.centre)
        bounds = np.searchsorted(level[order], np.arange(len(grid.levels) + 1))
        for number in range(len(grid.levels)):
            part = slice(bounds[number], bounds[number + 1])
            if part.start == part.stop:
                continue
            some = None if segments is None else segments[part]
            name = f"/moments/{index}/{number}" if passing else f"/points/{number}/{index}"
            handle = add_points(
                self._server, name, offsets[part], self._colours(index, number, colours[part], some), centre,
                self.radius, self._shown(index, number, passing),
            )  # fmt: skip
            self._chunks[index].append(Chunk(handle, colours[part], some, index, number, passing))

    def remove(self, index: int) -> None:
        """Take a frame's points away, if there are any."""
        for chunk in self._chunks.pop(index, []):
            chunk.handle.remove()
        if moment := self._moments.pop(index, None):
            moment.remove()

    def show(self, lowest: int, filters: Filters) -> None:
        """Show the points of at least the level ``lowest`` that lie in the frames, and move or not, as ``filters`` say;
        nothing is resent."""
        self._lowest, self._filters = lowest, filters
        for level, parent in enumerate(self._levels):
            parent.visible = level >= lowest and filters.moving != "only"
        for chunk in self._all():
            chunk.handle.visible = self._shown(chunk.frame, chunk.level, chunk.passing)
        self.go(self._moment)

    def go(self, moment: Moment) -> None:
        """Show what is there at a moment; nothing is resent."""
        self._moment = moment
        for index, parent in self._moments.items():
            parent.visible = self._there(index)

    def scale(self, factor: float) -> None:
        """Draw points ``factor`` times as large as the gap between neighbouring ones."""
        self._factor = factor
        for chunk in self._all():
            chunk.handle.point_size = self.radius

    def paint(self, paint: Paint) -> None:
        """Colour points anew."""
        self._paint = paint
        for chunk in self._all():
            chunk.handle.colors = self._colours(chunk.frame, chunk.level, chunk.colours, chunk.segments)

    def _all(self) -> Iterator[Chunk]:
        return (chunk for chunks in self._chunks.values() for chunk in chunks)

    def _shown(self, index: int, level: int, passing: bool) -> bool:
        """Whether a chunk is shown where its parent is."""
        return level >= self._lowest if passing else self._filters.shows(index)

    def _there(self, index: int) -> bool:
        """Whether a frame's passing points are shown."""
        asked = self._filters.moving == "show" or (self._filters.moving == "only") == self._moving[index]
        return asked and self._filters.shows(index) and self._moment.shows(index)

    def _colours(self, index: int, level: int, photo: np.ndarray, segments: np.ndarray | None) -> np.ndarray:
        return self._paint.colours(photo, index, level / max(1, len(self._levels) - 1), segments)
