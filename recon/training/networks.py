"""The networks that can be trained: how each is built, what it is asked about a batch, where its weights lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recon.assets import WEIGHTS
from recon.errors import InputError
from recon.networks.parallax import ParallaxNetwork
from recon.networks.sweep import SweepNetwork
from recon.training.batch import Batch
from recon.training.estimate import Estimate
from recon.training.objective import ObjectiveWeights, objective
from recon.training.sweep import estimate_sweep, pose_question, sweep_loss


def as_it_is(batch: Batch, generator: torch.Generator) -> Batch:
    """The batch: a network of photos alone is given nothing else."""
    return batch


@dataclass(frozen=True)
class Trainable:
    """A network for the training loop.

    Attributes:
        network: its name in files.
        build: from the arguments of a configuration to the network.
        loss: from the network, what was prepared and the weights of the losses to the loss and its detached parts.
        judge: from the network and what was prepared to an estimate that can be measured.
        prepare: from a batch and a generator on its device to what the network is asked: a pure function, which draws
            what is random. Only ``loss`` and ``judge`` are in mixed precision.
        compile: compiles a network in place, for training on CUDA; or None.
        weights: those of the model as published, or None.
    """

    network: str
    build: Callable[..., nn.Module]
    loss: Callable[[Any, Any, ObjectiveWeights], tuple[Tensor, dict[str, Tensor]]]
    judge: Callable[[Any, Any], Estimate]
    prepare: Callable[[Batch, torch.Generator], Any] = as_it_is
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
    "sweep": Trainable(
        network="parallax-sweep",
        build=SweepNetwork,
        loss=sweep_loss,
        judge=estimate_sweep,
        prepare=pose_question,
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
