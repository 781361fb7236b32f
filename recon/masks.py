"""Masks of what moves, as the user gives them: read from files, matched with photos, carried over to frames."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from recon import geometry
from recon.errors import InputError
from recon.media import natural_key
from recon.scene import Frame, Scene, View

MOST_BYTES = 1_000_000_000  # of all masks in a zip, unpacked
BRIGHT = (
    1 / 8
)  # of the brightest value: what is brighter moves, be values 0 and 1, 0 and 255, or the colours of objects


def read_masks(paths: Sequence[str | Path], views: Sequence[View]) -> dict[int, np.ndarray]:
    """Masks for ``views`` from picture files, and from folders and zips of them.

    A mask belongs to the photo that has its name (``IMG_1.png`` or ``IMG_1.jpg.png`` for ``IMG_1.jpg``; for frames of a
    video the names under which `recon.export` writes them). Where no name fits and there are as many masks as photos,
    they go together in natural order. What is not black moves.

    Returns:
        ``[H,W] bool``, True on what moves, in the size of the view's image, by the index of the view.

    Raises:
        InputError: a file cannot be read, is of another shape than its photo, or belongs to none.
    """
    masks = {name: content for path in sorted(map(Path, paths), key=natural_key) for name, content in _contents(path)}
    if not masks:
        raise InputError("There are no masks in these files: give PNG pictures, or a zip of them.")
    names = _names(views)
    places = {name: names[key] for name in masks if (key := _plain(Path(name).stem)) in names}
    if not places and len(masks) == len(views):
        places = dict(zip(sorted(masks, key=lambda name: natural_key(Path(name))), range(len(views)), strict=True))
    if strangers := masks.keys() - places.keys():
        raise InputError(
            f"The mask '{min(strangers)}' belongs to none of the photos: name it like its photo, or give as many masks "
            "as there are photos."
        )
    return {place: _mask(name, masks[name], views[place]) for name, place in places.items()}


def apply(scene: Scene, views: Sequence[View]) -> dict[int, np.ndarray | None]:
    """Let what the user said of the views that a scene was made from hold in it, whatever its model made of that.

    Returns:
        What the model said, of the frames that have changed, by their index.
    """
    found = {}
    for index, frame in enumerate(scene.frames):
        if views[frame.view].moving is not None:
            found[index], frame.moving = frame.moving, onto_frame(views[frame.view], frame)
    return found


def onto_frame(view: View, frame: Frame) -> np.ndarray:
    """``[H,W] bool``: what moves in a view, in the pixels of the frame that was made of it."""
    assert view.moving is not None
    frame_from_view = np.linalg.inv(frame.original_from_processed.astype(np.float64)) @ view.original_from_view
    return warped(view.moving, frame_from_view, frame.size)


def onto_view(frame: Frame, view: View) -> np.ndarray:
    """``[H,W] bool``: what moves in a frame, in the pixels of its view; False where the frame does not reach."""
    assert frame.moving is not None
    view_from_frame = np.linalg.inv(view.original_from_view.astype(np.float64)) @ frame.original_from_processed
    return warped(frame.moving, view_from_frame, view.size)


def warped(mask: np.ndarray, target_from_source: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask ``[H,W] bool`` in another picture's pixels; False outside of its own.

    Args:
        mask: to carry over.
        target_from_source: ``[3,3]``, its pixels to those of the other picture, a scaling and a shift.
        size: ``(width, height)`` of the other picture.
    """
    matrix = geometry.for_opencv(np.linalg.inv(np.asarray(target_from_source, np.float64)))
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask.astype(np.uint8), matrix[:2], size, flags=flags).astype(bool)


def _names(views: Sequence[View]) -> dict[str, int]:
    """Under which names a mask belongs to which view; of names that several views have, none."""
    names: dict[str, list[int]] = {}
    for index, view in enumerate(views):
        for name in {_plain(view.name), _plain(Path(view.name).stem)}:
            names.setdefault(name, []).append(index)
    return {name: indices[0] for name, indices in names.items() if len(indices) == 1}


def _plain(name: str) -> str:
    """A name as any program may write it."""
    return re.sub(r"\W+", "_", name).strip("_").lower()


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a file, or of the pictures in a folder or a zip."""
    try:
        if path.is_dir():
            for file in filter(_is_mask, path.iterdir()):
                yield file.name, file.read_bytes()
        elif path.suffix.lower() == ".zip":
            yield from _unpacked(path)
        else:
            yield path.name, path.read_bytes()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"'{path.name}' is no zip file that can be read: pack the masks again.") from error
    except OSError as error:
        raise InputError(f"The masks '{path.name}' cannot be read ({error.strerror or error}).") from error


def _unpacked(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and _is_mask(Path(entry.filename))]
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise InputError(f"'{path.name}' holds more than 1 GB: give fewer masks at a time.")
        for entry in entries:
            yield Path(entry.filename).name, archive.read(entry)


def _is_mask(path: Path) -> bool:
    return not path.name.startswith(".") and "__MACOSX" not in path.parts and path.suffix.lower() != ".txt"


def _mask(name: str, content: bytes, view: View) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=("PNG", "BMP", "GIF", "TIFF", "JPEG", "WEBP"))
            width, height = picture.size
            values = np.asarray(picture.convert("L" if picture.mode == "1" else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
        raise InputError(f"The mask '{name}' cannot be read: save it as a PNG picture.") from error
    if abs(width * view.size[1] / (height * view.size[0]) - 1) > 0.02:
        raise InputError(
            f"The mask '{name}' is {width} x {height} pixels and its photo '{view.name}' "
            f"{view.original_size[0]} x {view.original_size[1]}: they must have the same shape."
        )
    values = values if values.ndim == 2 else values.max(-1)
    moving = values > values.max() * BRIGHT
    return warped(moving, np.diag([view.size[0] / width, view.size[1] / height, 1]), view.size)
