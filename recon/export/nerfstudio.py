"""nerfstudio: ``transforms.json``, the photos, and points to start from, as its trainers and instant-ngp read them.

Cameras are of the untouched photos' size (`originals.picture`) and look along -z with y up (docs.nerf.studio, data
conventions). The world stands with +Z up; ``applied_transform`` is how it was turned, so that readers can undo it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from recon import geometry, gravity
from recon.export.archive import archive
from recon.export.originals import picture, unique_name
from recon.export.ply import VERTEX, comments, table
from recon.export.sparse import sparse_points
from recon.filters import Filters
from recon.scene import Frame, Scene

MOST_POINTS = 200_000
POINTS = "sparse_pc.ply"
BEHIND = np.diag([1.0, -1.0, -1.0, 1.0])  # from a camera that looks along -z with y up to one of ours
STANDING = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # from +Y up to +Z up


def write_nerfstudio(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the chosen frames' cameras and photos, and at most `MOST_POINTS` of the masked points, as one zip file."""
    standing_from_world = STANDING @ gravity.upright(scene.frames).astype(np.float64)
    taken: set[str] = set()
    entries: list[dict[str, Any]] = []
    with archive(path) as add:
        for index, frame in enumerate(scene.frames):
            if filters.shows(index):
                shown = picture(frame)
                name = f"images/{unique_name(frame, shown.suffix, taken)}"
                add(name, shown.content)
                entries.append(entry(frame, name, shown.size, shown.picture_from_frame, standing_from_world))
        add(POINTS, _points(scene, masks, standing_from_world))
        document = {
            "camera_model": "PINHOLE",
            "frames": entries,
            "applied_transform": standing_from_world[:3].tolist(),
            "ply_file_path": POINTS,
        }
        add("transforms.json", json.dumps(document, indent=1).encode())


def entry(
    frame: Frame, name: str, size: tuple[int, int], picture_from_frame: np.ndarray, standing_from_world: np.ndarray
) -> dict[str, Any]:
    """One photo of the list.

    Args:
        name: of its file.
        size: ``(width, height)`` of that picture.
        picture_from_frame: ``[3,3]``, pixels of the frame's image to its pixels.
        standing_from_world: ``[4,4]`` of all cameras and points.
    """
    intrinsics = picture_from_frame @ frame.camera.intrinsics.astype(np.float64)
    pose = standing_from_world @ frame.camera.world_from_camera.astype(np.float64) @ BEHIND
    return {
        "file_path": name,
        "w": size[0],
        "h": size[1],
        "fl_x": intrinsics[0, 0],
        "fl_y": intrinsics[1, 1],
        "cx": intrinsics[0, 2],
        "cy": intrinsics[1, 2],
        "transform_matrix": pose.tolist(),
    }


def _points(scene: Scene, masks: list[np.ndarray], standing_from_world: np.ndarray) -> bytes:
    points = sparse_points(scene, masks, MOST_POINTS)
    vertices = np.zeros(len(points.positions), np.dtype(VERTEX.descr[:3] + VERTEX.descr[6:9]))
    for column, name in enumerate("xyz"):
        vertices[name] = geometry.transform(standing_from_world, points.positions)[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        vertices[name] = points.colours[:, column]
    return table(vertices, comments(scene))
