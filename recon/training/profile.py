"""Where the time of a training step goes, and what share of the device's matrix rate it reaches."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
import math
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity
from torch.utils.flop_counter import FlopCounterMode

GENERATOR = "generator"  # the name of the `torch.profiler.record_function` around what makes a batch
REST = "norm, elementwise, losses"
PARTS = {  # by names of kernels and of operators; the first that fits
    REST: r"^triton_(?!tem)",
    "attention": r"sdpa|flash|fmha|attention",
    "optimiser": r"adam|multi_tensor|foreach",
    "convolution": r"conv|fprop|dgrad|wgrad|cudnn|nchwToNhwc|nhwcToNchw",
    "linear": r"gemm|nvjet|cutlass|cublas|splitK|triton_tem|mm$|::linear$",
    "communication": r"nccl",
    "copies": r"memcpy|memset|::copy_$",
}


@dataclass(frozen=True)
class Kernel:
    """A kernel, or on the CPU an operator.

    Attributes:
        name: as the profiler has it.
        part: of the step, a key of `PARTS` or `GENERATOR`.
        calls: in a step.
        seconds: in a step, all calls together.
    """

    name: str
    part: str
    calls: float
    seconds: float


@dataclass(frozen=True)
class Profile:
    """What was measured of a training step; ``str`` of it is Markdown.

    Attributes:
        device: its name.
        seconds: of a step, the median.
        views: in a step.
        flops: of the network in a step, forward and backward.
        matrix_rate: FLOP/s of a large matrix product there, see `matrix_rate`.
        idle: the share of the time in which the device did nothing; None where that is not known.
        kernels: all of them, the most expensive first.
    """

    device: str
    seconds: float
    views: int
    flops: float
    matrix_rate: float
    idle: float | None
    kernels: tuple[Kernel, ...]

    @property
    def share(self) -> float:
        """Of the matrix rate."""
        return self.flops / self.seconds / self.matrix_rate

    @property
    def parts(self) -> dict[str, float]:
        """The share of each part in the time of all kernels, the largest first."""
        sums: dict[str, float] = defaultdict(float)
        for kernel in self.kernels:
            sums[kernel.part] += kernel.seconds
        whole = sum(sums.values())
        return {part: seconds / whole for part, seconds in sorted(sums.items(), key=lambda item: -item[1])}

    def __str__(self) -> str:
        whole = sum(kernel.seconds for kernel in self.kernels)
        idle = "not known" if self.idle is None else f"{self.idle:.1%}"
        return "\n".join(
            [
                f"| training step | {self.device} |",
                "| --- | --- |",
                f"| step, median | {1e3 * self.seconds:.1f} ms |",
                f"| views | {self.views} a step, {self.views / self.seconds:.0f} a second |",
                f"| network, forward and backward | {self.flops / self.views / 1e9:.1f} GFLOP a view |",
                f"| network's rate | {self.flops / self.seconds / 1e12:.3g} TFLOP/s |",
                f"| matrix product's rate | {self.matrix_rate / 1e12:.3g} TFLOP/s |",
                f"| share of it | {self.share:.1%} |",
                f"| device idle | {idle} |",
                "",
                "| part | share of busy time |",
                "| --- | --- |",
                *(f"| {part} | {share:.1%} |" for part, share in self.parts.items()),
                "",
                "| kernel | part | calls | ms | share |",
                "| --- | --- | --- | --- | --- |",
                *(
                    f"| {shorten(k.name)} | {k.part} | {k.calls:.0f} | {1e3 * k.seconds:.2f} "
                    f"| {k.seconds / whole:.1%} |"
                    for k in self.kernels[:10]
                ),
            ]
        )


def profile(
    step: Callable[[], object],
    flops: float,
    views: int,
    device: torch.device,
    dtype: torch.dtype = torch.bfloat16,
    repeats: int = 20,
    trace: Path | None = None,
) -> Profile:
    """Measure a training step.

    Args:
        step: takes one step; what makes its batch stands in ``torch.profiler.record_function(GENERATOR)``.
        flops: of the network in a step, see `step_flops`.
        views: in a step.
        device: on which it runs.
        dtype: of the matrix product with which the step is compared.
        repeats: how many steps are timed, after three that are not; a few more are traced.
        trace: where to keep the trace, as gzipped JSON for chrome://tracing.
    """
    for _ in range(3):
        step()
    seconds = median(durations(step, device, repeats))
    traced = min(repeats, 5)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(traced):
            step()
        synchronise(device)
    if device.type == "cuda":
        events = trace_of(profiler, trace)
        idle, kernels = idle_share(events), device_kernels(events, traced)
    else:
        idle, kernels = None, operators(profiler, traced)
    return Profile(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper(),
        seconds=seconds,
        views=views,
        flops=flops,
        matrix_rate=matrix_rate(device, dtype),
        idle=idle,
        kernels=tuple(sorted(kernels, key=lambda kernel: -kernel.seconds)),
    )


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.bfloat16, size: int | None = None) -> float:
    """FLOP/s of a product of square matrices of normal random numbers, the median of ten.

    Random, because a GPU multiplies zeros faster than numbers. ``size`` is 8192, on the CPU 1024, unless given.
    """
    size = size or (8192 if device.type == "cuda" else 1024)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = torch.empty(size, size, device=device, dtype=dtype)

    def multiply() -> None:
        torch.mm(left, right, out=product)

    for _ in range(3):
        multiply()
    return 2 * size**3 / median(durations(multiply, device, 10))


def step_flops(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Floating-point operations of the network, forward and backward, for images of ``shape [B,V,3,H,W]``.

    Matrix products, convolutions and attention; without what a kernel computes twice to save memory. Nothing is
    computed: tensors have shapes alone. The network must not be compiled.
    """
    network = copy.deepcopy(network).to("meta").train().requires_grad_(True)
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        outputs = [output.sum() for output in tensors(network(torch.empty(shape, device="meta")))]
        torch.stack(outputs).sum().backward()
    return float(counter.get_total_flops())


def tensors(value: Any) -> Iterator[Tensor]:
    """All that need a gradient in dataclasses, lists, tuples and dicts."""
    if isinstance(value, Tensor):
        if value.requires_grad:
            yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from tensors(getattr(value, field.name))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)


def durations(call: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Seconds of each of ``repeats`` calls, by the device's own clock where it has one."""
    if device.type != "cuda":
        marks = [time.perf_counter()]
        for _ in range(repeats):
            call()
            marks.append(time.perf_counter())
        return [end - start for start, end in pairwise(marks)]
    with torch.cuda.device(device):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
        events[0].record()
        for event in events[1:]:
            call()
            event.record()
        torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1e3 for start, end in pairwise(events)]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def trace_of(profiler: torch.profiler.profile, keep: Path | None) -> list[dict[str, Any]]:
    """The complete events of a trace, times in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        text = path.read_bytes()
    if keep is not None:
        keep.write_bytes(gzip.compress(text))
    return [event for event in json.loads(text)["traceEvents"] if event.get("ph") == "X"]


def on_device(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that took the device's time, in the order of their start."""
    kinds = {"kernel", "gpu_memcpy", "gpu_memset"}
    return sorted((event for event in events if event.get("cat") in kinds), key=lambda event: event["ts"])


def device_kernels(events: list[dict[str, Any]], steps: int) -> list[Kernel]:
    """The kernels of a CUDA trace; one is the generator's if it was launched in a `GENERATOR` range."""
    ranges = [e for e in events if e.get("cat") == "user_annotation" and e["name"] == GENERATOR]
    generators = set()
    for event in events:
        if event.get("cat") in ("cuda_runtime", "cuda_driver") and any(
            r["tid"] == event["tid"] and r["ts"] <= event["ts"] <= r["ts"] + r["dur"] for r in ranges
        ):
            generators.add(event.get("args", {}).get("correlation"))
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for event in on_device(events):
        made = event.get("args", {}).get("correlation") in generators
        total = sums[event["name"], GENERATOR if made else part_of(event["name"])]
        total[0] += 1
        total[1] += event["dur"] / 1e6
    return [Kernel(name, part, calls / steps, s / steps) for (name, part), (calls, s) in sums.items()]


def operators(profiler: torch.profiler.profile, steps: int) -> list[Kernel]:
    """The operators of a trace of the CPU, each without those it called."""
    return [
        Kernel(average.key, part_of(average.key), average.count / steps, average.self_cpu_time_total / 1e6 / steps)
        for average in profiler.key_averages()
        if average.key != GENERATOR and average.self_cpu_time_total > 0
    ]


def idle_share(events: list[dict[str, Any]]) -> float:
    """The share of the time from the first kernel's start to the last one's end in which none ran."""
    busy, end = 0.0, -math.inf
    kernels = on_device(events)
    for kernel in kernels:
        finish = kernel["ts"] + kernel["dur"]
        busy += max(0.0, finish - max(end, kernel["ts"]))
        end = max(end, finish)
    return 1 - busy / (end - kernels[0]["ts"])


def part_of(name: str) -> str:
    """The part of the step to which a kernel or an operator of that name belongs."""
    return next((part for part, pattern in PARTS.items() if re.search(pattern, name, re.IGNORECASE)), REST)


def shorten(name: str, length: int = 72) -> str:
    """A kernel's name for a table."""
    plain = re.sub(r"^void |\(anonymous namespace\)::|\(.*|\|", "", name)
    return plain if len(plain) <= length else plain[: length - 1] + "…"
