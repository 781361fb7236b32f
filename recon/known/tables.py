"""Tables of numbers: intrinsics, trajectories of TUM and KITTI, and comma-separated ones that name their columns.

What a table is, its shape tells: 3x3, or a row of fx, fy, cx, cy, is one camera for all photos; 4x4 the same, or the
pose of the photo that the file is named after (ScanNet, 7-Scenes); rows of 8 are times, positions and quaternions xyzw
(TUM RGB-D); rows of 12 are 3x4 matrices (KITTI), of 16 are 4x4, all from camera to world in OpenCV axes; where rows of
7, 12 or 16 begin with a word, it names the photo. A first line of words names columns:
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
SINGLE = "pose"
LARGEST_OF_POSE = 1000.0  # determinants above are of intrinsics, focal length squared
LENS = ("fx", "fy", "cx", "cy")
PLACE = ("x", "y", "z", "qx", "qy", "qz", "qw")


def read(bundle: Bundle, notes: list[str]) -> list[Source]:
    """A source for each table, and one for each folder of files of a pose each; other text is none of ours."""
    sources, folders = list[Source](), dict[PurePosixPath, Source]()
    for name in bundle.names(*SUFFIXES):
        try:
            source = _source(bundle.called(name), name, bundle.text(name))
            if source is None and not bundle.title:
                raise InputError(
                    f"'{name}' is no table of cameras: give 3 rows of 3 numbers, rows of 8 (time, position, "
                    "quaternion), 12 or 16 (matrices), or name the columns in its first line."
                )
        except InputError as error:
            notes.append(str(error))
            source = None
        if source is None:
            continue
        bundle.take(name)
        if source.kind != SINGLE:
            sources.append(source)
        elif not PurePosixPath(name).name.startswith("extrinsic"):  # in ScanNet, from one camera to another
            folder = PurePosixPath(name).parent if bundle.title else PurePosixPath()
            together = folders.setdefault(folder, Source(bundle.title or "files", "poses", matched_by="likeness"))
            together.entries += source.entries
    return [*sources, *folders.values()]


def _source(title: str, name: str, text: str) -> Source | None:
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
    table = np.array(numbers, np.float64)
    return _of_matrix(title, name, table) or _by_shape(title, names, table)


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


def _of_matrix(title: str, name: str, table: np.ndarray) -> Source | None:
    """A file of one matrix: intrinsics of all photos, or the pose of the photo that the file is named after."""
    if table.shape not in ((3, 3), (4, 4)):
        return None
    lost = len(table) == 4 and not np.isfinite(table).all()  # as ScanNet writes that there is no pose
    if not lost and not np.array_equal(table[-1], np.eye(len(table))[-1]):
        return None
    if lost or (len(table) == 4 and abs(np.linalg.det(table[:3, :3])) < LARGEST_OF_POSE):
        return Source(title, SINGLE, [Entry(name.removesuffix(PurePosixPath(name).suffix), world_from_camera=table)])
    of_depth = "depth" in PurePosixPath(name).name  # ScanNet's depth has another camera; it is told in the colour's too
    return None if of_depth else Source(title, "intrinsics", [Entry(lens=Lens.pinhole(table))], "any")


def _by_shape(title: str, names: list[str], table: np.ndarray) -> Source | None:
    if table.shape == (1, 4) and not names:
        ((focal_x, focal_y, x, y),) = table.tolist()
        return Source(title, "intrinsics", [Entry(lens=Lens("PINHOLE", (focal_x, focal_y, x, y)))], "any")
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
