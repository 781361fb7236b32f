"""Photos to the size of a network's input, to the pixel as the DUSt3R family's own loading makes them.

Sides are multiples of a patch: the photo is resized by Pillow's filters on 8-bit values, and what is too much is cut
off evenly on both sides.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from recon.errors import InputError
from recon.models.fitting import Fitted, original_from_part

SMALL = 224  # the size of networks that were trained on squares


def fit(image: np.ndarray, size: int = 512, square_ok: bool = False, patch: int = 16) -> Fitted:
    """A photo as a network of that size is given it.

    Args:
        image: ``[H,W,3] uint8``, or RGBA, whose transparency is ignored.
        size: of the long side in pixels; 224 stands for a square of that.
        square_ok: leave square photos square; else they are cut to 4:3, since the networks have hardly seen squares.
        patch: side of a patch in pixels.

    Raises:
        InputError: a photo so elongated that less than a patch of its short side would be left.
    """
    height, width = image.shape[:2]
    check_elongation(width, height, size, patch)
    resized = scaled_size(width, height, size)
    half_width, half_height = kept_halves(*resized, size, square_ok, patch)
    left, top = resized[0] // 2 - half_width, resized[1] // 2 - half_height
    filtered = Image.Resampling.LANCZOS if max(width, height) > max(resized) else Image.Resampling.BICUBIC
    picture = Image.fromarray(np.ascontiguousarray(image[..., :3])).resize(resized, filtered)
    shown = np.asarray(picture)[top : top + 2 * half_height, left : left + 2 * half_width]
    back = original_from_part((width, height), resized, (left, top))
    return Fitted(np.ascontiguousarray(shown), back, (0, 0, 2 * half_width, 2 * half_height))


def check_elongation(width: int, height: int, size: int, patch: int = 16) -> None:
    """Whether a patch of a photo's short side is left at that size.

    Raises:
        InputError: it is not.
    """
    most = size // patch
    if max(width, height) > most * min(width, height):
        raise InputError(f"A photo of {width} x {height} pixels is too elongated; crop it to at most 1:{most}.")


def scaled_size(width: int, height: int, size: int) -> tuple[int, int]:
    """``(width, height)`` to which a photo is resized, before it is cut."""
    longest, shortest = max(width, height), min(width, height)
    target = round(size * (longest / shortest)) if size == SMALL else size
    return round(width * target / longest), round(height * target / longest)


def kept_halves(width: int, height: int, size: int, square_ok: bool, patch: int) -> tuple[int, int]:
    """Half of the width and half of the height that is left of a resized photo."""
    middle_x, middle_y = width // 2, height // 2
    if size == SMALL:
        half = min(middle_x, middle_y)
        return half, half
    half_width, half_height = (2 * middle // patch * patch // 2 for middle in (middle_x, middle_y))
    if width == height and not square_ok:
        half_height = 3 * half_width // 2 // patch * patch // 2
    return half_width, half_height
