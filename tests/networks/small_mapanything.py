"""A MapAnything so small that a test can run it, with weights that need no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from recon.networks.mapanything import MapAnything, read_configuration
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


def written_configuration(version: str = "1.1") -> dict[str, Any]:
    """What the config.json of a small network says, the smallest encoder that it can name among its parts."""
    newer = version == "1.1"
    encoders = {"intermediate_dims": DENSE}
    numbers = {"intermediate_dims": GLOBAL}
    blocks = {"dim": 32, "depth": 4, "num_heads": 2, "mlp_ratio": 2.0, "indices": [1, 2]}
    return {
        "encoder_config": {"size": "small", "keep_first_n_layers": 1, "norm_returned_features": not newer},
        "info_sharing_mlp_layer_str": "swiglufused" if newer else "mlp",
        "use_register_tokens_from_encoder": newer,
        "info_sharing_config": {"module_args": blocks | ({"init_values": 1e-5} if newer else {})},
        "geometric_input_config": {
            "ray_dirs_encoder_config": encoders,
            "depth_encoder_config": encoders,
            "cam_rot_encoder_config": numbers,
            "cam_trans_encoder_config": numbers,
            "scale_encoder_config": numbers,
        },
        "pred_head_config": {
            "feature_head": {"layer_dims": [8, 8, 16, 16], "feature_dim": 16},
            "pose_head": {"num_resconv_block": 1},
            "scale_head": {"hidden_dim": 8},
            "dpt_adaptor": {"depth_vmax": float("inf")},
        },
    }


def write(folder: Path, version: str = "1.1") -> Path:
    """A checkpoint of that network as it is published, config.json beside it."""
    written = written_configuration(version)
    (folder / "config.json").write_text(json.dumps(written))
    save_file(stand_in_state(version, read_configuration(written)), folder / "model.safetensors")
    return folder / "model.safetensors"


def stand_in_state(version: str = "1.1", values: Configuration | None = None) -> dict[str, Tensor]:
    """A state dict of a small network: rays that look about forward, cameras that hardly turn, a scale about 1."""
    network = MapAnything(values or configuration(version))
    state = stand_in.stand_in_state(network)
    state["info_sharing.view_pos_table"] = network.info_sharing.view_pos_table
    state["dense_head.1.conv2.2.bias"] += torch.tensor([0.0, 0, 3, 0, 0, 0])
    state["pose_head.fc_rot.weight"] *= 0.1
    state["pose_head.fc_rot.bias"] += torch.tensor([0.0, 0, 0, 1])
    return state
