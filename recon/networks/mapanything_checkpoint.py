"""The names of the weights in files of MapAnything: some hold a weight several times, under each name it has."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

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
