"""The flow that a picture has because its camera moves (MonST3R: Zhang et al. 2025)."""

from __future__ import annotations

import numpy as np


def ego_flow(
    depth: np.ndarray, intrinsics: np.ndarray, other_intrinsics: np.ndarray, other_from_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where another camera sees the points of a depth map, if nothing moves.

    Args:
        depth: z-depth ``[H,W]``, 0 where unknown.
        intrinsics: ``[3,3]`` of its camera.
        other_intrinsics: ``[3,3]``.
        other_from_camera: rigid ``[4,4]``.

    Returns:
        Displacements ``[H,W,2] float32`` in pixels, nan where unknown or behind the other camera; the part of them that
        is parallax, which depends on depth, likewise; and the points' z-depth ``[H,W] float32`` in the other camera.
    """
    height, width = depth.shape
    with np.errstate(divide="ignore"):
        inverse = np.where(depth > 0, 1 / depth.astype(np.float32), np.float32(np.nan))
    turn = other_intrinsics @ other_from_camera[:3, :3] @ np.linalg.inv(intrinsics)
    step = (other_intrinsics @ other_from_camera[:3, 3]).astype(np.float32)
    columns = np.arange(width, dtype=np.float32) + np.float32(0.5)
    rows = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)
    x, y, z = (columns * row[0] + rows * row[1] + row[2] for row in turn.astype(np.float32))
    ahead = z + step[2] * inverse
    with np.errstate(divide="ignore", invalid="ignore"):
        ahead = np.where(ahead > 0, ahead, np.float32(np.nan))
        flow = np.stack([(x + step[0] * inverse) / ahead - columns, (y + step[1] * inverse) / ahead - rows], -1)
        far = np.stack([x / z - columns, y / z - rows], -1)
        return flow, flow - far, ahead / inverse
