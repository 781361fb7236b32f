"""Two-dimensional rotary positions: RoPE (Su et al. 2021, section 3.2) on each image axis."""

from __future__ import annotations

import torch
from torch import Tensor


def grid_positions(height: int, width: int, special: int = 0, device: torch.device | None = None) -> Tensor:
    """Positions ``[special + height * width, 2]`` (y, x) of a view's tokens, row by row.

    Patches count from 1; the ``special`` tokens that stand before them are all at (0, 0), where nothing turns.
    """
    y, x = torch.meshgrid(
        torch.arange(1, height + 1, device=device), torch.arange(1, width + 1, device=device), indexing="ij"
    )
    patches = torch.stack([y.flatten(), x.flatten()], -1)
    return torch.cat([patches.new_zeros(special, 2), patches])


def rotary_angles(positions: Tensor, head_width: int, base: float = 100.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines, ``[N, head_width] float32`` each, of positions ``[N, 2]``.

    The first half of a head turns with y, the second with x, at the frequencies ``base ** (-4i / head_width)``.
    """
    quarter = head_width // 4
    frequencies = base ** (-torch.arange(quarter, device=positions.device) / quarter)
    y, x = (positions.float()[:, :, None] * frequencies).unbind(1)
    angles = torch.cat([y, y, x, x], -1)
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Turn ``[B, heads, N, head_width]`` by what `rotary_angles` gave for its N tokens."""
    cosines, sines = rotary
    y_first, y_second, x_first, x_second = heads.chunk(4, -1)
    turned = torch.cat([-y_second, y_first, -x_second, x_first], -1)
    return (heads * cosines + turned * sines).to(heads.dtype)
