"""SIU3R's queries: each ends as a class and one mask over all views (Mask2Former: Cheng et al. 2022, section 3.2).

Queries look at all views together, each only where its own mask of the layer before lies; the position of a cell
tells its view too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.tables import table
from recon.networks.layers.transformer import attend
from recon.networks.siu3r_configuration import Mask2former
from recon.networks.siu3r_pixel_decoder import LEVELS, axis_positions, plane_positions


@dataclass
class Queries:
    """What the queries say after each layer, and before the first: P predictions in all, the last one the best.

    Attributes:
        hidden: ``[B,Q,C]`` at the end, not normed.
        states: of each prediction, normed, ``[B,Q,C]``.
        masks: of each prediction, logits ``[B,Q,V,h,w]``, a quarter as fine as the picture.
    """

    hidden: Tensor
    states: list[Tensor]
    masks: list[Tensor]


class SelfAttention(nn.Module):
    """Attention of the queries to each other; positions are no part of the values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """``[B,Q,width]`` to the same."""
        placed = tokens + positions
        parts = self.q_proj(placed), self.k_proj(placed), self.v_proj(tokens)
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in parts)
        return self.out_proj(attend(query, key, value))


class DecoderLayer(nn.Module):
    """Attention to the views within the mask, to each other, then two linear layers, each added and normed after."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, positions: Tensor, memory: Tensor, memory_positions: Tensor, hidden: Tensor
    ) -> Tensor:
        """``[B,Q,width]`` to the same.

        Args:
            tokens: of the queries.
            positions: ``[Q,width]`` of the queries.
            memory: ``[B,N,width]``, cells of all views.
            memory_positions: ``[N,width]``.
            hidden: ``[B,Q,N] bool``, what each query is not to see.
        """
        mask = hidden.repeat_interleave(self.cross_attn.num_heads, 0)
        attended, _ = self.cross_attn(
            tokens + positions, memory + memory_positions, memory, attn_mask=mask, need_weights=False
        )
        tokens = self.cross_attn_layer_norm(tokens + attended)
        tokens = self.self_attn_layer_norm(tokens + self.self_attn(tokens, positions))
        return self.final_layer_norm(tokens + self.fc2(functional.relu(self.fc1(tokens))))


class MaskPredictor(nn.Module):
    """Three linear layers, from what a query has become to what its mask's pixels look like."""

    def __init__(self, width: int, output: int) -> None:
        super().__init__()
        self.mask_embedder = nn.Sequential(
            nn.Sequential(nn.Linear(width, width), nn.ReLU()),
            nn.Sequential(nn.Linear(width, width), nn.ReLU()),
            nn.Sequential(nn.Linear(width, output)),
        )

    def forward(self, states: Tensor, features: Tensor) -> Tensor:
        """``[B,Q,width]`` and ``[B,V,M,h,w]`` to logits ``[B,Q,V,h,w]``."""
        return torch.einsum("bqm,bvmhw->bqvhw", self.mask_embedder(states), features)


class Decoder(nn.Module):
    """The layers, and what predictions are made with."""

    def __init__(self, settings: Mask2former) -> None:
        super().__init__()
        width = settings.hidden_dim
        self.layers = nn.ModuleList(
            DecoderLayer(width, settings.num_attention_heads, settings.dim_feedforward)
            for _ in range(settings.decoder_layers - 1)
        )
        self.layernorm = nn.LayerNorm(width)
        self.mask_predictor = MaskPredictor(width, settings.mask_feature_size)


class QueryDecoder(nn.Module):
    """Queries that become classes and masks. Names are those of the checkpoints."""

    def __init__(self, settings: Mask2former) -> None:
        super().__init__()
        width = settings.hidden_dim
        self.queries_embedder = nn.Embedding(settings.num_queries, width)
        self.queries_features = nn.Embedding(settings.num_queries, width)
        self.decoder = Decoder(settings)
        self.level_embed = nn.Embedding(LEVELS, width)

    def forward(self, levels: Sequence[Tensor], features: Tensor) -> Queries:
        """What the pixel decoder gave of all views: three maps ``[B,V,C,h,w]`` and ``[B,V,M,H,W]``, to queries."""
        memories = [
            level.permute(0, 1, 3, 4, 2).flatten(1, 3) + embedding
            for level, embedding in zip(levels, self.level_embed.weight, strict=True)
        ]
        positions = [
            space_positions(level.shape[1], level.shape[3], level.shape[4], level.shape[2], level.device).flatten(0, 2)
            for level in levels
        ]
        tokens = self.queries_features.weight.expand(len(features), -1, -1)
        states = [self.decoder.layernorm(tokens)]
        masks = [self.decoder.mask_predictor(states[0], features)]
        for number, layer in enumerate(self.decoder.layers):
            level = number % LEVELS
            hidden = outside(masks[-1], levels[level].shape[-2:])
            tokens = layer(tokens, self.queries_embedder.weight, memories[level], positions[level], hidden)
            states.append(self.decoder.layernorm(tokens))
            masks.append(self.decoder.mask_predictor(states[-1], features))
        return Queries(tokens, states, masks)


def outside(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Where queries are not to look, ``[B,Q,V*h*w] bool``, by logits ``[B,Q,V,H,W]``; without a mask, nowhere."""
    resized = functional.interpolate(masks.detach().flatten(1, 2), tuple(size), mode="bilinear", align_corners=False)
    hidden = (resized.sigmoid() < 0.5).unflatten(1, masks.shape[1:3]).flatten(2)
    return hidden & ~hidden.all(-1, keepdim=True)


@table(64)
def space_positions(views: int, height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """``[V,h,w,channels] float32``: codes of row and column, plus one of the view."""
    return axis_positions(views, channels, device)[:, None, None] + plane_positions((height, width), channels, device)
