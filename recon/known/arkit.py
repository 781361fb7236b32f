"""Frames of ARKit as scanning apps write them, one JSON file each: Polycam's keyframes, and 3D Scanner App's exports.

ARKit's cameras look along -z with y up, in metres; intrinsics are of the stored, landscape picture. Polycam counts its
rows ``t_00`` to ``t_23``; its corrected cameras and pictures, where there are some, replace the raw ones.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from recon.errors import InputError
from recon.known.depth import MILLIMETRES, DepthFile
from recon.known.entry import Entry, Lens, Source, matrix, pose
from recon.known.files import Bundle
from recon.known.nerfstudio import CV_FROM_GL

ROWS = [f"t_{row}{column}" for row in range(3) for column in range(4)]


def read(bundle: Bundle, notes: list[str]) -> list[Source]:
    """One source a bundle, of all frames; of two for the same picture the corrected one counts."""
    entries: dict[str, Entry] = {}
    title = ""
    for name in sorted(bundle.names(".json"), key=lambda name: "corrected" not in name):
        try:
            frame = bundle.json(name)
        except InputError as error:
            bundle.take(name)
            notes.append(str(error))
            continue
        if isinstance(frame, dict) and (ROWS[0] in frame or "cameraPoseARFrame" in frame):
            bundle.take(name)
            title = title or bundle.called(name)
            stem = PurePosixPath(name).stem
            entries.setdefault(stem, _entry(bundle, name, stem, frame))
    for name in bundle.names(".png"):
        if entries and PurePosixPath(name).stem.startswith("conf"):
            bundle.take(name)
    return [Source(title, "ARKit", list(entries.values()), metric=True)] if entries else []


def _entry(bundle: Bundle, name: str, stem: str, frame: dict[str, Any]) -> Entry:
    placed = pose(frame.get("cameraPoseARFrame", [frame.get(key) for key in ROWS]))
    folder = PurePosixPath(name).parent
    number = stem.rpartition("_")[2]
    places = [folder.parent / "depth" / f"{stem}.png", folder / f"depth_{number}.png", folder / f"{stem}_depth.png"]
    found = next((str(place) for place in places if str(place) in bundle.files), None)
    depth = None if found is None else DepthFile(bundle.files[found], PurePosixPath(found).name, MILLIMETRES)
    if found is not None:
        bundle.take(found)
    nothing = np.full((4, 4), np.nan)  # told as such with the others that are no poses
    return Entry(
        f"{stem}.jpg",
        lens=_lens(frame),
        world_from_camera=nothing if placed is None else placed @ CV_FROM_GL,
        depth=depth,
    )


def _lens(frame: dict[str, Any]) -> Lens | None:
    if "intrinsics" in frame:
        square = matrix(frame["intrinsics"], 3, 3)
        return None if square is None else Lens.pinhole(square)
    params = matrix([frame.get(key) for key in ("fx", "fy", "cx", "cy")], 1, 4)
    size = matrix([frame.get(key) for key in ("width", "height")], 1, 2)
    if params is None or size is None or not np.isfinite(size).all():
        return None
    return Lens("PINHOLE", tuple(params[0]), (int(size[0, 0]), int(size[0, 1])))
