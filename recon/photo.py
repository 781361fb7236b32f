"""One picture file to one View: decoded small, upright, transparency as a mask, the EXIF focal length as a hint."""

from __future__ import annotations

import math
import os
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, UnidentifiedImageError

from recon.errors import InputError
from recon.geometry import resize_transform
from recon.scene import View

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif"}
)
RAW_SUFFIXES = frozenset({".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf"})
MINIMUM_SIDE = 32
MAXIMUM_PIXELS = 200_000_000
MAXIMUM_ASPECT = 5.0

pillow_heif.register_heif_opener()
# Pillow refuses by itself what is more than twice this; between the two it would only warn.
Image.MAX_IMAGE_PIXELS = MAXIMUM_PIXELS

_one_large_at_a_time = threading.Lock()
_LARGE = 50_000_000  # pixels; several such pictures decoded at once would take gigabytes


class Unreadable(InputError):
    """A file that gives no view.

    Attributes:
        name: of the file, as the user knows it.
        reason: the rest of the sentence ("is empty: copy it again").
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"'{name}' {reason}.")
        self.name, self.reason = name, reason


def shown_name(path: Path) -> str:
    """The file's name as it can be shown anywhere, bytes that are not text replaced."""
    return os.fsencode(path.name or str(path)).decode("utf-8", "replace")


def check_size(name: str, size: tuple[int, int]) -> None:
    """Raise `Unreadable` where a picture of ``(width, height)`` is too small, too large or too long a strip."""
    width, height = size
    if min(size) < MINIMUM_SIDE:
        raise Unreadable(
            name, f"has {width}x{height} pixels, too few to see depth in: give at least {MINIMUM_SIDE}x{MINIMUM_SIDE}"
        )
    if width * height > MAXIMUM_PIXELS:
        raise Unreadable(name, f"has {width}x{height} pixels, over the limit of {MAXIMUM_PIXELS // 10**6} megapixels")
    if max(size) > MAXIMUM_ASPECT * min(size):
        raise Unreadable(
            name,
            f"has {width}x{height} pixels, too long a strip for one pinhole camera: "
            f"crop it to at most {MAXIMUM_ASPECT:g} times as long as wide",
        )


def reduced_size(size: tuple[int, int], maximum_side: int) -> tuple[int, int]:
    """``(width, height)`` reduced so that the long side has at most ``maximum_side`` pixels."""
    scale = min(1.0, maximum_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def read(path: Path, maximum_side: int) -> View:
    """Decode a picture, reduced to ``maximum_side`` pixels on its long side.

    Raises:
        Unreadable: the file is missing, forbidden, damaged, of an unknown kind, or outside the limits of `check_size`.
    """
    name = shown_name(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        raise Unreadable(name, "is a camera raw file: export it as JPEG or PNG first")
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as picture:
            check_size(name, picture.size)
            with _one_large_at_a_time if math.prod(picture.size) > _LARGE else nullcontext():
                return _view(picture, path, name, maximum_side)
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(name, "is not a picture or video of a kind that can be read") from error
    except Image.DecompressionBombError as error:
        limit = f"over the limit of {MAXIMUM_PIXELS // 10**6} megapixels"
        raise Unreadable(name, f"has more than {2 * MAXIMUM_PIXELS // 10**6} megapixels, {limit}") from error
    except Exception as error:  # damaged files make decoders raise almost anything
        if isinstance(error, OSError) and error.errno is not None:
            raise Unreadable(name, f"cannot be opened ({os.strerror(error.errno).lower()})") from error
        raise Unreadable(name, "is damaged or cut off: copy it again from where it came from") from error


def _view(picture: Image.Image, path: Path, name: str, maximum_side: int) -> View:
    """The View of an opened picture; ``stored`` is the picture as the file holds it, before it is turned upright."""
    stored = picture.size
    picture.draft(None, reduced_size(stored, maximum_side))
    picture.load()
    # A JPEG decoded at 1/k covers whole blocks of k pixels, so its last column may reach beyond the picture.
    factor = max(1, round(stored[0] / picture.width), round(stored[1] / picture.height))
    stored = picture.size if factor == 1 else stored
    box = (0, 0, stored[0] / factor, stored[1] / factor)
    exif = picture.getexif()
    focal = _focal(exif, stored)
    target = reduced_size(stored, maximum_side)
    small = eight_bit(picture).resize(target, Image.Resampling.LANCZOS, box)
    focal = None if focal is None else focal * max(target) / max(stored)
    turn = _TURNS.get(exif.get(ExifTags.Base.Orientation, 1))
    if turn is not None:
        small = small.transpose(turn)
        if turn in _QUARTER_TURNS:
            stored = stored[1], stored[0]
    image, mask = _composite(small)
    if mask is not None and not mask.any():
        raise Unreadable(name, "is wholly transparent")
    return View(
        image=image,
        name=name,
        path=path,
        original_size=stored,
        original_from_view=resize_transform(small.size, stored),
        mask=mask,
        focal_prior=focal,
    )


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


def eight_bit(picture: Image.Image) -> Image.Image:
    """Any mode to RGB, or RGBA where something may be transparent.

    16-bit values keep their high byte; 32-bit and floating-point ones have no stated white: their largest becomes it.
    """
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(picture, np.float32), posinf=0, neginf=0)
        picture = Image.fromarray((255 * values / max(values.max(), 1e-6)).clip(0, 255).astype(np.uint8))
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _composite(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """``[H,W,3] uint8`` over white, and ``[H,W] bool`` where at least half opaque (None for everywhere)."""
    if picture.mode == "RGB":
        return np.array(picture), None
    rgba = np.asarray(picture, np.uint16)
    alpha = rgba[..., 3:]
    image = ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    mask = alpha[..., 0] >= 128
    return image, None if mask.all() else mask


def _focal(exif: Image.Exif, size: tuple[int, int]) -> float | None:
    """Focal length in pixels of the stored picture of ``size``, or None where the EXIF data do not tell.

    The 35 mm equivalent compares diagonals (CIPA DCG-001): that of 36x24 mm is 43.27 mm. Else the focal length in mm
    with the sensor's pixels per unit, which count pixels of the picture as the camera wrote it.
    """
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    try:
        equivalent = float(tags.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
        length = float(tags.get(ExifTags.Base.FocalLength, 0))
        density = float(tags.get(ExifTags.Base.FocalPlaneXResolution, 0))
        millimetres = {2: 25.4, 3: 10.0, 4: 1.0}.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2), 25.4)
        written = float(tags.get(ExifTags.Base.ExifImageWidth, 0)) or size[0]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if equivalent > 0:
        focal = equivalent * math.hypot(*size) / math.hypot(36, 24)
    elif length > 0 and density > 0:
        focal = length * density / millimetres * size[0] / written
    else:
        return None
    # Tags are often nonsense; no photo's long side spans less than 3 or more than 127 degrees.
    return focal if 0.25 < focal / max(size) < 20 else None
