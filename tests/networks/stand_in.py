"""Weights and pictures that need no file, the same on every machine: to compare a network with a recording."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor, nn


def stand_in_state(network: nn.Module) -> dict[str, Tensor]:
    """A state dict of ``network`` drawn from the name of each key, with moments that keep activations in range."""
    state = {}
    for name, tensor in network.state_dict().items():
        shape = tuple(tensor.shape)
        if len(shape) > 1:
            mean, deviation = 0.0, 0.7 / math.sqrt(math.prod(shape[1:]))
        elif name.endswith("gamma"):
            mean, deviation = 0.5, 0.1
        elif name.endswith("weight"):
            mean, deviation = 1.0, 0.1
        else:
            mean, deviation = 0.0, 0.05
        state[name] = draw(name, shape, mean, deviation)
    return state


def draw(name: str, shape: tuple[int, ...], mean: float, deviation: float, seed: int = 0) -> Tensor:
    """``mean + deviation * N(0,1)`` for the parameter of that name, one stream of numbers for each name and seed."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()) + seed))
    values = generator.standard_normal(shape, np.float32)
    values *= np.float32(deviation)
    values += np.float32(mean)
    return torch.from_numpy(values)


def smooth_images(views: int, height: int, width: int) -> Tensor:
    """``[1,views,3,height,width]`` in 0..1: waves that move from view to view."""
    y, x = np.mgrid[:height, :width] / height
    view = np.arange(views)[:, None, None, None]
    channel = np.arange(3)[None, :, None, None]
    waves = np.sin(9 * x + 4 * y * channel + 0.7 * view) * np.cos(11 * y - 3 * x * (channel - view) + channel)
    return torch.from_numpy((0.5 + 0.45 * waves).astype(np.float32))[None]
