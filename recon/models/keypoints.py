"""Places of a frame that can be followed: corners (Shi and Tomasi 1994), spread over all of it, where depth is sure."""

from __future__ import annotations

import math

import cv2
import numpy as np

from recon.scene import Frame

BLOCK = 5  # pixels of the window in which a corner is judged
LEAST = 0.002  # of the strongest corner's response, the least to count
BORDER = 3  # pixels
DOUBT = 0.25  # the weight of the least confident pixel; the most confident has 1


def keypoints(frame: Frame, maximum: int = 512) -> np.ndarray:
    """``[N,2] float32``, at most ``maximum`` pixel centres, the strongest first; none where the image has no corners.

    The image is divided into about ``maximum`` cells, and the best corner of each is taken.
    """
    grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    response = cv2.cornerMinEigenVal(grey, BLOCK)
    peak = response >= cv2.dilate(response, np.ones((3, 3), np.uint8))
    peak &= response > max(LEAST * float(response.max()), 1e-9)
    peak &= frame.known()
    peak[:BORDER] = peak[-BORDER:] = peak[:, :BORDER] = peak[:, -BORDER:] = False
    y, x = np.nonzero(peak)
    order = np.argsort(-response[y, x] * _trust(frame)[y, x], kind="stable")
    y, x = y[order], x[order]
    width, height = frame.size
    cell = max(1, math.ceil(math.sqrt(width * height / maximum)))
    _, best = np.unique(y // cell * width + x // cell, return_index=True)  # the first of each cell is its best
    best = np.sort(best)[:maximum]
    return np.stack([x[best], y[best]], -1).astype(np.float32) + 0.5


def _trust(frame: Frame) -> np.ndarray:
    """``[H,W]`` from `DOUBT` to 1: the rank of a pixel's confidence among all."""
    levels = np.quantile(frame.confidence, np.linspace(0, 1, 65))
    return DOUBT + (1 - DOUBT) * np.searchsorted(levels, frame.confidence) / len(levels)
