"""nerfstudio's ``transforms.json``, and what instant-ngp, Blender scenes and their kin write under that name.

Cameras look along -z with y up (docs.nerf.studio, data conventions); ``applied_transform`` and ``applied_scale`` tell
what was done to the world before writing, and are undone. Depth times ``depth_unit_scale_factor`` is in metres.
"""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from recon.errors import InputError
from recon.known.depth import MILLIMETRES, DepthFile
from recon.known.entry import Entry, FieldOfView, Lens, Source, matrix, pose
from recon.known.files import Bundle

CV_FROM_GL = np.diag([1.0, -1, -1, 1])  # its own inverse: y and z of a camera turned about x
RADIAL = ("k1", "k2", "p1", "p2")
RATIONAL = (*RADIAL, "k3", "k4", "k5", "k6")
FISHEYE = ("k1", "k2", "k3", "k4")


def read(bundle: Bundle, notes: list[str]) -> list[Source]:
    """One source for the JSON files of each folder that list frames, since their parts share a world."""
    sources: dict[PurePosixPath, Source] = {}
    for name in bundle.names(".json"):
        try:
            document = bundle.json(name)
            frames = document.get("frames") if isinstance(document, dict) else None
            if not isinstance(frames, list):
                if "transforms" in PurePosixPath(name).name.lower():
                    raise InputError(f"'{name}' lists no frames: it is no transforms.json of nerfstudio.")
                continue
            bundle.take(name)
            source = sources.setdefault(PurePosixPath(name).parent, Source(bundle.called(name), "transforms.json"))
            source.entries += [_entry(bundle, name, document, frame) for frame in frames if isinstance(frame, dict)]
            deep = any(entry.depth is not None for entry in source.entries)
            source.metric = deep and "integer_depth_scale" not in document  # that of instant-ngp is to its own unit
        except InputError as error:
            bundle.take(name)
            notes.append(str(error))
    depths = {entry.depth.path for source in sources.values() for entry in source.entries if entry.depth is not None}
    bundle.take(*[name for name, path in bundle.files.items() if path in depths])
    return [source for source in sources.values() if source.entries]


def _entry(bundle: Bundle, name: str, document: dict[str, Any], frame: dict[str, Any]) -> Entry:
    picture = str(frame.get("file_path") or frame.get("image_path") or "").replace("\\", "/")
    placed = pose(frame["transform_matrix"]) if "transform_matrix" in frame else None
    if "transform_matrix" in frame and placed is None:
        placed = np.full((4, 4), np.nan)  # told as such with the others that are no poses
    return Entry(
        picture,
        lens=_lens({**document, **frame}),
        world_from_camera=None if placed is None else _original(document, placed) @ CV_FROM_GL,
        depth=_depth(bundle, name, document, frame),
    )


def _original(document: dict[str, Any], placed: np.ndarray) -> np.ndarray:
    """A camera ``[4,4]`` of the file, in the world before ``applied_scale`` and, first, ``applied_transform``."""
    applied = pose(document["applied_transform"]) if "applied_transform" in document else np.eye(4)
    if applied is None or not np.isfinite(applied).all() or abs(np.linalg.det(applied)) < 1e-9:
        raise InputError("The applied_transform of a transforms.json is no transform: export it again.")
    unscaled = placed.copy()
    unscaled[:3, 3] /= _number(document, "applied_scale") or 1.0
    return np.asarray(np.linalg.inv(applied) @ unscaled)


def _number(values: dict[str, Any], key: str) -> float | None:
    value = matrix(values.get(key), 1, 1)
    return None if value is None else float(value[0, 0])


def _lens(values: dict[str, Any]) -> Lens | FieldOfView | None:
    width, height = _number(values, "w"), _number(values, "h")
    size = (int(width), int(height)) if width and height and math.isfinite(width * height) else None
    focal_x = _number(values, "fl_x") or _number(values, "fl_y")
    across, down = _number(values, "camera_angle_x"), _number(values, "camera_angle_y")
    if focal_x is None:
        return None if across is None else FieldOfView(across, down, size)
    focal_y = _number(values, "fl_y") or focal_x
    centre_x, centre_y = _number(values, "cx"), _number(values, "cy")
    if centre_x is None or centre_y is None:
        if size is None:
            return None
        centre_x, centre_y = size[0] / 2, size[1] / 2
    model, names = _model(values)
    distortion = tuple(_number(values, key) or 0.0 for key in names)
    return Lens(model, (focal_x, focal_y, centre_x, centre_y, *distortion), size)


def _model(values: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """COLMAP's name of the camera model, and the keys of its distortion in COLMAP's order."""
    named = str(values.get("camera_model", "OPENCV")).upper()
    if "FISHEYE" in named or values.get("is_fisheye") is True:
        return "OPENCV_FISHEYE", FISHEYE
    if named not in ("OPENCV", "FULL_OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL"):
        return named, ()
    if named != "FULL_OPENCV" and _number(values, "k4"):
        return "OPENCV with k4", ()  # a fourth radial term, which no other program's formula has
    if any(_number(values, key) for key in ("k3", "k4", "k5", "k6")):
        return "FULL_OPENCV", RATIONAL
    if any(_number(values, key) for key in RADIAL):
        return "OPENCV", RADIAL
    return "PINHOLE", ()


def _depth(bundle: Bundle, name: str, document: dict[str, Any], frame: dict[str, Any]) -> DepthFile | None:
    told = frame.get("depth_file_path") or frame.get("depth_path")
    found = bundle.beside(name, str(told)) if told else None
    if found is None:
        return None
    scale = _number(document, "depth_unit_scale_factor") or _number(document, "integer_depth_scale") or MILLIMETRES
    path = bundle.files[found]
    return DepthFile(path, PurePosixPath(found).name, scale)
