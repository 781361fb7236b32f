"""What models of checkpoints from files share: a network on a device, and what of the device it holds already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakSet

import torch
from torch import nn

from recon.errors import InputError
from recon.models import memory
from recon.models.base import Card, Model

Network = TypeVar("Network", bound=nn.Module)


class Checkpointed(Model, Generic[Network]):
    """A model whose network has the weights of a file.

    Args:
        card: of the model; the network's own number of parameters takes the place of the card's.
        device: that ``network`` is on.
        network: ready to run.
        resolution: of the network, where it is not the card's.
    """

    loaded: ClassVar[WeakSet[Checkpointed[Any]]] = WeakSet()  # to know, when planning, whose weights a device holds

    def __init__(self, card: Card, device: torch.device, network: Network, resolution: int | None = None) -> None:
        self.network = network
        self.device = device
        self.card = replace(
            card,
            parameters=sum(weight.numel() for weight in network.parameters()),
            resolution=resolution or card.resolution,
        )
        self.loaded.add(self)

    @classmethod
    def available(cls, card: Card, device: str) -> int | None:
        """Bytes that a run may have, weights included, which the device may hold already; None where that is not known.

        Args:
            card: of the model.
            device: kind of device.
        """
        free = memory.available(device)
        held = sum(
            sum(weight.nbytes for weight in model.network.parameters())
            for model in list(cls.loaded)
            if model.card.name == card.name and model.device.type == device == "cuda"
        )
        return None if free is None else free + held


def needed(card: Card, weights: Path | None) -> Path:
    """The checkpoint file that was named.

    Raises:
        InputError: none was.
    """
    if weights is None:
        raise InputError(f"{card.title} needs a checkpoint file; name one.")
    return weights
