"""Deformable attention in plain PyTorch (Deformable DETR: Zhu et al. 2021, section 4.1, equation 3).

A query does not look at all places of a map but at K points about its own, on each of L maps (levels), in each of M
heads, and decides itself where they lie and how much they count::

    attended(q) = sum_m W_m sum_l sum_k  A_mlk(q) * W'_m x_l(p_q + offset_mlk(q) / (w_l, h_l))

with x_l read bilinearly, zero outside; weights A of a head sum to 1 over its L * K points; p_q is where the query
stands, in 0..1 of both axes, pixels of a map having their centres at half a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.tables import table

Size = tuple[int, int]  # height and width


class DeformableAttention(nn.Module):
    """Attention of queries to a few points of some maps.

    Args:
        width: channels of queries and of maps.
        heads: that share them.
        levels: maps.
        points: of each head on each map.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, memory: Tensor, sizes: Sequence[Size], places: Tensor) -> Tensor:
        """``[B,Q,width]`` to the same.

        Args:
            queries: ``[B,Q,width]``.
            memory: ``[B,N,width]``, cells of all maps row by row, one map after the other.
            sizes: of the maps.
            places: ``[Q,2]`` (x, y) of the queries in 0..1.
        """
        offsets = self.sampling_offsets(queries).unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.attention_weights(queries).unflatten(-1, (self.heads, -1)).softmax(-1)
        weights = weights.unflatten(-1, (self.levels, self.points))
        values = self.value_proj(memory).split([height * width for height, width in sizes], 1)
        attended = [
            sampled(value, size, places[:, None, None] + offsets[..., level, :, :] / offsets.new_tensor(size[::-1]),
                    weights[..., level, :])
            for level, (value, size) in enumerate(zip(values, sizes, strict=True))
        ]  # fmt: skip
        return self.output_proj(torch.stack(attended).sum(0))


def sampled(values: Tensor, size: Size, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of a map's values at some places.

    Args:
        values: ``[B,h*w,width]``.
        size: h and w.
        places: ``[B,Q,heads,points,2]`` (x, y) in 0..1.
        weights: ``[B,Q,heads,points]``.

    Returns:
        ``[B,Q,width]``.
    """
    batch, _, heads, _, _ = places.shape
    maps = values.unflatten(-1, (heads, -1)).permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, size)
    grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)
    found = functional.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    summed = (found * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
    return summed.unflatten(0, (batch, heads)).permute(0, 3, 1, 2).flatten(2)


@table(64)
def cell_centres(sizes: tuple[Size, ...], device: torch.device) -> Tensor:
    """``[N,2]`` (x, y) in 0..1: centres of the cells of all maps, row by row, one map after the other."""
    centres = []
    for height, width in sizes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        centres.append(torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1).flatten(0, 1))
    return torch.cat(centres)
