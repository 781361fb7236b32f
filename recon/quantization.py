"""Weights in 8 bits per output channel: a quarter of float32, restored to float32 when they are read.

A large tensor ``name`` is stored as int8 with one float32 scale per output channel (its first axis), ``name`` +
`SCALE_SUFFIX`; vectors and small tensors stay as they are. The file is plain safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from recon.errors import InputError

FORMAT_VERSION = "1"
SCALE_SUFFIX = ":scale"
LARGE = 16_384  # below this many elements, 8 bits would save nothing worth an error


def quantize(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as it is stored; an element is off by at most 1/254 of the largest one of its channel."""
    stored = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().float()
        if tensor.ndim < 2 or tensor.numel() < LARGE:
            stored[name] = tensor.contiguous()
            continue
        scale = tensor.flatten(1).abs().amax(1) / 127
        steps = tensor / scale.clamp_min(torch.finfo(torch.float32).tiny).view(-1, *[1] * (tensor.ndim - 1))
        stored[name] = steps.round().to(torch.int8).contiguous()
        stored[name + SCALE_SUFFIX] = scale
    return stored


def restore(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in float32 of what `quantize` gave, or of plain floats."""
    state = {}
    for name, tensor in stored.items():
        if name.endswith(SCALE_SUFFIX):
            continue
        state[name] = tensor.float()
        scale = stored.get(name + SCALE_SUFFIX)
        if scale is not None:
            state[name] *= scale.view(-1, *[1] * (tensor.ndim - 1))
    return state


def write_weights(path: Path, state: Mapping[str, Tensor], network: str, licence: str, origin: str) -> None:
    """Quantize a state dict and write it, with what a reader should know of it, as safetensors."""
    metadata = {
        "format": "parallax-weights",
        "version": FORMAT_VERSION,
        "network": network,
        "licence": licence,
        "origin": origin,
    }
    save_file(quantize(state), path, metadata)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill ``network`` from safetensors, 8-bit or plain float; every key and shape must match.

    Raises:
        InputError: no such file, not safetensors, of a newer version, or made for another network.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights '{path.name}' cannot be read; give a complete .safetensors file.") from error
    version = metadata.get("version", FORMAT_VERSION)
    if metadata.get("format") == "parallax-weights" and version != FORMAT_VERSION:
        raise InputError(f"The weights '{path.name}' have version {version}; update Parallax to read them.")
    try:
        network.load_state_dict(restore(stored))
    except RuntimeError as error:
        raise InputError(
            f"The weights '{path.name}' are of another network; give a file made for {type(network).__name__}."
        ) from error
