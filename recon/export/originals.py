"""The pictures that go with exported cameras: the user's own photos at full size wherever they are still there."""

from __future__ import annotations

import io
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from recon import photo
from recon.errors import InputError
from recon.scene import Frame

log = logging.getLogger(__name__)

COPIED = {"JPEG": ".jpg", "PNG": ".png"}  # formats that every other program reads
COPIED_MODES = {"L", "RGB", "RGBA"}
QUALITY = 95  # of JPEG files written here


@dataclass(frozen=True)
class Picture:
    """A picture to export.

    Attributes:
        suffix: of its file name.
        content: the file to copy, or its bytes.
        size: ``(width, height)``.
        picture_from_frame: ``[3,3]``, pixels of the frame's image to its pixels.
    """

    suffix: str
    content: Path | bytes
    size: tuple[int, int]
    picture_from_frame: np.ndarray


def picture(frame: Frame) -> Picture:
    """The best picture there is of a frame.

    A photo is copied as it is, where it is an upright 8-bit JPEG or PNG file. Otherwise (EXIF orientation, HEIC, 16
    bits ...) it is decoded at full size, turned upright and written as JPEG. A frame of a video, and one whose file is
    gone or has changed, gives the picture that the model saw.
    """
    found = _photo(frame) if frame.path is not None and frame.time is None else None
    if found is None:
        return Picture(".png", _encoded(frame.image, "PNG"), frame.size, np.eye(3))
    return Picture(*found, frame.original_size, frame.original_from_processed.astype(np.float64))


def _photo(frame: Frame) -> tuple[str, Path | bytes] | None:
    """Suffix and file or content of the untouched photo, upright; None where it is no longer there as it was."""
    assert frame.path is not None
    try:
        with Image.open(frame.path, formats=photo.FORMATS) as opened:
            upright = opened.getexif().get(ExifTags.Base.Orientation, 1) == 1
            plain = opened.format in COPIED and opened.mode in COPIED_MODES
            if upright and plain and opened.size == frame.original_size:
                return COPIED[str(opened.format)], frame.path
        view = photo.read(frame.path, max(frame.original_size))
    except (InputError, OSError, ValueError, SyntaxError) as error:  # a damaged file makes Pillow raise these
        log.warning("%s is exported as the model saw it: %s", frame.name, error)
        return None
    if view.size != frame.original_size:
        log.warning("%s is exported as the model saw it: its file now holds another picture", frame.name)
        return None
    return ".jpg", _encoded(view.image, "JPEG")


def _encoded(image: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def unique_name(frame: Frame, suffix: str, taken: set[str]) -> str:
    """A file name after the frame's that any program can read, and that is not ``taken`` yet; in place."""
    name = frame.name if frame.time is not None else Path(frame.name).stem
    stem = re.sub(r"[^\w.()+-]+", "_", name).strip("._") or "frame"
    name, count = stem + suffix, 1
    while name.lower() in taken:
        count += 1
        name = f"{stem}_{count}{suffix}"
    taken.add(name.lower())
    return name
