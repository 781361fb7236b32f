"""How pixels and axes that a file speaks of become those of the upright photo.

A file speaks of the photo as it is stored (mostly, as COLMAP, nerfstudio and instant-ngp do, which ignore EXIF), or of
the upright one that `recon.media` shows; its size tells, where the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon import photo
from recon.known.entry import FieldOfView, Lens, Unfit
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


def turn_of(size: tuple[int, int], view: View, orientation: int, what: str, tolerance: float = 0.0) -> Turn:
    """The turn for something of ``size`` (width, height), which may be of another scale than the photo.

    Args:
        size: of the picture that the file speaks of.
        view: whose photo it is.
        orientation: EXIF's, of the photo.
        what: for a sentence: "its intrinsics are".
        tolerance: by how large a share the aspects may differ, beyond the rounding of sides to whole pixels.

    Raises:
        Unfit: the photo has another aspect, both ways.
    """
    upright = view.original_size
    stored = upright if orientation < 5 else upright[::-1]
    if _same_aspect(size, stored, tolerance):
        return Turn(orientation, stored)
    if _same_aspect(size, upright, tolerance):
        return Turn(1, upright)
    raise Unfit(
        f"has {stored[0]}x{stored[1]} pixels, and {what} for {size[0]}x{size[1]}, which is another shape: "
        "give what is of the whole photo"
    )


def turn_of_lens(lens: Lens | FieldOfView | None, view: View, orientation: int) -> Turn:
    """The turn for a lens, or for a pose of which no lens is known.

    Where no size is told it is of the photo as it is stored, unless the lens's middle is that of the upright one.

    Raises:
        Unfit: see `turn_of`.
    """
    if lens is not None and lens.size is not None:
        return turn_of(lens.size, view, orientation, "its intrinsics are")
    upright = view.original_size
    if isinstance(lens, Lens) and orientation >= 5 and lens.is_tall == (upright[1] > upright[0]):
        return Turn(1, upright)
    return Turn(orientation, upright if orientation < 5 else upright[::-1])


def is_sure(turn: Turn, view: View, orientation: int) -> bool:
    """Whether a turn is the only one that there is, or the size told which."""
    return orientation == 1 or turn.orientation == 1 or turn.size != view.original_size


def _same_aspect(one: tuple[int, int], other: tuple[int, int], tolerance: float) -> bool:
    (a, b), (c, d) = one, other
    return min(one) > 0 and abs(a * d / (b * c) - 1) <= max(tolerance, 1.5 / min(a, b, c, d))
