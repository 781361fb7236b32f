"""How long a model takes by stage, and how much memory: each number of photos in a process of its own."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from recon import models, photo
from recon.assets import ASSETS
from recon.bench.process import apart, peak_memory
from recon.bench.table import device_in_words, machine, markdown
from recon.errors import InputError
from recon.media import natural_key, read
from recon.models import Options

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


# --- the table -----------------------------------------------------------------------------------------------------


def as_table(results: Sequence[Result]) -> str:
    """A Markdown table, one number of photos a row, with the machine named below it."""
    stages = list(dict.fromkeys(name for result in results for name in result.stages))
    rows = []
    for result in results:
        seconds = [*(result.stages.get(name, 0.0) for name in stages), result.first_points, result.whole]
        rows.append([str(result.frames), *(f"{value:.2f} s" for value in seconds), f"{result.memory / 1e9:.2f} GB"])
    table = markdown(["photos", *stages, "first points", "whole scene", "peak memory"], rows)
    load = statistics.median(result.load for result in results)
    return f"{table}\n\n{results[0].device}; {machine()}. Loading the model takes {load:.1f} s more, once."
