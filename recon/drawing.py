"""Points and cameras as nodes of viser: what the viewer of the page and the HTML file have in common.

They stand in coordinates of the drawing's own (`recon.placement.Placement`): up is +z, the median distance of a point
from its camera is 1. So near, far, orbit and line widths suit any scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from recon.placement import Eye, Placement, eye_of_camera, footprint
from recon.scene import Frame

if TYPE_CHECKING:
    import viser

MAXIMUM_POINTS = 3_000_000  # of a scene with more, an even selection is drawn
FAR = 1000.0
PICTURE = 160  # pixels, long side of a frustum's photo
NEUTRAL, PRESENT = (120, 130, 145), (90, 235, 120)


def share_drawn(frames: Sequence[Frame]) -> float:
    """Of all pixels, the share that is drawn, up to 1."""
    return min(1.0, MAXIMUM_POINTS / max(1, sum(frame.depth.size for frame in frames)))


def selection(shape: tuple[int, int], share: float) -> np.ndarray:
    """``[H,W] bool``, about a ``share`` of the pixels, without clumps or rows (the R2 sequence as a dither)."""
    if share == 1:
        return np.ones(shape, bool)
    y, x = np.indices(shape)
    return (0.75487767 * x + 0.56984029 * y) % 1 < share


def point_size(frames: Sequence[Frame], placement: Placement, share: float) -> float:
    """A little more than the gap between neighbouring points; viser draws a point twice as wide as its size says."""
    return 0.65 * footprint(frames, placement) / share**0.5


def add_points(
    server: viser.ViserServer,
    name: str,
    offsets: np.ndarray,
    colours: np.ndarray,
    centre: np.ndarray,
    size: float,
    visible: bool = True,
) -> viser.PointCloudHandle:
    """Draw points that one camera saw.

    Args:
        server: where to draw.
        name: of the node.
        offsets: ``[N,3]`` from that camera, see `half_precision`.
        colours: ``[N,3]`` or ``[3] uint8``.
        centre: ``[3]``, where that camera stands in the drawing.
        size: of a point.
        visible: whether it is shown at first.
    """
    return server.scene.add_point_cloud(
        name, offsets, colours, point_size=size, point_shape="rounded", point_shading="flat", position=centre,
        visible=visible,
    )  # fmt: skip


def half_precision(points: np.ndarray, frame: Frame, placement: Placement) -> np.ndarray:
    """``[N,3] float16``: points of the world relative to the camera that saw them, in the drawing.

    Half precision errs there by less than half a pixel of a focal length of 1,000.
    """
    return np.clip(placement.offsets(points, frame.camera.centre), -6e4, 6e4).astype(np.float16)


def add_camera(
    server: viser.ViserServer,
    name: str,
    frame: Frame,
    placement: Placement,
    colour: tuple[int, int, int] = NEUTRAL,
    visible: bool = True,
) -> viser.CameraFrustumHandle:
    """Draw a frame's camera as a frustum with the photo in it; see `size_camera`."""
    eye = eye_of_camera(frame.camera, frame.size, placement)
    return server.scene.add_camera_frustum(
        name, fov=eye.fov, aspect=eye.aspect, image=_picture(frame), jpeg_quality=80, color=colour, wxyz=eye.wxyz,
        position=eye.position, visible=visible,
    )  # fmt: skip


def size_camera(frustum: viser.CameraFrustumHandle, depth: float, bold: bool = False) -> None:
    """Draw a frustum ``depth`` deep."""
    frustum.scale = depth / frustum.compute_canonical_frustum_size()[2]
    frustum.thickness = (0.04 if bold else 0.02) * depth


def look_first(server: viser.ViserServer, eye: Eye) -> None:
    """Let pages to come begin at ``eye``."""
    first = server.initial_camera
    first.position, first.look_at, first.fov = eye.position, eye.look_at, eye.fov
    first.near, first.far = eye.near, FAR


def _picture(frame: Frame) -> np.ndarray:
    """The photo, small."""
    factor = PICTURE / max(frame.size)
    return (
        cv2.resize(frame.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else frame.image
    )
