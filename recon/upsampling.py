"""Depth maps at the resolution of a finer photo, with the photo's edges.

Everything is averaged as inverse depth, which is linear across a plane in the picture.
"""

from __future__ import annotations

import cv2
import numpy as np

COLOUR_SIGMA = 40.0  # grey levels, summed over the three channels
# Of the mean shift:
STEPS = 4
REACH, STRIDE = 6, 2  # pixels: how far the neighbourhood goes, and between the neighbours taken
TOLERANCE = 0.015  # relative difference of inverse depth between pixels of one surface
JUMP = 0.3  # relative range of inverse depth in the neighbourhood beyond which it holds two surfaces,
EXCESS = 0.25  # and how much of what is beyond is added to the tolerance, that pixels reach across the flank
# Of the confidence at edges:
EDGE_RADIUS = 2  # pixels
EDGE_RANGE = 0.2  # relative range of inverse depth at which the factor is 1/2


def upsample_depth(depth: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Joint bilateral upsampling (Kopf et al. 2007, equation 2) of sharpened depth.

    Args:
        depth: ``[h,w] float32``, positive.
        image: ``[H,W,3] uint8`` of the same view.

    Returns:
        ``[H,W] float32``, within the range of ``depth``.
    """
    coarse = cv2.resize(image, depth.shape[::-1], interpolation=cv2.INTER_AREA)
    inverse = sharpen(1 / depth, coarse)
    rows, row_weights = _neighbours(depth.shape[0], image.shape[0])
    columns, column_weights = _neighbours(depth.shape[1], image.shape[1])
    weighted = np.zeros(image.shape[:2], np.float32)
    total = np.zeros_like(weighted)
    for row, row_weight in zip(rows, row_weights, strict=True):
        coarse_rows, inverse_rows = coarse[row], inverse[row]
        for column, column_weight in zip(columns, column_weights, strict=True):
            weight = likeness(np.take(coarse_rows, column, 1), image)
            weight *= row_weight[:, None]
            weight *= column_weight
            total += weight
            weighted += weight * np.take(inverse_rows, column, 1)
    return total / weighted


def sharpen(inverse: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Mean shift (Comaniciu and Meer 2002) of inverse depth within patches of one colour: ``[h,w] float32``.

    A pixel on the soft flank between two surfaces climbs to the one that it looks like and lies nearer to; where
    depth is smooth, texture must not carve steps into it.

    Args:
        inverse: ``[h,w] float32``, positive.
        image: ``[h,w,3] uint8``.
    """
    height, width = inverse.shape
    offsets = range(0, 2 * REACH + 1, STRIDE)
    places = [(slice(y, y + height), slice(x, x + width)) for y in offsets for x in offsets]
    spatial = np.exp(-(np.arange(-REACH, REACH + 1, STRIDE) ** 2) / (REACH**2 / 2)).astype(np.float32)
    around = cv2.copyMakeBorder(image, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
    weights = [
        factor * likeness(around[place], image)
        for factor, place in zip(np.outer(spatial, spatial).flat, places, strict=True)
    ]
    excess = np.maximum(local_range(inverse, REACH) - JUMP * inverse, 0)
    per_tolerance = 1 / (TOLERANCE * inverse + EXCESS * excess)
    for _ in range(STEPS):
        around = cv2.copyMakeBorder(inverse, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
        weighted, total = np.zeros_like(inverse), np.zeros_like(inverse)
        for place, weight in zip(places, weights, strict=True):
            difference = (around[place] - inverse) * per_tolerance
            share = weight / (1 + difference * difference) ** 2
            weighted += share * around[place]
            total += share
        inverse = weighted / total
    return inverse


def edge_confidence(depth: np.ndarray) -> np.ndarray:
    """A factor ``[H,W]`` in 0..1, low where depth jumps: pixels between two surfaces lie on neither.

    Args:
        depth: ``[H,W] float32``, positive.
    """
    relative_range = local_range(1 / depth, EDGE_RADIUS) * depth
    return 1 / (1 + (relative_range / np.float32(EDGE_RANGE)) ** 4)


def local_range(values: np.ndarray, radius: int) -> np.ndarray:
    """Largest less smallest value in the square of ``radius`` around each pixel of ``[H,W]``."""
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cv2.dilate(values, kernel) - cv2.erode(values, kernel)


_LIKENESS = (np.exp(-(np.arange(256) ** 2) / (2 * COLOUR_SIGMA**2)) + 1e-5).astype(np.float32)


def likeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How much two pictures ``[H,W,3] uint8`` look alike, pixel by pixel: ``[H,W]`` in 0..1, never 0."""
    difference = cv2.transform(cv2.absdiff(a, b), np.ones((1, 3), np.float32))
    return _LIKENESS[difference]


def _neighbours(coarse: int, fine: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Along one axis: the three nearest of ``coarse`` pixels to each of ``fine`` ones, and their Gaussian weights."""
    position = (np.arange(fine, dtype=np.float32) + 0.5) * (coarse / fine) - 0.5
    nearest = np.rint(position).astype(int)
    indices = [np.clip(nearest + step, 0, coarse - 1) for step in (-1, 0, 1)]
    weights = [np.exp(-((nearest + step - position) ** 2) / 2).astype(np.float32) for step in (-1, 0, 1)]
    return indices, weights
