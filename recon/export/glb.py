"""GLB (binary glTF 2.0): the coloured points, and each camera as a camera and as the outline of its frustum.

Written here, not through a mesh library, because the specification (section 3.7.2.1) takes vertex colours to be linear,
so that photo colours need more than 8 bits, and because cameras should arrive as cameras.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from recon import geometry, gravity
from recon.export import cloud
from recon.filters import Filters
from recon.scene import Frame, Scene

POINTS, LINES = 0, 1  # primitive modes
OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
CAMERA_COLOUR = [1.0, 0.35, 0.02, 1.0]
EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1], [1, 5], [5, 2]])


def write_glb(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the masked points and the cameras of the chosen frames, upright with +Y up as glTF wants it.

    Nodes: ``points`` and, children of ``cameras``, the frustum of each frame, named after the photo, and beside it the
    camera (side by side because trimesh takes no mesh from a camera's node). glTF cameras have their principal point in
    the centre; the frustum shows the true one.
    """
    upright_from_world = gravity.upright(scene.frames)
    shown = [frame for index, frame in enumerate(scene.frames) if filters.shows(index)]
    file = _Buffer()
    colours = file.add(linear_from_srgb()[cloud.colours(scene, masks)])
    attributes = {
        "POSITION": file.add(cloud.positions(scene, masks, upright_from_world), limits=True),
        "COLOR_0": colours,
        "_COLOR": colours,  # Blender 4.2 loses COLOR_0 on points (glTF-Blender-IO issue 2452), but keeps this
    }
    meshes: list[Any] = [_mesh("points", attributes, POINTS, material=0)]
    nodes: list[Any] = [
        {"name": "points", "mesh": 0},
        {"name": "cameras", "children": list(range(2, 2 + 2 * len(shown)))},
    ]
    size = frustum_size(scene)
    for index, frame in enumerate(shown):
        lines = {"POSITION": file.add(frustum(frame, size)[EDGES].reshape(-1, 3), limits=True)}
        meshes.append(_mesh(frame.name, lines, LINES, material=1))
        upright_from_camera = upright_from_world @ frame.camera.world_from_camera @ OPENGL_FROM_OPENCV
        matrix = upright_from_camera.T.ravel().tolist()  # column by column
        nodes.append({"name": frame.name, "mesh": index + 1, "matrix": matrix})
        nodes.append({"name": f"camera of {frame.name}", "camera": index, "matrix": matrix})
    document = {
        "asset": {"version": "2.0", "generator": "Parallax"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": nodes,
        "meshes": meshes,
        "cameras": [_camera(frame, size) for frame in shown],
        "materials": [_unlit("points", [1.0, 1.0, 1.0, 1.0]), _unlit("cameras", CAMERA_COLOUR)],
        **file.tables(),
    }
    file.write(document, path)


def linear_from_srgb() -> np.ndarray:
    """``[256] float32``: the linear value of each 8-bit sRGB value (IEC 61966-2-1)."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def frustum_size(scene: Scene) -> float:
    """How deep to draw frusta: an eighth of the median depth, but no more than half the usual step between cameras."""
    depths = [float(np.median(frame.depth[known])) for frame in scene.frames if (known := frame.known()).any()]
    size = 0.125 * float(np.median(depths)) if depths else 1.0
    centres = np.stack([frame.camera.centre for frame in scene.frames])
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=-1)
    return max(min(size, 0.5 * float(np.median(steps))), 0.2 * size) if len(steps) else size


def frustum(frame: Frame, size: float) -> np.ndarray:
    """``[6,3] float32``, centre, the picture's corners, a mark on top, in glTF axes (x right, y up, z backward)."""
    width, height = frame.size
    pixels = np.array([[0, 0], [width, 0], [width, height], [0, height], [width / 2, -0.15 * height]])
    intrinsics = frame.camera.intrinsics
    rays = (pixels - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]]
    corners = np.column_stack([rays, np.ones(5)]) * size
    return geometry.transform(OPENGL_FROM_OPENCV, np.vstack([np.zeros(3), corners])).astype(np.float32)


def _camera(frame: Frame, size: float) -> dict[str, Any]:
    width, height = frame.size
    x, y = width / 2 / frame.camera.intrinsics[0, 0], height / 2 / frame.camera.intrinsics[1, 1]
    perspective = {"yfov": float(2 * np.arctan(y)), "aspectRatio": float(x / y), "znear": size / 100}
    return {"name": frame.name, "type": "perspective", "perspective": perspective}


def _mesh(name: str, attributes: dict[str, int], mode: int, material: int) -> dict[str, Any]:
    return {"name": name, "primitives": [{"attributes": attributes, "mode": mode, "material": material}]}


def _unlit(name: str, colour: list[float]) -> dict[str, Any]:
    return {
        "name": name,
        "pbrMetallicRoughness": {"baseColorFactor": colour, "metallicFactor": 0.0, "roughnessFactor": 1.0},
        "extensions": {"KHR_materials_unlit": {}},
    }


class _Buffer:
    """The binary part of the file: arrays one after the other."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.accessors: list[dict[str, Any]] = []
        self.views: list[dict[str, int]] = []
        self.length = 0

    def add(self, array: np.ndarray, limits: bool = False) -> int:
        """Append ``[N,3] float32``; returns the accessor's index."""
        array = np.ascontiguousarray(array, "<f4")
        accessor: dict[str, Any] = {"componentType": 5126, "type": "VEC3", "count": len(array)}
        accessor["bufferView"] = len(self.views)
        if limits:
            accessor |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        self.views.append({"buffer": 0, "byteOffset": self.length, "byteLength": array.nbytes, "target": 34962})
        self.arrays.append(array)
        self.accessors.append(accessor)
        self.length += array.nbytes
        return len(self.accessors) - 1

    def tables(self) -> dict[str, Any]:
        """What the JSON says of the buffer."""
        return {"accessors": self.accessors, "bufferViews": self.views, "buffers": [{"byteLength": self.length}]}

    def write(self, document: dict[str, Any], path: Path) -> None:
        """The container: a header, then the JSON and the binary chunk, each of a length that 4 divides."""
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        with path.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + self.length))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            file.write(struct.pack("<I4s", self.length, b"BIN\0"))
            for array in self.arrays:
                file.write(array.data)
