"""SIU3R's pixel decoder: maps of four scales of one view, made to know of each other (Cheng et al. 2022, section 3.2).

Mask2Former's, whose encoder is that of Deformable DETR (Zhu et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.deformable import DeformableAttention, Size, cell_centres
from recon.networks.layers.tables import table
from recon.networks.siu3r_configuration import Mask2former

LEVELS, POINTS = 3, 4  # maps that attention reads, and points of each head on each of them
GROUPS = 32  # of the GroupNorms
TEMPERATURE = 10000.0  # of the positions


class EncoderLayer(nn.Module):
    """Deformable self-attention of all maps' cells, then two linear layers, each added and normed after."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width, heads, LEVELS, POINTS)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, positions: Tensor, sizes: tuple[Size, ...]) -> Tensor:
        """``[N,T,width]``, cells of maps of these sizes, to the same; positions ``[T,width]`` turn queries alone."""
        places = cell_centres(sizes, tokens.device)
        tokens = self.self_attn_layer_norm(tokens + self.self_attn(tokens + positions, tokens, sizes, places))
        return self.final_layer_norm(tokens + self.fc2(functional.relu(self.fc1(tokens))))


class Encoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, settings: Mask2former) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(settings.feature_size, settings.num_attention_heads, settings.encoder_feedforward_dim)
            for _ in range(settings.encoder_layers)
        )

    def forward(self, tokens: Tensor, positions: Tensor, sizes: tuple[Size, ...]) -> Tensor:
        """As `EncoderLayer.forward`."""
        for layer in self.layers:
            tokens = layer(tokens, positions, sizes)
        return tokens


class PixelDecoder(nn.Module):
    """Four maps of each view to three that know of each other, and a fine one that masks are read from.

    Args:
        width: channels of the maps that come.
        settings: of the segmentation.
    """

    def __init__(self, width: int, settings: Mask2former) -> None:
        super().__init__()
        features = settings.feature_size
        self.level_embed = nn.Parameter(torch.zeros(LEVELS, features))
        self.input_projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, features, 1), nn.GroupNorm(GROUPS, features)) for _ in range(LEVELS)
        )
        self.encoder = Encoder(settings)
        self.adapter_1 = nn.Sequential(nn.Conv2d(width, features, 1, bias=False), nn.GroupNorm(GROUPS, features))
        self.layer_1 = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, features), nn.ReLU()
        )
        self.mask_projection = nn.Conv2d(features, settings.mask_feature_size, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Maps ``[N,width,H/s,W/s]``, s = 4, 8, 16, 32, to three ``[N,C,H/s,W/s]``, s = 32, 16, 8, and one for masks.

        Returns:
            The three, the coarsest first; and ``[N,M,H/4,W/4]``.
        """
        coarse = [project(part) for project, part in zip(self.input_projections, maps[:0:-1], strict=True)]
        sizes = tuple((part.shape[-2], part.shape[-1]) for part in coarse)
        channels = coarse[0].shape[1]
        positions = torch.cat(
            [
                plane_positions(size, channels, coarse[0].device).flatten(0, 1) + level
                for size, level in zip(sizes, self.level_embed, strict=True)
            ]
        )
        tokens = torch.cat([part.flatten(2) for part in coarse], 2).transpose(1, 2)
        tokens = self.encoder(tokens, positions, sizes)
        parts = tokens.split([height * width for height, width in sizes], 1)
        levels = [part.transpose(1, 2).unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]
        fine = self.adapter_1(maps[0])
        fine = fine + functional.interpolate(levels[-1], fine.shape[-2:], mode="bilinear", align_corners=False)
        return levels, self.mask_projection(self.layer_1(fine))


@table(64)
def plane_positions(size: Size, channels: int, device: torch.device) -> Tensor:
    """``[h,w,channels] float32``: codes of the row, then of the column."""
    height, width = size
    y, x = axis_positions(height, channels // 2, device), axis_positions(width, channels // 2, device)
    return torch.cat([y[:, None].expand(-1, width, -1), x.expand(height, -1, -1)], -1)


@table(64)
def axis_positions(count: int, channels: int, device: torch.device) -> Tensor:
    """Codes ``[count,channels] float32`` of 1 .. count over count turns: sine and cosine by turns, ever slower."""
    angles = torch.arange(1, count + 1, device=device) / (count + 1e-6) * (2 * math.pi)
    exponents = 2 * torch.div(torch.arange(channels, device=device), 2, rounding_mode="floor") / channels
    angles = angles[:, None] / TEMPERATURE**exponents
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], -1).flatten(1)
