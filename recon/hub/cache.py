"""The cache of huggingface_hub: where files lie in it, and whether all of them is there.

Of a repository it holds ``refs`` (from branch to commit), ``snapshots`` (a folder of links a commit) and ``blobs``: the
files themselves, each named by its checksum.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock
from safetensors import SafetensorError, safe_open

from recon.errors import InputError
from recon.hub.helper import INTERVAL

REVISION = "main"
CONFIGURATION = "config.json"
BLOCK = 8 << 20  # bytes read at once


def folder() -> Path:
    """Where all repositories lie, by the environment's variables as they are now."""
    cache = constants.HF_HUB_CACHE
    for variable, below in (("HF_HUB_CACHE", "."), ("HUGGINGFACE_HUB_CACHE", "."), ("HF_HOME", "hub")):
        if value := os.environ.get(variable):
            cache = os.path.join(os.path.expandvars(value), below)
            break
    return Path(cache).expanduser().absolute()


def offline() -> bool:
    """Whether no network may be asked."""
    values = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in constants.ENV_VARS_TRUE_VALUES for value in values)


def folder_of(repository: str, kind: str) -> Path:
    """Where a repository of a kind, "model" or "dataset", lies."""
    return folder() / f"{kind}s--{repository.replace('/', '--')}"


def find(repository: str, kind: str, files: tuple[str, ...]) -> Path | None:
    """The best of some checkpoints that is whole, of the branch's commit before any other, the newest first."""
    folder = folder_of(repository, kind)
    with suppress(OSError):
        reference = folder / "refs" / REVISION
        current = reference.read_text() if reference.is_file() else ""
        snapshots = sorted((folder / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for snapshot in sorted(snapshots, key=lambda path: path.name != current):
            for name in files:
                if whole(snapshot / name):
                    return snapshot / name
    return None


def whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is there and has its end: safetensors and zip archives know their length."""
    try:
        with checkpoint.open("rb") as file:
            head = file.read(9)
            if head[8:] == b"{":
                with safe_open(checkpoint, "np"):
                    return True
            if head.startswith(b"PK"):
                with ZipFile(file) as archive:
                    file.seek(-22 - len(archive.comment), os.SEEK_END)
                    return file.read(4) == b"PK\5\6"
        return head.startswith(b"\x80")  # what torch.save wrote before 2020 does not know
    except (OSError, SafetensorError, BadZipFile):
        return False


def configuration_known(checkpoint: Path) -> bool:
    """Whether config.json of the same commit is there, or a note that there is none."""
    beside, note = checkpoint.parent / CONFIGURATION, note_of_none(checkpoint.parent)
    return note.is_file() or (beside.is_file() and checksum_holds(beside, beside.resolve().name))


def note_of_none(snapshot: Path) -> Path:
    """The empty file that says that a commit has no config.json."""
    return snapshot.parent.parent / ".no_exist" / snapshot.name / CONFIGURATION


def intact(path: Path, name: str, checksum: str, size: int | None) -> bool:
    """Whether what the cache has of a file may stay: as long as the Hub says, and with its end."""
    if not path.is_file() or size not in (None, size_of(path)):
        return False
    return checksum_holds(path, checksum) if name == CONFIGURATION else whole(path)


def checksum_holds(path: Path, checksum: str, attend: Callable[[], None] = lambda: None) -> bool:
    """Whether a file has this SHA-256, MD5, or Git's SHA-1 of a blob; True for anything else, which tells nothing."""
    if re.fullmatch(r"[0-9a-f]{64}", checksum):
        digest = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{32}", checksum):
        digest = hashlib.md5(usedforsecurity=False)
    elif re.fullmatch(r"[0-9a-f]{40}", checksum):
        digest = hashlib.sha1(b"blob %d\0" % size_of(path), usedforsecurity=False)
    else:
        return True
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            attend()
    return digest.hexdigest() == checksum


def size_of(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def point(pointer: Path, blob: Path) -> None:
    """Let a name stand for a blob.

    Raises:
        InputError: the disk does not take it.
    """
    with writing(pointer.parent):
        try:
            replace(pointer, lambda temporary: temporary.symlink_to(os.path.relpath(blob, pointer.parent)))
        except OSError:  # no symbolic links here: then the file itself lies there, as huggingface_hub has it
            blob.replace(pointer)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    """Let a file appear at once, in place of what was there."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    make(temporary)
    temporary.replace(path)


@contextmanager
def locked(path: Path, attend: Callable[[], None]) -> Iterator[None]:
    """Hold a lock, the one that huggingface_hub itself takes, between threads and processes.

    Raises:
        InputError: the disk does not take it.
    """
    with ExitStack() as stack:
        while True:
            with writing(path.parent), suppress(TimeoutError):
                stack.enter_context(WeakFileLock(path, timeout=INTERVAL))
                break
            attend()
        yield


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what a disk objects into a sentence.

    Raises:
        InputError: it is full, or may not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"The disk is full: free some space for '{folder}', or set HF_HOME to another.") from error
        if error.errno == errno.EFBIG:
            raise InputError(f"'{folder}' takes no file of that size; set HF_HOME to a folder that does.") from error
        raise InputError(f"'{folder}' cannot be written; set HF_HOME to a folder that can.") from error
