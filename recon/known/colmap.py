"""COLMAP models, binary and text, of old and new versions (colmap.github.io/format.html).

Only cameras and images are read, here and not by the library: it wants the points too, which may be gigabytes and are
of no use here, and it believes whatever counts a damaged file gives. Versions with rigs still write every image's pose.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from recon import geometry
from recon.errors import InputError
from recon.known.entry import Entry, Lens, Source
from recon.known.files import Bundle

TABLES = ("cameras", "images", "points3D", "rigs", "frames")
# COLMAP's numbers of its camera models and how many parameters each has (src/colmap/sensor/models.h)
MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: ("SIMPLE_DIVISION", 4),
    13: ("DIVISION", 5),
    14: ("SIMPLE_FISHEYE", 3),
    15: ("FISHEYE", 4),
    16: ("EUCM", 6),
    17: ("EQUIRECTANGULAR", 2),
}
POINT_BYTES = 24


def read(bundle: Bundle, notes: list[str]) -> list[Source]:
    """The models of a bundle, each a source; damaged ones are told in ``notes``."""
    tables = {PurePosixPath(name) for name in bundle.names(".bin", ".txt")}
    tables = {path for path in tables if path.stem in TABLES}
    sources = []
    folders = sorted({path.parent for path in tables})
    for folder in folders:
        here = {path for path in tables if path.parent == folder}
        suffixes = [s for s in (".bin", ".txt") if {folder / f"cameras{s}", folder / f"images{s}"} <= here]
        title = bundle.title or "cameras and images"
        title = f"{title}, {folder}" if len(folders) > 1 else title
        try:
            if not suffixes:
                raise InputError(f"The COLMAP model in {title} lacks its file of cameras or of images: give both.")
            sources.append(Source(title, "COLMAP", _model(bundle, folder, suffixes[0])))
        except InputError as error:
            notes.append(str(error))
        bundle.take(*map(str, here))
    return sources


def _model(bundle: Bundle, folder: PurePosixPath, suffix: str) -> list[Entry]:
    names = [str(folder / f"{table}{suffix}") for table in ("cameras", "images")]
    try:
        if suffix == ".txt":
            cameras, images = _text_cameras(bundle.text(names[0])), list(_text_images(bundle.text(names[1])))
        else:
            with bundle.files[names[0]].open("rb") as file:
                cameras = _binary_cameras(file)
            with bundle.files[names[1]].open("rb") as file:
                images = list(_binary_images(file, bundle.files[names[1]].stat().st_size))
        entries = [
            Entry(name, lens=cameras[camera], world_from_camera=_pose(np.array(placed)))
            for name, camera, placed in images
        ]
    except (ValueError, IndexError, KeyError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The COLMAP model '{folder / ('images' + suffix)}' is damaged: export it again.") from error
    if not entries:
        raise InputError(f"The COLMAP model of '{names[1]}' has no images: no photo was registered in it.")
    return entries


def _pose(numbers: np.ndarray) -> np.ndarray:
    """``world_from_camera [4,4]`` of the quaternion and translation that take the world to the camera."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return geometry.invert(geometry.rigid(geometry.rotation_from_quaternion(numbers[:4]), numbers[4:]))


# --- binary ----------------------------------------------------------------------------------------------------------


def _take(file: BinaryIO, layout: str) -> tuple[float, ...]:
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))  # struct.error at the end of the file


def _binary_cameras(file: BinaryIO) -> dict[int, Lens]:
    cameras = {}
    for _ in range(int(_take(file, "Q")[0])):
        identity, kind, width, height = map(int, _take(file, "IiQQ"))
        if kind not in MODELS:
            raise InputError(f"The COLMAP model has a camera of an unknown kind (number {kind}).")
        model, count = MODELS[kind]
        cameras[identity] = Lens(model, _take(file, f"{count}d"), (width, height))
    return cameras


def _binary_images(file: BinaryIO, size: int) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    for _ in range(int(_take(file, "Q")[0])):
        _, *placed, camera = _take(file, "I7dI")
        name = bytearray()
        while (letter := file.read(1)) != b"\0":
            if not letter:
                raise ValueError("the file ends within a name")
            name += letter
        after = file.tell() + 8 + POINT_BYTES * int(_take(file, "Q")[0])
        if after > size:
            raise ValueError("the file ends within the points of an image")
        file.seek(after)
        yield name.decode("utf-8", "replace"), int(camera), tuple(placed)


# --- text ------------------------------------------------------------------------------------------------------------


def _text_cameras(text: str) -> dict[int, Lens]:
    cameras = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            identity, model, width, height, *params = line.split()
            cameras[int(identity)] = Lens(model, tuple(map(float, params)), (int(width), int(height)))
    return cameras


def _text_images(text: str) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    """Every second line lists what the image sees; it may be empty, and files made by hand leave it out."""
    after_image = False
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        fields = line.split(maxsplit=9)
        if len(fields) < 10 or (after_image and _is_number(fields[9].split()[0])):
            if fields and not after_image:
                raise ValueError("a line that is no image")
            after_image = False
            continue
        yield fields[9].strip(), int(fields[8]), tuple(map(float, fields[1:8]))
        after_image = True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
