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
    """Cosines and signed sines, ``[N, 1, head_width] float32`` each, of positions ``[N, 2]``, for `rotate`.

    The first half of a head turns with y, the second with x, at the frequencies ``base ** (-4i / head_width)``. Channel
    i of the first quarter is one coordinate of a point that turns, channel i of the second quarter the other; so with
    the third and the fourth.
    """
    quarter = head_width // 4
    frequencies = base ** (-torch.arange(quarter, device=positions.device) / quarter)
    y, x = (positions.float()[:, None, :, None] * frequencies).unbind(2)
    cosines, sines = torch.cat([y, y, x, x], -1).cos(), torch.cat([-y, y, -x, x], -1).sin()
    return cosines, sines


def rotate(heads: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Turn ``[B, N, heads, head_width]`` by what `rotary_angles` gave for its N tokens.

    A flip, where the textbook concatenates, so that a compiler makes it one pass over memory.
    """
    cosines, sines = rotary
    other = heads.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)
    return (heads * cosines + other * sines).to(heads.dtype)
