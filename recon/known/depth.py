"""Depth maps: 16-bit PNG, EXR, NPY, NPZ, COLMAP's and Record3D's own, as z-depth."""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from recon.errors import InputError
from recon.known.entry import Entry, Source
from recon.known.files import Bundle, is_deep_png

COLMAP = ".geometric.bin"  # of its dense reconstruction, checked against the other views
SUFFIXES = (".png", ".exr", ".npy", ".npz", COLMAP)
MOST_PIXELS = 50_000_000
MILLIMETRES = 0.001
RENDERED_NOTHING = 1e9
# Channels of an EXR file, and arrays of an NPZ file, that hold depth, by the ends of the names that programs give them
NAMES = ("z", "depth", "depth.z", "depth.v", "depths", "depth_z", "arr_0")


@dataclass(frozen=True)
class DepthFile:
    """A depth map on disk.

    Attributes:
        path: where it lies.
        name: what the user calls it.
        scale: units for a value of 1; None for millimetres where values are whole numbers, else the file's own unit.
        size: ``(width, height)`` where the file itself does not say.
    """

    path: Path
    name: str
    scale: float | None = None
    size: tuple[int, int] | None = None

    def load(self) -> tuple[np.ndarray, str]:
        """``[H,W] float32`` z-depth, 0 where unknown, and a word on what its values were taken for.

        Raises:
            InputError: the file holds no depth map, in a sentence that names it.
        """
        try:
            if self.path.stat().st_size == 0:
                raise InputError(f"'{self.name}' is empty (0 bytes): copy it again from where it came from.")
            values = _READERS[self.path.suffix.lower()](self)
        except InputError:
            raise
        except Exception as error:  # damaged files make decoders raise almost anything
            raise InputError(f"'{self.name}' is damaged or no depth map: copy it again.") from error
        values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
        values = values[0] if values.ndim == 3 and values.shape[0] == 1 else values
        if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "uif":
            raise InputError(f"'{self.name}' holds {_described(values)}, not one depth a pixel.")
        whole = values.dtype.kind in "ui"
        scale = self.scale if self.scale is not None else MILLIMETRES if whole else 1.0
        depth = values.astype(np.float32) * np.float32(scale)
        depth[~np.isfinite(depth) | (depth < 0) | (values >= _beyond(values.dtype))] = 0
        if not depth.any():
            raise InputError(f"'{self.name}' knows no depth: all of its pixels are 0 or not finite.")
        return depth, _taken_for(self.scale, whole)

    @property
    def in_metres(self) -> bool:
        """Whether the file's kind says that it is in millimetres: whole numbers without another scale."""
        return self.scale is None and self.path.suffix.lower() == ".png"


def read(bundle: Bundle, scale: float | None, notes: list[str]) -> list[Source]:
    """The depth maps of each folder, a source that is matched by name; what is left in the bundle that could be one."""
    folders: dict[PurePosixPath, list[str]] = {}
    for name in bundle.names(*SUFFIXES):
        path = bundle.files[name]
        if path.suffix.lower() == ".png":
            with path.open("rb") as file:
                deep = is_deep_png(file.read(32))
            if not deep:
                if not bundle.title:  # in a folder it is a photo, a mask, a preview
                    notes.append(f"'{name}' is not a depth map: a PNG of depth has one channel of 16 bits.")
                continue
        folders.setdefault(PurePosixPath(name).parent if bundle.title else PurePosixPath(), []).append(name)
    sources = []
    for folder, names in folders.items():
        title = bundle.title or (names[0] if len(names) == 1 else f"{len(names)} depth maps")
        title = title if str(folder) == "." else f"{title}, {folder}"
        files = [DepthFile(bundle.files[name], PurePosixPath(name).name, scale) for name in names]
        entries = [Entry(name.removesuffix(COLMAP), depth=file) for name, file in zip(names, files, strict=True)]
        sources.append(Source(title, "depth maps", entries, "likeness", all(file.in_metres for file in files)))
        bundle.take(*names)
    return sources


def _beyond(kind: np.dtype) -> float:
    """The value from which on there is none: the largest that fits, or what renderers write where nothing was hit."""
    return min(float(np.iinfo(kind).max if kind.kind in "ui" else np.finfo(kind).max), RENDERED_NOTHING)


def _taken_for(scale: float | None, whole: bool) -> str:
    if scale is None:
        return "in millimetres" if whole else "in its own unit"
    return "" if scale == 1 else "in millimetres" if scale == MILLIMETRES else f"times {scale:g}"


def _described(values: np.ndarray) -> str:
    return f"{'x'.join(map(str, values.shape)) or 'one'} values of type {values.dtype}"


def _check(name: str, width: int, height: int) -> None:
    if not 0 < width * height <= MOST_PIXELS:
        raise InputError(f"'{name}' has {width}x{height} pixels: make it smaller.")


def _png(file: DepthFile) -> np.ndarray:
    with Image.open(file.path, formats=("PNG",)) as picture:
        _check(file.name, *picture.size)
        return np.asarray(picture)


def _exr(file: DepthFile) -> np.ndarray:
    import OpenEXR  # here, since few need it

    with OpenEXR.File(str(file.path), header_only=True) as headers:
        for part in headers.parts:
            (left, top), (right, bottom) = part.header["dataWindow"]
            _check(file.name, int(right) - int(left) + 1, int(bottom) - int(top) + 1)
    with OpenEXR.File(str(file.path), separate_channels=True) as opened:
        found = [each for part in opened.parts for each in part.channels.items()]
        channels = {name.lower(): channel.pixels for name, channel in found}
    return np.asarray(_named(channels, file.name))


def _npy(file: DepthFile) -> np.ndarray:
    mapped = np.load(file.path, mmap_mode="r", allow_pickle=False)  # a shape that the file does not hold is refused
    _check(file.name, *(mapped.shape[:2] if mapped.ndim > 1 else (mapped.size, 1)))
    return np.array(mapped)


def _npz(file: DepthFile) -> np.ndarray:
    with zipfile.ZipFile(file.path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > 8 * MOST_PIXELS:
            raise InputError(f"'{file.name}' unpacks to too much: keep one depth map in it.")
    with np.load(file.path, allow_pickle=False) as arrays:
        return np.asarray(_named({name.lower(): arrays[name] for name in arrays.files}, file.name))


def _named(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The one that holds depth: called so, or the only one there is, be it three times as grey."""
    known = [array for called, array in arrays.items() if called in NAMES or called.endswith((".depth", ".depth.z"))]
    if known:
        return known[0]
    first = next(iter(arrays.values()), None)
    grey = "r" in arrays and set(arrays) <= set("rgba")
    grey = grey and all(np.array_equal(arrays[each], arrays["r"]) for each in "gb" if each in arrays)
    if first is None or (len(arrays) > 1 and not grey):
        raise InputError(f"'{name}' has no channel for depth among {', '.join(sorted(arrays))}: name one Z.")
    return arrays["r"] if grey else first


def _lzfse(file: DepthFile) -> np.ndarray:
    import lzfse  # here, since few need it

    assert file.size is not None
    width, height = file.size
    _check(file.name, width, height)
    packed = file.path.read_bytes()
    unpacked = packed if len(packed) == 4 * math.prod(file.size) else lzfse.decompress(packed)
    return np.frombuffer(unpacked, "<f4").reshape(height, width)


def _colmap(file: DepthFile) -> np.ndarray:
    """Width, height and 1 in letters, each before an ampersand; then float32, row by row."""
    with file.path.open("rb") as opened:
        head = re.match(rb"(\d{1,6})&(\d{1,6})&1&", opened.read(32))
        if head is None:
            raise InputError(f"'{file.name}' is no depth map of COLMAP: it does not begin as one.")
        width, height = map(int, head.groups())
        _check(file.name, width, height)
        opened.seek(head.end())
        return np.fromfile(opened, "<f4", width * height).reshape(height, width)


_READERS = {".png": _png, ".exr": _exr, ".npy": _npy, ".npz": _npz, ".depth": _lzfse, ".bin": _colmap}
