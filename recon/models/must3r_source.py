"""Views as they come: read ahead in a thread of their own, so that a source that stalls or breaks ends no run."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import Generic, TypeVar

from recon.errors import InputError
from recon.scene import View

log = logging.getLogger(__name__)

Prepared = TypeVar("Prepared")
AHEAD = 4  # views that wait to be used
PATIENCE = 20.0  # seconds in which a view must come
BEAT = 0.1  # seconds between two times that whoever waits is attended to


class Source(Generic[Prepared]):
    """A source of views, told apart from what becomes of them.

    Args:
        views: where they come from; it is left alone once a run has ended.
        prepare: what is done to each, ahead of its use; it raises `InputError` for one that cannot be used.
        patience: seconds in which a view must come.

    Attributes:
        refused: sentences about views that cannot be used, by how many they are of.
        ended: a sentence about how the source ended, or None where it came to its own end.
    """

    def __init__(self, views: Iterable[View], prepare: Callable[[View], Prepared], patience: float = PATIENCE) -> None:
        self._views, self._prepare, self._patience = views, prepare, patience
        self._ready: queue.Queue[tuple[int, View, Prepared] | None] = queue.Queue(AHEAD)
        self._abandoned = threading.Event()
        self._heard = time.monotonic()  # when the source gave a view, or one was waited for again
        self._any = False  # whether a view came that can be used
        self.refused: dict[str, int] = {}
        self.ended: str | None = None

    def items(self) -> Generator[tuple[int, View, Prepared] | None, None, None]:
        """Views, how many came before each, and what was made of it; None now and then while none comes."""
        threading.Thread(target=self._read, daemon=True, name="source").start()
        self._heard = time.monotonic()
        try:
            while True:
                try:
                    item = self._ready.get(timeout=BEAT)
                except queue.Empty:
                    if time.monotonic() - self._heard > self._patience:
                        self.ended = self._kept(f"No picture came for {self._patience:.0f} s")
                        return
                    yield None
                    continue
                if item is None:
                    return
                yield item
                self._heard = time.monotonic()
        finally:
            self._abandoned.set()

    def _read(self) -> None:
        try:
            for number, view in enumerate(self._views):
                self._heard = time.monotonic()
                try:
                    self._put((number, view, self._prepare(view)))
                    self._any = True
                except InputError as error:
                    self.refused[str(error)] = self.refused.get(str(error), 0) + 1
                if self._abandoned.is_set():
                    return
        except InputError as error:
            self.ended = self._kept(str(error).rstrip("."))
        except Exception as error:  # whatever a source may raise, what came before it is worth keeping
            log.warning("a source of views broke", exc_info=True)
            self.ended = self._kept(f"The source of the pictures broke off ({type(error).__name__})")
        finally:
            self._put(None)

    def _kept(self, why: str) -> str:
        return f"{why}: what came before is kept." if self._any else f"{why}."

    def _put(self, item: tuple[int, View, Prepared] | None) -> None:
        while not self._abandoned.is_set():
            try:
                return self._ready.put(item, timeout=BEAT)
            except queue.Full:
                continue
