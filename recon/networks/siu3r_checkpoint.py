"""Checkpoints of SIU3R: what a training framework wrote, of which only the network's weights are taken.

The file of the Hub holds optimizer, losses and objects of the training's own classes too; none of that is used, and
those classes are never imported (`recon.checkpoint.Stranger`).
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from recon.checkpoint import read_json_beside, read_state
from recon.networks.siu3r_configuration import Configuration, read_configuration

PREFIX, DROPPED = "model.", "lpips."  # of the network's names, and of those of a loss


def read_checkpoint(path: Path) -> tuple[Configuration, dict[str, Tensor]]:
    """What network a checkpoint is for, and the weights for `recon.checkpoint.fill`, mapped from the file.

    A mask token tells that it is for many views, and names of the branch for words that it has one.

    Raises:
        InputError: no such file, a damaged one, or one of another network.
    """
    whole = read_state(path, strangers=True)
    state = {name.removeprefix(PREFIX): tensor for name, tensor in whole.items() if not name.startswith(DROPPED)}
    told = {
        "multiple": "backbone.mask_token" in state,
        "text": any(name.startswith("mask2former.lang_") for name in state),
    }
    return read_configuration({**read_json_beside(path), **told}), state
