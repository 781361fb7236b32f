"""Launches on a GPU, recorded once and replayed: where there are few tokens, launching takes longer than running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from recon.networks.layers.tables import witnessed
from recon.networks.vggt import Prediction


def recording() -> bool:
    """Whether launches are recorded now, not done."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


@lru_cache
def aside(device: int, number: int) -> torch.cuda.Stream:
    """A stream of a device, always the same for a number; the first goes on whenever it can."""
    return torch.cuda.Stream(device, priority=0 if number else -1)


@contextmanager
def timed_convolutions() -> Iterator[None]:
    """Convolutions whose shapes are new to this thread are done in all ways there are, to go on in the fastest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


class Graph:
    """The launches of a function, recorded once and replayed.

    Args:
        function: of pictures; has run before, so that all that is made once is made.
        images: of the size that all pictures will have.
    """

    def __init__(self, function: Callable[[Tensor], Prediction], images: Tensor) -> None:
        self._images = images.clone()
        self._graph = torch.cuda.CUDAGraph()
        with witnessed() as self._tables, torch.cuda.graph(self._graph):
            self._prediction = function(self._images)

    def __call__(self, images: Tensor) -> Prediction:
        """The function's value, copied out of what the next replay overwrites."""
        self._images.copy_(images)
        self._graph.replay()
        kept: dict[str, Any] = {name: copied(value) for name, value in vars(self._prediction).items()}
        return Prediction(**kept)


def copied(value: Any) -> Any:
    """A part of a `Prediction` that shares no memory with it."""
    if isinstance(value, list):
        return [copied(each) for each in value]
    return value.clone() if isinstance(value, Tensor) else value
