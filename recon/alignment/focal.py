"""The focal length that a pointmap in its own camera has (after DUSt3R: Wang et al. 2024, section 3.3)."""

from __future__ import annotations

import numpy as np

ROUNDS = 10  # of each loss
SHARPNESS = 2.0  # width of the second, in median errors
NEAREST = 1e-6  # of an error in slopes, so that none counts for ever
SHORTEST, LONGEST = 0.1, 30.0  # focal lengths of any camera, in its picture's longer side: others are of maps that lie


def possible(focal: float, longer_side: float) -> bool:
    """Whether a camera can have that focal length, both in pixels."""
    return SHORTEST * longer_side < focal < LONGEST * longer_side


def focal_of_points(points: np.ndarray, pixels: np.ndarray, weights: np.ndarray) -> float | None:
    """One focal length in pixels for both axes: the least sum of distances between slopes x/z, y/z and the pixels'.

    Weiszfeld's iteration (1937): least squares, each residual divided by what it was before. Distances are taken
    between slopes and not, as DUSt3R does, between pixels: pixels are exact and slopes are not, and a regression on
    what is noisy comes out too small. A redescending loss (Geman and McClure 1987) then forgets what is far off.

    Args:
        points: ``[N,3]`` in the camera.
        pixels: ``[N,2]`` relative to the principal point.
        weights: ``[N]``, 0 for points to leave out; points behind the camera are.

    Returns:
        None where nothing tells.
    """
    good = (weights > 0) & (points[:, 2] > 0)
    slopes, pixels, base = points[good, :2] / points[good, 2:], pixels[good], weights[good]
    products, squares = (slopes * pixels).sum(1), (pixels**2).sum(1)
    if not squares.any():
        return None
    inverse = np.median(products[squares > 0] / squares[squares > 0])
    for sharp in [False] * ROUNDS + [True] * ROUNDS:
        error = np.linalg.norm(slopes - inverse * pixels, axis=1)
        width = max(SHARPNESS * float(np.median(error)), NEAREST)
        robust = base / (1 + (error / width) ** 2) ** 2 if sharp else base / np.maximum(error, NEAREST)
        inverse = (robust @ products) / (robust @ squares)
    return float(1 / inverse) if inverse > 0 else None
