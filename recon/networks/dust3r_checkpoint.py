"""Checkpoints of DUSt3R and MonST3R, in both containers in which they are published.

The ``.pth`` holds the text of the constructor call, which is parsed and never evaluated; beside the ``.safetensors``
lies a ``config.json``. The DPT heads hold four layers under two names each; safetensors keep only one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from recon.checkpoint import read_json_beside, read_with_arguments
from recon.networks.configuration import check
from recon.networks.constructor import read_constructor
from recon.networks.dust3r_configuration import Configuration, read_configuration

CONSTRUCTOR = "AsymmetricCroCo3DStereo"
# What the constructor takes where its call says nothing, as far as that is not what is published.
UNSAID: dict[str, Any] = {
    "head_type": "linear",
    "img_size": 224,
    "pos_embed": "cosine",
    "enc_embed_dim": 768,
    "enc_depth": 12,
    "enc_num_heads": 12,
    "dec_embed_dim": 512,
    "dec_depth": 8,
    "dec_num_heads": 16,
}


def read_checkpoint(path: Path) -> tuple[Configuration, dict[str, Tensor]]:
    """What network a checkpoint is for, and the weights for `recon.checkpoint.fill`, mapped from the file.

    Raises:
        InputError: no such file, a damaged one, or one of another network.
    """
    state, arguments = read_with_arguments(path)
    state = complete(state)
    if "model" not in arguments:
        head = "linear" if "downstream_head1.proj.weight" in state else "dpt"  # unless the file says more
        return read_configuration({"head_type": head, **read_json_beside(path)}), state
    text = arguments["model"]
    check(isinstance(text, str), f"it should name a constructor, not {type(text).__name__}")
    call = read_constructor(text)
    check(call.name == CONSTRUCTOR, f"it is of a network {call.name!r}, not {CONSTRUCTOR!r}")
    return read_configuration({**UNSAID, **call.arguments}), state


def complete(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in which layers that have two names have both."""
    whole = dict(state)
    for heads in ("downstream_head1", "downstream_head2"):
        for number in range(1, 5):
            names = (
                f"{heads}.dpt.scratch.layer{number}_rn.weight",
                f"{heads}.dpt.scratch.layer_rn.{number - 1}.weight",
            )
            for name, other in (names, names[::-1]):
                if name not in whole and other in whole:
                    whole[name] = whole[other]
    return whole
