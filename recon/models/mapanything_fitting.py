"""Pictures, depth and intrinsics to the size of MapAnything's input, as its published preprocessing makes them.

All views of a run get one size, chosen by the mean of their aspects; each is resized until it covers that size, and
what sticks out is cropped. Pixel centres lie at +0.5 here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from recon.models.fitting import PATCH, on_white, original_from_part

SIZES = {  # the sizes that the checkpoints were trained at, (width, height) by the aspects that stand for them
    0.486: (252, 518),
    0.567: (294, 518),
    0.649: (336, 518),
    0.757: (392, 518),
    1.0: (518, 518),
    1.321: (518, 392),
    1.542: (518, 336),
    1.762: (518, 294),
    2.056: (518, 252),
    3.083: (518, 168),
}


@dataclass(frozen=True)
class Placement:
    """How a picture is brought to a size.

    Attributes:
        original: ``(width, height)`` of the picture.
        scale: of the resize.
        resized: ``(width, height)`` after it.
        corner: ``(left, top)`` pixels that are cropped then.
        size: ``(width, height)`` of what is left.
    """

    original: tuple[int, int]
    scale: float
    resized: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]

    @property
    def original_from_processed(self) -> np.ndarray:
        """``[3,3]``, pixels of what is left to pixels of the picture."""
        return original_from_part(self.original, self.resized, self.corner)


def common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """``(width, height)`` for pictures of these sizes: the one of `SIZES` nearest to the mean of their aspects."""
    aspect = mean_aspect(sizes)
    return SIZES[min(SIZES, key=lambda each: abs(each - aspect))]


def common_size_within(sizes: Sequence[tuple[int, int]], side: int) -> tuple[int, int]:
    """``(width, height)`` for pictures of these sizes, ``side`` the longer one and the other whole patches."""
    aspect, patches = mean_aspect(sizes), side // PATCH
    if aspect > 1:
        return side, max(1, round(patches / aspect)) * PATCH
    return max(1, round(patches * aspect)) * PATCH, side


def mean_aspect(sizes: Sequence[tuple[int, int]]) -> float:
    """Of width to height."""
    return float(np.mean([width / height for width, height in sizes]))


def placement(original: tuple[int, int], size: tuple[int, int], calibrated: bool = False) -> Placement:
    """Of a picture ``original`` (width, height) in ``size``; one with known intrinsics may be cropped a pixel later."""
    (width, height), (wanted_width, wanted_height) = original, size
    scale = max(wanted_width / width, wanted_height / height) + 1e-8
    wide, high = math.floor(width * scale), math.floor(height * scale)
    margin = wide - wanted_width, high - wanted_height
    left, top = (round(each / 2) if calibrated else each // 2 for each in margin)
    return Placement(original, scale, (wide, high), (left, top), size)


def place_image(image: np.ndarray, placed: Placement) -> np.ndarray:
    """``[H,W,3] uint8`` (or RGBA) to ``[H',W',3] uint8``."""
    kind = Image.Resampling.LANCZOS if placed.scale < 1 else Image.Resampling.BICUBIC
    return _cropped(np.asarray(Image.fromarray(on_white(image)).resize(placed.resized, kind)), placed)


def place_depth(depth: np.ndarray, placed: Placement) -> np.ndarray:
    """``[H,W]`` to ``[H',W']``, each pixel one of those before, so that no edge is mixed."""
    return _cropped(cv2.resize(depth, placed.resized, interpolation=cv2.INTER_NEAREST), placed)


def place_intrinsics(intrinsics: np.ndarray, placed: Placement) -> np.ndarray:
    """``[3,3]`` of the picture to those of what is left of it."""
    shift = [
        (before * placed.scale - after) / 2 + cropped
        for before, after, cropped in zip(placed.original, placed.resized, placed.corner, strict=True)
    ]
    scaled = np.diag([placed.scale, placed.scale, 1.0]) @ intrinsics
    scaled[:2, 2] -= shift
    return scaled


def _cropped(values: np.ndarray, placed: Placement) -> np.ndarray:
    (left, top), (width, height) = placed.corner, placed.size
    return np.ascontiguousarray(values[top : top + height, left : left + width])
