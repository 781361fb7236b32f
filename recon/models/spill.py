"""Frames that memory has no room for, on the disk: a long video's are looked at one by one, if ever again."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon.errors import InputError
from recon.scene import Frame

BUDGET = 1 << 30  # bytes of maps that stay in memory
MAPS = ("image", "depth", "confidence", "points", "valid", "moving", "segments")
ALIGNED = 64  # bytes


class Spill:
    """Keeps the maps of a scene's frames within a budget of memory: once it is spent, the older half goes to a file.

    The files have no names: the disk has them back as soon as nobody holds their frames any more. Their arrays stay
    arrays, of which a change is never written. Where the files are, TMPDIR tells; else it is /var/tmp where there is
    one, since /tmp often is memory itself.

    Args:
        budget: in bytes.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.written = 0  # bytes on the disk
        self._held: dict[int, int] = {}  # bytes of the frames in memory, by their place in the scene, the oldest first

    def tend(self, frames: Sequence[Frame], changed: Sequence[int]) -> None:
        """Look after frames that are new, or have new maps.

        Raises:
            InputError: the disk does not take them.
        """
        for place in changed:
            self._held.pop(place, None)
            self._held[place] = sum(array.nbytes for array in _maps(frames[place]).values())
        total = sum(self._held.values())
        if total <= self.budget:
            return
        leaving = []
        while total > self.budget / 2 and len(self._held) > 1:
            place = next(iter(self._held))
            total -= self._held.pop(place)
            leaving.append(frames[place])
        self._write(leaving)

    def _write(self, frames: Sequence[Frame]) -> None:
        arrays = [(frame, name, array) for frame in frames for name, array in _maps(frame).items()]
        try:
            with tempfile.TemporaryFile(dir=_folder()) as file:
                starts = []
                for _, _, array in arrays:
                    file.write(bytes(-file.tell() % ALIGNED))
                    starts.append(file.tell())
                    file.write(array.tobytes())
                file.flush()
                self.written += file.tell()
                whole = np.memmap(file, np.uint8, "c").view(np.ndarray)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InputError(
                    "The disk is full, and memory has no room for more frames: free some space, or set TMPDIR to a "
                    "folder on a larger disk."
                ) from error
            raise
        for (frame, name, array), start in zip(arrays, starts, strict=True):
            setattr(frame, name, whole[start : start + array.nbytes].view(array.dtype).reshape(array.shape))


def _maps(frame: Frame) -> dict[str, np.ndarray]:
    return {name: array for name in MAPS if (array := getattr(frame, name)) is not None}


def _folder() -> str | None:
    """Where large files go that are gone when the program ends; None for Python's own choice."""
    lasting = Path("/var/tmp")
    return str(lasting) if "TMPDIR" not in os.environ and os.access(lasting, os.W_OK) else None
