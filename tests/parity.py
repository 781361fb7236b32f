"""Does a network give the numbers of its reference implementation? Replays a recording of it under stand-in weights.

    python tests/parity.py NETWORK [CONFIG.json RECORDING.npz] [--seed 0] [--dtype float32] [--device cpu]

Without a recording it replays all those of the network that lie in the repository. Prints a line for each recorded
array: relative L2 error, largest absolute error, tolerance, verdict. The exit status is 1 if anything is over its
tolerance, or if an output is missing. Intermediates (``stage/...``) that the project's code no longer computes as such
are only named.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.parity_networks import HALF_TOLERANCE, NETWORKS, Replayed, Run, adapter

RECORDINGS = Path(__file__).parent / "recordings"  # what the tests replay, cut to what they need
CUT = re.compile(r"(?P<name>.*?)(?:_(?:stride|s)(?P<stride>\d+)|_ch(?P<channels>\d+(?:_\d+)*))?")


class Recording:
    """Arrays of a recording; remembers which ones were read, as the inputs of what is replayed."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path)
        self.names: list[str] = self.arrays.files
        self.read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.add(name)
        return self.arrays[name]

    def cuts(self, name: str) -> list[str]:
        """Recorded arrays that are all or a part of what has this name."""
        return [each for each in self.names if each == name or whole(each) == name]

    def groups(self) -> list[str]:
        """What stands before ``output/`` or ``stage/`` in the names: one prefix for each recorded run."""
        found = (re.match(r"(|.*/)(?:output|stage)/", name) for name in self.names)
        return list(dict.fromkeys(match[1] for match in found if match))


@dataclass(frozen=True)
class Line:
    """How one recorded array compares."""

    name: str
    relative: float
    largest: float
    tolerance: float
    verdict: str

    @property
    def fine(self) -> bool:
        """Whether this line lets the run pass."""
        return self.verdict in ("ok", "not computed")

    def __str__(self) -> str:
        if self.verdict in ("ok", "OVER"):
            numbers = f"{self.relative:9.2e}  max {self.largest:9.2e}  tolerance {self.tolerance:7.0e}"
        else:
            numbers = " " * 41
        return f"{self.name:52s} {numbers}  {self.verdict}"


def whole(name: str) -> str:
    """The name of the array that a recorded one is a part of."""
    match = CUT.fullmatch(name)
    return match["name"] if match else name


def cut(value: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The part of an array that a recorded one of that name and shape holds."""
    match = CUT.fullmatch(name)
    if match and match["channels"]:
        chosen = [int(channel) for channel in match["channels"].split("_")]
        value = value.reshape(*shape[: shape.index(len(chosen))], -1, *shape[shape.index(len(chosen)) + 1 :])
        return np.take(value, chosen, shape.index(len(chosen)))
    if match and match["stride"]:
        stride = int(match["stride"])
        while value.ndim > len(shape) and value.shape[0] == 1:
            value = value[0]
        pairs = zip(value.shape, shape, strict=False)
        steps = (stride if count != kept and -(-count // stride) == kept else 1 for count, kept in pairs)
        value = value[tuple(slice(None, None, step) for step in steps)]
    return value.reshape(shape) if value.size == np.prod(shape) else value


def compare(name: str, recorded: np.ndarray, replayed: Replayed, least: float = 0.0) -> Line:
    """One recorded array and what the project's code gives for it; ``least`` is the smallest tolerance but 0."""
    tolerance = max(replayed.tolerance, least) if replayed.tolerance else 0.0
    if recorded.dtype.kind in "US":
        same = str(recorded) == replayed.value
        return Line(name, 0.0 if same else 1.0, 0.0 if same else 1.0, 0.0, "ok" if same else "OVER")
    value = replayed.value
    value = value.detach().double().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value, np.float64)
    if replayed.origin is not None:
        value = value - replayed.origin
        recorded = recorded - replayed.origin.astype(np.float64)
    value = cut(value, name, recorded.shape)
    if value.shape != recorded.shape:
        return Line(name, np.inf, np.inf, tolerance, f"SHAPE {value.shape}, not {recorded.shape}")
    recorded = recorded.astype(np.float64)
    difference = value - recorded
    length = np.linalg.norm(recorded)
    error = np.linalg.norm(difference)
    relative = float(error / length) if length else (0.0 if error == 0 else np.inf)
    largest = float(np.abs(difference).max(initial=0.0))
    return Line(name, relative, largest, tolerance, "ok" if relative <= tolerance else "OVER")


def replay(network: str, recording: Recording, run: Run) -> Iterator[Line]:
    """A line for each recorded array that is no input, as soon as it is known."""
    compared = set()
    for name, replayed in adapter(network).replay(recording, run):
        for recorded in recording.cuts(name):
            compared.add(recorded)
            yield compare(recorded, recording.arrays[recorded], replayed, HALF_TOLERANCE if run.half else 0.0)
    for name in recording.names:
        if name not in compared and name not in recording.read and not re.match(r"(|.*/)input/", name):
            stage = re.match(r"(|.*/)stage/", name)
            yield Line(name, np.inf, np.inf, 0.0, "not computed" if stage else "MISSING")


def described_in(path: Path) -> dict[str, Any]:
    """What a JSON file holds, or one that gzip has packed."""
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def kept(network: str) -> list[tuple[Path, Path]]:
    """Configurations and recordings that lie in the repository, those of runs that need gigabytes last."""
    folder = RECORDINGS / network
    own = {path: folder / f"{path.stem}.json.gz" for path in sorted(folder.glob("*.npz"))}
    published = {path: folder / f"manifest{''.join(path.stem.partition('_')[1:])}.json.gz" for path in own}
    pairs = [(config if config.exists() else published[path], path) for path, config in own.items()]
    return sorted(pairs, key=lambda pair: pair[1].stem.startswith("full"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("config", type=Path, nargs="?", help="the network's configuration, its keys and their moments")
    parser.add_argument("recording", type=Path, nargs="?")
    parser.add_argument("--seed", type=int, default=0, help="of the stand-in weights")
    parser.add_argument("--dtype", choices=("float32", "float64", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    if given.config is not None and given.recording is None:
        parser.error("give a recording too, or neither: then all that lie in the repository are replayed")
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32 on a GPU too
    fine, count = 0, 0
    for config, recording in kept(given.network) if given.config is None else [(given.config, given.recording)]:
        described = described_in(config)
        run = Run(described["config"], described["keys"], given.seed, getattr(torch, given.dtype), given.device)
        sys.stdout.write(f"{recording} with {config.name}, seed {given.seed}, {given.dtype} on {given.device}\n")
        for line in replay(given.network, Recording(recording), run):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            fine, count = fine + line.fine, count + 1
    sys.stdout.write(f"{fine} of {count} fine\n")
    return 0 if fine == count and count else 1


if __name__ == "__main__":
    sys.exit(main())
