"""Files, folders and zips, in any mix, as bundles of named files that the readers look through.

What comes out of a zip is written under numbers in a temporary folder, so no name in it can lead anywhere, and only up
to a limit that is counted while unpacking, whatever the archive says of itself.
"""

from __future__ import annotations

import json
import os
import posixpath
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from recon.errors import InputError
from recon.media import natural_key
from recon.photo import cannot_open, shown_name

SUFFIXES = frozenset({".bin", ".txt", ".csv", ".json", ".png", ".exr", ".npy", ".npz", ".depth", ".tum", ".kitti"})
PLAIN_NAMES = frozenset({"metadata"})  # of Record3D, without a suffix
ARCHIVES = frozenset({".zip", ".r3d"})
MOST_FILES = 50_000
MOST_BYTES = 4 << 30  # unpacked, of one archive
MOST_TEXT = 256 << 20


@dataclass
class Bundle:
    """Files that were given together.

    Attributes:
        title: what the user calls them: the folder's or archive's name; "" for files given one by one.
        files: where each lies, by its path inside, with forward slashes; readers take out what they used.
    """

    title: str
    files: dict[str, Path] = field(default_factory=dict)
    _parsed: dict[str, Any] = field(default_factory=dict, repr=False)

    def names(self, *suffixes: str) -> list[str]:
        """Those that end in one of ``suffixes``, in natural order, folder by folder."""
        found = [PurePosixPath(name) for name in self.files if name.lower().endswith(suffixes)]
        return [str(name) for name in sorted(found, key=lambda name: (str(name.parent), natural_key(Path(name))))]

    def called(self, name: str) -> str:
        """What to call the source of something that the file ``name`` says."""
        return self.title or PurePosixPath(name).name

    def take(self, *names: str) -> None:
        """These files were used: nobody else should read them."""
        for name in names:
            self.files.pop(name, None)

    def beside(self, name: str, relative: str) -> str | None:
        """The file that ``name`` calls ``relative``: from its folder, or else the only one of that file name."""
        path = PurePosixPath(posixpath.normpath(PurePosixPath(name).parent / relative.replace("\\", "/")))
        if str(path) in self.files:
            return str(path)
        alike = [other for other in self.files if PurePosixPath(other).name == path.name]
        return alike[0] if len(alike) == 1 else None

    def text(self, name: str) -> str:
        """The text of a file.

        Raises:
            InputError: it is empty, no text, or too long.
        """
        path = self.files[name]
        size = path.stat().st_size
        if size == 0 or size > MOST_TEXT:
            raise InputError(f"'{name}' is {'empty: copy it again' if size == 0 else 'too long to be a table'}.")
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"'{name}' is no text: save it again from the program that made it.") from error

    def json(self, name: str) -> Any:
        """What a JSON file holds.

        Raises:
            InputError: it holds no JSON.
        """
        if name not in self._parsed:
            try:
                self._parsed[name] = json.loads(self.text(name))
            except (ValueError, RecursionError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"'{name}' is damaged: it is not the JSON that its name promises.") from error
        return self._parsed[name]


@contextmanager
def opened(paths: Sequence[str | Path], notes: list[str]) -> Iterator[list[Bundle]]:
    """Bundles of what ``paths`` hold: one a folder, one an archive, and one of all single files.

    What cannot be opened is told in ``notes``. Unpacked files are gone once this closes.
    """
    loose, bundles = Bundle(""), list[Bundle]()
    with tempfile.TemporaryDirectory(prefix="parallax-known-") as unpacked:
        for index, path in enumerate(map(Path, paths)):
            try:
                if path.is_dir():
                    bundles.append(Bundle(_folder_title(path.resolve()), _folder(path)))
                elif not path.is_file():
                    raise InputError(f"'{shown_name(path)}' does not exist: check its name.")
                elif path.suffix.lower() in ARCHIVES:
                    bundles.append(Bundle(shown_name(path), _archive(path, Path(unpacked) / str(index))))
                else:
                    loose.files[_free(loose, shown_name(path))] = path
            except InputError as error:
                notes.append(str(error))
            except OSError as error:
                notes.append(str(cannot_open(path, error)))
        yield [*bundles, loose] if loose.files else bundles


def _folder_title(folder: Path) -> str:
    """Its name, with that of its parent where it is but a number, as those of COLMAP's models are."""
    name = shown_name(folder)
    return f"{shown_name(folder.parent)}/{name}" if name.isdecimal() else name


def _free(bundle: Bundle, name: str) -> str:
    """``name``, in a folder of its own where another single file is called so."""
    folder, free = 1, name
    while free in bundle.files:
        folder, free = folder + 1, f"{folder + 1}/{name}"
    return free


def _inside(name: str) -> str:
    """A name in an archive as a plain path inside."""
    parts = PurePosixPath(posixpath.normpath(name.replace("\\", "/"))).parts
    return "/".join(part for part in parts if part not in ("/", "//", ".."))


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not hidden and (path.suffix.lower() in SUFFIXES or path.name.lower() in PLAIN_NAMES)


def _folder(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            inside = path.relative_to(folder).as_posix()
            if _wanted(inside) and path.is_file():
                files[inside] = path
        if len(files) > MOST_FILES:
            raise InputError(f"'{shown_name(folder)}' holds over {MOST_FILES} files: give the folder of one scene.")
    return files


def _archive(path: Path, folder: Path) -> dict[str, Path]:
    """Unpack what may be of use to ``folder``."""
    folder.mkdir()
    files: dict[str, Path] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            named = [(_inside(entry.filename), entry) for entry in archive.infolist() if not entry.is_dir()]
            entries = [(name, entry) for name, entry in named if _wanted(name)]
            if len(entries) > MOST_FILES:
                raise InputError(f"'{shown_name(path)}' holds over {MOST_FILES} files: pack those of one scene.")
            left = MOST_BYTES
            for index, (name, entry) in enumerate(entries):
                target = folder / f"{index}{PurePosixPath(name).suffix.lower()}"
                with archive.open(entry) as source, target.open("wb") as copy:
                    if target.suffix == ".png" and not is_deep_png(head := source.read(32)):
                        continue  # a photo: not worth unpacking
                    if target.suffix == ".png":
                        copy.write(head)
                    left -= _copy(source, copy, left, path)
                files[name] = target
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        locked = "password" in str(error)
        why = "needs a password: pack it without" if locked else "is damaged, or no zip file: pack it again"
        raise InputError(f"'{shown_name(path)}' {why}.") from error
    return files


def is_deep_png(head: bytes) -> bool:
    """Whether a file that begins so is a PNG of one channel of 16 bits (PNG 1.2, 11.2.2), which no photo is."""
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:26] == b"\x10\x00"


def _copy(source: Any, target: Any, most: int, path: Path) -> int:
    """Bytes written; `InputError` over ``most``."""
    written = 0
    while block := source.read(1 << 20):
        written += len(block)
        if written > most:
            raise InputError(f"'{shown_name(path)}' unpacks to over {MOST_BYTES >> 30} GB: pack only what is needed.")
        target.write(block)
    return written
