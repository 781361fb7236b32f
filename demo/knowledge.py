"""What a visitor knows of their photos beside the photos: the files, and what was understood of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from demo.session import Session
from recon import InputError, View
from recon.known import Known, attach

log = logging.getLogger(__name__)

MAPS = {".png", ".exr", ".npy", ".npz", ".depth", ".zip", ".r3d"}  # files that may hold depth


@dataclass
class Knowledge:
    """Of one visit. The files stay until they are taken away, whatever happens to the photos.

    Attributes:
        session: whose folder the files lie in.
        files: by the name that the visitor knows; one of the same name takes the place of the former.
        depth_scale: units for a value of 1 in depth maps that do not say; None for what is usual.
        metric: True where the visitor says that all is in metres.
        exif: whether focal lengths of the EXIF data count as known.
        known: what was understood; None where nothing was.
        said: why nothing was, in a sentence.
        shown: whether given cameras are drawn beside those that were found.
    """

    session: Session
    files: dict[str, Path] = field(default_factory=dict)
    depth_scale: float | None = None
    metric: bool = False
    exif: bool = False
    known: Known | None = None
    said: str = ""
    shown: bool = True
    _drops: int = 0
    _views: list[View] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def may_hold_depth(self) -> bool:
        """Whether any of the files may be, or hold, a depth map."""
        return any(path.suffix.lower() in MAPS for path in self.files.values())

    def views(self, views: Sequence[View]) -> list[View]:
        """``views`` with what is known of them."""
        known = self.known
        return list(views) if known is None or not self._is_of(views) else known.views

    def add(
        self, uploaded: Sequence[str | Path], views: Sequence[View], progress: Callable[[float, str], None]
    ) -> None:
        """Keep files and understand all that there are.

        Raises:
            OSError: there is no room for them.
        """

        def report(fraction: float, name: str) -> None:
            with suppress(InputError):  # nobody watches any more, but whoever loads the page again wants the result
                progress(fraction, name)

        with self._lock:
            self._drops += 1
            for path in dict.fromkeys(map(Path, uploaded)):  # of two that are the same in every way there is one file
                stored = self.session.store(path, move=True, folder=f"known/{self._drops}")
                former = self.files.pop(stored.name, None)
                if former is not None:
                    former.unlink(missing_ok=True)
                self.files[stored.name] = stored
            self.understand(views, report)

    def clear(self) -> None:
        """Take all files away, and what else was said of them."""
        with self._lock:
            for path in self.files.values():
                path.unlink(missing_ok=True)
            self.files, self.depth_scale, self.metric, self.exif = {}, None, False, False
            self.known, self.said = None, ""

    def follow(self, views: Sequence[View]) -> None:
        """Understand the files anew where the photos are others than before."""
        with self._lock:
            if not self._is_of(views):
                self.understand(views)

    def understand(self, views: Sequence[View], progress: Callable[[float, str], None] | None = None) -> None:
        """See what the files say of ``views``; what cannot be used is told, and stays for other photos."""
        with self._lock:
            self.known, self.said, self._views = None, "", list(views)
            if not views or not (self.files or self.exif):
                return
            try:
                known = attach(
                    views, list(self.files.values()), depth_scale=self.depth_scale, metric=self.metric or None,
                    exif=self.exif, progress=progress,
                )  # fmt: skip
            except InputError as error:
                self.said = str(error)
            except OSError as error:
                log.exception("files of what is known cannot be read")
                self.said = f"These files cannot be read ({error.strerror or error}): drop them again."
            else:
                self.known = known

    def _is_of(self, views: Sequence[View]) -> bool:
        return len(views) == len(self._views) and all(a is b for a, b in zip(views, self._views, strict=True))
