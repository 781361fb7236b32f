"""Fit a depth map to points that geometry has triangulated: one robust scale, then a smooth correction.

The logarithm of the correction is a low polynomial of the pixel and of the depth itself. Each term costs as much as
the prior says it should, so that few points move little and many points move what they see; depth keeps its sign.
"""

from __future__ import annotations

import numpy as np

NOISE = 0.12  # of one cell's log-ratio
DEVIATIONS = np.array([0.3, 0.15, 0.15, 0.08, 0.08, 0.08, 0.15])  # of the terms 1, x, y, x², xy, y², log depth
CELLS = 12  # points in one cell of this grid count once: a texture of a thousand points is not a thousand facts
MINIMUM = 4  # points, to fit even a scale


def sample(depth: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Bilinear samples ``[N]`` of a map at pixels ``[N,2]`` (centres at +0.5), nan outside or next to unknown depth."""
    height, width = depth.shape
    filled = np.where(depth > 0, depth, np.nan).astype(np.float64)
    x = np.clip(np.asarray(pixels)[:, 0] - 0.5, 0, width - 1)
    y = np.clip(np.asarray(pixels)[:, 1] - 0.5, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    x, y = x - left, y - top
    upper = filled[top, left] * (1 - x) + filled[top, right] * x
    lower = filled[bottom, left] * (1 - x) + filled[bottom, right] * x
    inside = (pixels >= 0).all(1) & (pixels[:, 0] <= width) & (pixels[:, 1] <= height)
    return np.where(inside, upper * (1 - y) + lower * y, np.nan)


def fit(depth: np.ndarray, pixels: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """The map, scaled and corrected so that it agrees with ``target [N]`` z-depths at ``pixels [N,2]``.

    Returns:
        ``[H,W] float32``, unknown where ``depth`` is; None where fewer than `MINIMUM` points can be used.
    """
    height, width = depth.shape
    here = sample(depth, pixels)
    good = np.isfinite(here) & (target > 0)
    if good.sum() < MINIMUM:
        return None
    pixels, log_ratio, log_depth = pixels[good], np.log(target[good] / here[good]), np.log(here[good])
    scale = float(np.median(log_ratio))
    middle = float(np.median(log_depth))
    side = max(height, width) / 2

    def terms(x: np.ndarray, y: np.ndarray, log_depth: np.ndarray) -> np.ndarray:
        x, y = (x - width / 2) / side, (y - height / 2) / side
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y, log_depth - middle], -1)

    cell = (pixels / max(height, width) * CELLS).astype(int)
    _, member, crowd = np.unique(cell[:, 0] * (2 * CELLS) + cell[:, 1], return_inverse=True, return_counts=True)
    design, residual = terms(pixels[:, 0], pixels[:, 1], log_depth), log_ratio - scale
    coefficients = np.zeros(design.shape[1])
    for _ in range(10):
        error = (residual - design @ coefficients) / NOISE
        weights = 1 / (crowd[member] * NOISE**2 * (1 + error**2))
        normal = (design * weights[:, None]).T @ design + np.diag(1 / DEVIATIONS**2)
        coefficients = np.linalg.solve(normal, (design * weights[:, None]).T @ residual)
    seen = design @ coefficients
    known = depth > 0
    rows, columns = np.nonzero(known)
    correction = terms(columns + 0.5, rows + 0.5, np.log(depth[known])) @ coefficients
    # Away from all points the polynomial knows nothing: it stays within what it said where it was asked.
    correction = np.clip(correction, seen.min(), seen.max())
    fitted = np.zeros(depth.shape, np.float32)
    fitted[known] = depth[known] * np.exp(scale + correction)
    return fitted
