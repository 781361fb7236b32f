"""The points that a visitor clicked on the photos, and the run that follows them through all frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from demo import models
from demo.job import Job, State
from demo.session import Session
from recon import Options, Scene, Update
from recon.scene import Tracks

SAME = 0.5  # pixels: nearer than this, two points are one

Point = Sequence[float]


class _Stopped(Exception):
    """Nobody waits for these tracks any more."""


@dataclass
class Picks:
    """What a visitor clicked and saw followed in one scene: the followed points are ``scene.tracks``, no copy.

    Attributes:
        scene: the one that all of this belongs to.
        frame: index of the photo on which points are clicked.
        fresh: ``(x, y)`` in pixels of a frame's image, of points that are not followed yet, by the frame's index.
        following: the run under way, or the last one.
        lines: whether the viewer shows the tracks.
    """

    scene: Scene
    frame: int = 0
    fresh: dict[int, list[Point]] = field(default_factory=dict)
    following: Following | None = None
    lines: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def active(self) -> bool:
        """True while points are being followed."""
        return self.following is not None and self.following.active

    def followed(self, frame: int) -> Tracks | None:
        """The tracks of the points that were clicked, or found, on that photo; None where there are none."""
        tracks = self.scene.tracks
        if tracks is None or not (tracks.query == frame).any():
            return None
        return tracks.chosen(tracks.query == frame)

    def points(self, frame: int) -> list[Point]:
        """All points on that photo, in order: the followed ones, then the fresh ones."""
        followed = self.followed(frame)
        known = [] if followed is None else np.round(followed.pixels[frame].astype(float), 2).tolist()
        return [*known, *self.fresh.get(frame, [])]

    def place(self, frame: int, points: Sequence[Point]) -> bool:
        """Let ``points`` be those of that photo: what is followed but not among them is dropped, the others are fresh.

        Returns:
            Whether tracks were dropped.
        """
        with self._lock:
            followed = self.followed(frame)
            known = np.empty((0, 2)) if followed is None else followed.pixels[frame]
            near = _near(points, known)
            self.fresh[frame] = [
                point for point, old in zip(points, np.logical_or.reduce(near, axis=1), strict=True) if not old
            ]
            kept = np.logical_or.reduce(near, axis=0)
            if followed is None or kept.all():
                return False
            self.scene.tracks = _joined(_others(self.scene.tracks, frame), followed.chosen(kept))
            return True

    def take(self, frame: int, tracks: Tracks) -> None:
        """Put ``tracks`` in the place of those that the scene has of that photo; what they follow is fresh no more."""
        with self._lock:
            fresh = self.fresh.get(frame, [])
            near = _near(fresh, tracks.pixels[frame])
            self.fresh[frame] = [
                point for point, old in zip(fresh, np.logical_or.reduce(near, axis=1), strict=True) if not old
            ]
            self.scene.tracks = _joined(_others(self.scene.tracks, frame), tracks)


def _near(points: Sequence[Point], others: np.ndarray) -> np.ndarray:
    """``[N,M] bool``: which of N ``points`` is which of ``others [M,2]``."""
    apart = np.reshape(np.asarray(points, float), (-1, 1, 2)) - others
    return np.asarray(np.linalg.norm(apart, axis=-1) < SAME)


def _others(tracks: Tracks | None, frame: int) -> Tracks | None:
    return None if tracks is None else tracks.chosen(tracks.query != frame)


def _joined(tracks: Tracks | None, more: Tracks) -> Tracks | None:
    joined = more if tracks is None else tracks.joined(more)
    return joined if len(joined.query) else None


class Following(Job):
    """A run that follows points of one photo through all frames of the visitor's scene.

    Args:
        session: whose scene it is.
        picks: take the tracks.
        frame: index of the photo.
        find: let the model find points there; else those in ``picks`` are followed.
    """

    def __init__(self, session: Session, picks: Picks, frame: int, find: bool) -> None:
        super().__init__(session, picks.scene.model, [], [], Options())
        self.picks, self.frame = picks, frame
        self.pixels = None if find else np.array(picks.points(frame), np.float32).reshape(-1, 2)

    def _run(self) -> State:
        if self._unwanted():
            return "stopped"
        self.state = "loading"
        model = models.load(self.model_name)
        self._began = self._updated = time.monotonic()
        self.state = "running"
        try:
            tracks = model.track(self.picks.scene, self.pixels, self.frame, self._progress)
            self._progress(1.0, "Drawing")
        except _Stopped:
            return "stopped"
        finally:
            self.update = None  # whatever comes of it, the scene in the viewer is the same
        self.picks.take(self.frame, tracks)
        self.session.viewer.show_tracks(self.picks.scene)
        return "done"

    def _progress(self, fraction: float, message: str) -> None:
        if self._unwanted():
            raise _Stopped
        self.update = Update("Following", fraction, message, self.picks.scene)
