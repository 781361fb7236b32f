"""Fixed sinusoidal positions on one axis (Vaswani et al. 2017, section 3.5); a map has one such code for each axis."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
def sincos_table(first: float, last: float, count: int, channels: int, base: float, device: torch.device) -> Tensor:
    """Codes ``[count, channels] float32`` of ``count`` even positions from ``first`` to ``last``.

    The first half of the channels are the sines, the second the cosines, of the position times the frequencies
    ``base ** (-2k / channels)``. The angles are made in float64 on the CPU and kept for the next call, so that the
    device never waits for them.
    """
    with torch.inference_mode(False):
        positions = torch.linspace(first, last, count, dtype=torch.float64)
        frequencies = base ** (-torch.arange(channels // 2, dtype=torch.float64) / (channels // 2))
        angles = positions[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], -1).float().to(device)
