"""What moves, as a mask a frame: black-and-white PNG at the size of the user's own photo."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

from recon.errors import InputError
from recon.export.originals import unique_name
from recon.filters import Filters
from recon.masks import warped
from recon.scene import Scene


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
            assert frame.moving is not None
            mask = warped(frame.moving, frame.original_from_processed, frame.original_size)
            _, encoded = cv2.imencode(".png", 255 * mask.astype(np.uint8))
            archive.writestr(unique_name(frame, ".png", taken), encoded.tobytes())
