"""A MapAnything so small that a test can run it, with weights that need no file."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.networks.mapanything import MapAnything
from recon.networks.mapanything_configuration import (
    AlternatingAttention,
    Configuration,
    GeometryEncoders,
    Heads,
    ImageEncoder,
)
from tests.networks import stand_in

DENSE, GLOBAL = (16, 16, 16), (8, 8, 8)


def configuration(version: str = "1.1") -> Configuration:
    """All parts of the network, each as small as it can be, as version 1 or 1.1 has them."""
    newer = version == "1.1"
    return Configuration(
        ImageEncoder(32, 1, 2, 64, gated=newer, normed=not newer),
        AlternatingAttention(
            32 if newer else 16, 4, 2, 64, gated=newer, layer_scale=1e-5 * newer, taps=(1, 2), class_tokens=newer
        ),
        GeometryEncoders(DENSE, DENSE, GLOBAL, GLOBAL, GLOBAL),
        Heads((8, 8, 16, 16), 16, 1, 8),
    )


def stand_in_state(version: str = "1.1") -> dict[str, Tensor]:
    """A state dict of that network: rays that look about forward, cameras that hardly turn, a scale about 1."""
    network = MapAnything(configuration(version))
    state = stand_in.stand_in_state(network)
    state["info_sharing.view_pos_table"] = network.info_sharing.view_pos_table
    state["dense_head.1.conv2.2.bias"] += torch.tensor([0.0, 0, 3, 0, 0, 0])
    state["pose_head.fc_rot.weight"] *= 0.1
    state["pose_head.fc_rot.bias"] += torch.tensor([0.0, 0, 0, 1])
    return state
