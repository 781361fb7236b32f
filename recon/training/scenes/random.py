"""Random numbers for drawing worlds: a generator and its device in one hand, and the rotations and colours drawn."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor


class Draw:
    """Draws from one generator, on its device."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator
        self.device = generator.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """``[*shape]`` evenly between low and high."""
        return torch.rand(*shape, generator=self.generator, device=self.device) * (high - low) + low

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """``[*shape]`` between two positive numbers, evenly in the logarithm."""
        return self.uniform(*shape, low=log(low), high=log(high)).exp()

    def normal(self, *shape: int) -> Tensor:
        """``[*shape]`` of mean 0 and deviation 1."""
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def chance(self, probability: float | Tensor, *shape: int) -> Tensor:
        """``[*shape] bool``, True with a probability."""
        return self.uniform(*shape) < probability

    def pick(self, cumulative: Tensor) -> Tensor:
        """``[...] long``: an index into the last dimension of ``cumulative [...,n]``, running sums that end at 1."""
        drawn = self.uniform(*cumulative.shape[:-1], 1)
        return (drawn > cumulative).sum(-1).clamp_max(cumulative.shape[-1] - 1)


def between(drawn: Tensor, bounds: Tensor) -> Tensor:
    """Numbers in 0..1 brought between the two ends in the last dimension of ``bounds [...,2]``."""
    return bounds[..., 0] + drawn * (bounds[..., 1] - bounds[..., 0])


def rotation_about_z(angle: Tensor) -> Tensor:
    """``[...,3,3]`` that turns by ``angle [...]`` radians about z."""
    cosine, sine, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], -1)
    return rows.unflatten(-1, (3, 3))


def rotation_of_angles(angles: Tensor) -> Tensor:
    """``[...,3,3]`` that turns by ``angles [...,3]`` radians about x, then y, then z."""
    x, y, z = angles.unbind(-1)
    a, b, c, d, e, f = x.cos(), x.sin(), y.cos(), y.sin(), z.cos(), z.sin()
    rows = [c * e, b * d * e - a * f, a * d * e + b * f, c * f, b * d * f + a * e, a * d * f - b * e, -d, b * c, a * c]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def colour_of_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """``[...,3]`` of hue in turns, saturation and value in 0..1."""
    corners = torch.tensor([5.0, 3.0, 1.0], device=hue.device)
    k = (corners + hue[..., None] * 6) % 6
    ramp = torch.minimum(k, 4 - k).clamp(0, 1)
    return value[..., None] * (1 - saturation[..., None] * ramp)
