"""The time of a scene: what of it is there at one moment only."""

from __future__ import annotations

import numpy as np

from recon.scene import Scene


def has_time(scene: Scene) -> bool:
    """Whether there is anything to play: two frames or more, with things that move or from a video."""
    told = any(frame.moving is not None or frame.time is not None for frame in scene.frames)
    return len(scene.frames) > 1 and told


def marked(scene: Scene) -> bool:
    """Whether anything tells what moves in the scene, be it that nothing does."""
    return any(frame.moving is not None for frame in scene.frames)


def passing(scene: Scene) -> list[np.ndarray]:
    """Masks ``[H,W] bool``, one a frame: the pixels that are shown at the moment of their frame only.

    These are the things that move; where nothing tells what moves, all of a video's frames.
    """
    known = marked(scene)
    return [
        frame.moving if frame.moving is not None else np.full(frame.depth.shape, not known and frame.time is not None)
        for frame in scene.frames
    ]
