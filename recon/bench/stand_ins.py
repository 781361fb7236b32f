"""Weights and pictures in the place of those that nobody has at hand: time and memory do not depend on them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Network = TypeVar("Network", bound=nn.Module)

EXPONENTS = (
    "output_conv2.2.weight",
    "dense_head.1.conv2.2.weight",
    "scale_head.output_proj.weight",
    "dpt.head.4.weight",
    "downstream_head1.proj.weight",
    "downstream_head2.proj.weight",
)


def stood_in(build: Callable[[], Network], device: torch.device) -> Network:
    """The network that ``build`` makes, in float32 on ``device``, with weights that stand in."""
    with torch.device("meta"):
        network = build()
    fill_in(network.to_empty(device=device))
    return network.eval().requires_grad_(False)


def stand_in_pictures(count: int, height: int, width: int, device: torch.device) -> Tensor:
    """``[1,count,3,height,width]`` in 0..1: blots with grain, others in each picture."""
    random = torch.Generator(device).manual_seed(count)
    pictures = torch.empty(count, 3, height, width, device=device)
    for picture in pictures.split(16):
        blots = torch.rand(len(picture), 3, 12, 18, generator=random, device=device)
        grain = torch.randn(picture.shape, generator=random, device=device)
        smooth = functional.interpolate(blots, size=(height, width), mode="bicubic")
        picture.copy_((smooth + 0.05 * grain).clamp_(0, 1))
    return pictures[None]


def fill_in(network: nn.Module, seed: int = 0) -> None:
    """Give a network weights that keep what flows through it in range: normal numbers, drawn where the weights are.

    Those of a key are the same whenever they are drawn on the same kind of device.
    """
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            mean, deviation = moments(name, tuple(weight.shape))
            random = torch.Generator(weight.device).manual_seed(zlib.crc32(name.encode()) + seed)
            weight.normal_(mean, deviation, generator=random)


def moments(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation of the weights of a key, by what they are for."""
    last = name.rpartition(".")[2]
    if not last.endswith("weight"):
        if name.endswith("pose_branch.fc2.bias"):
            return 0.25, 0.05  # four iterations add up to fields of view of about 1 radian
        if name.endswith("flow_head.bias"):
            return 0.0, 0.005
        if name.endswith("pose_head.fc_rot.bias"):
            return 0.5, 0.05  # of a quaternion
        if last == "gamma":
            return 0.5, 0.1
        return 0.0, 0.5 if len(shape) > 1 else 0.05  # learned tokens and positions; biases
    if len(shape) == 1:
        return 1.0, 0.1  # of a norm
    inputs = shape[0] if is_transposed(name) else math.prod(shape[1:])
    return 0.0, gain(name) / math.sqrt(inputs)


def is_transposed(name: str) -> bool:
    """Whether a key is of a transposed convolution, each of whose outputs has one input pixel."""
    heads, places = ("resize_layers.{}.", "input_process.{}.0.1.", "act_postprocess.{}.1."), (0, 1)
    return any(head.format(place) in name for head in heads for place in places)


def gain(name: str) -> float:
    """What a matrix or convolution makes of unit deviation."""
    if name.endswith("flow_head.weight"):
        return 0.02  # points stay about where they are: the tracker turns pixels into phases
    if name.endswith(EXPONENTS):
        return 0.2  # exponentials of it are taken
    if name.endswith(("pose_branch.fc2.weight", "pose_head.fc_rot.weight")):
        return 0.25
    if is_transposed(name):
        return 1.2
    dense = ("projects.", "resize_layers.", "scratch.", "input_process.", "act_postprocess.")
    return 1.1 if any(part in name for part in dense) else 0.8
