"""What is known of a photo onto its view: turned upright, scaled, brought into pixels of the view's picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from recon import geometry
from recon.known.entry import FieldOfView, Lens, Unfit
from recon.known.turn import Turn
from recon.scene import View

FARTHEST = 1e12


def with_lens(view: View, lens: Lens | FieldOfView, turn: Turn) -> View:
    """The view with intrinsics; where the lens distorts, with a new picture in which it does not.

    Such a picture is its own original: no export could say how it came from the photo.

    Raises:
        Unfit: the lens is none, or its distortion cannot be taken out.
    """
    from recon.known import undistortion  # here, since pycolmap takes long to import

    camera = lens.camera(turn.size)
    if undistortion.is_pinhole(camera):
        upright = turn.pixels @ undistortion.intrinsics_of(camera) @ turn.rotation.T
        intrinsics = np.linalg.inv(view.original_from_view.astype(np.float64)) @ upright
        intrinsics[0, 1] = 0
        return replace(view, intrinsics=intrinsics.astype(np.float32))
    intrinsics, in_original = undistortion.lookup(lens, turn, max(view.size))
    in_view = _transform(np.linalg.inv(view.original_from_view.astype(np.float64)), in_original)
    at = (in_view - 0.5).astype(np.float32)  # OpenCV counts from the centre of the first pixel
    across, down = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    image = np.asarray(cv2.remap(view.image, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
    height, width = image.shape[:2]
    return replace(
        view,
        image=image,
        path=None,
        original_size=(width, height),
        original_from_view=np.eye(3, dtype=np.float32),
        mask=_undistorted_mask(view, in_view),
        focal_prior=None if view.focal_prior is None else float(intrinsics[0, 0]),
        intrinsics=intrinsics.astype(np.float32),
    )


def _undistorted_mask(view: View, in_view: np.ndarray) -> np.ndarray | None:
    """``[H,W] bool``, the mask at ``in_view [H,W,2]`` and False outside of the picture; None where all is True."""
    mask = np.ones(view.image.shape[:2], bool) if view.mask is None else view.mask
    mask = _nearest(mask, in_view)
    return None if mask.all() else mask


def with_depth(view: View, depth: np.ndarray, turn: Turn, in_original: np.ndarray) -> View:
    """The view with depth ``[H,W]`` of the photo, each of its pixels one of the file's.

    Args:
        view: the one to give depth to.
        depth: of the photo, turned as the file has it, at any scale.
        turn: how that becomes the upright photo.
        in_original: ``[H,W,2]``, where the view's pixels lie in the upright photo.
    """
    height, width = depth.shape
    depth_from_original = geometry.resize_transform(turn.size, (width, height)) @ np.linalg.inv(turn.pixels)
    return replace(view, depth=_nearest(depth, _transform(depth_from_original, in_original)))


def pixels_in_original(before: View, after: View, lens: Lens | FieldOfView | None, turn: Turn) -> np.ndarray:
    """``[H,W,2]``, where the pixels of a view that `with_lens` made of ``before`` lie in the upright photo."""
    width, height = after.size
    if lens is None or after.image is before.image:
        return _transform(before.original_from_view, geometry.pixel_grid(height, width))
    from recon.known import undistortion

    return undistortion.lookup(lens, turn, max(before.size))[1]


def turned_pose(world_from_camera: np.ndarray, turn: Turn) -> np.ndarray:
    """``[4,4] float64``, checked, of the camera that takes the upright photo.

    Raises:
        Unfit: it is no rigid transform, or the photo is stored mirrored.
    """
    world_from_stored = rigid_pose(world_from_camera)
    if np.linalg.det(turn.rotation) < 0:
        raise Unfit("is stored mirrored, so that no camera took it as it is: save it upright")
    return world_from_stored @ geometry.rigid(turn.rotation.T, np.zeros(3))


def rigid_pose(world_from_camera: np.ndarray, tolerance: float = 5e-3) -> np.ndarray:
    """``[4,4] float64`` whose rotation is one exactly: that of a file with few decimals is not quite.

    Raises:
        Unfit: it is not finite, left-handed, scaled, or no rotation at all.
    """
    if not (np.abs(world_from_camera) < FARTHEST).all():  # False for NaN
        raise Unfit("has a pose with numbers that are not finite, or beyond all measure")
    u, singular, vt = np.linalg.svd(world_from_camera[:3, :3])
    scale = float(np.cbrt(np.prod(singular)))
    if scale == 0 or (abs(singular / scale - 1) > tolerance).any():
        raise Unfit("has a pose that is no rotation and translation")
    if np.linalg.det(u @ vt) < 0:
        raise Unfit("has a pose that is left-handed: one of its axes points the other way")
    if abs(scale - 1) > tolerance:
        raise Unfit(f"has a pose that is scaled by {scale:.4g}: a camera only turns and moves")
    return geometry.rigid(u @ vt, world_from_camera[:3, 3])


def _transform(matrix: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Pixels ``[...,2]`` by an affine ``[3,3]``."""
    return np.asarray(pixels @ matrix[:2, :2].T + matrix[:2, 2])


def _nearest(values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """``values [H,W]`` at ``pixels [...,2]``; 0 outside."""
    height, width = values.shape
    with np.errstate(invalid="ignore"):
        inside = np.asarray(((pixels >= 0) & (pixels < (width, height))).all(-1))
    x, y = np.where(inside[..., None], pixels, 0).astype(int).transpose(2, 0, 1)
    sampled = values[y, x]
    sampled[~inside] = 0
    return sampled
