"""Scene <-> folder, losing nothing; and how any file or folder is written here: under a temporary name, then renamed.

The layout, version 1: ``scene.json`` holds everything but the arrays, ``scene.npz`` the arrays of the scene itself,
``frames/00000.npz`` and so on those of each frame. In the JSON a value that JSON does not know is an object of one
key that names its kind: a dataclass, ``path``, ``tuple``, ``dict``, ``array`` or ``scalar`` (both a key of the npz).
Nothing is pickled. A field that a dataclass has gained since the folder was written takes its default.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import InputError
from recon.given import Given
from recon.measurement import Measurement
from recon.scene import Camera, Frame, Gaussians, Labels, Scene, Segment, Tracks

VERSION = 1
DATACLASSES = {
    kind.__name__: kind for kind in (Scene, Frame, Camera, Tracks, Gaussians, Labels, Segment, Measurement, Given)
}
LAYOUT = {"scene.json", "scene.npz", "frames"}


def save(scene: Scene, folder: Path) -> Path:
    """Write ``scene`` to ``folder``, in place of a scene that stands there, and return the folder.

    Raises:
        InputError: the folder cannot be written, or holds something that is not a scene.
    """
    if folder.is_dir() and not {entry.name for entry in folder.iterdir()} <= LAYOUT:
        raise InputError(f"'{folder}' holds other files, which saving a scene would replace; name a new folder.")
    with replacing(folder) as temporary:
        (temporary / "frames").mkdir(parents=True)
        arrays: dict[str, np.ndarray] = {}
        encoded = {"scene": _encode(dataclasses.replace(scene, frames=[]), arrays)}
        np.savez(temporary / "scene.npz", **arrays)  # type: ignore[arg-type]
        encoded["frames"] = []
        for index, frame in enumerate(scene.frames):
            arrays = {}
            encoded["frames"].append(_encode(frame, arrays))
            np.savez(temporary / "frames" / f"{index:05d}.npz", **arrays)  # type: ignore[arg-type]
        (temporary / "scene.json").write_text(json.dumps({"version": VERSION, **encoded}, indent=1), "utf-8")
    return folder


def load(folder: Path) -> Scene:
    """Read what `save` wrote.

    Raises:
        InputError: there is no scene in ``folder``, or it is damaged, or of a newer layout.
    """
    try:
        document = json.loads((folder / "scene.json").read_text("utf-8"))
        if document["version"] > VERSION:
            raise InputError(f"The scene in '{folder}' was saved by a newer Parallax; update Parallax to open it.")
        with np.load(folder / "scene.npz", allow_pickle=False) as arrays:
            scene = _decode(document["scene"], arrays)
        for index, encoded in enumerate(document["frames"]):
            with np.load(folder / "frames" / f"{index:05d}.npz", allow_pickle=False) as arrays:
                scene.frames.append(_decode(encoded, arrays))
        if not isinstance(scene, Scene) or not all(isinstance(frame, Frame) for frame in scene.frames):
            raise TypeError("not a scene of frames")
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        if (folder / "scene.json").exists():
            raise InputError(f"The scene in '{folder}' is incomplete; save it again.") from error
        raise InputError(f"There is no scene in '{folder}': name a folder that Parallax saved.") from error
    except PermissionError as error:
        raise InputError(f"The scene in '{folder}' may not be read; check the permissions of its files.") from error
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"The scene in '{folder}' is damaged; save it again.") from error
    return scene


# --- values that JSON does not know --------------------------------------------------------------------------------


def _encode(value: Any, arrays: dict[str, np.ndarray], name: str = "") -> Any:
    """``value`` as JSON; its arrays are put into ``arrays`` under names that begin with ``name``."""
    if dataclasses.is_dataclass(value) and type(value).__name__ in DATACLASSES:
        prefix = f"{name}." if name else ""
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {type(value).__name__: {key: _encode(item, arrays, prefix + key) for key, item in fields.items()}}
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject:
            raise TypeError(f"'{name}' is an array of Python objects, which cannot be saved.")
        arrays[name] = np.asarray(value)
        return {"array" if isinstance(value, np.ndarray) else "scalar": name}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"'{name}' has keys that are no strings, which cannot be saved.")
        return {"dict": {key: _encode(item, arrays, f"{name}.{key}") for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, arrays, f"{name}.{index}") for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"'{name}' is a {type(value).__name__}, which cannot be saved.")


def _decode(encoded: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of `_encode`."""
    if isinstance(encoded, list):
        return [_decode(item, arrays) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    ((kind, content),) = encoded.items()
    if kind == "array":
        return arrays[content]
    if kind == "scalar":
        return arrays[content][()]
    if kind == "path":
        return Path(content)
    if kind == "tuple":
        return tuple(_decode(item, arrays) for item in content)
    fields = {key: _decode(item, arrays) for key, item in content.items()}
    return fields if kind == "dict" else DATACLASSES[kind](**fields)


# --- writing -------------------------------------------------------------------------------------------------------


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, for a file or a folder, which takes the place of ``path`` once it is complete.

    Whatever goes wrong, no half of it is left, and what stood under ``path`` before still stands there.

    Raises:
        InputError: the disk is full, or the place may not be written.
    """
    path = path.resolve()
    mark = secrets.token_hex(4)
    temporary, before = (path.with_name(f".{mark}-{word}{path.suffix}") for word in ("new", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir() and path.is_dir():
            path.rename(before)  # one cannot rename over a folder that is not empty
            try:
                temporary.rename(path)
            except OSError:
                before.rename(path)
                raise
            shutil.rmtree(before, ignore_errors=True)
        else:
            os.replace(temporary, path)
    except OSError as error:
        raise InputError(_why(error, path)) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # nothing to clean up must not hide what went wrong
            temporary.unlink()


def _why(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: free some space, then save '{path.name}' again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"'{path.parent}' may not be written to; choose another place for '{path.name}'."
    return f"'{path}' cannot be written ({error.strerror or error}); choose another place or name."
