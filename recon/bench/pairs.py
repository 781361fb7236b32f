"""How long a network of pairs takes, and aligning what it says: pictures on the device to one world.

The alignment is measured on pointmaps of a scene that is known, since what stand-in weights say is no scene.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from recon import checkpoint, hub
from recon.alignment.global_alignment import align
from recon.alignment.pair_graph import Pair, pairs_of
from recon.alignment.pair_maps import PairMaps
from recon.alignment.pair_store import PairStore
from recon.bench.network import LONG, Measured, measure, relative, yardstick
from recon.bench.process import apart, enough_memory
from recon.bench.stand_ins import stand_in_pictures, stood_in
from recon.bench.table import device_in_words, of_networks
from recon.errors import InputError
from recon.models import card_of, device_of, memory
from recon.models.dust3r_plan import CHUNKS
from recon.models.pair_world import as_pair_maps
from recon.networks.dust3r import Configuration, Dust3r, Views
from recon.networks.dust3r_acceleration import accelerate
from recon.networks.dust3r_checkpoint import read_checkpoint

MODELS = {
    "dust3r": Configuration(),
    "dust3r-linear": Configuration(head_type="linear"),
    "dust3r-224": Configuration(head_type="linear", img_size=(224, 224)),
}
"""Those that are measured so, and their published configurations."""
ENCODED = 16  # pictures at a time
OUTPUTS = ("points", "confidence", "points of the other", "its confidence")
ROOM, FOCAL, TURN = 4.0, 1.1, 8.0  # radius; of the long side; degrees from one camera to the next
NOISE = 0.01  # of points, relative to their distance


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        model: one of `MODELS`.
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.
        graph: which pairs (`recon.alignment.pair_graph.pairs_of`).
        device: a torch device, or None.
        weights: a checkpoint; None takes the one in the Hub's cache, or stand-ins where there is none.
        repeat: how many calls to take the median of.
    """

    model: str
    height: int
    width: int
    graph: str = "complete"
    device: str | None = None
    weights: Path | None = None
    repeat: int = 5


@dataclass(frozen=True)
class Result:
    """Pairs of one number of pictures.

    Attributes:
        frames: number of pictures.
        pairs: in both orders.
        comparing: pictures on the device to samples and whole maps of all pairs.
        aligning: samples and whole maps to cameras and depth.
        stand_in: whether the weights were stand-ins.
        device: what the network ran on, in words.
        deviation: of the first pair from float32 by output, relative L2; empty where the network is in float32 itself.
    """

    frames: int
    pairs: int
    comparing: Measured
    aligning: Measured
    stand_in: bool
    device: str
    deviation: dict[str, float] = field(default_factory=dict)


def measure_pairs(request: Request, counts: Sequence[int]) -> Generator[Result, None, None]:
    """Measure pairs of each of ``counts`` pictures, each in a process of its own.

    Raises:
        InputError: weights that cannot be read, a size that the network cannot take, a graph that there is not, a
            single picture, or more than memory suffices for.
    """
    for count in counts:
        yield apart(f"over {count} pictures", run, request, count)


def run(request: Request, count: int) -> Result:
    """Measure pairs of ``count`` pictures in this process, whose memory so far counts on the CPU.

    Raises:
        InputError: see `measure_pairs`.
    """
    if count < 2:
        raise InputError("One picture has no pairs: measure 2 or more.")
    device = device_of(request.device)
    pairs = pairs_of(request.graph, count)
    path = request.weights or hub.cached(card_of(request.model))
    with enough_memory(count):
        comparing, deviation = measure_comparing(request, path, pairs, count, device)
        memory.release(device)
        aligning = measure_aligning(request, pairs, count, device)
    words = device_in_words(request.device)
    return Result(count, len(pairs), comparing, aligning, path is None, words, deviation)


def measure_comparing(
    request: Request, path: Path | None, pairs: Sequence[Pair], count: int, device: torch.device
) -> tuple[Measured, dict[str, float]]:
    """The network, and how far it is from float32 where it is something else."""
    pictures = stand_in_pictures(count, request.height, request.width, device)[0]
    plain = load(request.model, path, device)
    exact: dict[str, Tensor] = {}
    if device.type == "cuda":
        plain = plain.to(device)
        exact = yardstick(lambda: first_pair(plain, pictures))
    network = accelerate(plain, device)
    memory.release(device)
    chunk = CHUNKS.get(device.type, CHUNKS["cpu"])[0]
    with torch.inference_mode():
        measured = measure(lambda: compare(network, pictures, pairs, chunk), request.repeat, device)
        found = first_pair(network, pictures) if exact else {}
    return measured, {name: relative(value.cpu(), exact[name]) for name, value in found.items()}


def measure_aligning(request: Request, pairs: Sequence[Pair], count: int, device: torch.device) -> Measured:
    """The alignment, of pointmaps on the device."""
    store = PairStore(len(pairs))
    for pair in known_pairs(pairs, count, request.height, request.width, device):
        store.add([pair])
    return measure(lambda: list(align(store)), request.repeat, device)


def load(model: str, path: Path | None, device: torch.device) -> Dust3r:
    """The network in float32 with the weights of a checkpoint, on the CPU; or with stand-ins, on ``device``."""
    if path is None:
        return stood_in(lambda: Dust3r(MODELS[model]), device)
    configuration, state = read_checkpoint(path)
    return checkpoint.built(lambda: Dust3r(configuration), state, path.name).eval().requires_grad_(False)


def compare(network: Dust3r, pictures: Tensor, pairs: Sequence[Pair], chunk: int) -> PairStore:
    """What is kept of all pairs of ``pictures [N,3,H,W]``."""
    views: list[Views] = []
    for some in pictures.split(ENCODED):
        encoded = network.encode(some)
        views += [encoded[place : place + 1] for place in range(len(some))]
    store = PairStore(len(pairs))
    for numbers, one, two in network.decode_pairs(views, pairs, chunk):
        store.add(as_pair_maps([pairs[number] for number in numbers], one, two))
    return store


def first_pair(network: Dust3r, pictures: Tensor) -> dict[str, Tensor]:
    """What the network says of the first two pictures."""
    one, two = network(pictures[:1], pictures[1:2])
    return dict(zip(OUTPUTS, (one.points, one.confidence, two.points, two.confidence), strict=True))


def known_pairs(pairs: Sequence[Pair], count: int, height: int, width: int, device: torch.device) -> Iterator[PairMaps]:
    """Pointmaps of cameras side by side in a round room, with noise, in a unit of each pair's own."""
    random = torch.Generator(device).manual_seed(0)
    views = [round_room(view - (count - 1) / 2, height, width, device) for view in range(count)]

    def noisy(points: Tensor) -> Tensor:
        noise = torch.randn(points.shape, generator=random, device=device) * points.norm(dim=-1, keepdim=True)
        return points + NOISE / math.sqrt(3) * noise

    for i, j in pairs:
        rotation, centre, _ = views[i]
        scale = 0.5 + 1.5 * torch.rand((), generator=random, device=device)
        first, second = (scale * noisy((views[view][2] - centre) @ rotation) for view in (i, j))
        confidence = 1 + 8 * torch.rand((2, height, width), generator=random, device=device)
        yield PairMaps(i, j, first, confidence[0], second, confidence[1])


def round_room(place: float, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A camera's rotation ``[3,3]`` to the world and its centre ``[3]``, and what it sees there ``[H,W,3]``."""
    focal, angle = FOCAL * max(height, width), math.radians(TURN) * place
    down, across = torch.meshgrid(
        (torch.arange(height, device=device) + 0.5 - height / 2) / focal,
        (torch.arange(width, device=device) + 0.5 - width / 2) / focal,
        indexing="ij",
    )
    cosine, sine = math.cos(angle), math.sin(angle)
    rotation = across.new_tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    centre = rotation @ across.new_tensor([0.0, 0.1 * math.cos(3 * place), -0.5])
    rays = torch.stack([across, down, torch.ones_like(across)], -1) @ rotation.T
    along, squares = rays @ centre, rays.square().sum(-1)
    distance = ((along.square() + squares * (ROOM**2 - centre.square().sum())).sqrt() - along) / squares
    return rotation, centre, centre + distance[..., None] * rays


# --- the table -------------------------------------------------------------------------------------------------------


def as_table(request: Request, results: Sequence[Result]) -> str:
    """A Markdown table, one number of pictures a row, with what it is of around it."""
    outputs = [name for name in OUTPUTS if any(name in result.deviation for result in results)]
    names = ["photos", "pairs", "comparing", "aligning", "peak memory", "first calls", *outputs]
    rows = []
    for result in results:
        cells = [
            str(result.frames),
            str(result.pairs),
            f"{result.comparing.seconds:.3f} s",
            f"{result.aligning.seconds:.3f} s",
            f"{max(result.comparing.memory, result.aligning.memory) / 1e9:.2f} GB",
            f"{result.comparing.warm + result.aligning.warm:.2f} s",
            *(f"{result.deviation[name]:.1e}" if name in result.deviation else "" for name in outputs),
        ]
        rows.append(cells)
    about = (
        f"Pictures of {request.height} x {request.width} (height x width) on the device, pairs in both orders; medians "
        f"of {request.repeat} calls, of one where it takes longer than {LONG:.0f} s. The alignment is of pointmaps of "
        f"a known scene with {NOISE:.0%} noise, from what is kept of pairs to cameras and depth."
    )
    if outputs:
        about += " Right of the first calls: relative L2 distance of a pair from the same network in float32."
    stand_in = any(result.stand_in for result in results)
    return of_networks(names, rows, about, results[0].device, stand_in)
