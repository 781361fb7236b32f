"""Time runs: which moment of a scene a viewer shows, and the clock that moves it on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SPEED = 10.0  # frames a second, where nobody has chosen


@dataclass(frozen=True)
class Moment:
    """What of a scene's time is shown.

    Attributes:
        frame: index of the frame; None shows all at once.
        trail: how many frames before it are shown as well.
    """

    frame: int | None = None
    trail: int = 0

    def shows(self, index: int) -> bool:
        """Whether what is there at the moment of that frame only is shown."""
        return self.frame is None or self.frame - self.trail <= index <= self.frame


class Playback:
    """The clock of one viewer. All methods may be called from any thread; while nothing plays there is no thread.

    Args:
        show: is told the moment, whenever it changes.
        lock: held meanwhile; the viewer's own.

    Attributes:
        count: how many frames there are to play; 0 where the scene has no time.
        loop: begin again after the last frame.
    """

    def __init__(self, show: Callable[[Moment], None], lock: threading.RLock) -> None:
        self.count, self.loop = 0, True
        self._show = show
        self._moment, self._speed = Moment(), SPEED
        self._lock = lock
        self._halt: threading.Event | None = None  # of the thread that plays

    @property
    def moment(self) -> Moment:
        """What is shown now."""
        return self._moment

    @property
    def playing(self) -> bool:
        """Whether time runs."""
        return self._halt is not None

    @property
    def speed(self) -> float:
        """Frames a second."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._speed = min(60.0, max(0.1, speed))

    def begin(self, count: int, afresh: bool) -> None:
        """Take a scene of ``count`` frames; ``afresh`` it is another than before, and shown all at once."""
        if afresh or not count:
            self.pause()
        with self._lock:
            self.count = count
            if afresh or not count:
                self._go(Moment(None, self._moment.trail))

    def play(self) -> None:
        """Let time run from the present frame on, or from the first after the last one."""
        with self._lock:
            if self.playing or not self.count:
                return
            frame = self._moment.frame
            if frame is None or (frame >= self.count - 1 and not self.loop):
                self._go(Moment(0, self._moment.trail))
            self._halt = threading.Event()
            threading.Thread(target=self._run, args=(self._halt,), name="playback", daemon=True).start()

    def pause(self) -> None:
        """Let time stand still."""
        with self._lock:
            if self._halt is not None:
                self._halt.set()
            self._halt = None

    def seek(self, frame: int | None) -> None:
        """Stand still at a frame, or, with None, show all frames at once."""
        self.pause()
        with self._lock:
            if self.count:
                self._go(Moment(None if frame is None else min(max(frame, 0), self.count - 1), self._moment.trail))

    def trail(self, length: int) -> None:
        """Show what passes also at ``length`` moments before."""
        with self._lock:
            self._go(Moment(self._moment.frame, length))

    def _go(self, moment: Moment) -> None:
        if moment != self._moment:
            self._moment = moment
            self._show(moment)

    def _run(self, halt: threading.Event) -> None:
        due = time.monotonic()
        while True:
            # one frame after the last was due, so that a late one delays no others; after a long halt time goes on
            due = max(due + 1 / self._speed, time.monotonic())
            if halt.wait(due - time.monotonic()):
                return
            with self._lock:
                if halt.is_set():
                    return
                following = (self._moment.frame or 0) + 1
                if following >= self.count and not self.loop:
                    self._halt = None
                    return
                self._go(Moment(following % max(1, self.count), self._moment.trail))
