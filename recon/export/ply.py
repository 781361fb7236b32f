"""PLY: binary, little endian; position, normal, colour, confidence and, where things are recognised, label of every
point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon import gravity
from recon.export import cloud
from recon.filters import Filters
from recon.palette import classes
from recon.scene import Labels, Scene

VERTEX = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    + [(name, "u1") for name in ("red", "green", "blue")]
    + [("confidence", "<f4")]
)
LABELLED = np.dtype([*VERTEX.descr, ("semantic", "<i4"), ("instance", "<i4")])
TYPES = {"<f4": "float", "|u1": "uchar", "<i4": "int"}


def write_ply(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the masked points, upright with +Y up as the GLB has them.

    PLY says nothing of its axes. MeshLab, Open3D and three.js show +Y up; Blender and CloudCompare take +Z for up.
    Blender's import dialogue turns the cloud (Forward Axis -Z, Up Axis Y): a comment of the header says so. Points of a
    scene with labels have ``semantic``, the number of their class (named in the header), and ``instance``, their
    segment; -1 stands for none.
    """
    path.write_bytes(ply(scene, masks, gravity.upright(scene.frames)))


def ply(scene: Scene, masks: list[np.ndarray], upright_from_world: np.ndarray) -> bytes:
    """The masked points, turned upright, as the content of a file."""
    points = cloud.positions(scene, masks, upright_from_world)
    vertices = np.empty(len(points), VERTEX if scene.labels is None else LABELLED)
    for names, values in (
        (("x", "y", "z"), points),
        (("nx", "ny", "nz"), cloud.normals(scene, masks, upright_from_world)),
        (("red", "green", "blue"), cloud.colours(scene, masks)),
    ):
        for column, name in enumerate(names):
            vertices[name] = values[:, column]
    vertices["confidence"] = cloud.confidences(scene, masks)
    said = [*comments(scene), "+Y is up; Blender: import with Forward Axis -Z, Up Axis Y"]
    if scene.labels is not None:
        vertices["instance"] = cloud.segments(scene, masks)
        vertices["semantic"] = classes(vertices["instance"], scene.labels)
        said += label_comments(scene.labels)
    return table(vertices, said)


def comments(scene: Scene) -> list[str]:
    """What a header says of a scene."""
    unit = "one metre" if scene.metric else "arbitrary"
    model = scene.model.encode("ascii", "replace").decode() or "unknown"
    return [f"Parallax: {len(scene.frames)} views, model {model}, 1 unit is {unit}"]


def label_comments(labels: Labels) -> list[str]:
    """Names of the classes that are found."""
    found = sorted({segment.label for segment in labels.segments})
    return [f"semantic {number} is {labels.names[number].encode('ascii', 'replace').decode()}" for number in found]


def table(vertices: np.ndarray, comments: Sequence[str]) -> bytes:
    """Fields of float32, uint8 and int32 as the content of a PLY file, its vertices."""
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {comment}" for comment in comments),
        f"element vertex {len(vertices)}",
        *(f"property {TYPES[vertices.dtype[name].str]} {name}" for name in vertices.dtype.names or ()),
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + vertices.tobytes()
