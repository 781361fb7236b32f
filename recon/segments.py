"""Segments of frames beyond the frames' own pixels."""

from __future__ import annotations

import cv2
import numpy as np

from recon import geometry
from recon.scene import Frame


def at_original(frame: Frame) -> np.ndarray:
    """Segment ids ``[H,W] int32`` at the size of the user's photo, -1 for none and where the frame does not show it.

    Edges between segments are smoother than the frame's pixels: each segment is resized by itself, bilinear, and the
    largest share of a pixel wins.

    Raises:
        ValueError: a frame without segments.
    """
    if frame.segments is None:
        raise ValueError("the frame has no segments")
    width, height = frame.original_size
    processed_from_original = geometry.for_opencv(np.linalg.inv(frame.original_from_processed))
    best, found = np.zeros((height, width), np.float32), np.full((height, width), -1, np.int32)
    for number in np.unique(frame.segments):
        share = cv2.warpAffine(
            (frame.segments == number).astype(np.float32),
            processed_from_original[:2],
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        better = share > best
        best[better], found[better] = share[better], number
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    (scale_x, _, left), (_, scale_y, top), _ = np.linalg.inv(frame.original_from_processed)
    columns, rows = scale_x * x + left, scale_y * y + top
    found[(rows < 0) | (rows > frame.size[1])] = -1
    found[:, (columns < 0) | (columns > frame.size[0])] = -1
    return found
