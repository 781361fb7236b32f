"""Record3D: ``.r3d`` files, and its exports to folders of EXR and JPEG.

``metadata`` is JSON: ``w``, ``h``, ``K`` (column by column) or ``perFrameIntrinsicCoeffs`` (fx, fy, cx, cy), ``poses``
(quaternion xyzw, then position, ARKit's axes and metres), ``dw`` and ``dh`` of the depth. Frames are numbered from 0:
``rgbd/0.jpg`` and ``rgbd/0.depth`` (float32 metres under LZFSE), or ``rgb/0.jpg`` and ``depth/0.exr``.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from recon import geometry
from recon.errors import InputError
from recon.known.depth import DepthFile
from recon.known.entry import Entry, Lens, Source, matrix
from recon.known.files import Bundle
from recon.known.nerfstudio import CV_FROM_GL


def read(bundle: Bundle, notes: list[str]) -> list[Source]:
    """One source for each ``metadata``."""
    sources = []
    for name in [name for name in bundle.files if PurePosixPath(name).name.lower() in ("metadata", "metadata.json")]:
        try:
            metadata = bundle.json(name)
        except InputError as error:
            bundle.take(name)
            notes.append(str(error))
            continue
        if isinstance(metadata, dict) and isinstance(metadata.get("poses"), list):
            bundle.take(name)
            count = len(metadata["poses"])
            entries = [_entry(bundle, PurePosixPath(name).parent, metadata, index) for index in range(count)]
            if entries:
                sources.append(Source(bundle.called(name), "Record3D", entries, metric=True))
            else:
                notes.append(f"The Record3D recording {bundle.called(name)} holds no poses.")
    return sources


def _entry(bundle: Bundle, folder: PurePosixPath, metadata: dict[str, Any], index: int) -> Entry:
    placed = matrix(metadata["poses"][index], 1, 7)
    world_from_camera = np.full((4, 4), np.nan)  # told as such with the others that are no poses
    if placed is not None and np.linalg.norm(placed[0, :4]) > 0:
        rotation = geometry.rotation_from_quaternion(placed[0, [3, 0, 1, 2]])
        world_from_camera = geometry.rigid(rotation, placed[0, 4:]) @ CV_FROM_GL
    return Entry(
        f"{index}.jpg",
        time=_time(metadata, index),
        lens=_lens(metadata, index),
        world_from_camera=world_from_camera,
        depth=_depth(bundle, folder, _size(metadata, "dw", "dh"), index),
    )


def _time(metadata: dict[str, Any], index: int) -> float | None:
    """Seconds from the start of the recording."""
    times, rate = metadata.get("frameTimestamps"), matrix(metadata.get("fps"), 1, 1)
    if isinstance(times, list) and index < len(times) and (time := matrix(times[index], 1, 1)) is not None:
        return float(time[0, 0])
    return index / float(rate[0, 0]) if rate is not None and rate[0, 0] > 0 else None


def _size(metadata: dict[str, Any], width: str, height: str) -> tuple[int, int] | None:
    size = matrix([metadata.get(width), metadata.get(height)], 1, 2)
    if size is None or not np.isfinite(size).all() or (size < 1).any():
        return None
    return int(size[0, 0]), int(size[0, 1])


def _lens(metadata: dict[str, Any], index: int) -> Lens | None:
    size = _size(metadata, "w", "h")
    each = metadata.get("perFrameIntrinsicCoeffs")
    params = matrix(each[index], 1, 4) if isinstance(each, list) and index < len(each) else None
    if params is not None:
        return Lens("PINHOLE", tuple(params[0]), size)
    shared = matrix(metadata.get("K", []), 3, 3)
    return None if shared is None else Lens.pinhole(shared.T, size)


def _depth(bundle: Bundle, folder: PurePosixPath, size: tuple[int, int] | None, index: int) -> DepthFile | None:
    for place in (f"rgbd/{index}.depth", f"depth/{index}.exr"):
        name = str(folder / place)
        if name in bundle.files and (size is not None or name.endswith(".exr")):
            path = bundle.files[name]
            bundle.take(name)
            return DepthFile(path, place, 1.0, size)
    return None
