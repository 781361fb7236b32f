"""Waiting for something that may be silent for long, while attending to whoever may want it stopped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

INTERVAL = 0.1  # seconds between two times that the caller is attended to
Result = TypeVar("Result")


class Helper:
    """A thread that does one thing after another, so that whoever waits for it can be told to stop. Use ``with``."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()

    def __enter__(self) -> Helper:
        Thread(target=self._run, daemon=True, name="download").start()  # a stalled server does not delay the exit
        return self

    def __exit__(self, *_: object) -> None:
        self._work.put(None)

    def do(self, work: Callable[[], Result], attend: Callable[[], None]) -> Result:
        """The result of ``work``; ``attend`` is called meanwhile, and may raise to wait no longer."""
        outcome = self.later(work)
        while not wait([outcome], INTERVAL).done:
            attend()
        return outcome.result()

    def later(self, work: Callable[[], Result]) -> Future[Result]:
        """Do ``work`` after all that was asked for before, without waiting for it."""
        outcome: Future[Result] = Future()

        def run() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:
                outcome.set_exception(error)  # raised where the result is asked for

        self._work.put(run)
        return outcome

    def _run(self) -> None:
        while work := self._work.get():
            work()
