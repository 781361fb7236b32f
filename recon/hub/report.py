"""What a download tells of itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from recon.hub.helper import INTERVAL

INSTEAD = "start with --weights and a file that you have"  # how a sentence about what cannot be had goes on
WINDOW = 5.0  # seconds over which speed is measured
Progress = Callable[[float, str], None]  # share done, 0 to 1, and what is being done; may raise to stop
Tell = Callable[[int, str], None]  # bytes that are here, and what is being done; may raise to stop


class Report:
    """Turns bytes into a share and a sentence, with the speed of the last seconds."""

    def __init__(self, progress: Progress | None, expected: int) -> None:
        self._progress, self._expected = progress, expected
        self._fraction = 0.0
        self._samples: deque[tuple[float, int]] = deque()
        self._doing = ""

    def say(self, message: str) -> None:
        """Tell what is being done, while the share done stays as it is."""
        if self._progress is not None:
            self._progress(self._fraction, message)

    def start(self, size: int | None) -> Tell:
        """What is to be told of a file of that size, or as large as expected where that is not known."""
        total = size or self._expected
        digits = 0 if total >= 1e8 else 1

        def tell(done: int, doing: str) -> None:
            now = time.monotonic()
            if doing != self._doing:
                self._samples.clear()
            elif now - self._samples[-1][0] < INTERVAL / 2:
                return
            self._doing = doing
            self._samples.append((now, done))
            while now - self._samples[0][0] > WINDOW:
                self._samples.popleft()
            self._fraction = min(1.0, done / max(total, 1))
            (then, before), speed = self._samples[0], ""
            if now - then > INTERVAL and done > before:
                speed = f", {(done - before) / (now - then) / 1e6:,.1f} MB/s"
            self.say(f"{doing}: {done / 1e6:,.{digits}f} of {total / 1e6:,.{digits}f} MB{speed}")

        return tell
