"""Which of MapAnything's pixels to believe: no sky, no mirrors, no surfaces torn at edges, no low confidence.

What counts as an edge is what counts in the published post-processing, to the pixel, with two properties of it that
one would not choose: the neighbour whose validity is looked up is the one across the diagonal, and an angle between
almost equal normals may be no number, by rounding, and then tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

NORMAL_EDGE, DEPTH_EDGE = 5.0, 0.03  # degrees between neighbouring normals; share of the depth
PERCENTILE = 10.0
EPS = np.float32(1e-12)
AROUND = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def confident(confidence: np.ndarray, percentile: float = PERCENTILE) -> np.ndarray:
    """``[H,W] bool``: more confident than that share of all pixels of ``[H,W]``."""
    return confidence > np.quantile(confidence, percentile / 100)


def edges(
    points: np.ndarray,
    depth: np.ndarray,
    valid: np.ndarray,
    normal_threshold: float = NORMAL_EDGE,
    depth_threshold: float = DEPTH_EDGE,
) -> np.ndarray:
    """Where a surface is torn: both its depth and its normals jump, ``[H,W] bool``.

    Args:
        points: ``[H,W,3] float32``.
        depth: ``[H,W] float32``, z-depth.
        valid: ``[H,W] bool``: points to look at. Without any all is an edge.
        normal_threshold: degrees.
        depth_threshold: of the difference in depth, as a share of it.
    """
    if not valid.any():
        return np.ones_like(valid)
    found, has_normal = normals(points, valid)
    return depth_edges(depth, valid, depth_threshold) & normal_edges(found, has_normal, normal_threshold)


def normals(points: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals ``[H,W,3] float32`` of ``[H,W,3]``, and where there are any ``[H,W] bool``.

    The mean of those of the up to four triangles that a pixel makes with two of its neighbours.
    """
    padded, known = np.pad(points, ((1, 1), (1, 1), (0, 0))), np.pad(valid, 1)
    steps = [(-1, 0), (0, -1), (1, 0), (0, 1)]  # up, left, down, right
    sides = [shifted(padded, *step) - points for step in steps]
    there = [shifted(known, *step) & valid for step in steps]
    total, any_there = np.zeros_like(points), np.zeros_like(valid)
    for index in range(4):
        following = (index + 1) % 4
        both = there[index] & there[following]
        total += unit_length(np.cross(sides[index], sides[following])) * both[..., None]
        any_there |= both
    return unit_length(total), any_there


def normal_edges(normals: np.ndarray, valid: np.ndarray, threshold: float = NORMAL_EDGE) -> np.ndarray:
    """``[H,W] bool``: a pixel, or a neighbour of it, whose normal ``[H,W,3]`` turns by more than so many degrees."""
    normals = unit_length(normals)  # once more, which changes their last digit: see above
    padded, known = np.pad(normals, ((1, 1), (1, 1), (0, 0)), "edge"), np.pad(valid, 1, "edge")
    largest = np.zeros(valid.shape, normals.dtype)
    with np.errstate(invalid="ignore"):
        for down, right in AROUND:
            angles = np.arccos((normals * shifted(padded, down, right)).sum(-1))
            largest = np.maximum(largest, np.where(shifted(known, right, down), angles, 0))  # keeps what is no number
    return np.fmax.reduce(list(neighbours(largest))) > np.radians(threshold)  # leaves it out


def depth_edges(depth: np.ndarray, valid: np.ndarray, threshold: float = DEPTH_EDGE) -> np.ndarray:
    """``[H,W] bool``: the depth ``[H,W]`` of a pixel and of its neighbours differs by more than that share of it."""
    highest = np.max(list(neighbours(np.where(valid, depth, -np.inf))), 0)
    lowest = np.min(list(neighbours(np.where(valid, depth, np.inf))), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (highest - lowest) / depth > threshold


def neighbours(values: np.ndarray) -> Iterator[np.ndarray]:
    """``[H,W]`` nine times, moved by a pixel at most; what is beyond the border is as at the border."""
    padded = np.pad(values, 1, "edge")
    return (shifted(padded, down, right) for down, right in AROUND)


def shifted(padded: np.ndarray, down: int, right: int) -> np.ndarray:
    """What lies so far from each pixel, of an array that has one more pixel on each side."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    return padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """``[...,3]`` divided by their lengths."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + EPS)
