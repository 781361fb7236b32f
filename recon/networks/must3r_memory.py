"""What MUSt3R's decoder remembers (Cabon et al. 2025, section 3.2): tokens of each layer, of the images that entered.

Attention to it knows no order, so an image may leave, and another take its place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SPARE = 8  # images like the newest for which there is room after a layer has grown


@dataclass
class Entries:
    """What is to be remembered of some images.

    Attributes:
        layers: of each layer of the decoder the tokens of all images, one image after the other, ``[T,C]``.
        sizes: tokens of each image; their sum is T.
    """

    layers: list[Tensor]
    sizes: list[int]

    def of(self, number: int) -> Entries:
        """Those of one of the images; nothing is copied."""
        start = sum(self.sizes[:number])
        size = self.sizes[number]
        return Entries([layer[start : start + size] for layer in self.layers], [size])


class Memory:
    """Tokens of images, each image under a label: how many had entered before it.

    Attributes:
        labels: ``[M] int64`` on the CPU: the image that each of the M tokens is of.
        count: of the images that entered so far, whether or not they are still here.
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []  # [capacity,C] of each layer, of which the first M rows are in use
        self.labels = torch.empty(0, dtype=torch.int64)
        self.count = 0

    def __len__(self) -> int:
        """How many tokens there are in each layer."""
        return len(self.labels)

    @property
    def images(self) -> list[int]:
        """Labels of the images that are here, the oldest first."""
        return self.labels.unique().tolist()

    @property
    def layers(self) -> list[Tensor]:
        """Of each layer the tokens ``[M,C]``; valid until the memory changes."""
        return [buffer[: len(self)] for buffer in self._buffers]

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def append(self, entries: Entries, labels: Sequence[int] | None = None) -> None:
        """Let images enter; without ``labels`` they are the next ones."""
        if labels is None:
            labels = range(self.count, self.count + len(entries.sizes))
        start, stop = len(self), len(self) + sum(entries.sizes)
        if not self._buffers:
            self._buffers = [layer.new_empty(0, layer.shape[1]) for layer in entries.layers]
        for number, layer in enumerate(entries.layers):
            buffer = self._buffers[number]
            if stop > len(buffer):  # layer by layer, so that only one of them is there twice
                room = stop + SPARE * max(entries.sizes) * (start > 0)
                buffer = layer.new_empty(room, layer.shape[1])
                buffer[:start] = self._buffers[number][:start]
                self._buffers[number] = buffer
            buffer[start:stop] = layer
        new = torch.tensor(list(labels)).repeat_interleave(torch.tensor(entries.sizes))
        self.labels = torch.cat([self.labels, new])
        self.count = max(self.count, max(labels) + 1)

    def remove(self, labels: Collection[int]) -> None:
        """Forget images; the others keep their order."""
        kept = (self.labels[:, None] != torch.tensor(list(labels), dtype=torch.int64)).all(1)
        for buffer in self._buffers:
            buffer[: int(kept.sum())] = buffer[: len(self)][kept.to(buffer.device)]
        self.labels = self.labels[kept]

    def replace(self, label: int, entries: Entries, by: int | None = None) -> None:
        """Put other tokens in the place of an image's, as many; ``by`` is the label that they have from then on."""
        (places,) = (self.labels == label).nonzero(as_tuple=True)
        for buffer, layer in zip(self._buffers, entries.layers, strict=True):
            buffer[places.to(buffer.device)] = layer
        if by is not None:
            self.labels[places] = by
            self.count = max(self.count, by + 1)

    def size_of(self, label: int) -> int:
        """How many tokens an image has here."""
        return int((self.labels == label).sum())
