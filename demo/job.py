"""One run for one visitor, in a thread of its own: it outlives a reload of the page and ends when it is told to.

Runs take turns: one at a time in this process, in the order they were asked for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, Literal

from demo import models
from demo.models import Download
from demo.session import Session, return_memory
from recon import InputError, Options, Scene, Update, View
from recon.given import given_cameras
from recon.live import Live
from recon.masks import apply

log = logging.getLogger(__name__)

LONGEST_LINE = 20  # runs that may wait for their turn
TURN = 600.0  # seconds after which pictures that come without end make room for whoever waits
ABSENCE = 8.0  # seconds without an open page after which a run has nobody to run for; a reload takes less

State = Literal["fetching", "waiting", "loading", "running", "done", "stopped", "failed"]


class _Unwanted(Exception):
    """Nobody waits for this run any more."""


class Job:
    """A run over ``views``; `start` it, watch it, and set ``session.cancel`` to stop it.

    The scene of an earlier run stays the session's, and comes back to the viewer, unless this one finishes.

    Attributes:
        state: where it stands.
        download: of the weights, while they are not here yet.
        update: the last one, or None before the first.
        error: for a failed one, the sentence to show.
        predicted: seconds, as planned; 0 where nobody knows how many views there will be.
        streamed: True where the views come while they are reconstructed.
        keyframes: views in the model's memory, where it has one and tells.
    """

    def __init__(
        self, session: Session, model_name: str, views: Iterable[View], notes: Sequence[str], options: Options
    ) -> None:
        self.session, self.model_name, self.options = session, model_name, options
        self.streamed = not isinstance(views, Sequence)
        self.views: Any = views if self.streamed else list(views)
        self.keyframes = 0
        self.notes = list(notes)
        self.state: State = "fetching"
        self.download: Download | None = None
        self.update: Update | None = None
        self.error = ""
        self.predicted = 0.0
        self._began = self._updated = self._ended = time.monotonic()

    def start(self) -> bool:
        """Begin, unless the visitor already has a run under way: then nothing happens, and the answer is False.

        Raises:
            InputError: too many visitors are waiting.
        """
        if not self.session.lock.acquire(blocking=False):
            return False
        if len(_line) > LONGEST_LINE:
            self.session.lock.release()
            raise InputError("Too many people are waiting at the moment: please try again in a few minutes.")
        self.session.cancel.clear()
        threading.Thread(target=self._work, name="run", daemon=True).start()
        return True

    @property
    def active(self) -> bool:
        """True until it has ended, one way or another."""
        return self.state not in ("done", "stopped", "failed")

    @property
    def place(self) -> int:
        """How many runs go before this one."""
        with _turn:
            return _line.index(self) if self in _line else 0

    @property
    def seconds(self) -> float:
        """How long it has been running, or did run."""
        return (time.monotonic() if self.state == "running" else self._ended) - self._began

    @property
    def seconds_left(self) -> float:
        """A guess that moves from what was planned to what is seen as the run goes on."""
        fraction = self.update.fraction if self.update else 0.0
        planned = max(0.0, self.predicted - self.seconds)
        if fraction == 0:
            return planned
        seen = (self._updated - self._began) * (1 - fraction) / fraction - (time.monotonic() - self._updated)
        return (1 - fraction) * planned + fraction * max(0.0, seen)

    def _unwanted(self) -> bool:
        left_at = self.session.left_at
        gone = left_at is not None and time.monotonic() - left_at > ABSENCE
        return self.session.cancel.is_set() or gone

    def _work(self) -> None:
        state: State = "failed"
        try:
            if self.views and not self.streamed:  # points are followed without any
                models.plan(self.model_name, self.views, self.options)  # what no run can be made of needs no weights
            models.fetch(self.model_name, self._fetched)  # before the line, in which nobody waits for a download
            self.download, self.state = None, "waiting"
            with _your_turn(self, self._unwanted):
                state = self._run()
        except _Unwanted:
            state = "stopped"
        except InputError as error:
            self.error = str(error)
        except OSError as error:
            log.exception("a run failed")
            self.error = f"The disk or the network refused ({error.strerror or error}): make room or try again."
        except Exception:  # whatever a model may raise, the visitor reads a sentence and the log keeps the trace
            if self.session.ended:
                state = "stopped"
            else:
                log.exception("a run failed")
                self.error = "Something went wrong on our side: please try again, perhaps with fewer or other photos."
        finally:
            self._end(state)

    def _fetched(self, download: Download) -> None:
        if self._unwanted():
            raise _Unwanted
        self.download = download

    def _run(self) -> State:
        if self._unwanted():
            return "stopped"
        self.state = "loading"
        session, model = self.session, models.load(self.model_name)
        if not self.streamed:
            self.predicted = models.plan(self.model_name, self.views, self.options).seconds
        if self._unwanted():
            return "stopped"
        _everything(session)  # those of the scene before are others than those of the scene to come
        self._began = self._updated = time.monotonic()
        self.state = "running"
        scene = None
        with closing(model.stream(self.views, self.options)) as updates:
            for update in updates:
                if self._unwanted():
                    return "stopped"
                scene = update.scene
                if update.changed:
                    session.viewer.show(scene, update.changed, growing=True)
                self.update, self._updated = update, time.monotonic()
                self.keyframes = update.keyframes or self.keyframes
                self._make_room()
        if scene is None or not scene.frames:
            raise InputError("Nothing could be reconstructed from these photos: try others that overlap more.")
        scene.notes = self.notes + scene.notes
        if isinstance(self.views, Live):
            scene.notes.append(self.views.told)
        views = [] if self.streamed else self.views  # of those that came and went only the frames are left
        scene.given = given_cameras(scene.frames, views)
        found = apply(scene, views) if views else {}
        _everything(session)
        session.viewer.show(scene, tuple(found))
        session.scene, session.found = scene, found
        if not self.streamed:
            models.learn(self.model_name, self.predicted, self.seconds)
        return "done"

    def _make_room(self) -> None:
        """End a run over pictures that come without end once it had its time and somebody waits."""
        if isinstance(self.views, Live) and not self.views.ended and self.seconds > TURN and len(_line) > 1:
            self.views.end("Others wait for their turn, so this run was ended.")

    def _end(self, state: State) -> None:
        self._ended = time.monotonic()
        session = self.session
        if isinstance(self.views, Live):
            self.views.stop()
        try:
            if state != "done" and self.update is not None and not session.ended:
                _show_again(session, session.scene)
        finally:
            self.update, self.download, self.views = None, None, []
            self.state = state
            session.lock.release()
            return_memory()


def _everything(session: Session) -> None:
    session.filters = replace(session.filters, frames=None, segments=None)
    session.viewer.set_filters(session.filters)


def _show_again(session: Session, scene: Scene | None) -> None:
    if scene is None:
        session.viewer.clear()
    else:
        session.viewer.show(scene)


_line: list[Job] = []
_turn = threading.Condition()


@contextmanager
def _your_turn(job: Job, unwanted: Callable[[], bool]) -> Iterator[None]:
    """Wait until ``job`` is first in line, or nobody wants it any more."""
    try:
        with _turn:
            _line.append(job)
            while _line[0] is not job and not unwanted():
                _turn.wait(0.25)
        yield
    finally:
        with _turn:
            _line.remove(job)
            _turn.notify_all()
