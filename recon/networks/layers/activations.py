"""How the numbers of a head become depth, points and confidence (DUSt3R: Wang et al. 2024; VGGT: Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def signed_expm1(values: Tensor) -> Tensor:
    """The inverse of a logarithm that keeps the sign, each value by itself."""
    return values.sign() * values.abs().expm1()


def expm1_of_length(vectors: Tensor) -> Tensor:
    """Vectors ``[...,C]`` whose length was replaced by ``log(1 + length)``, undone."""
    length = vectors.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    return vectors / length * length.expm1()


def expm1_of_depth(points: Tensor) -> Tensor:
    """Points ``[...,3]`` of rays (x/z, y/z) and of a z whose logarithm was taken, keeping the sign."""
    depth = signed_expm1(points[..., 2:])
    return torch.cat([points[..., :2] * depth, depth], -1)


# Names as checkpoints' configurations have them. Channels come last.
VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda values: values,
    "exp": torch.exp,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "inv_log": signed_expm1,
    "xy_inv_log": expm1_of_depth,
    "norm": lambda vectors: vectors / vectors.norm(dim=-1, keepdim=True),
    "norm_exp": expm1_of_length,
}
CONFIDENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "expp1": lambda values: 1 + values.exp(),
    "expp0": torch.exp,
    "sigmoid": torch.sigmoid,
}
