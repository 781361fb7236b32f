"""Fit a depth map to points that geometry has triangulated: one robust scale, a smooth correction, then a local one.

The logarithm of the correction is a low polynomial of the pixel and of the depth itself. Each term costs as much as
the prior says it should, so that few points move little and many points move what they see; depth keeps its sign.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

NOISE = 0.12  # of one cell's log-ratio
DEVIATIONS = np.array([0.5, 0.3, 0.3, 0.15, 0.15, 0.15, 0.3])  # of the terms 1, x, y, x², xy, y², log depth
CELLS = 12  # points in one cell of this grid count once: a texture of a thousand points is not a thousand facts
GRID = 16  # cells of the local correction along the longer side
DEPTH_CELL = 0.15  # of log-depth
PATIENCE = 0.05  # the weight of no correction in each of those cells
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


def common_scale(maps: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float | None:
    """The factor from the unit of target z-depths to that of depth maps, by the median map's median.

    Args:
        maps: of each map itself ``[H,W]``, pixels ``[N,2]``, and target z-depths ``[N]`` there.

    Returns:
        None where no target meets a known depth.
    """
    ratios = []
    for depth, pixels, target in maps:
        seen = sample(depth, pixels)
        good = np.isfinite(seen) & (target > 0)
        if good.any():
            ratios.append(np.median(np.log(seen[good] / target[good])))
    return float(np.exp(np.median(ratios))) if ratios else None


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
    places = np.stack([columns + 0.5, rows + 0.5], -1)
    correction += local_correction(
        pixels, log_depth, residual - design @ coefficients, places, np.log(depth[known]), (width, height)
    )
    fitted = np.zeros(depth.shape, np.float32)
    fitted[known] = depth[known] * np.exp(scale + correction)
    return fitted


def local_correction(
    pixels: np.ndarray,
    log_depth: np.ndarray,
    residual: np.ndarray,
    places: np.ndarray,
    log_depth_there: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """What the points around a place still ask for, ``[M]``: a smooth average that does not cross depth edges.

    A bilateral grid over pixel and log-depth (Chen, Paris and Durand 2007): residuals are added to its cells, blurred,
    and read back; the weight `PATIENCE` of a residual of 0 in every cell lets it fade where points are few.

    Args:
        pixels: ``[N,2]`` of the points.
        log_depth: ``[N]`` of the map at the points.
        residual: ``[N]`` still missing in log-depth.
        places: ``[M,2]`` pixels to correct.
        log_depth_there: ``[M]`` of the map at those.
        size: ``(width, height)`` of the map.
    """
    low = min(log_depth.min(), log_depth_there.min())
    high = max(log_depth.max(), log_depth_there.max())
    cell = max(size) / GRID
    shape = (int(size[0] / cell) + 2, int(size[1] / cell) + 2, int((high - low) / DEPTH_CELL) + 2)

    def coordinates(pixels: np.ndarray, log_depth: np.ndarray) -> np.ndarray:
        return np.stack([pixels[:, 0] / cell, pixels[:, 1] / cell, (log_depth - low) / DEPTH_CELL])

    index = tuple(np.minimum(np.rint(coordinates(pixels, log_depth)).astype(int), np.array(shape)[:, None] - 1))
    grid = np.zeros((2, *shape))
    belief = 1 / (1 + (residual / (3 * NOISE)) ** 2) ** 2  # a point far off is more often a false one
    np.add.at(grid[0], index, belief * residual)
    np.add.at(grid[1], index, belief)
    # A thousand points in one cell are not a thousand facts.
    grid /= np.sqrt(np.maximum(grid[1], 1))
    for axis in (1, 2, 3):
        ends = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        before, middle, after = (
            np.take(np.pad(grid, ends), range(start, start + grid.shape[axis]), axis) for start in range(3)
        )
        grid = (before + 2 * middle + after) / 4
    field = grid[0] / (grid[1] + PATIENCE)
    here = coordinates(places, log_depth_there)
    floor = np.minimum(here.astype(int), np.array(shape)[:, None] - 2)
    part = here - floor
    value = np.zeros(len(places))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([part[a] if corner[a] else 1 - part[a] for a in range(3)], axis=0)
        value += weight * field[tuple(floor[a] + corner[a] for a in range(3))]
    return value
