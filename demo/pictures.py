"""Arrays to the pictures of the page: thumbnails, depth and confidence in colour, each as a `data:` address.

Pictures travel inside the page itself: no file is written that another visitor could find.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from recon import Frame, Labels
from recon.palette import painted


@dataclass(frozen=True)
class Chart:
    """A map in colour, and what its colours mean.

    Attributes:
        picture: ``[H,W,3] uint8`` RGB; black where nothing is known.
        ticks: values from the left end of the colour bar to its right end, evenly spaced on the bar.
        colours: CSS colours, evenly spaced from left to right.
    """

    picture: np.ndarray
    ticks: tuple[float, ...]
    colours: tuple[str, ...]


def address(image: np.ndarray, quality: int = 85) -> str:
    """``[H,W,3] uint8`` RGB as a JPEG in a `data:` address."""
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def thumbnail(image: np.ndarray, side: int = 144) -> str:
    """A `data:` address of ``image [H,W,3] uint8``, its centre cut to a square of ``side`` pixels."""
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = image[top : top + edge, left : left + edge]
    return address(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), quality=80)


def depth_chart(frame: Frame) -> Chart:
    """Depth on a logarithmic scale between its 2nd and 98th percentiles, near warm and far cold."""
    known = frame.known()
    low, high = _range(frame.depth[known], floor=1e-6)
    share = np.log(np.clip(frame.depth, low, high) / low) / np.log(high / low)
    return _chart(1 - share, known, tuple(np.geomspace(low, high, 5).tolist()), cv2.COLORMAP_TURBO, reverse=True)


def confidence_chart(frame: Frame) -> Chart:
    """Confidence in the network's own scale between its 2nd and 98th percentiles, brighter is better."""
    known = np.isfinite(frame.confidence)
    low, high = _range(frame.confidence[known])
    share = (np.clip(frame.confidence, low, high) - low) / (high - low)
    return _chart(share, known, tuple(np.linspace(low, high, 5).tolist()), cv2.COLORMAP_VIRIDIS)


def segments_picture(frame: Frame, labels: Labels) -> np.ndarray:
    """``[H,W,3] uint8``: segments in colour, over the photo."""
    assert frame.segments is not None
    coloured = painted(frame.segments, labels, "panoptic")
    return (0.7 * coloured + 0.3 * frame.image).round().astype(np.uint8)


def _range(values: np.ndarray, floor: float = -np.inf) -> tuple[float, float]:
    """2nd and 98th percentile, never equal."""
    if not values.size:
        return 1.0, 2.0
    low, high = (float(value) for value in np.percentile(values, (2, 98)))
    low = max(low, floor)
    return low, max(high, low + max(abs(low), 1e-6) * 1e-3)


def _chart(
    share: np.ndarray, known: np.ndarray, ticks: tuple[float, ...], palette: int, reverse: bool = False
) -> Chart:
    levels = np.nan_to_num(share * 255).clip(0, 255).astype(np.uint8)
    picture = cv2.applyColorMap(levels, palette)[..., ::-1] * known[..., None]
    ramp = cv2.applyColorMap(np.linspace(0, 255, 13).astype(np.uint8)[None], palette)[0, :, ::-1]
    ramp = ramp[::-1] if reverse else ramp
    return Chart(picture, ticks, tuple(f"rgb({red},{green},{blue})" for red, green, blue in ramp.tolist()))
