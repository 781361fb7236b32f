"""Fixed sinusoidal positions on one axis (Vaswani et al. 2017, section 3.5); a map has one such code for each axis."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.networks.layers.tables import table


@table(256)
def sincos_table(
    first: float, last: float, count: int, channels: int, base: float, device: torch.device, scale: float = 1.0
) -> Tensor:
    """Codes ``[count, channels] float32`` of ``count`` even positions from ``first`` to ``last``.

    The first half of the channels are the sines, the second the cosines, of the position times the frequencies
    ``base ** (-2k / channels)``, all times ``scale``. The angles are made in float64 on the CPU and kept for the next
    call, so that the device never waits for them.
    """
    positions = torch.linspace(first, last, count, dtype=torch.float64)
    frequencies = base ** (-torch.arange(channels // 2, dtype=torch.float64) / (channels // 2))
    angles = positions[:, None] * frequencies
    return scale * torch.cat([angles.sin(), angles.cos()], -1).float().to(device)
