"""What the readers find: entries for pictures, a source of them, and the lens as a file describes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pycolmap

    from recon.known.depth import DepthFile


class Unfit(Exception):
    """Something that a file says of a photo cannot be used; the message is the rest of a sentence about the photo."""


@dataclass(frozen=True)
class Lens:
    """A camera without its place.

    Attributes:
        model: COLMAP's name of its formula.
        params: of that formula, in pixels of a picture of ``size``; a pixel's centre lies at +0.5.
        size: ``(width, height)``, or None where the file does not say: then that of the photo.
    """

    model: str
    params: tuple[float, ...]
    size: tuple[int, int] | None = None

    @staticmethod
    def pinhole(matrix: np.ndarray, size: tuple[int, int] | None = None) -> Lens:
        """Of intrinsics ``[3,3]``, whose skew is left out."""
        return Lens("PINHOLE", (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]), size)

    @property
    def is_tall(self) -> bool:
        """Whether its middle is that of a picture taller than wide; for models of two focal lengths."""
        return self.params[3] > self.params[2]

    def camera(self, size: tuple[int, int]) -> pycolmap.Camera:
        """The camera of a picture of ``size`` (width, height), which may differ by a scale from what the file says.

        Raises:
            Unfit: the lens is no lens, or not this picture's.
        """
        import pycolmap  # here, since it takes long to import

        width, height = size if self.size is None else self.size
        if width <= 0 or height <= 0 or not np.isfinite(self.params).all():
            raise Unfit("has intrinsics with numbers that are not finite")
        if self.model == "EQUIRECTANGULAR":
            raise Unfit("is a picture all around, not one of a lens: cut it into pinhole pictures first")
        try:
            camera = pycolmap.Camera(model=self.model, width=width, height=height, params=list(self.params))
            sound = camera.verify_params()
        except Exception as error:  # as pycolmap tells a model that it does not know
            raise Unfit(f"has a camera of the unknown kind {self.model}") from error
        if not sound:
            raise Unfit(f"has a camera {self.model} with {len(self.params)} numbers, which is not how many it has")
        self._check_focal(camera)
        _check_middle(camera, self.size is not None)
        camera.rescale(*size)
        return camera

    def _check_focal(self, camera: pycolmap.Camera) -> None:
        focals = [camera.params[i] for i in camera.focal_length_idxs()]
        if not all(0.05 < focal / max(camera.width, camera.height) < 100 for focal in focals):
            told = " and ".join(f"{focal:g}" for focal in focals)
            raise Unfit(
                f"has a focal length of {told} pixels in a picture of {camera.width}x{camera.height}, which is no lens"
            )


@dataclass(frozen=True)
class FieldOfView:
    """A pinhole camera whose optical axis hits the middle, by its full angle across (and down) in radians."""

    across: float
    down: float | None = None
    size: tuple[int, int] | None = None

    def camera(self, size: tuple[int, int]) -> pycolmap.Camera:
        """As `Lens.camera`."""
        width, height = size if self.size is None else self.size
        angles = [self.across] if self.down is None else [self.across, self.down]
        if not all(0 < angle < math.pi for angle in angles):  # False for NaN too
            raise Unfit("has a field of view outside of 0 to 180 degrees")
        focals = [side / 2 / math.tan(angle / 2) for side, angle in zip((width, height), angles, strict=False)]
        return Lens("PINHOLE", (focals[0], focals[-1], width / 2, height / 2), (width, height)).camera(size)


def _check_middle(camera: pycolmap.Camera, sized: bool) -> None:
    """Refuse an optical axis far outside of the picture, and intrinsics without a size that are plainly of another."""
    x, y = camera.principal_point_x, camera.principal_point_y
    least, most = (-1, 2) if sized else (0.25, 0.75)
    if least < x / camera.width < most and least < y / camera.height < most:  # False for NaN
        return
    where = f"has {camera.width}x{camera.height} pixels, and its intrinsics have their middle at ({x:g}, {y:g})"
    if sized:
        raise Unfit(f"{where}, far outside")
    raise Unfit(f"{where}, as in a picture of about {2 * x:.0f}x{2 * y:.0f}: say for which size they are")


@dataclass(frozen=True)
class Entry:
    """What a file says of one picture.

    Attributes:
        name: file name or path of the picture as the file knows it; "" where the file knows none.
        time: when it was taken, in seconds, or None.
        lens: its camera in pixels of the file, turned as it is stored, or None.
        world_from_camera: ``[4,4]`` in OpenCV axes, not yet checked, or None.
        depth: its depth map, or None.
    """

    name: str = ""
    time: float | None = None
    lens: Lens | FieldOfView | None = None
    world_from_camera: np.ndarray | None = None
    depth: DepthFile | None = None


@dataclass
class Source:
    """Entries of one file, folder or model; their poses are in one world.

    Attributes:
        title: what the user calls it.
        kind: of what kind it is ("COLMAP").
        entries: in the file's order.
        matched_by: how entries find their photos; "any" for a single one that is true of all, "likeness" for files
            that are named after the photos, but not quite as they are.
        metric: True where its poses and depths are in metres.
    """

    title: str
    kind: str
    entries: list[Entry] = field(default_factory=list)
    matched_by: Literal["name", "likeness", "time", "order", "any"] = "name"
    metric: bool = False

    @property
    def called(self) -> str:
        """Title and kind, as a table shows them."""
        return self.title if self.kind in self.title else f"{self.title} ({self.kind})"


def matrix(values: Any, rows: int, columns: int) -> np.ndarray | None:
    """``[rows,columns] float64`` of nested or flat numbers, or None where they are none or not so many."""
    if values is None or (isinstance(values, list) and None in values):  # which numpy takes for NaN
        return None
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return array.reshape(rows, columns) if array.size == rows * columns else None


def pose(values: Any) -> np.ndarray | None:
    """``[4,4] float64`` of 4x4 or 3x4 numbers, or None where they are none."""
    square = matrix(values, 4, 4)
    if square is not None:
        return square
    top = matrix(values, 3, 4)
    return None if top is None else np.vstack([top, [0, 0, 0, 1]])
