"""Photos to the square that SIU3R takes, to the pixel as its own loading makes them, and their intrinsics with them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recon.errors import InputError
from recon.models.fitting import Fitted, on_white, original_from_part

SIDE = 256  # of the network's input in pixels
LONGEST = 16  # times as long as wide a photo may be


def fit(image: np.ndarray, side: int = SIDE) -> Fitted:
    """The middle square of ``image [H,W,3] uint8`` (or RGBA), at ``side`` pixels.

    Raises:
        InputError: a photo so elongated that its square is hardly any of it.
    """
    height, width = image.shape[:2]
    if max(width, height) > LONGEST * min(width, height):
        raise InputError(f"A photo of {width} x {height} pixels is too elongated; crop it to at most 1:{LONGEST}.")
    resized = (side, int(height * (side / width))) if width < height else (int(width * (side / height)), side)
    left, top = (resized[0] - side) // 2, (resized[1] - side) // 2
    picture = Image.fromarray(on_white(image)).resize(resized, Image.Resampling.LANCZOS)
    shown = np.asarray(picture)[top : top + side, left : left + side]
    back = original_from_part((width, height), resized, (left, top))
    return Fitted(np.ascontiguousarray(shown), back, (0, 0, side, side))


def fitted_intrinsics(intrinsics: np.ndarray, fitted: Fitted) -> np.ndarray:
    """``[3,3]`` in pixels of what was fitted, of those in pixels of the photo."""
    return np.linalg.inv(fitted.original_from_processed) @ intrinsics
