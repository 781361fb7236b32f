"""The networks that can be trained: how each is built, what it learns from a batch, where its weights lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recon.assets import WEIGHTS
from recon.errors import InputError
from recon.networks.parallax import ParallaxNetwork
from recon.training.batch import Batch
from recon.training.estimate import Estimate
from recon.training.objective import ObjectiveWeights, objective


@dataclass(frozen=True)
class Trainable:
    """A network for the training loop.

    Attributes:
        network: its name in files.
        build: from the arguments of a configuration to the network.
        loss: from the network, a batch and the weights of the losses to the loss and its detached parts.
        judge: from the network and a batch to an estimate that can be measured.
        compile: compiles a network in place, for training on CUDA; or None.
        weights: those of the model as published, or None.
    """

    network: str
    build: Callable[..., nn.Module]
    loss: Callable[[Any, Batch, ObjectiveWeights], tuple[Tensor, dict[str, Tensor]]]
    judge: Callable[[Any, Batch], Estimate]
    compile: Callable[[Any], None] | None = None
    weights: Path | None = None


def estimate_parallax(network: ParallaxNetwork, batch: Batch) -> Estimate:
    """What the embedded network says of photos alone."""
    return Estimate.from_parallax(network(batch.images))


def parallax_loss(network: ParallaxNetwork, batch: Batch, losses: ObjectiveWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective of what the embedded network says."""
    return objective(estimate_parallax(network, batch), batch, losses)


TRAINABLE: dict[str, Trainable] = {
    "embedded": Trainable(
        network="parallax-small",
        build=ParallaxNetwork,
        loss=parallax_loss,
        judge=estimate_parallax,
        compile=ParallaxNetwork.compile_parts,
        weights=WEIGHTS,
    ),
}  # by the name of the model's card


def find_trainable(name: str) -> Trainable:
    """The network of a model.

    Raises:
        InputError: there is none of that name.
    """
    if name not in TRAINABLE:
        raise InputError(f"There is no network '{name}' to train; the networks are: {', '.join(TRAINABLE)}.")
    return TRAINABLE[name]
