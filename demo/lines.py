"""Tracks as lines in 3D: a line through the vertices of each track that are shown, a dot at both of its ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import viser
from viser import LineSegmentsHandle, PointCloudHandle

from demo.grid import Grid
from demo.trails import colours_of
from recon.filters import Filters, static_keep
from recon.scene import Frame, Tracks

MAXIMUM_VERTICES = 20_000  # of more, only every so-many-th track is drawn: filters send all lines anew
THICKNESS = 2.5  # pixels
LIFT = 0.015  # share of the way to the camera by which a vertex stands before its surface, whose points would cover it
DOT = 0.011  # radius in viewer units, in which the median depth is 1


class Lines:
    """The lines of one viewer: one node for all of them, one for the dots."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._parent = server.scene.add_frame("/tracks", show_axes=False)
        self._lines: LineSegmentsHandle | None = None
        self._dots: PointCloudHandle | None = None
        self._drawn: np.ndarray | None = None  # of the vertices in ``_points [F,N,3]``, those in sight
        self.clear()

    @property
    def visible(self) -> bool:
        """Whether the lines are shown at all."""
        return self._parent.visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._parent.visible = visible

    def clear(self) -> None:
        """Show no lines."""
        self._points, self._levels = np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), int)
        self._colours, self._drawn = np.zeros((0, 3), np.uint8), None
        self.show(0, None)

    def set(self, tracks: Tracks, frames: Sequence[Frame], grid: Grid, filters: Filters) -> None:
        """Take other tracks; `show` draws them. A vertex has the level of its pixel; one that is not seen, or whose
        pixel the ``filters`` hide whatever its confidence, is never shown."""
        tracks = tracks.chosen(np.arange(0, len(tracks.query), max(1, -(-tracks.visibility.size // MAXIMUM_VERTICES))))
        points = grid.placement.point(tracks.positions(frames))
        centres = grid.placement.point(np.stack([frame.camera.centre for frame in frames]))
        self._points = ((1 - LIFT) * points + LIFT * centres[:, None]).astype(np.float32)
        self._levels = np.full(tracks.visibility.shape, -1)
        visible = tracks.seen() & np.isfinite(points).all(-1)
        for level, frame, pixels, which in zip(self._levels, frames, tracks.pixels, visible, strict=True):
            x, y = pixels[which].astype(int).T
            kept = static_keep(frame, filters)[y, x]
            level[which] = np.where(kept, grid.level(frame.confidence[y, x]).astype(int), -1)
        self._colours, self._drawn = colours_of(tracks, frames), None

    def show(self, lowest: int, frames: Collection[int] | None) -> None:
        """Draw the vertices of at least the level ``lowest`` that lie in ``frames``; None for all."""
        shown = self._levels >= lowest
        if frames is not None:
            shown[[index not in frames for index in range(len(shown))]] = False
        if self._drawn is not None and np.array_equal(shown, self._drawn):
            return
        self._drawn = shown
        segments, ends = polylines(shown)
        points = self._points.reshape(-1, 3)
        colours = np.tile(self._colours, (len(shown), 1))
        linear = np.round(255 * (colours / 255) ** 2.2).astype(np.uint8)  # viser takes those of points as sRGB
        scene = self._server.scene
        if len(segments):
            self._lines = scene.add_line_segments(
                "/tracks/lines", points[segments], linear[segments], thickness=THICKNESS, thickness_units="screen"
            )
        elif self._lines is not None:
            self._lines.remove()
            self._lines = None
        if len(ends):
            self._dots = scene.add_point_cloud(
                "/tracks/dots", points[ends], colours[ends], point_size=DOT, point_shape="circle", precision="float32",
                point_shading="flat",
            )  # fmt: skip
        elif self._dots is not None:
            self._dots.remove()
            self._dots = None


def polylines(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lines through the vertices of each track that are shown, in the order of the frames.

    Args:
        shown: ``[F,N] bool``, of each of N tracks in each of F frames.

    Returns:
        ``[S,2]`` indices into the ``F * N`` vertices, two a segment; and ``[E]``, those at both ends of each line, one
        for a track that is shown in one frame only.
    """
    track, frame = np.nonzero(shown.T)  # track by track
    vertex = frame * shown.shape[1] + track
    same = track[1:] == track[:-1]
    segments = np.stack([vertex[:-1], vertex[1:]], -1)[same]
    border = np.concatenate([[True], ~same, [True]])
    return segments, vertex[border[: len(vertex)] | border[1 : len(vertex) + 1]]
