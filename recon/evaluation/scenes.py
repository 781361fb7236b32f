"""Scenes with known cameras (and depth) on disk, to compare a reconstruction with.

One folder a scene::

    images/000.jpg ...  in order
    cameras.npz         K [N,3,3] in pixels, where (0, 0) is the CENTRE of the top-left pixel;
                        world_to_camera [N,4,4], OpenCV axes
    depth/000.png ...   16-bit z-depth divided by depth_scale, 0 where unknown
    meta.json           depth_scale, units_metric and where the scene comes from

All but the pictures may be missing; then there is nothing to compare with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recon import geometry
from recon.errors import InputError
from recon.media import natural_key
from recon.photo import SUFFIXES


@dataclass(frozen=True)
class TrueScene:
    """The pictures of a scene and what is known of them, in the conventions of `recon.scene`.

    Attributes:
        name: of the folder.
        pictures: N files, in order.
        intrinsics: ``[N,3,3] float64``, or None.
        world_from_camera: ``[N,4,4] float64``, or None.
        depth_files: for each picture its depth map, or None.
        depth_scale: units of the scene for a depth of 1 in the file.
        metric: True where one unit is one metre.
    """

    name: str
    pictures: tuple[Path, ...]
    intrinsics: np.ndarray | None
    world_from_camera: np.ndarray | None
    depth_files: tuple[Path | None, ...]
    depth_scale: float
    metric: bool

    def depth(self, index: int) -> np.ndarray | None:
        """``[H,W] float32`` z-depth of a picture, 0 where unknown; None where there is no depth map.

        Raises:
            InputError: the file cannot be read.
        """
        path = self.depth_files[index]
        if path is None:
            return None
        values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED) if path.stat().st_size else None
        if values is None or values.ndim != 2:
            raise InputError(f"The depth map {path} cannot be read: it should be a PNG with one channel.")
        return values.astype(np.float32) * np.float32(self.depth_scale)

    def choose(self, count: int, first: bool = False) -> tuple[int, ...]:
        """Indices of ``count`` pictures, or of all: the ``first``, or spread evenly from the first to the last."""
        total = len(self.pictures)
        if first or count >= total:
            return tuple(range(min(count, total)))
        return tuple(int(i) for i in np.linspace(0, total - 1, count).round())


def load_scene(folder: Path) -> TrueScene:
    """Read a scene folder.

    Raises:
        InputError: no pictures, or cameras that do not fit them.
    """
    pictures = _pictures(folder)
    if not pictures:
        raise InputError(f"There are no pictures in {folder / 'images'}.")
    depth_files = [folder / "depth" / f"{picture.stem}.png" for picture in pictures]
    meta = _meta(folder / "meta.json")
    intrinsics, world_from_camera = _cameras(folder / "cameras.npz", len(pictures))
    return TrueScene(
        name=folder.resolve().name,
        pictures=pictures,
        intrinsics=intrinsics,
        world_from_camera=world_from_camera,
        depth_files=tuple(path if path.is_file() else None for path in depth_files),
        depth_scale=float(meta.get("depth_scale", 1.0)),
        metric=bool(meta.get("units_metric", False)),
    )


def find_scenes(paths: Iterable[Path]) -> list[Path]:
    """Scene folders among ``paths``: each is one itself, or holds some.

    Raises:
        InputError: a path that is neither.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else []
        scenes = [path] if _pictures(path) else [folder for folder in inside if _pictures(folder)]
        if not scenes:
            raise InputError(f"{path} is no scene: a scene is a folder with pictures in a folder 'images' inside it.")
        found += scenes
    return found


def _pictures(folder: Path) -> tuple[Path, ...]:
    images = folder / "images"
    found = [path for path in images.iterdir() if path.suffix.lower() in SUFFIXES] if images.is_dir() else []
    return tuple(sorted(found, key=natural_key))


def _meta(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is not a JSON object.") from error


def _cameras(path: Path, count: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    if not path.is_file():
        return None, None
    try:
        with np.load(path, allow_pickle=False) as data:
            intrinsics, camera_from_world = data["K"].astype(np.float64), data["world_to_camera"].astype(np.float64)
    except (ValueError, KeyError, OSError) as error:
        raise InputError(f"{path} should hold the arrays K and world_to_camera.") from error
    if intrinsics.shape != (count, 3, 3) or camera_from_world.shape != (count, 4, 4):
        raise InputError(
            f"{path} should hold one K [3,3] and one world_to_camera [4,4] for each of the {count} pictures."
        )
    intrinsics[:, :2, 2] += 0.5  # the file counts from the centre of the top-left pixel, we from its corner
    return intrinsics, geometry.invert(camera_from_world)
