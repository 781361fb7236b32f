"""Photos to the size of MUSt3R's input, as its own loading makes them: cut to one of a few shapes, then resized.

Video frames that come one by one are loaded in another way, that of the DUSt3R family (`recon.models.pair_fitting`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recon.models.fitting import Fitted

Sizes = dict[float, tuple[int, int]]
"""From the ratio of the long side to the short one to both sides, in pixels."""

# Those of the training. Squares have none of their own above 448 pixels.
SIZES: dict[int, Sizes] = {
    224: {1.0: (224, 224)},
    336: {1.0: (336, 336)},
    448: {1.0: (448, 448)},
    384: {4 / 3: (384, 288), 3 / 2: (384, 256), 2.0: (384, 192), 3.0: (384, 128)},
    512: {4 / 3: (512, 384), 32 / 21: (512, 336), 16 / 9: (512, 288), 2.0: (512, 256), 16 / 5: (512, 160)},
    768: {4 / 3: (768, 576), 3 / 2: (768, 512), 16 / 9: (768, 432), 2.0: (768, 384), 16 / 5: (768, 240)},
}


def sizes_of(side: int) -> Sizes:
    """The sizes of a network that was trained for that side; one that nobody has published takes all there are."""
    return SIZES.get(side) or {side / short: (side, short) for short in range(16, side + 1, 16)}


def fit(image: np.ndarray, sizes: Sizes) -> tuple[Tensor, Fitted]:
    """A photo as the network is given it.

    Args:
        image: ``[H,W,3] uint8``.
        sizes: those that there are.

    Returns:
        ``[3,H,W] float32`` about 0..1, beyond which the filter may lead; and the same in 8 bits.
    """
    height, width = image.shape[:2]
    target = nearest_size(width, height, sizes)
    kept = kept_size(width, height, target)
    left, top = (round((full - part) / 2) for full, part in zip((width, height), kept, strict=True))
    cut = torch.tensor(image[top : top + kept[1], left : left + kept[0]]).movedim(-1, 0)[None]
    picture = (cut.float() / 255 - 0.5) / 0.5
    if kept != target:
        picture = functional.interpolate(picture, target[::-1], mode="bilinear", antialias=True, align_corners=False)
    picture = (picture[0] + 1) / 2
    shown = (255 * picture).round().clamp(0, 255).byte().movedim(0, -1).contiguous().numpy()
    scale_x, scale_y = kept[0] / target[0], kept[1] / target[1]
    back = np.array([[scale_x, 0, left], [0, scale_y, top], [0, 0, 1.0]])
    return picture, Fitted(shown, back, (0, 0, *target))


def nearest_size(width: int, height: int, sizes: Sizes) -> tuple[int, int]:
    """``(width, height)`` that a photo is cut and resized to: that of the nearest ratio of width to height."""
    if (max(width, height), min(width, height)) in sizes.values():
        return width, height
    if width >= height:
        return sizes[min(sizes, key=lambda ratio: abs(width / height - ratio))]
    long, short = sizes[min(sizes, key=lambda ratio: abs(width / height - 1 / ratio))]
    return short, long


def kept_size(width: int, height: int, target: tuple[int, int]) -> tuple[int, int]:
    """``(width, height)`` of the middle of a photo that has the ratio of ``target``."""
    wanted, ratio = target[0] / target[1], width / height
    if abs(ratio - wanted) < np.finfo(np.float32).eps:
        return width, height
    return (width, int(width / wanted)) if ratio < wanted else (int(height * wanted), height)
