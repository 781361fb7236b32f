"""A MUSt3R so small that a test can run it, with weights that need no file."""

from __future__ import annotations

import torch

from recon.networks.must3r import Configuration, Must3r
from recon.networks.must3r_configuration import Decoder, Encoder
from tests.networks.stand_in import stand_in_state

ENCODER = "Dust3rEncoder(img_size=(224, 224), embed_dim=32, depth=2, num_heads=2)"
DECODER = (
    "CausalMUSt3R(img_size=(224, 224), enc_embed_dim=32, embed_dim=16, depth=3, num_heads=2, "
    "feedback_type='single_mlp', memory_mode=\"kv\", mem_dropout=0.1, dropout_mode='temporary', use_mem_mask=True)"
)


def configuration(mode: str = "kv") -> Configuration:
    """All parts of the network, each as small as it can be: what `ENCODER` and `DECODER` describe."""
    return Configuration(
        Encoder((224, 224), embed_dim=32, depth=2, num_heads=2),
        Decoder((224, 224), embed_dim=16, depth=3, num_heads=2, enc_embed_dim=32, memory_mode=mode),
    )


def stand_in_network(mode: str = "kv") -> Must3r:
    """That network, whose points lie before the cameras."""
    network = Must3r(configuration(mode)).eval().requires_grad_(False)
    state = stand_in_state(network)
    last = state["decoder.head_dec.proj.bias"].view(7, 256)
    last[2] += 1.0
    last[5] += 1.0
    with torch.no_grad():
        network.load_state_dict(state)
    return network
