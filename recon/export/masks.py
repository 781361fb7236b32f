"""What moves, as a mask a frame: black-and-white PNG at the size of the user's own photo."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

from recon.errors import InputError
from recon.export.originals import unique_name
from recon.filters import Filters
from recon.scene import Frame, Scene


def write_masks(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write a zip of one 8-bit PNG for each chosen frame of which it is known what moves: 255 there, 0 elsewhere.

    A mask has the size of the untouched photo (or of the video's picture) and its name. What the model did not see of
    the photo is 0.

    Raises:
        InputError: of no frame it is known what moves.
    """
    known = [frame for i, frame in enumerate(scene.frames) if filters.shows(i) and frame.moving is not None]
    if not known:
        raise InputError("Nothing tells what moves in this scene: mark it by hand, or use a model for moving scenes.")
    taken: set[str] = set()
    with zipfile.ZipFile(path, "w") as archive:
        for frame in known:
            _, encoded = cv2.imencode(".png", 255 * original_mask(frame))
            archive.writestr(unique_name(frame, ".png", taken), encoded.tobytes())


def original_mask(frame: Frame) -> np.ndarray:
    """``[H,W] uint8``: what moves, 1 or 0, in the untouched photo."""
    assert frame.moving is not None
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # from OpenCV's pixels, whose centres are whole numbers
    matrix = np.linalg.inv(half) @ np.linalg.inv(frame.original_from_processed.astype(np.float64)) @ half
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame.moving.astype(np.uint8), matrix[:2], frame.original_size, flags=flags)
