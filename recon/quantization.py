"""Weights in 8 bits per output channel: a quarter of float32, restored to float32 when they are read.

A large tensor ``name`` is stored as int8 with one float32 scale per output channel (its first axis), ``name`` +
`SCALE_SUFFIX`; vectors and small tensors stay as they are. The file is plain safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from recon.errors import InputError

FORMAT = "parallax-weights"
FORMAT_VERSION = "1"
SCALE_SUFFIX = ":scale"
LARGE = 16_384  # below this many elements, 8 bits would save nothing worth an error
Network = TypeVar("Network", bound=nn.Module)


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


def write_weights(
    path: Path,
    state: Mapping[str, Tensor],
    network: str,
    licence: str,
    origin: str,
    configuration: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Quantize a state dict and write it, with what a reader should know of it, as safetensors.

    Args:
        path: the file to write.
        state: the state dict.
        network: its name.
        licence: of the weights, as an SPDX identifier.
        origin: a sentence that says where the weights come from.
        configuration: arguments of the network's class that differ from its defaults (see `read_configuration`).
        training: how the weights were made: the training's configuration, seed, commit, views, hours; JSON values.
    """
    metadata = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "network": network,
        "licence": licence,
        "origin": origin,
        "configuration": json.dumps(dict(configuration or {}), sort_keys=True),
        "training": json.dumps(dict(training or {}), sort_keys=True),
    }
    save_file(quantize(state), path, metadata)


def read_configuration(path: Path) -> dict[str, Any]:
    """Arguments of the network's class for which the weights were made; empty where the file says nothing of it.

    Raises:
        InputError: no such file, not safetensors, of a newer version, or with a configuration that is none.
    """
    with opened(path) as file:
        text = (file.metadata() or {}).get("configuration", "{}")
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise InputError(f"The weights '{path.name}' do not say which network they are of; fetch them anew.") from error


def load_network(kind: Callable[..., Network], path: Path) -> Network:
    """The network that the weights were made for, with them.

    Raises:
        InputError: no such file, not safetensors, of a newer version, or made for another kind of network.
    """
    try:
        network = kind(**read_configuration(path))
    except TypeError as error:
        raise InputError(f"The weights '{path.name}' are of another network; give a file made for it.") from error
    load_weights(network, path)
    return network


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill ``network`` from safetensors, 8-bit or plain float; every key and shape must match.

    Raises:
        InputError: no such file, not safetensors, of a newer version, or made for another network.
    """
    with opened(path) as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    try:
        network.load_state_dict(restore(stored))
    except RuntimeError as error:
        raise InputError(
            f"The weights '{path.name}' are of another network; give a file made for {type(network).__name__}."
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file, its version checked.

    Raises:
        InputError: no such file, not safetensors, or of a newer version.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            version = metadata.get("version", FORMAT_VERSION)
            if metadata.get("format") == FORMAT and version != FORMAT_VERSION:
                raise InputError(f"The weights '{path.name}' have version {version}; update Parallax to read them.")
            yield file
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights '{path.name}' cannot be read; give a complete .safetensors file.") from error
