"""Files of a training run: the state to resume from, the weights to start from, the weights to ship."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from recon.errors import InputError
from recon.quantization import opened, restore, write_weights
from recon.training.config import Configuration
from recon.training.learner import Learner
from recon.training.networks import find_trainable

STATE = "state.pt"
WEIGHTS = "weights.safetensors"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: number of steps taken.
        seconds: spent in them, over all calls.
        views: shown, over all processes.
    """

    step: int = 0
    seconds: float = 0.0
    views: int = 0


def save_state(folder: Path, learner: Learner, progress: Progress) -> None:
    """Write what `load_state` goes on from, in place of the last one."""
    content = {"learner": learner.state(), "progress": asdict(progress)}
    partial = folder / f"{STATE}.partial"
    torch.save(content, partial)
    os.replace(partial, folder / STATE)


def load_state(folder: Path, learner: Learner) -> Progress:
    """Bring ``learner`` to where `save_state` found it. (What a step draws at random depends on its number alone.)

    Raises:
        InputError: there is no state, or it is of another network.
    """
    path = folder / STATE
    if not path.is_file():
        raise InputError(f"There is nothing to resume in {folder}; leave --resume out to begin.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        learner.load_state(content["learner"])
    except (RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
        raise InputError(f"The state {path} is damaged or of another network: start anew without --resume.") from error
    return Progress(**content["progress"])


def start_from(network: nn.Module, path: Path, fresh: Sequence[str] = ()) -> None:
    """Fill ``network`` with weights of an earlier one, 8-bit or plain floats.

    Args:
        network: to fill.
        path: a .safetensors file.
        fresh: beginnings of the names of weights that the file may lack; they stay as they are.

    Raises:
        InputError: the file cannot be read, lacks others, or holds what the network has no place for.
    """
    with opened(path) as file:
        state = restore({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    own = network.state_dict()
    missing = sorted(name for name in own if name not in state and not name.startswith(tuple(fresh)))
    if missing:
        raise InputError(
            f"The weights '{path.name}' lack {missing[0]}{' and others' if missing[1:] else ''}; "
            "name in network.fresh what may start at random."
        )
    unknown = sorted(name for name in state if name not in own or own[name].shape != state[name].shape)
    if unknown:
        raise InputError(f"The weights '{path.name}' are of another network: {unknown[0]} has no place in this one.")
    network.load_state_dict(state, strict=False)


def save_weights(path: Path, learner: Learner, configuration: Configuration, progress: Progress) -> None:
    """Write the averaged weights in 8 bits, with how they were made."""
    trainable = find_trainable(configuration.network.name)
    training = {
        "configuration": asdict(configuration),
        "seed": configuration.seed,
        "commit": configuration.commit,
        "steps": progress.step,
        "views": progress.views,
        "hours": round(progress.seconds * learner.team.size / 3600, 3),
        "processes": learner.team.size,
    }
    folders = ", ".join(Path(folder).name for folder in configuration.data.folders)
    origin = f"Trained by `parallax train` on {folders or 'procedural scenes'}."
    partial = path.with_name(path.name + ".partial")
    write_weights(
        partial,
        learner.average.state_dict(),
        trainable.network,
        "Apache-2.0",
        origin,
        configuration.network.arguments,
        training,
    )
    os.replace(partial, path)


def commit_of_code() -> str:
    """The commit that is checked out, "-dirty" behind it where files differ; "" outside of a checkout."""
    command: list[Any] = ["git", "-C", Path(__file__).parent, "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
