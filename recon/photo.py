"""One picture file to one View: decoded small, upright, transparency as a mask, the EXIF focal length as a hint."""

from __future__ import annotations

import io
import math
import os
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from recon.errors import InputError
from recon.geometry import resize_transform
from recon.scene import View
from recon.sensors import sensor_width

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif"}
)
RAW_SUFFIXES = frozenset({".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf"})
MINIMUM_SIDE = 32
MAXIMUM_PIXELS = 200_000_000
MAXIMUM_ASPECT = 5.0
BLACK = 8  # of 255: a picture without anything brighter shows nothing
UNKNOWN = "is of an unknown kind, or damaged at its start: give JPEG, PNG, WebP, TIFF, HEIC, AVIF, MP4, MOV or WebM"
_TOO_LARGE = f"has {{}} pixels: make it smaller, the limit is {MAXIMUM_PIXELS // 10**6} megapixels"

pillow_heif.register_heif_opener()
# Pillow itself refuses, by the header, what is over twice this, and would warn in between, where `check_size` refuses.
Image.MAX_IMAGE_PIXELS = MAXIMUM_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

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


def cannot_open(path: Path, error: OSError) -> Unreadable:
    """What to say where the system refuses to open a file."""
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return Unreadable(shown_name(path), f"cannot be opened ({why})")


def check_size(name: str, size: tuple[int, int]) -> None:
    """Raise `Unreadable` where a picture of ``(width, height)`` is too small, too large or too long a strip."""
    width, height = size
    if min(size) < MINIMUM_SIDE:
        raise Unreadable(
            name, f"has {width}x{height} pixels, too few to see depth in: give at least {MINIMUM_SIDE}x{MINIMUM_SIDE}"
        )
    if width * height > MAXIMUM_PIXELS:
        raise Unreadable(name, _TOO_LARGE.format(f"{width}x{height}"))
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


def is_black(image: np.ndarray) -> bool:
    """Whether a picture ``[H,W,3] uint8`` shows nothing."""
    return int(image.max(initial=0)) < BLACK


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
        raise Unreadable(name, UNKNOWN) from error
    except Image.DecompressionBombError as error:
        raise Unreadable(name, _TOO_LARGE.format("too many")) from error
    except Exception as error:  # damaged files make decoders raise almost anything
        if isinstance(error, OSError) and error.errno is not None:
            raise cannot_open(path, error) from error
        raise Unreadable(name, "is damaged or cut off: copy it again from where it came from") from error


def _view(picture: Image.Image, path: Path, name: str, maximum_side: int) -> View:
    stored = picture.size
    size = reduced_size(stored, maximum_side)
    # JPEG alone decodes at 1/2, 1/4 or 1/8; the box then tells where in the last blocks the picture ends.
    drafted = picture.draft(None, size)
    picture.load()
    small = _plain(picture).resize(size, Image.Resampling.LANCZOS, drafted[1] if drafted else None)
    image, mask = _composite(_standard_colours(small))
    orientation, focal = _exif(picture, stored)
    image, mask = upright(image, orientation), None if mask is None else upright(mask, orientation)
    if mask is not None and not mask.any():
        raise Unreadable(name, "is wholly transparent: save it with its background")
    original = stored if orientation < 5 else stored[::-1]
    return View(
        image=image,
        name=name,
        path=path,
        original_size=original,
        original_from_view=resize_transform(size if orientation < 5 else size[::-1], original),
        mask=mask,
        focal_prior=None if focal is None else focal * max(size) / max(stored),
    )


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn ``[H,W,...]`` as its EXIF orientation asks (EXIF 2.32, tag 274: where row 0 and column 0 belong)."""
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(array[rows, columns])


def upright_from_stored(orientation: int, size: tuple[int, int]) -> np.ndarray:
    """``[3,3]``, pixels of a stored picture of ``size`` (width, height) to those of what `upright` makes of it."""
    width, height = size if orientation < 5 else size[::-1]
    matrix = np.eye(3) if orientation < 5 else np.eye(3)[[1, 0, 2]]
    if orientation in (3, 4, 7, 8):
        matrix = np.array([[1, 0, 0], [0, -1, height], [0, 0, 1]]) @ matrix
    if orientation in (2, 3, 6, 7):
        matrix = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]]) @ matrix
    return matrix


def orientation(path: Path) -> int:
    """The EXIF orientation of a photo, 1 to 8; 1 where it has none or is no longer there."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return _exif(picture, picture.size)[0]
    except Exception:  # as in `read`
        return 1


def _plain(picture: Image.Image) -> Image.Image:
    """Any mode to 8-bit L, RGB, CMYK, or RGBA where something may be transparent.

    16-bit values keep their high byte; 32-bit and floating-point ones have no stated white: their largest becomes it.
    """
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        values = np.nan_to_num(np.array(picture, np.float32), copy=False, posinf=0, neginf=0)
        values *= 255 / max(values.max(), 1e-6)
        return Image.fromarray(values.clip(0, 255, out=values).astype(np.uint8))
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")


def _standard_colours(picture: Image.Image) -> Image.Image:
    """``_plain`` picture to RGB or RGBA in sRGB, by its colour profile where it carries one that can be used."""
    profile = picture.info.get("icc_profile")
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    if profile and picture.mode != "L":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=mode)
                return picture if converted is None else converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile, or one for another kind of picture, says nothing
    return picture.convert(mode)


def _composite(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """``[H,W,3] uint8`` over white, and ``[H,W] bool`` where at least half opaque (None for everywhere)."""
    if picture.mode == "RGB":
        return np.array(picture), None
    rgba = np.asarray(picture, np.uint16)
    alpha = rgba[..., 3:]
    image = ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    mask = alpha[..., 0] >= 128
    return image, None if mask.all() else mask


def _exif(picture: Image.Image, size: tuple[int, int]) -> tuple[int, float | None]:
    """Orientation 1 to 8, and the focal length in pixels of the stored picture of ``size``, or None where not told.

    The 35 mm equivalent compares diagonals (CIPA DCG-001): that of 36x24 mm is 43.27 mm. Else the focal length in mm
    with the sensor's pixels per unit, which count pixels of the picture as the camera wrote it, or with its width where
    the camera is known.
    """
    try:
        exif = picture.getexif()
        tags = exif.get_ifd(ExifTags.IFD.Exif)
        orientation = int(exif.get(ExifTags.Base.Orientation, 1))
        camera = str(exif.get(ExifTags.Base.Make, "")), str(exif.get(ExifTags.Base.Model, ""))
    except Exception:  # a damaged tag makes Pillow raise almost anything, and is no reason to refuse the photo
        return 1, None
    orientation = orientation if 1 <= orientation <= 8 else 1
    equivalent = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    length = _number(tags.get(ExifTags.Base.FocalLength))
    density = _number(tags.get(ExifTags.Base.FocalPlaneXResolution))
    unit = {3: 10.0, 4: 1.0}.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2), 25.4)  # in mm
    written = max(_number(tags.get(tag)) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight))
    focal = equivalent * math.hypot(*size) / math.hypot(36, 24)
    if focal == 0:
        focal = length * density / unit * (max(size) / written if written else 1)
    if focal == 0 and (width := sensor_width(*camera)) is not None:
        focal = length / width * max(size)
    # Tags are often nonsense; no photo's long side spans less than 3 or more than 127 degrees.
    return orientation, focal if 0.25 < focal / max(size) < 20 else None


def _number(tag: Any) -> float:
    """The value of a tag, 0 where it is missing or none."""
    try:
        number = float(tag)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if math.isfinite(number) else 0.0
