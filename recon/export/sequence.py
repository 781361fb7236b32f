"""A point cloud a frame: a zip of numbered PLY files, for players of sequences and for CloudCompare."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from recon import gravity
from recon.export.ply import ply
from recon.filters import Filters
from recon.scene import Scene
from recon.timeline import marked


def write_sequence(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write a zip of PLY files, each as `recon.export.ply` writes them and all in one place: upright, +Y up.

    Where it is known what moves: ``static.ply``, the world once, from all frames, and ``moving_0001.ply`` and so on,
    what moves in each frame, which an importer of sequences plays beside it. Otherwise ``frame_0001.ply`` and so on,
    the points of each frame. Frames are counted from 1; one without points has its file all the same, so that numbers
    are times, but a hidden one has none. ``frames.txt`` tells number, seconds (or -) and name of each.
    """
    moving, upright = marked(scene), gravity.upright(scene.frames)
    passing = [mask & (frame.moving if frame.moving is not None else not moving)
               for frame, mask in zip(scene.frames, masks, strict=True)]  # fmt: skip
    rows = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        if moving:
            static = [mask & ~part for mask, part in zip(masks, passing, strict=True)]
            archive.writestr("static.ply", ply(scene, static, upright))
        for index, frame in enumerate(scene.frames):
            if filters.shows(index):
                alone = [part if i == index else np.zeros_like(part) for i, part in enumerate(passing)]
                archive.writestr(f"{'moving' if moving else 'frame'}_{index + 1:04d}.ply", ply(scene, alone, upright))
                seconds = "-" if frame.time is None else f"{frame.time:.6f}"
                rows.append(f"{index + 1:04d} {seconds} {frame.name}\n")
        archive.writestr("frames.txt", "".join(rows))
