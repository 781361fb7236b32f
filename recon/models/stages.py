"""The stages of a run: what share of it each takes, and how work that tells of its progress becomes updates."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from typing import TypeVar

import numpy as np
import torch

from recon.errors import InputError
from recon.models import memory
from recon.models.base import Options, Plan, Update
from recon.scene import Scene, View

Progress = tuple[float, str]  # fraction of a part of a run, and what was just done
Result = TypeVar("Result")
Told = TypeVar("Told")

# What the geometry stages take on one core, fitted to runs over 1 to 64 views on an AMD EPYC with AVX-512.
VERIFY_SECONDS, VERIFY_SECONDS_PER_PAIR = 0.25, 0.22  # features of a view; matching two views; of 12 megapixels
DENSIFY_SECONDS = 0.47  # a view
MATCHED_PER_VIEW = 11  # of long sequences, not all pairs are matched
THREAD_EFFICIENCY = 0.65  # what n threads do, over n times what one does


class Stopped(Exception):
    """Raised in work whose result nobody waits for any more."""


def cores() -> float:
    """How many times faster than one thread this machine's are together."""
    return max(1.0, THREAD_EFFICIENCY * torch.get_num_threads())


def matched_pairs(count: int) -> int:
    """How many pairs of ``count`` views are compared."""
    return min(count * (count - 1) // 2, MATCHED_PER_VIEW * count)


def geometry_seconds(count: int, verify: bool, dense: bool) -> dict[str, float]:
    """Of the stages that any model may end with, over ``count`` views; depth is refined where cameras are verified."""
    seconds = {}
    if verify:
        seconds["Verifying"] = (VERIFY_SECONDS * count + VERIFY_SECONDS_PER_PAIR * matched_pairs(count)) / cores()
        if dense:
            seconds["Refining"] = DENSIFY_SECONDS * count / cores()
    return seconds


def schedule(seconds: dict[str, float], start: float = 0.0) -> dict[str, tuple[float, float]]:
    """Where each stage begins and ends, as fractions of the whole run, of which ``start`` is over already."""
    ends = start + (1 - start) * np.cumsum(list(seconds.values())) / sum(seconds.values())
    return {
        name: (float(begin), float(end)) for name, begin, end in zip(seconds, [start, *ends[:-1]], ends, strict=True)
    }


def retold(
    work: Generator[Progress, None, Result], tell: Callable[[float, str], Told]
) -> Generator[Told, None, Result]:
    """The same work, its progress told in another way."""
    with closing(work):
        while True:
            try:
                fraction, message = next(work)
            except StopIteration as stop:
                return stop.value
            yield tell(fraction, message)


def relay(
    work: Generator[Progress, None, Result], stage: str, start: float, end: float, scene: Scene
) -> Generator[Update, None, Result]:
    """A part of a run, its progress told as updates between the fractions ``start`` and ``end`` of the whole."""
    return retold(work, lambda fraction, message: Update(stage, start + (end - start) * fraction, message, scene))


def within(work: Generator[Progress, None, Result], start: float, share: float) -> Generator[Progress, None, Result]:
    """The same work, its progress told as that of a ``share`` of a larger one that begins at ``start``."""
    return retold(work, lambda fraction, message: (start + share * fraction, message))


def prepared(views: Sequence[View], prepare: Callable[[View], Result]) -> Generator[Progress, None, list[Result]]:
    """What ``prepare`` makes of each view; several threads work ahead."""
    done: list[Result] = []
    with ThreadPoolExecutor(4) as pool:
        for view, one in zip(views, pool.map(prepare, views), strict=True):
            done.append(one)
            yield len(done) / len(views), f"Prepared {view.name}"
    return done


@contextmanager
def computing(device: torch.device) -> Iterator[None]:
    """Without gradients, on a device: ``with computing(device): ...``."""
    on_device = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with torch.inference_mode(), on_device:
        yield


class Alone:
    """Lets threads use a network on a device one after the other, without gradients: ``with alone(): ...``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._turn = threading.Lock()

    @contextmanager
    def __call__(self, report: Callable[[float, str], None] | None = None) -> Iterator[None]:
        """Once other threads' uses have ended; ``report`` may raise meanwhile."""
        while not self._turn.acquire(timeout=0.25):
            if report is not None:
                report(0.0, "Waiting for another run")
        try:
            with computing(self._device):
                yield
        finally:
            self._turn.release()


def verified(
    scene: Scene, views: Sequence[View], options: Options, parts: dict[str, tuple[float, float]]
) -> Generator[Update, None, None]:
    """The geometry stages that any model may end with, where they are chosen: cameras checked, then depth refined."""
    if not options.verify:
        return
    from recon.alignment.verify import verify  # brings pycolmap, which a run without it can do without

    changed = yield from relay(verify(scene, views), "Verifying", *parts["Verifying"], scene)
    yield Update("Verifying", parts["Verifying"][1], "Verified the cameras", scene, changed)
    if options.dense:
        from recon.alignment.dense import densify

        changed = yield from relay(densify(scene), "Refining", *parts["Refining"], scene)
        yield Update("Refining", parts["Refining"][1], "Refined depth", scene, changed)


def until_it_fits(
    attempt: Callable[[Plan, float], Generator[Update, None, None]],
    plan: Plan,
    smaller: Callable[[Plan], Plan],
    scene: Scene,
    release: Callable[[], None],
) -> Generator[Update, None, None]:
    """A run that begins anew, smaller, once, if it asks for more memory than there is.

    Args:
        attempt: the run of a plan, told from that fraction of the whole on.
        plan: of the first attempt.
        smaller: the plan of the second one, whose last note says what is smaller.
        scene: that the attempts fill.
        release: frees the device's memory; called after every attempt that does not come to its end.

    Raises:
        InputError: there is not enough memory for the second attempt either.
    """
    reached = 0.0
    for last in (False, True):
        try:
            with closing(attempt(plan, reached)) as updates:
                for update in updates:
                    reached = update.fraction
                    yield update
            return
        except Exception as error:
            if not memory.is_refusal(error):
                raise
        finally:
            if reached < 1:
                release()
        # Here, outside of the handler, the error is gone, and with it the tensors that its trace held.
        if not last:
            plan = smaller(plan)
            scene.frames.clear()
            scene.tracks = scene.sparse_points = None
            yield Update("Preparing", reached, plan.notes[-1], scene)
    raise InputError("There is not enough memory, even for a smaller run: use fewer photos or quit other programs.")


def in_background(work: Callable[[Callable[[float, str], None]], Result]) -> Generator[Progress, None, Result]:
    """Do ``work`` in a thread of its own, yielding what it reports; what it raises is raised here.

    Args:
        work: called with a function that takes a fraction and a phrase. Once the generator is closed, that function
            raises `Stopped`, and closing waits until it has ended the work.
    """
    reports: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def report(fraction: float, message: str) -> None:
        if stopped.is_set():
            raise Stopped
        reports.put((fraction, message))

    def run() -> Result:
        try:
            return work(report)
        finally:
            reports.put(None)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        try:
            while (progress := reports.get()) is not None:
                yield progress
        finally:
            stopped.set()
        return future.result()
