"""A MUSt3R so small that a test can run it, with weights that need no file."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
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


def save_checkpoint(path: Path, encoder: Any = ENCODER, decoder: Any = DECODER) -> Path:
    """That network as the published checkpoints hold theirs, described by those texts."""
    state = stand_in_network().state_dict()
    parts = {
        part: {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
        for part in ("encoder", "decoder")
    }
    arguments = Namespace(encoder=encoder, decoder=decoder, epochs=3, lr=1e-4, amp="bf16", chkpt=None)
    torch.save({**parts, "args": arguments, "epoch": 7}, path)
    return path


def tiny(text: str) -> str:
    """A network for smaller pictures, described as `ENCODER` and `DECODER` describe theirs."""
    return text.replace("(224, 224)", "(64, 64)")


def save_retrieval(folder: Path, width: int = 32, words: int = 24, **arguments: Any) -> tuple[Path, Path]:
    """What orders photos, as it is published: its weights, and its visual words."""
    generator = np.random.default_rng(0)
    state = {
        "prewhiten.m": torch.from_numpy(0.1 * generator.standard_normal((1, width))),
        "prewhiten.p": torch.from_numpy(generator.standard_normal((width, width)) / width**0.5),
    }
    said = {"freeze_backbone": 1, "prewhiten": -1, "hdims": "", "residual": False, "postwhiten": None}
    said |= {"featweights": "l2norm", "nfeat": 6, "nclusters": words, **arguments}
    path, book = folder / "MUSt3R_512_retrieval_trainingfree.pth", folder / "MUSt3R_512_retrieval_codebook.pkl"
    torch.save({"args": Namespace(**said), "model": state}, path)
    centroids = generator.standard_normal((words, width)).astype(np.float32)
    content = {"type": "Codebook", "params": {"size": words}, "state": {"centroids": centroids}}
    book.write_bytes(pickle.dumps(content))
    return path, book
