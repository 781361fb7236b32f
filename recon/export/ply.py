"""PLY: binary, little endian; position, normal, colour and confidence of every point."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon import gravity
from recon.export import cloud
from recon.filters import Filters
from recon.scene import Scene

VERTEX = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    + [(name, "u1") for name in ("red", "green", "blue")]
    + [("confidence", "<f4")]
)
HEADER = """ply
format binary_little_endian 1.0
comment Parallax: {frames} views, model {model}, 1 unit is {unit}
comment +Y is up; Blender: import with Forward Axis -Z, Up Axis Y
element vertex {count}
{properties}
end_header
"""


def write_ply(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the masked points, upright with +Y up as the GLB has them.

    PLY says nothing of its axes. MeshLab, Open3D and three.js show +Y up; Blender and CloudCompare take +Z for up.
    Blender's import dialogue turns the cloud (Forward Axis -Z, Up Axis Y): a comment of the header says so.
    """
    path.write_bytes(ply(scene, masks, gravity.upright(scene.frames)))


def ply(scene: Scene, masks: list[np.ndarray], upright_from_world: np.ndarray) -> bytes:
    """The masked points, turned upright, as the content of a file."""
    points = cloud.positions(scene, masks, upright_from_world)
    vertices = np.empty(len(points), VERTEX)
    for names, values in (
        (("x", "y", "z"), points),
        (("nx", "ny", "nz"), cloud.normals(scene, masks, upright_from_world)),
        (("red", "green", "blue"), cloud.colours(scene, masks)),
    ):
        for column, name in enumerate(names):
            vertices[name] = values[:, column]
    vertices["confidence"] = cloud.confidences(scene, masks)
    types = {"f": "float", "u": "uchar"}
    header = HEADER.format(
        frames=len(scene.frames),
        model=scene.model.encode("ascii", "replace").decode() or "unknown",
        unit="one metre" if scene.metric else "arbitrary",
        count=len(vertices),
        properties="\n".join(f"property {types[VERTEX[name].kind]} {name}" for name in VERTEX.names or ()),
    )
    return header.encode("ascii") + vertices.tobytes()
