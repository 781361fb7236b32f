"""A VGGT so small that a test can run it, with weights that need no file."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.networks.vggt import VGGT, Configuration
from recon.networks.vggt_configuration import (
    AlternatingAttention,
    Camera,
    Dense,
    PatchEncoder,
    Track,
    TrackFeatures,
    TrackIteration,
)
from tests.networks import stand_in

TAPS = (0, 0, 1, 1)
CHANNELS = (8, 8, 16, 16)


def configuration() -> Configuration:
    """All parts of the network, each as small as it can be; tracks in pictures of 56 pixels a side and more."""
    return Configuration(
        embed_dim=32,
        patch_embed=PatchEncoder(depth=1, num_heads=2),
        aggregator=AlternatingAttention(depth=2, num_heads=2),
        camera_head=Camera(trunk_depth=1, num_heads=2),
        point_head=Dense(4, "inv_log", features=16, out_channels=CHANNELS, intermediate_layer_idx=TAPS),
        depth_head=Dense(2, "exp", features=16, out_channels=CHANNELS, intermediate_layer_idx=TAPS),
        track_head=Track(
            TrackFeatures(features=16, out_channels=CHANNELS, intermediate_layer_idx=TAPS),
            TrackIteration(latent_dim=16, corr_levels=4, corr_radius=2, hidden_size=32, depth=1),
        ),
    )


def stand_in_state() -> dict[str, Tensor]:
    """A state dict of that network: cameras that look about forward, depth and points before them, tracks that stay."""
    network = VGGT(configuration())
    state = stand_in.stand_in_state(network)
    with torch.no_grad():
        for name in ("camera_head.pose_branch.fc2", "track_head.tracker.updateformer.flow_head"):
            state[f"{name}.weight"] *= 0.1
            state[f"{name}.bias"] *= 0.1
        quarter = 1 / network.configuration.camera_head.num_iterations  # each iteration adds to the last
        state["camera_head.pose_branch.fc2.bias"] += quarter * torch.tensor([0.0, 0, 0, 0, 0, 0, 1, 1, 1])
        state["point_head.scratch.output_conv2.2.bias"] += torch.tensor([0.0, 0, 1, 0])
    return state
