"""A camera's way, without the jitter of frames that were placed each by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def smoothed(
    centres: np.ndarray, confidence: Sequence[float] | None = None, strength: float = 0.1, rounds: int = 256
) -> np.ndarray:
    """``centres [N,3]`` of cameras, drawn towards the middle of their neighbours again and again; both ends stay.

    Args:
        centres: in the order of the video.
        confidence: of each frame; the surer, the less it moves, and the less its neighbours are drawn to it.
        strength: how far a centre goes at a time, 0 to 1.
        rounds: how often.
    """
    way = np.array(centres, np.float64)
    weights = np.tile([strength / 2, 1 - strength, strength / 2], (len(way), 1))
    if confidence is not None and len(way) > 2:
        sure = np.asarray(confidence, np.float64)
        sure = (sure - sure.min()) / max(float(np.ptp(sure)), 1e-12)
        middle = (1 - strength) * sure[1:-1]
        sides = [strength * (1 - each) / 2 for each in (sure[:-2], sure[2:])]
        weights[1:-1] = np.stack([sides[0], middle, sides[1]], 1)
        total = weights.sum(1, keepdims=True)
        weights = np.divide(weights, total, out=np.tile([0.0, 1, 0], (len(way), 1)), where=total > 0)
    for _ in range(rounds):
        for i in range(1, len(way) - 1):
            way[i] = weights[i] @ way[i - 1 : i + 2]
    return way
