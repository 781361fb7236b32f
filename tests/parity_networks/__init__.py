"""How each network's recordings are replayed: one module a network, with a function ``replay`` (see `tests.parity`).

``replay(recording, run)`` yields the name of every recorded array that the project's code can give, and a `Replayed`.
Names lack what tells of a stride or of chosen channels: `tests.parity` cuts what is given as the recording was cut.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.networks.stand_in import draw

NETWORKS = ("vggt", "mapanything", "dust3r", "monst3r", "must3r", "siu3r")
TOLERANCE = 1e-5  # relative L2 in float32: a wrong epsilon of one LayerNorm already moves 7e-5
HALF_TOLERANCE = 3e-2  # in half precision, whose numbers are 4e-3 apart


def adapter(network: str) -> ModuleType:
    """The module that replays recordings of a network."""
    return importlib.import_module(f"tests.parity_networks.{network}")


@dataclass(frozen=True)
class Replayed:
    """What the project's code gives for a recorded array.

    Attributes:
        value: in the recording's layout; a string for a recorded string.
        tolerance: relative L2; 0 for what must be the same.
        origin: is taken from both before they are compared, where only the difference from it means something.
    """

    value: Tensor | np.ndarray | str
    tolerance: float = TOLERANCE
    origin: np.ndarray | None = None


@dataclass(frozen=True)
class Run:
    """What to replay with.

    Attributes:
        config: of the network, as its configuration file has it.
        keys: the table of its weights: for each name the shape and the moments of its stand-in.
        seed: of the weights.
        dtype: to compute in. For bfloat16 weights and inputs are float32, and the network takes half precision where
            a user's run would.
        device: to run on.
    """

    config: Mapping[str, Any]
    keys: Mapping[str, Mapping[str, Any]]
    seed: int = 0
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    @property
    def half(self) -> bool:
        """Whether this is to compute in half precision."""
        return self.dtype == torch.bfloat16

    @property
    def stored(self) -> torch.dtype:
        """Of weights and inputs."""
        return torch.float32 if self.half else self.dtype

    def network(self, build: Callable[[], nn.Module]) -> nn.Module:
        """What ``build`` makes, with stand-in weights; never two copies of them.

        Raises:
            RuntimeError: the network's keys or shapes are not those of the table.
        """
        with torch.device("meta"):  # which only constants that a constructor puts elsewhere do without
            network = build().eval()
        kept = [name for name, key in self.keys.items() if key.get("fixed")]
        state = {name: network.state_dict()[name].to(self.stored) for name in kept}
        for name, key in self.keys.items():
            if "tied_to" not in key and not key.get("fixed"):
                values = draw(name, tuple(key["shape"]), key["mean"], key["std"], self.seed)
                state[name] = values.to(self.device, self.stored)
        for name, key in self.keys.items():
            if "tied_to" in key:
                state[name] = state[key["tied_to"]]
        network.load_state_dict(state, strict=True, assign=True)
        return network.to(self.device)


@contextmanager
def outputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, list[Any]]]:
    """What modules give while the context is open, each call's output in turn, by the names given to them."""
    kept: dict[str, list[Any]] = {name: [] for name in modules}

    def keeper(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, output: kept[name].append(output)

    handles = [module.register_forward_hook(keeper(name)) for name, module in modules.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
