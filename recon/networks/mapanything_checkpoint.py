"""Files of MapAnything: some hold a weight several times, under each name it has, and some tell of no configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from recon.networks.mapanything_configuration import VERSION_1, Configuration, read_configuration

HEADS = {"dpt_feature_head.": "dense_head.0.", "dpt_regressor_head.": "dense_head.1."}
LEVEL = re.compile(r"^dense_head\.0\.scratch\.layer(?:(?P<from_one>\d)_rn|_rn\.(?P<from_zero>\d))\.")


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights once each, under the names of `recon.networks.mapanything.MapAnything`; others as they are."""
    return {own_name(name): tensor for name, tensor in state.items()}


def own_name(name: str) -> str:
    """The first of the names that a weight has, in the order of the alphabet."""
    for head, own in HEADS.items():
        if name.startswith(head):
            name = own + name.removeprefix(head)
    if match := LEVEL.match(name):
        level = int(match["from_one"]) - 1 if match["from_one"] else int(match["from_zero"])
        name = f"dense_head.0.input_process.{level}.1.{name[match.end() :]}"
    return name


def configuration_of(values: Mapping[str, Any], state: Mapping[str, Tensor]) -> Configuration:
    """What ``config.json`` says; without one, the published version that the weights are of.

    Raises:
        InputError: see `read_configuration`.
    """
    return VERSION_1 if not values and "encoder.model.norm.weight" in state else read_configuration(values)
