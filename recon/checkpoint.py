"""Checkpoints that others published: a file becomes a state dict, a state dict becomes a network's weights.

Nothing of a checkpoint is ever executed, and its gigabytes are mapped, not copied: a network filled on the CPU shares
its pages with the file.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from recon.errors import InputError

Network = TypeVar("Network", bound=nn.Module)

NESTED = ("model", "state_dict")  # where training loops put the weights, beside an optimizer and the like
PARTS = ("encoder", "decoder")  # of a network whose parts' weights they put each by itself
NAMED = 3  # keys that a complaint names


class Stranger:
    """Stands in for a class that a checkpoint names and that is unknown here: it takes anything and does nothing.

    Training frameworks leave objects of their own beside the weights. Nothing is imported to read them.
    """

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __new__(cls, *_: Any, **__: Any) -> Stranger:
        """Whatever it is given."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None: ...


def read_state(path: Path, strangers: bool = False) -> dict[str, Tensor]:
    """The tensors of a checkpoint by their keys, on the CPU, mapped from the file.

    Both containers are read: safetensors, and what ``torch.save`` writes, flat or nested under a key of `NESTED`, or
    under all of `PARTS`, whose names then begin the keys.

    Args:
        path: of the checkpoint.
        strangers: read a file that names unknown classes beside the weights, too (see `Stranger`).

    Raises:
        InputError: no such file, a damaged one, or one that holds anything else than tensors.
    """
    return read_with_arguments(path, strangers)[0]


def read_with_arguments(path: Path, strangers: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As `read_state`; and the arguments of the training run, if the weights are nested beside them, else none.

    Arguments are plain values by name, as ``argparse`` gives them; nobody has checked them.

    Raises:
        InputError: as `read_state`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"The checkpoint '{path}' cannot be read; give a file that is there.") from error
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"'{path.name}' is only Git's pointer to the checkpoint; fetch the file with `git lfs pull`.")
    return (_read_safetensors(path), {}) if head[8:9] == b"{" else _read_pickle(path, strangers)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path) from error


def _read_pickle(path: Path, strangers: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    torch.serialization.add_safe_globals([Namespace])  # names and values, no code
    mapped = zipfile.is_zipfile(path)  # the container of before 2020 is none, and cannot be mapped
    try:
        with torch.serialization.safe_globals(_stand_ins(path) if strangers and mapped else []):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if not mapped:
            raise _damaged(path) from error
        raise _stranger(path) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path) from error
    arguments: dict[str, Any] = {}
    if isinstance(content, Mapping):
        nested = _nested(content)
        if nested is not content and isinstance(namespace := content.get("args"), Namespace):
            arguments = dict(vars(namespace))
        content = nested
    if not isinstance(content, Mapping) or not content:
        raise _stranger(path)
    state = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise _stranger(path)
        state[name] = tensor.detach()
    return state, arguments


def _stand_ins(path: Path) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """A class that does nothing for each name in a pickle that is not of torch's own safe ones."""
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    parts = [name.rpartition(".") for name in names]
    return [type(name, (Stranger,), {"__module__": module, "__qualname__": name}) for module, _, name in parts]


def _nested(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The weights in what a training loop saved, or that itself."""
    for key in NESTED:
        if isinstance(content.get(key), Mapping):
            return content[key]
    parts = {part: content[part] for part in PARTS if isinstance(content.get(part), Mapping)}
    if len(parts) == len(PARTS):
        return {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}
    return content


def _damaged(path: Path) -> InputError:
    return InputError(f"'{path.name}' is no checkpoint or a damaged one; fetch it anew (.safetensors or .pt).")


def _stranger(path: Path) -> InputError:
    return InputError(
        f"'{path.name}' holds something else than tensors by name; give a plain state dict, best as .safetensors."
    )


def read_json_beside(path: Path) -> dict[str, Any]:
    """What the ``config.json`` beside a checkpoint says; empty where there is none.

    Raises:
        InputError: it is no JSON object.
    """
    beside = path.parent / "config.json"
    try:
        content = json.loads(beside.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"'{beside}' cannot be read as JSON; remove or replace it.") from error
    if not isinstance(content, dict):
        raise InputError(f"'{beside}' is not a configuration; remove or replace it.")
    return content


def built(build: Callable[[], Network], state: Mapping[str, Tensor], name: str) -> Network:
    """The network that ``build`` makes, with the tensors of ``state`` for its weights; never two copies of them.

    Raises:
        InputError: as `fill`.
    """
    with torch.device("meta"):
        network = build()
    fill(network, state, name)
    return network


def fill(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Make the tensors of ``state`` the weights of ``network``, which may stand on the meta device.

    They are taken as they are, without a copy, except where the network has another floating type.

    Args:
        network: built for the checkpoint's configuration.
        state: as `read_state` gave it; every key and shape must match.
        name: of the checkpoint, for the sentence of an error.

    Raises:
        InputError: keys or shapes differ, or a tensor holds no floating numbers where weights are due.
    """
    own, kind = network.state_dict(), type(network).__name__
    shared = [key for key in own if key in state]
    complaints = {
        "lacks": [key for key in own if key not in state],
        "has no use for": [key for key in state if key not in own],
        "has another shape for": [key for key in shared if own[key].shape != state[key].shape],
        "has another kind of numbers for": [
            key for key in shared if own[key].is_floating_point() != state[key].is_floating_point()
        ],
    }
    if told := " and ".join(f"{verb} {_few(keys)}" for verb, keys in complaints.items() if keys):
        raise InputError(f"'{name}' does not fit {kind}: it {told}; give a checkpoint made for {kind}.")
    network.load_state_dict({key: state[key].to(tensor.dtype) for key, tensor in own.items()}, assign=True)
    missing = [key for key, tensor in network.named_buffers() if tensor.is_meta]
    if missing:
        raise RuntimeError(f"{kind} was built without its constants: {_few(missing)}")


def _few(keys: list[str]) -> str:
    named = ", ".join(f"'{key}'" for key in keys[:NAMED])
    return named if len(keys) <= NAMED else f"{named} and {len(keys) - NAMED} more keys"
