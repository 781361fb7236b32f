"""The training loop: from a configuration to weights, over any number of processes and of calls."""

from __future__ import annotations

import functools
import gc
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from recon.errors import InputError
from recon.progress import ProgressBar
from recon.quantization import read_configuration as read_weights_configuration
from recon.training import checkpoint
from recon.training.batch import Batch
from recon.training.checkpoint import Progress
from recon.training.config import Configuration
from recon.training.folder import FolderScenes
from recon.training.journal import Clock, Journal, Means
from recon.training.learner import Learner
from recon.training.metrics import metrics
from recon.training.networks import Trainable, find_trainable
from recon.training.picture import picture
from recon.training.profile import GENERATOR, Profile, profile, step_flops
from recon.training.schedule import Shape, draw_shape, learning_rate
from recon.training.team import Team, join

AGREE_EVERY = 20  # steps between two looks at the clock, which all processes take from the first
SEEDS_APART = 10_000  # between runs; the processes of one run take neighbouring seeds
HELD_OUT_SEED = SEEDS_APART - 1
HELD_OUT_SCENES = 32
NEVER = 2.0  # a share of the schedule that is not reached


class Source(Protocol):
    """Where batches come from."""

    def batch(self, index: int, scenes: int, views: int, height: int, width: int) -> Batch:
        """A batch, a pure function of what is asked for and of the source's seed."""


class Repeated:
    """The first few batches of a source, over and over."""

    def __init__(self, source: Source, count: int) -> None:
        self._batch = functools.cache(source.batch)
        self._count = count

    def batch(self, index: int, scenes: int, views: int, height: int, width: int) -> Batch:
        """The batch of that number, or an earlier one."""
        return self._batch(index % self._count, scenes, views, height, width)


@dataclass
class Run:
    """What the steps of a run share."""

    configuration: Configuration
    folder: Path
    team: Team
    learner: Learner
    source: Source
    held_out: Source
    progress: Progress


def train(
    configuration: Configuration,
    folder: Path,
    resume: bool = False,
    bar: ProgressBar | None = None,
    device: str | None = None,
) -> Path:
    """Train, and write log, curves, state and weights to ``folder``.

    Args:
        configuration: of the run.
        folder: of its files.
        resume: go on from the state in ``folder``, exactly as if the run had never stopped.
        bar: shows how far it is.
        device: a torch device; None takes CUDA where there is one, else the CPU.

    Returns:
        The file of the weights, averaged over the last steps.

    Raises:
        InputError: ``folder`` holds another run, or nothing to resume; weights or scenes that cannot be read.
    """
    if (folder / checkpoint.STATE).exists() and not resume:
        raise InputError(f"{folder} holds a training run: go on with --resume, or name another folder with --out.")
    team = join(device)
    if not configuration.commit:
        configuration = replace(configuration, commit=checkpoint.commit_of_code())
    run = prepare(configuration, folder, team, resume)
    with ExitStack() as stack:
        journal = None
        if team.leads:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "configuration.json").write_text(
                json.dumps(asdict(run.configuration), indent=1), encoding="utf-8"
            )
            journal = stack.enter_context(Journal(folder))
        if bar is not None:
            bar.show("Compiling" if configuration.optimiser.compiled else "Beginning", 0.0)
        warm_up(run)
        steps(run, journal, bar)
    team.part()
    return folder / checkpoint.WEIGHTS


def measure_step(configuration: Configuration, device: str | None = None) -> Profile:
    """Profile the step that a run takes most often, scenes included, on one device."""
    team = join(device)
    run = prepare(configuration, Path("unused"), team)
    data = configuration.data
    height, width, _ = max(data.shapes, key=lambda shape: shape[-1])
    views, _ = max(data.views, key=lambda share: share[-1])
    shape = Shape(data.batch // views, views, height, width)
    flops = step_flops(run.learner.average, (shape.scenes, views, 3, height, width))
    measured = profile(lambda: run.learner.step(next_batch(run, shape)), flops, shape.scenes * views, team.device)
    team.part()
    return measured


def prepare(configuration: Configuration, folder: Path, team: Team, resume: bool = False) -> Run:
    """Network, optimiser and scenes of a run, where it begins or where it stopped."""
    trainable = find_trainable(configuration.network.name)
    start = starting_weights(configuration, trainable)
    if start is not None:  # what the file says of its network holds unless the configuration says otherwise
        arguments = read_weights_configuration(start) | configuration.network.arguments
        configuration = replace(configuration, network=replace(configuration.network, arguments=arguments))
    torch.backends.cudnn.benchmark = True  # few image sizes come over and over
    torch.manual_seed(configuration.seed)
    try:
        network = trainable.build(**configuration.network.arguments)
    except TypeError as error:
        raise InputError(f"The table 'network.arguments' does not fit {trainable.network}: {error}.") from error
    if start is not None and not resume:
        checkpoint.start_from(network, start, configuration.network.fresh)
    learner = Learner(trainable, network, configuration.losses, configuration.optimiser, team, configuration.seed)
    progress = checkpoint.load_state(folder, learner) if resume else Progress()
    return Run(configuration, folder, team, learner, *sources(configuration, team), progress)


def starting_weights(configuration: Configuration, trainable: Trainable) -> Path | None:
    """The file that training starts from, or None for weights drawn at random."""
    initial = configuration.network.initial
    if initial == "shipped" and trainable.weights is None:
        raise InputError(f"No weights are shipped for '{configuration.network.name}': give network.initial a file.")
    return trainable.weights if initial == "shipped" else Path(initial) if initial else None


def sources(configuration: Configuration, team: Team) -> tuple[Source, Source]:
    """Scenes to learn from, others for each process, and scenes to be measured by."""
    data = configuration.data
    seed = configuration.seed * SEEDS_APART + team.rank

    def procedural(seed: int) -> Source:
        from recon.training.scenes.sample import ProceduralScenes

        try:
            return ProceduralScenes(seed, team.device, replay=data.replay, **data.options)
        except TypeError as error:
            raise InputError(f"The table 'data.options' does not fit the procedural scenes: {error}.") from error

    apart = configuration.seed * SEEDS_APART + HELD_OUT_SEED
    learned: Source = FolderScenes(data.folders, seed, team.device) if data.folders else procedural(seed)
    if data.batches:
        learned = Repeated(learned, data.batches)
    known = data.held_out or data.folders
    return learned, FolderScenes(known, apart, team.device) if known else procedural(apart)


def warm_up(run: Run) -> None:
    """Compile every shape before the clock starts; each process another one first, as they share what they compiled."""
    if run.configuration.optimiser.compiled and run.team.device.type == "cuda":
        data = run.configuration.data
        shapes = data.shapes[run.team.rank % len(data.shapes) :] + data.shapes[: run.team.rank % len(data.shapes)]
        for height, width, _ in shapes:
            for views, _ in data.views:
                run.learner.backward(run.source.batch(0, data.batch // views, views, height, width))
        torch.cuda.synchronize()
    run.team.share([*run.learner.network.state_dict().values(), *run.learner.average.state_dict().values()])


def steps(run: Run, journal: Journal | None, bar: ProgressBar | None) -> None:
    """Take the steps that are left, and write what is due between them."""
    schedule, reports, learner, progress = (
        run.configuration.schedule,
        run.configuration.reports,
        run.learner,
        run.progress,
    )
    clock, means = Clock(progress.seconds), Means()
    gc.collect()
    gc.freeze()  # what stands now stays: looking through it again would only hold up the steps
    fraction = done(run, clock)
    evaluations, saves = due(reports.evaluate_every, fraction), due(reports.save_every, fraction)
    snapshots = iter([*(share for share in sorted(reports.snapshots) if share > fraction), NEVER])
    evaluation, save, snapshot = next(evaluations), next(saves), next(snapshots)
    told_seconds, told_views = clock(), progress.views
    while fraction < 1:
        shape = draw_shape(run.configuration.data, run.configuration.seed, progress.step)
        learner.rate = learning_rate(schedule, run.configuration.optimiser.rate, fraction, learner.steps)
        means.add(learner.step(next_batch(run, shape)))
        progress.step += 1
        progress.views += shape.scenes * shape.views * run.team.size
        if schedule.steps or run.team.size == 1 or progress.step % AGREE_EVERY == 0:
            fraction = done(run, clock)
        if journal is None:
            continue
        if progress.step % reports.log_every == 0 or fraction >= 1:
            numbers = means.take()
            now = clock()
            rate = (progress.views - told_views) / (now - told_seconds)
            told_seconds, told_views = now, progress.views
            numbers |= {"rate": learner.rate, "seconds": now, "views": progress.views, "views_per_second": rate}
            journal.write("train", progress.step, numbers)
            if bar is not None:
                text = f"step {progress.step}, loss {numbers['loss']:.3f}, {rate:,.0f} views/s"
                bar.show(text, min(1.0, fraction))
        progress.seconds = clock()
        if fraction >= evaluation:
            evaluate(run, journal)
            evaluation = next(evaluations)
        if fraction >= snapshot:
            keep_snapshot(run, snapshot)
            snapshot = next(snapshots)
        if fraction >= save:
            save_all(run)
            save = next(saves)
    if journal is not None:
        save_all(run)
        evaluate(run, journal)


def next_batch(run: Run, shape: Shape) -> Batch:
    """This process's batch of the next step."""
    with torch.profiler.record_function(GENERATOR):
        return run.source.batch(run.progress.step, shape.scenes, shape.views, shape.height, shape.width)


def done(run: Run, clock: Clock) -> float:
    """The share of the schedule that is done; of time, as the first process sees it."""
    schedule = run.configuration.schedule
    if schedule.steps:
        return run.progress.step / schedule.steps
    seconds = schedule.seconds
    if schedule.control and run.team.leads:
        control = Path(schedule.control)
        seconds = float(control.read_text()) if control.is_file() else seconds
    return run.team.follow(clock() / seconds)


def due(every: float, fraction: float) -> Iterator[float]:
    """The multiples of ``every`` after ``fraction`` and before the end; none, where ``every`` is 0."""
    count = int(fraction / every + 1e-9) if every else 0
    while True:
        count += 1
        yield count * every if every and count * every < 1 - 1e-9 else NEVER


def evaluate(run: Run, journal: Journal) -> None:
    """Measure the averaged network on scenes that it does not learn from."""
    data = run.configuration.data
    height, width, _ = data.shapes[0]
    for views in run.configuration.reports.evaluate_views:
        scenes = max(1, min(HELD_OUT_SCENES, data.batch // views))
        batch = run.held_out.batch(views, scenes, views, height, width)
        estimate = run.learner.judge(batch)
        figures = {name: float(value) for name, value in metrics(estimate, batch).items()}
        known = {name: value for name, value in figures.items() if math.isfinite(value)}
        journal.write(f"held out, {views} views", run.progress.step, known)
        journal.show(f"held-out-{views}-views", run.progress.step, picture(estimate, batch))


def keep_snapshot(run: Run, share: float) -> None:
    """Keep the averaged weights of this moment."""
    path = run.folder / "snapshots" / f"{round(100 * share):03d}.safetensors"
    path.parent.mkdir(exist_ok=True)
    checkpoint.save_weights(path, run.learner, run.configuration, run.progress)


def save_all(run: Run) -> None:
    """Write the averaged weights and the state to resume from."""
    checkpoint.save_weights(run.folder / checkpoint.WEIGHTS, run.learner, run.configuration, run.progress)
    checkpoint.save_state(run.folder, run.learner, run.progress)
