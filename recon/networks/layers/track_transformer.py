"""A transformer over time and tracks by turns, the latter by way of virtual ones (CoTracker: Karaev et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.transformer import Mlp, attend


class PackedAttention(nn.Module):
    """Attention with one weight for queries, keys and values, laid out as `torch.nn.MultiheadAttention` has it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """``tokens [B,N,width]`` look at ``context [B,M,width]``; gives ``[B,N,width]``."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query, key, value = (
            functional.linear(source, weight, bias).unflatten(-1, (self.heads, -1))
            for source, weight, bias in zip((tokens, context, context), weights, biases, strict=True)
        )
        return self.out_proj(attend(query, key, value))


class SelfBlock(nn.Module):
    """Attention and an MLP; what the attention is added to is the normed input, as the checkpoints were trained."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = PackedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B,N,width]`` to the same."""
        tokens = self.norm1(tokens)
        tokens = tokens + self.attn(tokens, tokens)
        return tokens + self.mlp(self.norm2(tokens))


class CrossBlock(nn.Module):
    """The same, looking at other tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.cross_attn = PackedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """``tokens [B,N,width]``, which look at ``context [B,M,width]``, to the same shape as the tokens."""
        tokens = self.norm1(tokens)
        tokens = tokens + self.cross_attn(tokens, self.norm_context(context))
        return tokens + self.mlp(self.norm2(tokens))


class TrackTransformer(nn.Module):
    """Each round attends along time for every track, then across tracks for every time.

    Across tracks it goes by way of a few learned virtual tracks, so that its cost grows with the number of tracks, not
    with its square.
    """

    def __init__(self, inputs: int, width: int, outputs: int, depth: int, heads: int, virtual_tracks: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(inputs)
        self.input_transform = nn.Linear(inputs, width)
        self.virual_tracks = nn.Parameter(0.02 * torch.randn(1, virtual_tracks, 1, width))  # spelled as in checkpoints
        self.time_blocks = nn.ModuleList(SelfBlock(width, heads) for _ in range(depth))
        self.space_virtual2point_blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(depth))
        self.space_virtual_blocks = nn.ModuleList(SelfBlock(width, heads) for _ in range(depth))
        self.space_point2virtual_blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(depth))
        self.output_norm = nn.LayerNorm(width)
        self.flow_head = nn.Linear(width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B,V,N,inputs]`` of N tracks at V times to ``[B,V,N,outputs]``."""
        batch, views, count, _ = tokens.shape
        start = self.input_transform(self.input_norm(tokens))
        virtual = self.virual_tracks.transpose(1, 2).expand(batch, views, -1, -1)
        tokens = torch.cat([start, virtual], 2)
        for along_time, gather, exchange, spread in zip(
            self.time_blocks,
            self.space_virtual2point_blocks,
            self.space_virtual_blocks,
            self.space_point2virtual_blocks,
            strict=True,
        ):
            times = along_time(tokens.transpose(1, 2).flatten(0, 1))
            tokens = times.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)
            points, virtual = tokens[:, :count], tokens[:, count:]
            virtual = exchange(gather(virtual, points))
            points = spread(points, virtual)
            tokens = torch.cat([points, virtual], 1).unflatten(0, (batch, views))
        return self.flow_head(self.output_norm(tokens[:, :, :count] + start))
