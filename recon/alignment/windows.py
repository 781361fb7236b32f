"""Long videos a window at a time: which frames are in each, and how the world of one continues that of the last.

As in MonST3R (Zhang et al. 2025), windows share frames. There the shared ones keep their places while the next window
is optimised, whose scale only the camera's way tells then; here each window is a world of its own, and is joined by the
depth of what it shares, which tells the scale of a camera that stands still too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recon import geometry
from recon.scene import Frame

FRAMES, SHARED = 40, 10  # of a window, and with the next one


def windows(count: int, size: int = FRAMES, shared: int = SHARED) -> list[range]:
    """Ranges of ``count`` frames: full windows that share so many with the next, and one more that ends at the end."""
    if count <= size:
        return [range(count)]
    starts = list(range(0, count - size + 1, size - shared))
    if starts[-1] + size < count:
        starts.append(count - size)
    return [range(start, start + size) for start in starts]


def joining(done: Sequence[Frame], new: Sequence[Frame]) -> np.ndarray:
    """``done_from_new [4,4]``, the similarity between two worlds by frames that are in both, at least one.

    Scale by the median ratio of their depths; turn and place by the mean of their cameras'.
    """
    ratios, turns = [], np.zeros((3, 3))
    for one, other in zip(done, new, strict=True):
        both = one.known() & other.known()
        if both.any():
            ratios.append(float(np.median(one.depth[both] / other.depth[both])))
        turns += one.camera.world_from_camera[:3, :3] @ other.camera.world_from_camera[:3, :3].T
    scale = float(np.median(ratios)) if ratios else 1.0
    u, _, vt = np.linalg.svd(turns)
    rotation = u @ np.diag([1, 1, np.linalg.det(u) * np.linalg.det(vt)]) @ vt
    steps = [
        one.camera.centre - scale * rotation @ other.camera.centre for one, other in zip(done, new, strict=True)
    ]  # fmt: skip
    return geometry.rigid(scale * rotation, np.mean(steps, 0))


def moved(frame: Frame, world_from_own: np.ndarray) -> None:
    """Move a frame without points of its own by a similarity ``[4,4]``, in place."""
    scale = np.cbrt(np.linalg.det(world_from_own[:3, :3]))
    pose = geometry.apply_similarity(world_from_own, frame.camera.world_from_camera.astype(np.float64))
    frame.camera.world_from_camera = pose.astype(np.float32)
    frame.depth = (frame.depth * scale).astype(np.float32)
