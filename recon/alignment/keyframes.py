"""Which frames to pick points in, so that tracks tie all frames together (VGGSfM, Wang et al. 2024, section 3.4).

A query costs a pass of the network over all frames. So the frames chosen should each see what the others do not: the
next one is always the farthest from the set of those chosen (Gonzalez 1985), not only from the last of them, which
would jump to and fro between two ends. Distance is what two frames do not see of each other, told by the scene's own
depth and cameras: a point can be followed where it is seen, so this asks the question itself, and needs no network that
compares looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recon import geometry
from recon.scene import Frame, Scene

SAMPLES = 24  # points along each side of a frame whose view by the others is looked at
COVERED = 0.6  # of a frame's view, shared with one that was chosen: enough points of that one are seen in it
HIDDEN = 0.1  # of depth: what lies farther behind a frame's surface is not seen by it


def keyframes(scene: Scene, count: int = 8) -> list[int]:
    """The frames to pick points in: at most ``count``, fewer where they cover all frames.

    The first frame comes first: it sets the world, and a model has mostly looked from it already.
    """
    if not scene.frames:
        return []
    distance = 1 - overlap(scene.frames)
    order = farthest_first(distance, 0, count)
    uncovered = [distance[order[: number + 1]].min(0).max() for number in range(len(order))]
    return [frame for number, frame in enumerate(order) if number == 0 or uncovered[number - 1] > 1 - COVERED]


def farthest_first(distance: np.ndarray, start: int, count: int, from_last: bool = False) -> list[int]:
    """Rank items so that each is the farthest from those before it; ties go to the lower index.

    Args:
        distance: ``[N,N]``, not negative; the diagonal does not matter.
        start: the first item.
        count: how many to take; no more than there are.
        from_last: measure from the last chosen one alone, as VGGT's export to COLMAP does.
    """
    chosen = [start]
    gap = np.array(distance[start], float)
    while len(chosen) < min(count, len(distance)):
        gap[chosen] = -np.inf
        chosen.append(int(np.argmax(gap)))
        last = np.array(distance[chosen[-1]], float)
        gap = last if from_last else np.minimum(gap, last)
    return chosen


def swapped(count: int, query: int) -> np.ndarray:
    """``[count] int64``: an order of frames with ``query`` in first place, where networks look for the points.

    It and the first change places, so that the same order also leads back.
    """
    order = np.arange(count)
    order[[0, query]] = query, 0
    return order


def overlap(frames: Sequence[Frame]) -> np.ndarray:
    """``[F,F] float32``, 0 to 1: the share of what one frame sees that another sees too, the smaller of both ways."""
    share = np.eye(len(frames), dtype=np.float32)
    for index, frame in enumerate(frames):
        step = max(1, max(frame.size) // SAMPLES)
        thin = frame.thinned(step)
        points = thin.world_points()[thin.known()]
        for other, witness in enumerate(frames):
            if other != index and len(points):
                share[index, other] = _sees(witness, points).mean()
    return np.minimum(share, share.T)


def _sees(frame: Frame, points: np.ndarray) -> np.ndarray:
    """``[N] bool``: points ``[N,3]`` in the world that fall into a frame's picture, not behind what it sees there."""
    local = geometry.transform(frame.camera.camera_from_world, points)
    pixels = geometry.project(local, frame.camera.intrinsics)
    with np.errstate(invalid="ignore"):
        inside = (local[:, 2] > 0) & (pixels >= 0).all(1) & (pixels < frame.size).all(1)
    columns, rows = np.where(inside[:, None], pixels, 0).astype(int).T
    surface = frame.depth[rows, columns]
    return inside & ((surface <= 0) | (local[:, 2] < surface * (1 + HIDDEN)))
