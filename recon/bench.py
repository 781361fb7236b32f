"""How long a model takes by stage, and how much memory: each number of photos in a process of its own, so that its peak
is its own.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

from recon import models, photo
from recon.assets import ASSETS
from recon.errors import InputError
from recon.media import natural_key, read
from recon.models import Options

Done = TypeVar("Done")

EXAMPLES = ASSETS / "examples"
_PIXELS = 12_000_000
_NOISE = 4.0  # grey levels; an enlarged photo is smooth, and its JPEG would decode faster than a camera's own


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        model: name of a card.
        device: a torch device, or None.
        weights: a checkpoint, or None.
        options: of the runs.
        repeat: how many runs to take the median of.
    """

    model: str = "embedded"
    device: str | None = None
    weights: Path | None = None
    options: Options = field(default_factory=Options)
    repeat: int = 5


@dataclass(frozen=True)
class Result:
    """Medians over the runs, in seconds from the moment the files lie on the disk and the model is loaded.

    Attributes:
        frames: number of photos.
        load: to load the model; not part of any other figure.
        stages: seconds of each stage, in order; reading the files is the first.
        first_points: until the first frame could be shown.
        whole: until the scene was finished.
        memory: largest resident set of the process, in bytes, Python and libraries and all.
        device: what the model ran on, in words.
    """

    frames: int
    load: float
    stages: dict[str, float]
    first_points: float
    whole: float
    memory: int
    device: str


def bench(request: Request, counts: Sequence[int], folder: Path | None = None) -> Generator[Result, None, None]:
    """Measure runs over ``counts`` photos each.

    Args:
        request: what to measure.
        counts: numbers of photos.
        folder: photos to use as they are; None takes those of an example, enlarged to 12 megapixels.

    Raises:
        InputError: the folder holds too few photos, or the model cannot be loaded or run.
    """
    most = max(counts)
    with tempfile.TemporaryDirectory(prefix="parallax-bench-") as temporary:
        if folder is None:
            photos = enlarged(largest_set(photos_in(EXAMPLES)), most, Path(temporary))
        else:
            photos = photos_in(folder)
            if len(photos) < most:
                raise InputError(f"{folder} holds {len(photos)} photos; {most} are needed, or a smaller --frames.")
        for count in counts:
            yield apart(f"over {count} photos", measure, request, photos[:count])


def photos_in(folder: Path) -> list[Path]:
    """Photos in a folder and below it, in natural order.

    Raises:
        InputError: there are none.
    """
    found = [path for path in folder.rglob("*") if path.suffix.lower() in photo.SUFFIXES]
    if not found:
        raise InputError(f"There are no photos in {folder}: name a folder of photos.")
    return sorted(found, key=lambda path: (path.parent, natural_key(path)))


def largest_set(photos: Sequence[Path]) -> list[Path]:
    """Those of the folder that holds most of them: photos of one place, as a user would bring."""
    folders = [path.parent for path in photos]
    return [path for path in photos if path.parent == max(folders, key=folders.count)]


def enlarged(sources: Sequence[Path], count: int, folder: Path) -> list[Path]:
    """Make ``count`` different JPEGs of 12 megapixels in ``folder``.

    From the source photos in turn; from the second turn on each is cropped a little more. Sensor noise makes the files
    as large, and so as slow to decode, as those of a camera.
    """
    random = np.random.default_rng(0)
    paths = []
    for index in range(count):
        turn, number = divmod(index, len(sources))
        image = photo.read(sources[number], maximum_side=4000).image
        margin_y, margin_x = (min(0.02 * turn, 0.2) * np.array(image.shape[:2])).astype(int)
        image = image[margin_y : image.shape[0] - margin_y, margin_x : image.shape[1] - margin_x]
        factor = (_PIXELS / (image.shape[0] * image.shape[1])) ** 0.5
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        noise = random.standard_normal(image.shape, np.float32) * _NOISE
        path = folder / f"{index:03d}.jpg"
        noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        paths.append(path)
    return paths


def measure(request: Request, photos: Sequence[Path]) -> Result:
    """Measure runs over ``photos`` in this process, whose memory so far counts."""
    start = time.perf_counter()
    model = models.load(request.model, request.device, request.weights)
    load = time.perf_counter() - start
    runs = [_run(model, request.options, photos) for _ in range(request.repeat)]
    names = list(dict.fromkeys(name for run in runs for name in run.stages))
    return Result(
        frames=len(photos),
        load=load,
        stages={name: statistics.median(run.stages.get(name, 0.0) for run in runs) for name in names},
        first_points=statistics.median(run.first_points for run in runs),
        whole=statistics.median(run.whole for run in runs),
        memory=peak_memory(),
        device=device_in_words(request.device),
    )


@dataclass(frozen=True)
class _Run:
    stages: dict[str, float]
    first_points: float
    whole: float


def _run(model: models.Model, options: Options, photos: Sequence[Path]) -> _Run:
    start = before = time.perf_counter()
    first_points = 0.0
    views = read(photos).views
    now = time.perf_counter()
    stages = {"reading": now - before}
    with closing(model.stream(views, options)) as updates:
        before = now
        for update in updates:
            now = time.perf_counter()
            stages[update.stage.lower()] = stages.get(update.stage.lower(), 0.0) + now - before
            if update.changed and not first_points:
                first_points = now - start
            before = now
    return _Run(stages, first_points, time.perf_counter() - start)


def peak_memory() -> int:
    """The largest resident set this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def apart(what: str, work: Callable[..., Done], *arguments: Any) -> Done:
    """Do ``work`` in a process of its own, whose memory is its own.

    Args:
        what: the run that this is, for a complaint.
        work: a function of a module; it and its arguments and value go from process to process.
        arguments: of ``work``.

    Raises:
        InputError: that ``work`` raised, or the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, work, arguments), daemon=True)
    # Ctrl-C reaches both processes. The child inherits to ignore it; the parent ends the child.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.start()
    signal.signal(signal.SIGINT, handler)
    sender.close()
    try:
        answer = receiver.recv()
        process.join()
    except EOFError as error:
        process.join()
        raise InputError(f"The run {what} ended early (exit code {process.exitcode}).") from error
    finally:
        process.kill()
        process.join()
    if isinstance(answer, InputError):
        raise answer
    return answer


def _answer(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        sender.send(work(*arguments))
    except InputError as error:
        sender.send(error)


# --- the table -----------------------------------------------------------------------------------------------------


def as_table(results: Sequence[Result]) -> str:
    """A Markdown table, one number of photos a row, with the machine named below it."""
    stages = list(dict.fromkeys(name for result in results for name in result.stages))
    lines = [
        "| " + " | ".join(["photos", *stages, "first points", "whole scene", "peak memory"]) + " |",
        "| " + " | ".join(["---:"] * (len(stages) + 4)) + " |",
    ]
    for result in results:
        seconds = [*(result.stages.get(name, 0.0) for name in stages), result.first_points, result.whole]
        cells = [str(result.frames), *(f"{value:.2f} s" for value in seconds), f"{result.memory / 1e9:.2f} GB"]
        lines.append("| " + " | ".join(cells) + " |")
    load = statistics.median(result.load for result in results)
    return "\n".join(
        [*lines, "", f"{results[0].device}; {machine()}. Loading the model takes {load:.1f} s more, once."]
    )


def machine() -> str:
    """Processor, cores, memory and versions, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, Python {platform.python_version()}, torch {torch.__version__}"


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.is_file():
        for line in description.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device_in_words(device: str | None) -> str:
    """Of a torch device, or None for the one that is taken by itself."""
    if device == "cpu" or not torch.cuda.is_available():
        return "CPU"
    return torch.cuda.get_device_name(device)
