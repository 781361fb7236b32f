"""How long a network alone takes, how much memory, and how far from float32 it is: pictures on the device to all maps.

Weights that nobody has at hand are stood in for (see `recon.bench.stand_ins`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from recon import checkpoint, hub
from recon.bench.kinds import KINDS, Kind
from recon.bench.process import apart, enough_memory, peak_memory
from recon.bench.stand_ins import stand_in_pictures, stood_in
from recon.bench.table import device_in_words, of_networks
from recon.errors import InputError
from recon.models import card_of, device_of, memory
from recon.models.planning import CHUNKS

YARDSTICK = 20  # frames up to which float32 is run too
WARMING = 2  # calls before those timed: the first compiles kernels, the second records the launches of short runs
LONG = 20.0  # seconds of a call after which no further one is made: what is done once fades beside it


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        model: one of `KINDS`.
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.
        device: a torch device, or None.
        weights: a checkpoint; None takes the one in the Hub's cache, or stand-ins where there is none.
        repeat: how many calls to take the median of.
    """

    model: str
    height: int
    width: int
    device: str | None = None
    weights: Path | None = None
    repeat: int = 5


@dataclass(frozen=True)
class Measured:
    """A function called again and again.

    Attributes:
        seconds: median of the calls.
        memory: at the peak in bytes: of all tensors on a GPU, else of the process.
        warm: seconds of the calls before those.
        calls: how many the median is of.
    """

    seconds: float
    memory: int
    warm: float
    calls: int


@dataclass(frozen=True)
class Result:
    """The network over one number of pictures.

    Attributes:
        frames: number of pictures.
        measured: time and memory, weights included.
        deviation: from float32 by output, relative L2; empty where the network is in float32 itself or float32 was not
            run.
        stand_in: whether the weights were stand-ins.
        device: what the network ran on, in words.
    """

    frames: int
    measured: Measured
    stand_in: bool
    device: str
    deviation: dict[str, float] = field(default_factory=dict)


def measure_network(request: Request, counts: Sequence[int]) -> Generator[Result, None, None]:
    """Measure the network over each of ``counts`` pictures, each in a process of its own.

    Raises:
        InputError: no network is measured alone for this model, weights that cannot be read, a size that the network
            cannot take, or one that memory does not suffice for.
    """
    if request.model not in KINDS:
        raise InputError(f"The network of '{request.model}' is not measured alone; leave --size out.")
    for count in counts:
        yield apart(f"over {count} pictures", run, request, count)


def run(request: Request, count: int) -> Result:
    """Measure the network over ``count`` pictures in this process, whose memory so far counts on the CPU.

    Raises:
        InputError: see `measure_network`.
    """
    device = device_of(request.device)
    kind, path = KINDS[request.model], request.weights or hub.cached(card_of(request.model))
    chunk = CHUNKS.get(device.type, CHUNKS["cpu"])[0]
    with enough_memory(count):
        pictures = stand_in_pictures(count, request.height, request.width, device)
        network = load(kind, path, device)

        def look() -> dict[str, Tensor]:
            return kind.outputs(network(pictures, chunk=chunk))

        exact: dict[str, Tensor] = {}
        if device.type == "cuda" and count <= YARDSTICK:
            network = network.to(device)
            exact = yardstick(look)
        network = kind.accelerate(network, device)
        memory.release(device)
        with torch.inference_mode():
            measured = measure(look, request.repeat, device)
            deviation = deviations(look(), exact) if exact else {}
    return Result(count, measured, path is None, device_in_words(request.device), deviation)


def load(kind: Kind, path: Path | None, device: torch.device) -> nn.Module:
    """The network in float32 with the weights of a checkpoint, on the CPU; or with stand-ins, on ``device``."""
    if path is None:
        return stood_in(lambda: kind.network(kind.published), device)
    state = kind.own_names(checkpoint.read_state(path))
    configuration = kind.read(checkpoint.read_json_beside(path), state)
    return checkpoint.built(lambda: kind.network(configuration), state, path.name).eval().requires_grad_(False)


def measure(function: Callable[[], object], repeat: int, device: torch.device) -> Measured:
    """Call ``function`` until it is warm, then ``repeat`` times more; what a call returns is dropped before the next.

    A function that takes `LONG` is called once.
    """

    def call() -> float:
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    warming: list[float] = []
    while len(warming) < WARMING and sum(warming) < LONG:
        warming.append(call())
    timed = [call() for _ in range(repeat)] if sum(warming) < LONG else warming[-1:]
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
    return Measured(statistics.median(timed), peak, sum(warming), len(timed))


# --- deviation from float32 ------------------------------------------------------------------------------------------


def yardstick(look: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What a network says, its products in float32 too, brought to the CPU; nothing if memory is refused."""
    products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode():
            return {name: value.cpu() for name, value in look().items()}
    except Exception as error:
        if not memory.is_refusal(error):
            raise
        return {}
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions


def deviations(values: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> dict[str, float]:
    """Relative L2 of each output from the exact one."""
    return {name: relative(value.cpu(), exact[name]) for name, value in values.items()}


def relative(value: Tensor, exact: Tensor) -> float:
    """``|value - exact| / |exact|``."""
    return ((value.double() - exact.double()).norm() / exact.double().norm()).item()


# --- the table -------------------------------------------------------------------------------------------------------


def as_table(request: Request, results: Sequence[Result]) -> str:
    """A Markdown table, one number of pictures a row, with what it is of around it."""
    outputs = list(dict.fromkeys(name for result in results for name in result.deviation))
    names = ["frames", "time", "peak memory", "first calls", *outputs]
    rows = []
    for result in results:
        measured = result.measured
        cells = [
            str(result.frames),
            f"{1000 * measured.seconds:.1f} ms",
            f"{measured.memory / 1e9:.2f} GB",
            f"{measured.warm:.2f} s",
            *(f"{result.deviation[name]:.1e}" if name in result.deviation else "" for name in outputs),
        ]
        rows.append(cells)
    calls = max(result.measured.calls for result in results)
    about = (
        f"Pictures of {request.height} x {request.width} (height x width) on the device to cameras, depth, points and "
        f"confidence; median of {calls} call{'s' if calls > 1 else ''}, of one where it takes longer than {LONG:.0f} s."
    )
    if outputs:
        about += " Right of the first calls: relative L2 distance from the same network in float32."
    stand_in = any(result.stand_in for result in results)
    return of_networks(names, rows, about, results[0].device, stand_in)
