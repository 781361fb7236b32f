"""A SIU3R so small that a test can run it, with weights that need no file."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch

from recon.networks.siu3r import Siu3r
from recon.networks.siu3r_configuration import Adapter, Configuration, Croco, Dpt, Mask2former
from tests.networks.stand_in import draw, stand_in_state


def configuration(multiple: bool = False, text: bool = False) -> Configuration:
    """All parts of the network, each as small as it can be."""
    return Configuration(
        croco=Croco(enc_depth=4, dec_depth=4, enc_embed_dim=32, dec_embed_dim=16, enc_num_heads=2, dec_num_heads=2),
        adapter=Adapter(conv_inplane=8, deform_num_heads=4, interaction_indexes=(0, 1, 2, 3)),
        mask2former=Mask2former(32, 16, 32, 1, 32, 3, 32, 4, 12),
        dpt=Dpt(8, 8, (8, 8, 8, 8)),
        multiple=multiple,
        text=text,
    )


@cache
def stand_in_network(multiple: bool = False, text: bool = False) -> Siu3r:
    """That network, whose points lie before the first camera."""
    network = Siu3r(configuration(multiple, text)).eval()
    state = stand_in_state(network)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            state[name] = draw(name, tuple(tensor.shape), 1.0, 0.05)
        elif name.endswith(("num_batches_tracked", "empty_weight")):
            state[name] = tensor
    for side in ("downstream_head1", "downstream_head2"):
        state[f"{side}.dpt.head.4.bias"][2] += 1.0
    with torch.no_grad():
        network.load_state_dict(state)
    return network


def write_checkpoint(path: Path, multiple: bool = False) -> Path:
    """Its weights as training frameworks nest them, and its sizes beside."""
    state = {f"model.{name}": tensor for name, tensor in stand_in_network(multiple).state_dict().items()}
    torch.save({"epoch": 100, "state_dict": state}, path)
    write_sizes(path.parent)
    return path


def write_sizes(folder: Path) -> None:
    """The configuration that a checkpoint does not tell itself."""
    sizes = {name: value for name, value in asdict(configuration()).items() if name not in ("multiple", "text")}
    (folder / "config.json").write_text(json.dumps(sizes))
