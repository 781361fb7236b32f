"""How the numbers of a head become a pointmap and its confidence (DUSt3R: Wang et al. 2024, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from recon.networks.layers.activations import expm1_of_length


def square_of_length(vectors: Tensor) -> Tensor:
    """Vectors ``[...,C]`` whose length was replaced by its square root, undone."""
    return vectors * vectors.norm(dim=-1, keepdim=True)


def exponential(values: Tensor, least: float, most: float) -> Tensor:
    """From ``least`` on, at most ``most``."""
    return least + values.exp().clamp_max(most - least)


def sigmoid(values: Tensor, least: float, most: float) -> Tensor:
    """Between both."""
    return least + (most - least) * values.sigmoid()


# Names as checkpoints' configurations have them. Channels come last.
POINTS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda vectors: vectors,
    "exp": expm1_of_length,
    "square": square_of_length,
}
CONFIDENCES: dict[str, Callable[[Tensor, float, float], Tensor]] = {"exp": exponential, "sigmoid": sigmoid}
