"""A zip file that takes bytes, and files as they are."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

DEFLATED = {".bin", ".json", ".ply"}  # the rest are pictures, which are packed already

Add = Callable[[str, Path | bytes], None]
"""Takes a name within the archive, and what to put under it."""


@contextmanager
def archive(path: Path) -> Iterator[Add]:
    """Write a zip file at ``path``, complete once the block is left."""
    with zipfile.ZipFile(path, "w", strict_timestamps=False) as opened:  # a photo may be of a time before 1980

        def add(name: str, content: Path | bytes) -> None:
            packed = zipfile.ZIP_DEFLATED if Path(name).suffix in DEFLATED else zipfile.ZIP_STORED
            if isinstance(content, Path):
                opened.write(content, name, packed)
            else:
                opened.writestr(name, content, packed)

        yield add
