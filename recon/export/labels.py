"""Labels as pictures: for each photo, at its own size, what is recognised in it; and what the numbers mean.

``semantic/`` and ``instance/`` hold PNGs of numbers, 0 for nothing; ``preview/`` the same in colour over the photo;
``labels.json`` the class of each number of ``semantic``, and the segment of each number of ``instance``, which is the
same thing in all photos.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recon import geometry
from recon.errors import InputError
from recon.export.originals import unique_name
from recon.filters import Filters
from recon.palette import classes, colours, painted
from recon.scene import Frame, Labels, Scene
from recon.segments import at_original

OVER = 0.6  # share of the colour over the photo


def write_labels(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the labels of the chosen frames, and of the chosen segments, as one zip file.

    Raises:
        InputError: nothing is recognised in the scene.
    """
    labels = scene.labels
    if labels is None or not labels.segments:
        raise InputError("There are no labels to write: nothing was recognised, or this model recognises nothing.")
    taken: set[str] = set()
    photos = []
    with zipfile.ZipFile(path, "w") as archive:
        for index, frame in enumerate(scene.frames):
            if frame.segments is None or not filters.shows(index):
                continue
            name = unique_name(frame, ".png", taken)
            ids = at_original(frame)
            if filters.segments is not None:
                ids = np.where(np.isin(ids, sorted(filters.segments)), ids, -1)
            for kind, picture in _pictures(frame, ids, labels).items():
                archive.writestr(f"{kind}/{name}", picture)
            photos.append({"photo": frame.name, "file": name})
        archive.writestr("labels.json", json.dumps({**legend(labels), "photos": photos}, indent=1))


def legend(labels: Labels) -> dict[str, Any]:
    """What the numbers mean, JSON-compatible: classes for ``semantic``, segments for ``instance``."""
    found = colours(labels, "panoptic").tolist()
    return {
        "classes": [
            {"number": number, "name": name, "colour": colour}
            for number, (name, colour) in enumerate(zip(labels.names, labels.colours.tolist(), strict=True), 1)
        ],
        "segments": [
            {
                "number": segment.id, "class": segment.label + 1, "name": labels.names[segment.label],
                "thing": segment.thing, "score": segment.score, "colour": colour,
            }
            for segment, colour in zip(labels.segments, found, strict=True)
        ],
    }  # fmt: skip


def _pictures(frame: Frame, ids: np.ndarray, labels: Labels) -> dict[str, bytes]:
    """The PNGs of a frame; ``ids [H,W]`` are at the size of the photo."""
    photo = cv2.warpPerspective(frame.image, geometry.for_opencv(frame.original_from_processed), ids.shape[::-1])
    coloured = OVER * painted(ids, labels, "panoptic") + (1 - OVER) * photo
    return {
        "semantic": _png((classes(ids, labels) + 1).astype(np.uint8)),
        "instance": _png(np.maximum(ids, 0).astype(np.uint16)),
        "preview": _png(coloured.round().astype(np.uint8)[..., ::-1]),
    }


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()
