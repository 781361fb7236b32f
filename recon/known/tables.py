"""Tables of numbers: intrinsics, trajectories of TUM and KITTI, and comma-separated ones that name their columns.

What a table is, its shape tells: 3 rows of 3 are one matrix of intrinsics for all photos; rows of 8 are times,
positions and quaternions xyzw (TUM RGB-D); rows of 12 are 3x4 matrices (KITTI), of 16 are 4x4, all from camera to world
in OpenCV axes; where rows of 7, 12 or 16 begin with a word, it names the photo. A first line of words names columns:
``name, time, fx, fy, cx, cy, width, height, x, y, z, qx, qy, qz, qw`` (Stray Scanner's odometry.csv has some of them).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import numpy as np

from recon import geometry
from recon.errors import InputError
from recon.known.entry import Entry, Lens, Source, pose
from recon.known.files import Bundle

SUFFIXES = (".txt", ".csv", ".tum", ".kitti")
ALIASES = {
    "image": "name", "filename": "name", "file": "name", "file_name": "name", "image_name": "name", "photo": "name",
    "timestamp": "time", "w": "width", "h": "height", "fl_x": "fx", "fl_y": "fy",
    "tx": "x", "ty": "y", "tz": "z",
}  # fmt: skip
LENS = ("fx", "fy", "cx", "cy")
PLACE = ("x", "y", "z", "qx", "qy", "qz", "qw")


def read(bundle: Bundle, notes: list[str]) -> list[Source]:
    """A source for each table that is one of those; other text in a folder is none of ours."""
    sources = []
    for name in bundle.names(*SUFFIXES):
        try:
            source = _source(bundle.called(name), bundle.text(name))
            if source is None and not bundle.title:
                raise InputError(
                    f"'{name}' is no table of cameras: give 3 rows of 3 numbers, rows of 8 (time, position, "
                    "quaternion), 12 or 16 (matrices), or name the columns in its first line."
                )
        except InputError as error:
            notes.append(str(error))
            source = None
        if source is not None:
            bundle.take(name)
            sources.append(source)
    return sources


def _source(title: str, text: str) -> Source | None:
    lines = [line.strip() for line in text.splitlines()]
    rows = [_fields(line) for line in lines if line and not line.startswith(("#", "//"))]
    if not rows:
        return None
    if header := _header(rows[0]):
        return _named_columns(title, header, rows[1:])
    names = [row[0] for row in rows] if _number(rows[0][0]) is None else []
    numbers = [[_number(field) for field in (row[1:] if names else row)] for row in rows]
    lengths = {len(row) for row in numbers}
    if len(lengths) != 1 or any(value is None for row in numbers for value in row):
        return None
    return _by_shape(title, names, np.array(numbers, np.float64))


def _fields(line: str) -> list[str]:
    fields = [field.strip().strip("\"'") for field in re.split(r"[,;]", line)] if re.search("[,;]", line) else []
    return fields if len(fields) > 1 else line.split()


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _header(fields: list[str]) -> list[str]:
    """Names of columns, or nothing where the first line is none of names that are known here."""
    names = [ALIASES.get(field.lower(), field.lower()) for field in fields]
    return names if set(LENS[:1]) & set(names) or set(PLACE) <= set(names) else []


def _by_shape(title: str, names: list[str], table: np.ndarray) -> Source | None:
    if table.shape == (3, 3) and not names and table[2, 2] == 1:
        return Source(title, "intrinsics", [Entry(lens=Lens.pinhole(table))], "any")
    if table.shape[1] == 8 and not names:
        entries = [Entry(time=row[0], world_from_camera=_pose(row[1:])) for row in table]
        return Source(title, "TUM trajectory", entries, "time")
    kinds = {7: "poses", 12: "KITTI poses", 16: "poses"}
    if table.shape[1] not in kinds:
        return None
    named = zip(names or [""] * len(table), table, strict=True)
    entries = [Entry(name, world_from_camera=_pose(row) if len(row) == 7 else pose(row)) for name, row in named]
    return Source(title, kinds[table.shape[1]], entries, "name" if names else "order")


def _pose(row: np.ndarray) -> np.ndarray:
    """``[4,4]`` of x, y, z and a quaternion xyzw; not finite where that has no length."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return geometry.rigid(geometry.rotation_from_quaternion(row[[6, 3, 4, 5]]), row[:3])


def _named_columns(title: str, columns: list[str], rows: list[list[str]]) -> Source | None:
    entries = []
    for row in rows:
        values = dict(zip(columns, row, strict=False))
        lens, place = _numbers(values, LENS), _numbers(values, PLACE)
        size = _numbers(values, ("width", "height"))
        if lens is None and (focal := _numbers(values, ("fx", "cx", "cy"))) is not None:
            lens = focal[[0, 0, 1, 2]]
        entries.append(
            Entry(
                PurePosixPath(values.get("name", "").replace("\\", "/")).as_posix().removeprefix("."),
                time=_number(values.get("time", "")),
                lens=None
                if lens is None
                else Lens("PINHOLE", tuple(lens), None if size is None else (int(size[0]), int(size[1]))),
                world_from_camera=None if place is None else _pose(place),
            )
        )
    entries = [entry for entry in entries if entry.lens is not None or entry.world_from_camera is not None]
    if not entries:
        return None
    if any(entry.name for entry in entries):
        return Source(title, "table", entries, "name")
    if any(entry.time is not None for entry in entries):
        return Source(title, "table", entries, "time")
    shared = len(entries) == 1 and entries[0].world_from_camera is None
    return Source(title, "table", entries, "any" if shared else "order")


def _numbers(values: dict[str, str], names: tuple[str, ...]) -> np.ndarray | None:
    numbers = [_number(values.get(name, "")) for name in names]
    return None if any(number is None for number in numbers) else np.array(numbers, np.float64)
