"""A progress bar on a terminal: stage, share done, time left."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import TextIO

_WIDTH = 24


class ProgressBar:
    """Redraws one line of a terminal; elsewhere (a log file, a pipe) writes one line a stage. Use it with ``with``."""

    def __init__(self, stream: TextIO, title: str = "") -> None:
        self._stream, self._title = stream, title
        self._start = time.monotonic()
        self._stage = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, stage: str, fraction: float, detail: str = "") -> None:
        """Tell that ``stage`` is under way and that ``fraction`` (0 to 1) of the whole is done.

        A terminal shows ``detail`` in place of the stage, where there is one.
        """
        if self._stream.isatty():
            full = round(_WIDTH * fraction)
            bar = "█" * full + "░" * (_WIDTH - full)
            line = f"{self._title}{bar} {fraction:4.0%}  {detail or stage}{self._left(fraction)}"
            self._stream.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
        elif stage != self._stage:
            self._stream.write(f"{self._title}{stage}\n")
            self._stream.flush()
        self._stage = stage

    def _left(self, fraction: float) -> str:
        elapsed = time.monotonic() - self._start
        if fraction < 0.05 or elapsed < 1:
            return ""
        return f", {duration(elapsed * (1 - fraction) / fraction)} left"


def duration(seconds: float) -> str:
    """``"8 s"``, ``"2 min 05 s"``, ``"1 h 10 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
