"""Tracks as lines in 3D: a line through the vertices of each track that are shown, a dot at both of its ends."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import viser
from viser import LineSegmentsHandle, PointCloudHandle

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
        self._drawn: np.ndarray | None = None
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
        self.set(np.zeros((0, 0, 3)), np.zeros((0, 3)), np.zeros((0, 0), int), np.zeros((0, 3), np.uint8))
        self.show(0, None)

    def set(self, points: np.ndarray, centres: np.ndarray, levels: np.ndarray, colours: np.ndarray) -> None:
        """Take other tracks; they are drawn by `show`.

        Args:
            points: ``[F,N,3]`` in viewer coordinates, not finite where unknown.
            centres: ``[F,3]`` of the cameras that saw them.
            levels: ``[F,N] int``, of the point's confidence; -1 for one that is never shown.
            colours: ``[N,3] uint8``.
        """
        every = max(1, -(-levels.size // MAXIMUM_VERTICES))
        lifted = (1 - LIFT) * points + LIFT * centres[:, None]
        self._points, self._colours = lifted[:, ::every].astype(np.float32), colours[::every]
        self._levels = np.where(np.isfinite(self._points).all(-1), levels[:, ::every], -1)
        self._drawn = None

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
