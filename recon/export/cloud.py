"""The points of a scene that the masks leave, upright, as flat arrays: what the point formats have in common."""

from __future__ import annotations

import numpy as np

from recon import geometry, gravity
from recon.scene import Scene


def positions(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """``[N,3] float32``, upright."""
    kept = np.concatenate([frame.world_points()[mask] for frame, mask in zip(scene.frames, masks, strict=True)])
    return geometry.transform(gravity.upright(scene.frames), kept).astype(np.float32)


def colours(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """``[N,3] uint8`` sRGB."""
    return np.concatenate([frame.image[mask] for frame, mask in zip(scene.frames, masks, strict=True)])


def confidences(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """``[N] float32``."""
    return np.concatenate([frame.confidence[mask] for frame, mask in zip(scene.frames, masks, strict=True)])


def normals(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """``[N,3] float32``, upright, unit length and towards the camera, or zero where the surface is degenerate."""
    kept = []
    for frame, mask in zip(scene.frames, masks, strict=True):
        points = np.where(frame.known()[..., None], frame.world_points(), np.nan)
        normal = geometry.normals(points)[mask]
        away = ((points[mask] - frame.camera.centre) * normal).sum(-1, keepdims=True) > 0
        kept.append(np.where(away, -normal, normal))
    return (np.concatenate(kept) @ gravity.upright(scene.frames)[:3, :3].T).astype(np.float32)
