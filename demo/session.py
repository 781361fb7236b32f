"""One visitor: a folder, a viewer, the scene, the running job; and the end of all that."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demo.viewer import Viewer
from recon.filters import Filters
from recon.scene import Scene

if TYPE_CHECKING:
    from recon.media import Media  # reading needs decoders; a waiting page does not

log = logging.getLogger(__name__)

MAXIMUM_SESSIONS = 32
PATIENCE = 10.0  # seconds a job gets to notice that it is cancelled before its folder goes
LONGEST_NAME = 120  # bytes of a stored file's name; file systems take 255, and models append suffixes


class Session:
    """Everything one visitor has here.

    Attributes:
        token: unguessable; names the viewer's address.
        folder: this visitor's files, deleted with the session.
        media: the views of the visitor's photos, or None before any.
        scene: what the last run made, or None.
        found: what its model said moves, in frames of which the visitor says otherwise, by their index.
        filters: what of it is shown and downloaded.
        lock: held by whoever runs a job; one job at a time.
        cancel: set to stop the running job; whoever starts one clears it.
        memory: what the page remembers of this visit.
    """

    def __init__(self, token: str, folder: Path) -> None:
        self.token = token
        self.folder = folder
        self.media: Media | None = None
        self.scene: Scene | None = None
        self.found: dict[int, np.ndarray | None] = {}
        self.filters = Filters()
        self.lock = threading.Lock()
        self.cancel = threading.Event()
        self.memory: Any = None
        self.ended = False
        self.last_seen = time.monotonic()
        self.left_at: float | None = None
        self._pages = 0
        self._guard = threading.RLock()
        self._viewer: Viewer | None = None

    @property
    def viewer(self) -> Viewer:
        """The visitor's viewer, started at first use.

        Raises:
            RuntimeError: the session has ended.
        """
        with self._guard:
            if self.ended:
                raise RuntimeError("This session has ended.")
            if self._viewer is None:
                self._viewer = Viewer()
            return self._viewer

    @property
    def present(self) -> bool:
        """True while a page of this session is open."""
        return self._pages > 0

    def touch(self) -> None:
        """The visitor has just done something."""
        self.last_seen = time.monotonic()

    def enter(self) -> None:
        """A page of this session has opened; a reload leaves and enters, in either order."""
        with self._guard:
            self._pages += 1
            self.left_at = None
            self.touch()

    def leave(self) -> None:
        """A page of this session has closed."""
        with self._guard:
            self._pages = max(0, self._pages - 1)
            self.touch()
            if not self._pages:
                self.left_at = time.monotonic()

    def store(self, uploaded: str | Path, move: bool = False, folder: str = "uploads") -> Path:
        """Copy (or move) a file into ``folder``, under a safe version of its name, beside any file of that name."""
        uploaded = Path(uploaded)
        uploads = self.folder / folder
        uploads.mkdir(parents=True, exist_ok=True)
        stem, suffix = _safe_name(uploaded.name)
        for number in range(1, 100_000):
            target = uploads / (f"{stem}{suffix}" if number == 1 else f"{stem} ({number}){suffix}")
            try:
                target.touch(exist_ok=False)  # claims the name, so that two uploads at once never share it
            except FileExistsError:
                continue
            try:
                if move:
                    shutil.move(uploaded, target)
                else:
                    shutil.copyfile(uploaded, target)
            except OSError:
                target.unlink()  # half a file is no file
                raise
            return target
        raise FileExistsError(f"too many files called {uploaded.name}")

    def end(self) -> None:
        """Stop the job and the viewer, delete the folder, let go of the scene. Harmless the second time."""
        with self._guard:
            if self.ended:
                return
            self.ended = True
            viewer, self._viewer = self._viewer, None
        self.cancel.set()
        if viewer is not None:
            viewer.stop()
        idle = self.lock.acquire(timeout=PATIENCE)
        if not idle:
            log.warning("a cancelled job is still at work; its folder is deleted all the same")
        self.media = self.scene = self.memory = None
        self.found = {}
        shutil.rmtree(self.folder, ignore_errors=True)
        if idle:
            self.lock.release()


class Sessions:
    """All visitors of this process, and the thread that shows them out.

    Args:
        root: where their folders are made; None for a fresh temporary folder, deleted by `close`.
        lifetime: seconds after which a session ends that nobody has touched; a connected viewer touches it.
        grace: seconds between a page's closing and its session's end; a reload is back sooner.
        maximum: live sessions; one more ends the one longest unseen, of those without a page if there are any.
        streams: whether visitors may have this machine open addresses; see `recon.live`.
    """

    def __init__(
        self,
        root: Path | None = None,
        lifetime: float = 3600,
        grace: float = 120,
        maximum: int = MAXIMUM_SESSIONS,
        streams: bool = False,
    ) -> None:
        self._owns_root = root is None
        self.root = Path(tempfile.mkdtemp(prefix="parallax-")) if root is None else Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.lifetime, self.grace, self.maximum, self.streams = lifetime, grace, maximum, streams
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._reaper = threading.Thread(target=self._reap, name="session reaper", daemon=True)
        self._reaper.start()

    def create(self) -> Session:
        """A new session with a folder of its own."""
        # the folder's name is not the token: who sees a path in a message does not hold the key to the viewer
        session = Session(secrets.token_urlsafe(24), Path(tempfile.mkdtemp(prefix="visit-", dir=self.root)))
        with self._lock:
            surplus = sorted(self._sessions.values(), key=lambda s: (s.present, s.last_seen))
            surplus = surplus[: max(0, len(self._sessions) + 1 - self.maximum)]
            self._sessions[session.token] = session
        for old in surplus:
            self.end(old.token)
        return session

    def get(self, token: str | None) -> Session | None:
        """The live session of that token, now seen, or None."""
        with self._lock:
            session = self._sessions.get(token or "")
        if session is not None:
            session.touch()
        return session

    def end(self, token: str) -> None:
        """End the session of that token, if there is one."""
        with self._lock:
            session = self._sessions.pop(token, None)
        if session is not None:
            session.end()
            del session
            return_memory()

    def close(self) -> None:
        """End all sessions and delete what this made."""
        self._closed.set()
        self._reaper.join()
        with self._lock:
            tokens = list(self._sessions)
        threads = [threading.Thread(target=self.end, args=(token,)) for token in tokens]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._owns_root:
            shutil.rmtree(self.root, ignore_errors=True)

    def _reap(self) -> None:
        while not self._closed.wait(min(5.0, self.grace / 4, self.lifetime / 4)):
            with self._lock:
                expired = [session.token for session in self._sessions.values() if self._expired(session)]
            for token in expired:
                self.end(token)

    def _expired(self, session: Session) -> bool:
        now, left_at = time.monotonic(), session.left_at
        return now - session.last_seen > self.lifetime or (left_at is not None and now - left_at > self.grace)


def return_memory() -> None:
    """Give memory that is free back to the system: a run's and a scene's hundreds of megabytes."""
    gc.collect()  # a viewer's nodes refer to each other; without this the points stay for minutes
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # not every C library has it, and only glibc needs it
            ctypes.CDLL(None).malloc_trim(0)


def _safe_name(name: str) -> tuple[str, str]:
    """Stem and suffix that are one harmless file name on any file system; spaces and Unicode stay."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = re.sub(r'[\x00-\x1f\x7f<>:"|?*]', "_", name).strip().lstrip("-. ").rstrip(". ")
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix) > 10:
        stem, suffix = name, ""
    stem = stem.encode(errors="ignore")[:LONGEST_NAME].decode(errors="ignore").strip() or "file"
    return stem, f".{suffix}" if suffix else ""
