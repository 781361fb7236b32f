"""The networks that can be measured alone: how each is made, made fast, and what of its answer counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recon.networks import mapanything, mapanything_acceleration, vggt, vggt_acceleration
from recon.networks.mapanything_checkpoint import configuration_of, own_names
from recon.networks.mapanything_configuration import VERSION_1

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Kind:
    """A family of networks that see any number of pictures at once.

    Attributes:
        network: from a configuration; called with pictures ``[B,V,3,H,W]`` and ``chunk``.
        published: the configuration of the published checkpoint.
        read: the configuration of a checkpoint, from what its config.json says, if anything, and from its weights.
        accelerate: the network on a device, as fast as it can be there.
        outputs: what the network's answer holds, by name.
        own_names: the weights of a checkpoint under the network's names.
    """

    network: Callable[[Any], nn.Module]
    published: Any
    read: Callable[[Mapping[str, Any], State], Any]
    accelerate: Callable[[Any, torch.device], nn.Module]
    outputs: Callable[[Any], dict[str, Tensor]]
    own_names: Callable[[State], State] = lambda state: state


def vggt_outputs(prediction: vggt.Prediction) -> dict[str, Tensor]:
    """Those that there are; the pose is that of the last iteration."""
    values = {
        "pose": prediction.cameras[-1] if prediction.cameras else None,
        "depth": prediction.depth,
        "depth confidence": prediction.depth_confidence,
        "points": prediction.points,
        "points confidence": prediction.points_confidence,
    }
    return {name: value for name, value in values.items() if value is not None}


def mapanything_outputs(prediction: mapanything.Prediction) -> dict[str, Tensor]:
    """The points among them, which are made of the others."""
    return {
        "pose": torch.cat([prediction.quaternions, prediction.translations], -1),
        "scale": prediction.scale,
        "depth": prediction.depth,
        "rays": prediction.rays,
        "confidence": prediction.confidence,
        "clear": prediction.clear,
        "points": prediction.points,
    }


VGGT = Kind(
    vggt.VGGT,
    vggt.Configuration(),
    lambda values, state: vggt.read_configuration(values),
    vggt_acceleration.accelerate,
    vggt_outputs,
)
MAPANYTHING = Kind(
    mapanything.MapAnything,
    mapanything.Configuration(),
    configuration_of,
    mapanything_acceleration.accelerate,
    mapanything_outputs,
    own_names,
)
MAPANYTHING_V1 = replace(MAPANYTHING, published=VERSION_1)
KINDS = {
    "vggt": VGGT,
    "vggt-commercial": VGGT,
    "mapanything-apache": MAPANYTHING,
    "mapanything": MAPANYTHING,
    "mapanything-v1-apache": MAPANYTHING_V1,
    "mapanything-v1": MAPANYTHING_V1,
}
"""By the names of their cards."""
