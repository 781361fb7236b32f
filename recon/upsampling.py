"""Depth maps to the resolution of a finer photo, with the photo's edges."""

from __future__ import annotations

import cv2
import numpy as np


def upsample_depth(depth: np.ndarray, image: np.ndarray, radius: int = 2, colour_sigma: float = 12.0) -> np.ndarray:
    """Joint bilateral upsampling (Kopf et al. 2007, equation 2): neighbours count where the photo looks alike.

    Args:
        depth: ``[h,w] float32``, positive.
        image: ``[H,W,3] uint8`` of the same view.
        radius: of the neighbourhood, in pixels of ``depth``.
        colour_sigma: in grey levels of the photo, per channel.

    Returns:
        ``[H,W] float32``; every value lies between two of its neighbours in ``depth``.
    """
    height, width = image.shape[:2]
    low_height, low_width = depth.shape
    fine = cv2.GaussianBlur(image, (0, 0), 0.7).astype(np.float32)
    coarse = cv2.resize(image, (low_width, low_height), interpolation=cv2.INTER_AREA).astype(np.float32)
    y = (np.arange(height, dtype=np.float32) + 0.5) * (low_height / height) - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) * (low_width / width) - 0.5
    inverse = 1 / depth
    total, weights = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for step_y in range(-radius, radius + 1):
        rows = np.clip(np.rint(y).astype(int) + step_y, 0, low_height - 1)
        for step_x in range(-radius, radius + 1):
            columns = np.clip(np.rint(x).astype(int) + step_x, 0, low_width - 1)
            distance = (rows - y)[:, None] ** 2 + (columns - x)[None] ** 2
            difference = ((fine - coarse[rows][:, columns]) ** 2).sum(-1)
            weight = np.exp(-distance / 2 - difference / (6 * colour_sigma**2)) + 1e-6
            total += weight * inverse[rows][:, columns]
            weights += weight
    return weights / total


def edge_confidence(depth: np.ndarray, radius: int = 2, tolerance: float = 0.05) -> np.ndarray:
    """A factor ``[H,W]`` in 0..1 that is low where depth jumps: pixels between two surfaces lie on neither.

    Args:
        depth: ``[H,W] float32``, positive.
        radius: of the neighbourhood, in pixels.
        tolerance: the relative range of inverse depth, beyond that of a slanted plane, at which the factor is 1/2.
    """
    inverse = 1 / depth
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    span = (cv2.dilate(inverse, kernel) - cv2.erode(inverse, kernel)) / inverse
    return (1 / (1 + (span / (2 * radius * tolerance)) ** 2)).astype(np.float32)
