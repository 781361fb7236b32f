"""The points of a scene that the masks leave, upright, as flat arrays: what the point formats have in common."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recon import geometry, gravity
from recon.scene import Frame, Scene


def positions(scene: Scene, masks: list[np.ndarray], upright_from_world: np.ndarray | None = None) -> np.ndarray:
    """``[N,3] float32``, upright; None asks `gravity.upright`, which takes a while."""
    upright = gravity.upright(scene.frames) if upright_from_world is None else upright_from_world
    kept = [np.empty((0, 3), np.float32), *(frame.world_points()[mask] for frame, mask in _some(scene, masks))]
    return geometry.transform(upright, np.concatenate(kept)).astype(np.float32)


def colours(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """``[N,3] uint8`` sRGB."""
    return np.concatenate([np.empty((0, 3), np.uint8), *(frame.image[mask] for frame, mask in _some(scene, masks))])


def confidences(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """``[N] float32``."""
    kept = [np.empty(0, np.float32), *(frame.confidence[mask] for frame, mask in _some(scene, masks))]
    return np.concatenate(kept)


def normals(scene: Scene, masks: list[np.ndarray], upright_from_world: np.ndarray | None = None) -> np.ndarray:
    """``[N,3] float32``, upright, unit length and towards the camera, or zero where the surface is degenerate."""
    upright = gravity.upright(scene.frames) if upright_from_world is None else upright_from_world
    kept = [np.empty((0, 3))]
    for frame, mask in _some(scene, masks):
        points = np.where(frame.known()[..., None], frame.world_points(), np.nan)
        normal = geometry.normals(points)[mask]
        away = ((points[mask] - frame.camera.centre) * normal).sum(-1, keepdims=True) > 0
        kept.append(np.where(away, -normal, normal))
    return (np.concatenate(kept) @ upright[:3, :3].T).astype(np.float32)


def segments(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """``[N] int32`` segment ids, -1 for none."""
    kept = [np.empty(0, np.int32)]
    for frame, mask in _some(scene, masks):
        kept.append(np.full(int(mask.sum()), -1, np.int32) if frame.segments is None else frame.segments[mask])
    return np.concatenate(kept)


def _some(scene: Scene, masks: list[np.ndarray]) -> Iterator[tuple[Frame, np.ndarray]]:
    """Frames of which the masks leave anything."""
    return ((frame, mask) for frame, mask in zip(scene.frames, masks, strict=True) if mask.any())
