"""How pixels and axes that a file speaks of become those of the upright photo.

A file speaks of the photo as it is stored (mostly, as COLMAP, nerfstudio and instant-ngp do, which ignore EXIF), or of
the upright one that `recon.media` shows; its size tells, where the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon import photo
from recon.known.entry import Unfit
from recon.scene import View


@dataclass(frozen=True)
class Turn:
    """How the pixels that a file speaks of become those of the upright photo.

    Attributes:
        orientation: EXIF's, 1 where they are the upright photo's already.
        size: ``(width, height)`` of the photo as the file knows it.
    """

    orientation: int
    size: tuple[int, int]

    @property
    def pixels(self) -> np.ndarray:
        """``[3,3]``, pixels of the file's picture to those of the upright photo."""
        return photo.upright_from_stored(self.orientation, self.size)

    @property
    def rotation(self) -> np.ndarray:
        """``[3,3]``, the same of the cameras; a reflection where the photo is stored mirrored."""
        rotation = np.eye(3)
        rotation[:2, :2] = self.pixels[:2, :2]
        return rotation


def turn_of(size: tuple[int, int] | None, view: View, orientation: int, what: str) -> Turn:
    """The turn for something of ``size`` (width, height), which may be of another scale than the photo.

    Args:
        size: None where the file does not say: then it is of the photo as it is stored.
        view: whose photo it is.
        orientation: EXIF's, of the photo.
        what: for a sentence: "its intrinsics are".

    Raises:
        Unfit: the photo has another aspect, both ways.
    """
    upright = view.original_size
    stored = upright if orientation < 5 else upright[::-1]
    if size is None or _same_aspect(size, stored):
        return Turn(orientation, stored)
    if _same_aspect(size, upright):
        return Turn(1, upright)
    raise Unfit(
        f"has {stored[0]}x{stored[1]} pixels, and {what} for {size[0]}x{size[1]}, which is another shape: "
        "give what is of the whole photo"
    )


def is_unsure(size: tuple[int, int] | None, view: View, orientation: int) -> bool:
    """Whether `turn_of` had to assume that the file speaks of the photo as it is stored."""
    upright = view.original_size
    stored = upright if orientation < 5 else upright[::-1]
    return orientation != 1 and (size is None or (_same_aspect(size, stored) and _same_aspect(size, upright)))


def _same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """But for rounding the smaller one's sides to whole pixels."""
    (a, b), (c, d) = one, other
    return min(one) > 0 and abs(a * d / (b * c) - 1) <= 1.5 / min(a, b, c, d)
