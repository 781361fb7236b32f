"""A DUSt3R so small that a test can run it, with weights that need no file."""

from __future__ import annotations

import torch

from recon.networks.dust3r import Configuration, Dust3r
from recon.networks.dust3r_configuration import DptHead
from tests.networks.stand_in import stand_in_state


def configuration(head: str = "dpt") -> Configuration:
    """All parts of the network, each as small as it can be."""
    return Configuration(
        head_type=head,
        enc_embed_dim=32,
        enc_depth=1,
        enc_num_heads=2,
        dec_embed_dim=16,
        dec_depth=10,
        dec_num_heads=2,
        dpt=DptHead(8, 8, (8, 8, 8, 8)),
    )


def stand_in_network(head: str = "dpt") -> Dust3r:
    """That network, whose points lie before the first camera."""
    network = Dust3r(configuration(head)).eval()
    state = stand_in_state(network)
    for side in ("downstream_head1", "downstream_head2"):
        last = state[f"{side}.proj.bias"][:768].view(3, 256) if head == "linear" else state[f"{side}.dpt.head.4.bias"]
        last[2] += 1.0
    with torch.no_grad():
        network.load_state_dict(state)
    return network
