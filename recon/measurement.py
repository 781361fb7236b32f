"""A length between two points of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING

import numpy as np

from recon import geometry

if TYPE_CHECKING:
    from recon.scene import Frame

Pixel = tuple[int, int]
"""``(x, y)``: column and row."""


@dataclass(frozen=True)
class Measurement:
    """The straight line between the points of two pixels; it names pixels, so it follows whatever moves their points.

    Attributes:
        frames: the two frames' indices.
        pixels: a pixel in each.
    """

    frames: tuple[int, int]
    pixels: tuple[Pixel, Pixel]

    def ends(self, frames: Sequence[Frame]) -> np.ndarray:
        """``[2,3]``, in the world."""
        return np.stack([position(frames[i], pixel) for i, pixel in zip(self.frames, self.pixels, strict=True)])

    def length(self, frames: Sequence[Frame]) -> float:
        """In units of the scene."""
        start, end = self.ends(frames)
        return float(np.linalg.norm(end - start))


def position(frame: Frame, pixel: Pixel) -> np.ndarray:
    """``[3]``: where in the world the point of ``pixel`` is; meaningless where it is not known."""
    x, y = pixel
    if frame.points is not None:
        return frame.points[y, x]
    ray = np.linalg.inv(frame.camera.intrinsics) @ (x + 0.5, y + 0.5, 1)
    return geometry.transform(frame.camera.world_from_camera, frame.depth[y, x] * ray)


def in_words(length: float, metric: bool) -> str:
    """A length of a scene to three digits, with its unit: "1.82 m", "43.5 cm" or "0.435 model units"."""
    if not metric:
        return f"{_three_digits(length)} model units"
    unit, size = next(((unit, size) for unit, size in (("m", 1), ("cm", 0.01)) if length >= size), ("mm", 0.001))
    return f"{_three_digits(length / size)} {unit}"


def _three_digits(value: float) -> str:
    decimals = 2 - floor(log10(value)) if value > 0 else 2
    return f"{value:.{min(max(decimals, 0), 6)}f}"
