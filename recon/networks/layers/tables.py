"""Constant tables, made once for each size and device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch

Made = TypeVar("Made")

_witnesses: list[list[Any]] = []


def table(maxsize: int) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Keep what a function gives for its last ``maxsize`` arguments; what it makes is good within and without grad."""

    def decorate(make: Callable[..., Made]) -> Callable[..., Made]:
        @lru_cache(maxsize)
        def made(*arguments: Any) -> Made:
            with torch.inference_mode(False):
                return make(*arguments)

        @wraps(make)
        def look_up(*arguments: Any) -> Made:
            result = made(*arguments)
            for witness in _witnesses:
                witness.append(result)
            return result

        return look_up

    return decorate


@contextmanager
def witnessed() -> Iterator[list[Any]]:
    """All tables that are looked up meanwhile: who keeps the list keeps them, whatever else is looked up later."""
    seen: list[Any] = []
    _witnesses.append(seen)
    try:
        yield seen
    finally:
        _witnesses.remove(seen)
