"""What VGGT says of views in numbers, as frames of a scene whose world is the first one's camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from recon import geometry
from recon.errors import InputError
from recon.models import fitting
from recon.models.fitting import Fitted
from recon.networks.layers.pose_encoding import decode_cameras
from recon.scene import Camera, Frame, View

LEAST_ANGLE, LARGEST_ANGLE = np.radians(0.5), np.radians(175)  # of a field of view that a camera can have

Maps = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Of a view: depth ``[H,W]``, confidence ``[H,W]``, and points ``[H,W,3]`` in the network's world or None."""


@dataclass(frozen=True)
class Rig:
    """The cameras of a run.

    Attributes:
        cameras: of all views, each of the whole input; the world is the first one's.
        first_from_world: ``[4,4]``, to that world from the network's, in which the first camera is not quite the unit.
        notes: sentences for the user.
    """

    cameras: list[Camera]
    first_from_world: np.ndarray
    notes: list[str]


def rig_of(encoding: Tensor, names: Sequence[str], size: tuple[int, int]) -> Rig:
    """The network's cameras ``[V,9]``, V views with these names, of an input of ``size`` (width, height).

    Raises:
        InputError: a view has no place, or no view has a field of view.
    """
    usable, notes = usable_cameras(encoding, names)
    extrinsics, intrinsics = (part.numpy() for part in decode_cameras(usable, size[1], size[0]))
    camera_from_world = np.tile(np.eye(4), (len(names), 1, 1))
    camera_from_world[:, :3] = extrinsics
    world_from_camera = camera_from_world[0] @ geometry.invert(camera_from_world)
    world_from_camera[0] = np.eye(4)
    cameras = [
        Camera(matrix.astype(np.float32), pose.astype(np.float32))
        for matrix, pose in zip(intrinsics, world_from_camera, strict=True)
    ]
    return Rig(cameras, camera_from_world[0], notes)


def usable_cameras(encoding: Tensor, names: Sequence[str]) -> tuple[Tensor, list[str]]:
    """The network's cameras ``[V,9]``, impossible fields of view replaced by the usual one, and a sentence on that."""
    placed = encoding[:, :7].isfinite().all(1) & (encoding[:, 3:7].norm(dim=1) > 1e-6)
    if not placed.all():
        lost = names[int(placed.logical_not().nonzero()[0])]
        raise InputError(f"The network found no place for '{lost}': leave it out, or try other photos.")
    angles = encoding[:, 7:]
    possible = ((angles > LEAST_ANGLE) & (angles < LARGEST_ANGLE)).all(1)
    if possible.all():
        return encoding, []
    if not possible.any():
        raise InputError("The network could not tell how wide these photos look: try other photos.")
    usable = encoding.clone()
    usable[~possible, 7:] = angles[possible].median(0).values
    count = int((~possible).sum())
    return usable, [
        f"How wide {count} of the {len(names)} photos look could not be told: they are taken to be like the others."
    ]


def place(view: View, index: int, fitted: Fitted, rig: Rig, member: int, maps: Maps) -> Frame:
    """The frame of one view, without the input's padding.

    Args:
        view: what it shows.
        index: of that view among the user's.
        fitted: the network's input.
        rig: the cameras of the run.
        member: which of them this view's is.
        maps: of the whole input.
    """
    depth, confidence, points = maps
    left, top, right, bottom = map(int, fitted.content)
    shown = fitting.cut(fitted)
    depth, confidence = (part[top:bottom, left:right].copy() for part in (depth, confidence))
    camera = rig.cameras[member]
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, 2] -= left, top
    known = np.isfinite(depth) & np.isfinite(confidence)
    if points is not None:
        points = geometry.transform(rig.first_from_world, points[top:bottom, left:right]).astype(np.float32)
        known &= np.isfinite(points).all(-1)
        points[~known] = 0
    depth[~known] = confidence[~known] = 0
    camera = replace(camera, intrinsics=intrinsics)
    return fitting.framed(view, index, shown, camera, depth, confidence, points)
