"""What MUSt3R says of a picture, as a frame of a scene whose world is the first picture's camera."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from recon import photo
from recon.alignment.focal import possible
from recon.models.fitting import Fitted, framed
from recon.networks.must3r import Pointmaps
from recon.scene import Camera, Frame, View


def is_black(view: View) -> bool:
    """Whether a picture shows nothing."""
    return photo.is_black(view.image)


def frame_of(
    view: View, index: int, fitted: Fitted, maps: Pointmaps, world_from_camera: Tensor, focal: float, head: bool
) -> Frame:
    """The frame of one view.

    Args:
        view: what it shows.
        index: of that view among the user's.
        fitted: the network's input.
        maps: of that one picture.
        world_from_camera: ``[4,4]``.
        focal: length in pixels of ``fitted``; one that can be none is taken to be the picture's width.
        head: whether to keep the points that the network itself puts into the world.
    """
    width, height = fitted.size
    depth, confidence = (
        each.float().cpu().numpy().copy() for each in (maps.points_in_camera[0, ..., 2], maps.confidence[0])
    )
    known = np.isfinite(depth) & (depth > 0) & np.isfinite(confidence)
    points = None
    if head:
        points = maps.points[0].float().cpu().numpy().copy()
        known &= np.isfinite(points).all(-1)
        points[~known] = 0
    depth[~known] = confidence[~known] = 0
    focal = focal if possible(focal, max(width, height)) else float(width)
    # The network counts pixels from 0 at their centres, and has the principal point at half of the size.
    intrinsics = np.array([[focal, 0, width / 2 + 0.5], [0, focal, height / 2 + 0.5], [0, 0, 1]], np.float32)
    camera = Camera(intrinsics, world_from_camera.float().cpu().numpy().copy())
    return framed(view, index, fitted, camera, depth, confidence, points)
