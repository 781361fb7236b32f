"""From a camera with lens distortion to a pinhole camera that sees a part of the same, by COLMAP's formulas."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pycolmap

from recon import geometry
from recon.known.entry import FieldOfView, Lens, Unfit
from recon.known.turn import Turn

NEGLIGIBLE = 1 / 8000  # of the picture's long side; as much as a fifth of a pixel in 1600


def intrinsics_of(camera: pycolmap.Camera) -> np.ndarray:
    """``[3,3] float64`` without the distortion."""
    return np.asarray(camera.calibration_matrix(), np.float64)


def is_pinhole(camera: pycolmap.Camera) -> bool:
    """Whether a pinhole camera with the same intrinsics shows the same everywhere, but for a fraction of a pixel."""
    if camera.is_undistorted():
        return True
    x, y = np.meshgrid(np.linspace(0, camera.width, 33), np.linspace(0, camera.height, 33))
    pixels = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], -1)
    shown = camera.img_from_cam(pixels @ np.linalg.inv(intrinsics_of(camera)).T)
    moved = np.abs(shown - pixels[:, :2]).max()
    return bool(moved < NEGLIGIBLE * max(camera.width, camera.height))  # False for NaN


def undistorted(camera: pycolmap.Camera) -> tuple[np.ndarray, tuple[int, int]]:
    """Intrinsics ``[3,3] float64`` and ``(width, height)`` of a pinhole camera of which every pixel is in the picture.

    Raises:
        Unfit: there is none, as of a lens that sees behind itself.
    """
    try:
        pinhole = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), camera)
        matrix, size = intrinsics_of(pinhole), (int(pinhole.width), int(pinhole.height))
    except Exception as error:  # its checks raise several kinds
        raise Unfit(f"has a distortion ({camera.model_name}) that cannot be taken out") from error
    width, height = size
    if not np.isfinite(matrix).all() or min(size) < 2 or width > 8 * height or height > 8 * width:
        raise Unfit(f"has a distortion ({camera.model_name}) that cannot be taken out")
    return matrix, size


def distorted_pixels(camera: pycolmap.Camera, rays: np.ndarray) -> np.ndarray:
    """Where rays ``[...,3]`` of the camera fall in its picture: ``[...,2] float64``, NaN where nowhere."""
    return np.asarray(camera.img_from_cam(rays.reshape(-1, 3).astype(np.float64))).reshape(*rays.shape[:-1], 2)


@lru_cache(maxsize=1)
def lookup(lens: Lens | FieldOfView, turn: Turn, long_side: int) -> tuple[np.ndarray, np.ndarray]:
    """An undistorted upright picture: its intrinsics, and where its pixels lie in the upright photo.

    Args:
        lens: of the photo.
        turn: how the pixels that it speaks of become upright.
        long_side: pixels of the new picture's.

    Returns:
        ``[3,3] float64``, and ``[H,W,2] float32``. The last ones are kept, as photos mostly share a lens.

    Raises:
        Unfit: see `undistorted` and `Lens.camera`.
    """
    camera = lens.camera(turn.size)
    matrix, size = undistorted(camera)
    turned = Turn(turn.orientation, size)
    upright = size if turn.orientation < 5 else size[::-1]
    scale = long_side / max(size)
    width, height = (max(1, round(side * scale)) for side in upright)
    resized = geometry.resize_transform(upright, (width, height)).astype(np.float64)
    intrinsics = resized @ turned.pixels @ matrix @ turn.rotation.T
    pixels = geometry.pixel_grid(height, width).astype(np.float64)
    rays = np.concatenate([pixels, np.ones((height, width, 1))], -1) @ np.linalg.inv(intrinsics).T @ turn.rotation
    in_photo = distorted_pixels(camera, rays) @ turn.pixels[:2, :2].T + turn.pixels[:2, 2]
    return intrinsics, in_photo.astype(np.float32)
