"""Launches on a GPU, recorded once and replayed: where there are few tokens, launching takes longer than running."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from recon.networks.layers.tables import witnessed

Prediction = TypeVar("Prediction")  # a dataclass of tensors, and of lists of them

GRAPHS = 4  # kept at a time


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


class Recorder(Generic[Prediction]):
    """Launches of functions of pictures, recorded at the second call with a size, and replayed from there on.

    Args:
        holds: whether what a replay gave is right; if not all recordings are forgotten, and it is done without.
    """

    def __init__(self, holds: Callable[[Prediction], bool]) -> None:
        self._holds = holds
        self._graphs: OrderedDict[Hashable, Graph[Prediction] | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._graphs)

    def __call__(self, function: Callable[[Tensor], Prediction], images: Tensor, *key: Hashable) -> Prediction:
        """What ``function``, the same for the same ``key``, gives for pictures on a GPU; it is its callers'."""
        key = (*images.shape, images.dtype, *key)
        if key not in self._graphs:
            self._graphs[key] = None
            while len(self._graphs) > GRAPHS:
                self._graphs.popitem(last=False)
            with timed_convolutions():
                return function(images)
        graph = self._graphs[key]
        if graph is None:
            graph = self._graphs[key] = Graph(function, images)
        self._graphs.move_to_end(key)
        prediction = graph(images)
        if self._holds(prediction):
            return prediction
        self._graphs.clear()
        return function(images)


class Graph(Generic[Prediction]):
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
        return type(self._prediction)(**kept)


def copied(value: Any) -> Any:
    """A part of a prediction that shares no memory with it."""
    if isinstance(value, list):
        return [copied(each) for each in value]
    return value.clone() if isinstance(value, Tensor) else value
