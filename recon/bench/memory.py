"""How fast a network with a memory is, and how much memory it takes: pictures on the device to pointmaps and cameras.

Online, pictures come one by one and every third is remembered; offline, so many are remembered and then all are placed
beside them. Which pictures are remembered is fixed, so that stand-in weights take the time of trained ones.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from recon import checkpoint, hub
from recon.bench.network import LONG, Measured, Request, measure
from recon.bench.process import apart, enough_memory
from recon.bench.stand_ins import stand_in_pictures, stood_in
from recon.bench.table import device_in_words, of_networks
from recon.models import card_of, device_of, memory
from recon.models.must3r_cameras import OwnCameras, SharedFocal
from recon.models.must3r_collection import go_through
from recon.models.must3r_looking import Looker
from recon.models.must3r_online import Online
from recon.models.must3r_overlap import Overlap
from recon.models.must3r_photos import TOGETHER
from recon.models.must3r_plan import KEYFRAMES
from recon.networks.must3r import Encoded, Must3r, Pointmaps
from recon.networks.must3r_acceleration import accelerate
from recon.networks.must3r_checkpoint import read_checkpoint
from recon.networks.must3r_configuration import Configuration

MODELS = ("must3r", "must3r-512-cvpr", "must3r-224")
EVERY = 3  # pictures of a video, one is remembered


@dataclass(frozen=True)
class Result:
    """The network over one number of pictures.

    Attributes:
        frames: number of pictures.
        online: time and memory, weights included.
        offline: the same.
        stand_in: whether the weights were stand-ins.
        device: what the network ran on, in words.
    """

    frames: int
    online: Measured
    offline: Measured
    stand_in: bool
    device: str


def measure_network(request: Request, counts: Sequence[int]) -> Generator[Result, None, None]:
    """Measure the network over each of ``counts`` pictures, each in a process of its own.

    Raises:
        InputError: weights that cannot be read, a size that the network cannot take, or one that memory does not
            suffice for.
    """
    for count in counts:
        yield apart(f"over {count} pictures", run, request, count)


def run(request: Request, count: int) -> Result:
    """Measure the network over ``count`` pictures in this process, whose memory so far counts on the CPU.

    Raises:
        InputError: see `measure_network`.
    """
    device = device_of(request.device)
    path = request.weights or hub.cached(card_of(request.model))
    with enough_memory(count):
        network = accelerate(load(path, card_of(request.model).resolution, device), device)
        pictures = stand_in_pictures(count, request.height, request.width, device)[0]
        with torch.inference_mode():
            online = measure(lambda: look_online(network, pictures), request.repeat, device)
            memory.release(device)
            offline = measure(lambda: look_offline(network, pictures), request.repeat, device)
    return Result(count, online, offline, path is None, device_in_words(request.device))


def load(path: Path | None, side: int, device: torch.device) -> Must3r:
    """The network in float32 with the weights of a checkpoint, on the CPU; or with stand-ins, on ``device``."""
    if path is None:
        return stood_in(lambda: Must3r(Configuration().at(side)), device)
    configuration, state = read_checkpoint(path)
    return checkpoint.built(lambda: Must3r(configuration), state, path.name).eval().requires_grad_(False)


def look_online(network: Must3r, pictures: Tensor) -> None:
    """Place pictures ``[V,3,H,W]`` one after the other."""
    online = Online(Looker(network), EveryThird(), SharedFocal(), most=KEYFRAMES)
    for picture in pictures.split(1):
        online.step(network.encode(picture))


def look_offline(network: Must3r, pictures: Tensor) -> None:
    """Remember the first pictures, then place all."""
    size, together = (pictures.shape[-1], pictures.shape[-2]), TOGETHER.get(pictures.device.type, 1)

    def encode(numbers: Sequence[int]) -> list[Encoded]:
        encoded = network.encode(pictures[list(numbers)])
        return [encoded[i : i + 1] for i in range(len(numbers))]

    cameras = OwnCameras()
    for told in go_through(Looker(network), encode, [size] * len(pictures), KEYFRAMES, batch=together):
        for maps in told.maps:
            cameras.place(maps)


class EveryThird(Overlap):
    """In the place of the rule: every third picture is remembered, whatever it shows."""

    asked = 0

    def score(self, maps: Pointmaps, world_from_camera: Tensor) -> float:
        """None at all."""
        return 0.0

    def accepts(self, score: float, maps: Pointmaps) -> bool:
        """Whether it is the turn of a picture."""
        self.asked += 1
        return self.asked % EVERY == 0

    def add(self, label: int, maps: Pointmaps, world_from_camera: Tensor) -> None:
        """Keep nothing."""


def as_table(request: Request, results: Sequence[Result]) -> str:
    """A Markdown table, one number of pictures a row, with what it is of around it."""
    names = ["frames", "online", "peak memory", "offline", "peak memory"]
    rows = []
    for result in results:
        cells = [str(result.frames)]
        for measured in (result.online, result.offline):
            cells += [f"{result.frames / measured.seconds:.2f} frames/s", f"{measured.memory / 1e9:.2f} GB"]
        rows.append(cells)
    calls = max(result.online.calls for result in results)
    about = (
        f"Pictures of {request.height} x {request.width} (height x width) on the device to pointmaps, focal lengths "
        f"and poses. Online: one by one, every third remembered, at most {KEYFRAMES} at a time. Offline: the first "
        f"{KEYFRAMES} remembered, then all placed. Median of {calls} run{'s' if calls > 1 else ''}, of one where it "
        f"takes longer than {LONG:.0f} s."
    )
    stand_in = any(result.stand_in for result in results)
    return of_networks(names, rows, about, results[0].device, stand_in)
