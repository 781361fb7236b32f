"""Optical flow: where the pixels of one picture are in another, and whether the way back agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

# Two pictures ``[H,W,3] uint8`` of one size to displacements ``[H,W,2] float32`` (x, y) in pixels from the first to the
# second. A learned network fits in here.
Flow: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]


NOISE = 2.0  # standard deviation of a picture's noise, in grey levels
WINDOW = 5  # pixels
FAINT = 2.0  # pixels: the error of what can just be followed
BLANK = 100.0  # pixels: the error where there is nothing to follow


@dataclass(frozen=True)
class Followed:
    """The pixels of one picture in another.

    Attributes:
        flow: ``[H,W,2] float32``, displacements (x, y) in pixels.
        trip: ``[H,W] float32``, how far from where it began the way there and back ends; infinite where it leaves the
            picture. Places hidden in the other picture come back wrong.
    """

    flow: np.ndarray
    trip: np.ndarray

    def error(self, blankness: np.ndarray) -> np.ndarray:
        """``[H,W] float32``: standard deviation in pixels, about, the `blankness` of the first picture given."""
        return np.hypot(self.trip, blankness)


def dense_inverse_search(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """DIS flow (Kroeger et al. 2016), which needs no weights: ``[H,W,2] float32``.

    It is made to the finest scale, which OpenCV's presets leave out: coarser flow leaks over the edges of what moves.
    """
    searcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    searcher.setFinestScale(0)
    searcher.setPatchStride(4)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second)]
    return searcher.calc(grey[0], grey[1], None)  # type: ignore[call-overload]


def follow(first: np.ndarray, second: np.ndarray, flow: Flow = dense_inverse_search) -> tuple[Followed, Followed]:
    """Pixels of the first picture in the second, and the other way round; both ``[H,W,3] uint8`` of one size."""
    forward, backward = flow(first, second), flow(second, first)
    return Followed(forward, _trip(forward, backward)), Followed(backward, _trip(backward, forward))


def _trip(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.linalg.norm(there_and_back(forward, backward), axis=-1), nan=np.inf)


def blankness(image: np.ndarray) -> np.ndarray:
    """Standard deviation ``[H,W] float32`` in pixels of a least-squares match of windows, along what can be told least.

    From the smaller eigenvalue of the structure tensor (Shi and Tomasi 1994), for the usual noise of a picture. The
    blankest window around a pixel counts: beside an edge, a blank wall goes where the edge goes.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    x, y = (cv2.Sobel(grey, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    xx, xy, yy = (cv2.boxFilter(each, -1, (WINDOW, WINDOW), normalize=False) for each in (x * x, x * y, y * y))
    smaller = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    smallest = cv2.erode(smaller, np.ones((WINDOW, WINDOW), np.uint8))
    return NOISE / np.sqrt(np.maximum(smallest, (NOISE / BLANK) ** 2))


def there_and_back(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """``[H,W,2] float32``: how far a pixel ends from where it began; nan where it leaves the picture on the way."""
    height, width = forward.shape[:2]
    columns, rows = targets(forward)
    inside = (columns >= 0) & (rows >= 0) & (columns <= width - 1) & (rows <= height - 1)
    return np.where(inside[..., None], forward + at(backward, columns, rows), np.float32(np.nan))


def targets(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows ``[H,W] float32`` where pixels go to, the middle of the top-left pixel being (0, 0)."""
    height, width = flow.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return columns + flow[..., 0], rows + flow[..., 1]


def at(values: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Values ``[H,W,C]`` between pixels, bilinear: ``[...,C] float32``; beyond the picture those of its edge."""
    height, width = values.shape[:2]
    x, y = np.clip(columns, 0, width - 1), np.clip(rows, 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    upper = values[top, left] * (1 - right_share) + values[top, left + 1] * right_share
    lower = values[top + 1, left] * (1 - right_share) + values[top + 1, left + 1] * right_share
    return (upper * (1 - low_share) + lower * low_share).astype(np.float32)
