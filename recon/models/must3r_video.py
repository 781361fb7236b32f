"""A video on its way through MUSt3R into a scene, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

from recon.errors import InputError
from recon.models import pair_fitting
from recon.models.base import Options, Plan, Update
from recon.models.fitting import Fitted
from recon.models.must3r_cameras import SharedFocal
from recon.models.must3r_collection import batches
from recon.models.must3r_frames import frame_of, is_black
from recon.models.must3r_looking import Looker
from recon.models.must3r_online import Online, Placed
from recon.models.must3r_overlap import Overlap, Rule
from recon.models.must3r_photos import TOGETHER
from recon.models.must3r_plan import input_size, plan_for
from recon.models.must3r_source import Source
from recon.models.spill import Spill
from recon.models.stages import Result, relay
from recon.scene import Scene, View

if TYPE_CHECKING:
    from recon.models.must3r import Must3r

HALFWAY = 100  # frames after which half of a stream of unknown length counts as done
TOLD = 3  # changes of size that are told one by one
Report = Callable[[float, str], None]


class Video:
    """A video on its way into a scene.

    Args:
        model: whose network looks.
        scene: gets the frames.
        options: of the run.
        plan: of the run, or None where nobody knows how many frames there will be, nor of which size.
    """

    def __init__(self, model: Must3r, scene: Scene, options: Options, plan: Plan | None) -> None:
        self.model, self.scene, self.options, self.plan = model, scene, options, plan
        side = model.card.resolution
        self.rule = Rule(subsample=4 if side >= 512 else 2)
        self.cameras = SharedFocal(options.shared_focal is not False)
        self.online: Online | None = None
        self.spill = Spill(model.spilling)
        self.start: list[tuple[View, int, Fitted]] = []  # of the frames that make the world
        self.keyframes: list[bool] = []  # of all frames
        self.size: tuple[int, int] | None = None  # of the last frame
        self.changes: list[str] = []  # of that size, in sentences
        self.fraction = 0.0

    def go(self, views: Iterable[View]) -> Generator[Update, None, None]:
        """Place frames as they come."""
        source = Source(views, self._prepare, self.model.patience)
        steps = 1 + self.options.rounds + self.options.rerender
        yield Update("Looking", 0.0, "Waiting for the first frame", self.scene)
        with closing(source.items()) as items:
            for item in items:
                if item is None:
                    yield Update("Looking", self.fraction, "Waiting for the next frame", self.scene)
                    continue
                number, view, fitted = item
                index = number if self.plan is None else self.plan.views[number]
                self._notice_size(view)
                placed = yield from self._at_work(partial(self._step, view, fitted), "Looking")
                changed = [self._show(each, view, index, fitted) for each in placed]
                self.fraction = self._share(number + 1) / steps
                self.spill.tend(self.scene.frames, changed)
                held = self.online.held if self.online else 0
                yield Update("Looking", self.fraction, f"Placed {view.name}", self.scene, tuple(changed), held)
        self._tell_of(source)
        yield from self._settle()
        for number in range(self.options.rounds):
            yield from self._again(1 / steps * (1 + number), 1 / steps * (2 + number))
        if self.options.rerender:
            yield from self._render(1 - 1 / steps, 1.0)
        self.scene.settings["keyframe_views"] = [
            frame.view for frame, is_one in zip(self.scene.frames, self.keyframes, strict=True) if is_one
        ]

    def stop(self, why: str) -> None:
        """Say why a run ended before its end."""
        self.scene.notes.append(f"{why}; the {len(self.scene.frames)} frames that came before are kept.")

    def _prepare(self, view: View) -> Fitted:
        if is_black(view):
            raise InputError("black")
        return pair_fitting.fit(view.image, self.model.card.resolution, square_ok=True)

    def _step(self, view: View, fitted: Fitted, report: Report) -> list[Placed]:
        if self.online is None:
            self.online = self._begin(view)
        return self.online.step(self.model.encode([picture(fitted.image)], report))

    def _begin(self, view: View) -> Online:
        model, options = self.model, self.options
        plan = self.plan
        if plan is None:
            size = input_size(view.size, model.card.resolution, ordered=True)
            available = model.available(model.card, model.device.type)
            plan = plan_for(model.card, size, None, model.device.type, options, available)
        self.scene.notes.extend(plan.notes)
        self.scene.settings["size"] = list(plan.size)
        looker, judge = Looker(model.network), Overlap(self.rule)
        return Online(looker, judge, self.cameras, 2, False, options.window, plan.keyframes, options.forget)

    def _show(self, placed: Placed, view: View, index: int, fitted: Fitted) -> int:
        """Make a frame of what was placed; gives its place."""
        number, frames = placed.number, self.scene.frames
        if number == len(self.start) and number < 2:
            self.start.append((view, index, fitted))
        if number < len(self.start):
            view, index, fitted = self.start[number]
        parts = placed.maps, placed.world_from_camera, placed.focal, self.options.points == "head"
        frames[number : number + 1] = [frame_of(view, index, fitted, *parts)]
        self.keyframes[number : number + 1] = [placed.keyframe]
        return number

    def _again(self, begin: float, end: float) -> Generator[Update, None, None]:
        """All frames once more, keyframes to be remembered as they are seen then."""
        online, frames = self.online, self.scene.frames
        if online is None:
            return
        for numbers in batches(len(frames)):
            keyframes = [self.keyframes[number] for number in numbers]

            def look(report: Report, numbers: list[int] = numbers, keyframes: list[bool] = keyframes) -> list[Placed]:
                images = [self.model.encode([picture(frames[number].image)], report) for number in numbers]
                return online.again(numbers, images, keyframes)

            yield from self._replace(look, begin + (end - begin) * (numbers[-1] + 1) / len(frames))
        yield from self._settle()

    def _settle(self) -> Generator[Update, None, None]:
        """Forget the last frames but for keyframes."""
        if (online := self.online) is not None:
            yield from self._at_work(lambda report: online.settle(), "Looking")

    def _render(self, begin: float, end: float) -> Generator[Update, None, None]:
        """All frames once more, beside what is remembered now."""
        online, frames = self.online, self.scene.frames
        if online is None:
            return
        size = TOGETHER.get(self.model.device.type, 1)
        for _, group in groupby(range(len(frames)), lambda number: frames[number].size):
            alike = list(group)
            for start in range(0, len(alike), size):
                numbers = alike[start : start + size]

                def look(report: Report, numbers: list[int] = numbers) -> list[Placed]:
                    images = self.model.encode([picture(frames[number].image) for number in numbers], report)
                    return online.render(numbers, images, [self.keyframes[number] for number in numbers])

                yield from self._replace(look, begin + (end - begin) * (numbers[-1] + 1) / len(frames))

    def _replace(self, look: Callable[[Report], list[Placed]], fraction: float) -> Generator[Update, None, None]:
        """Frames in the place of what they were."""
        placed = yield from self._at_work(look, "Looking again")
        changed = []
        for each in placed:
            before = self.scene.frames[each.number]
            shown = Fitted(before.image, before.original_from_processed, (0, 0, *before.size))
            view = View(before.image, before.name, before.path, before.original_size, time=before.time)
            after = frame_of(
                view, before.view, shown, each.maps, each.world_from_camera, each.focal, self.options.points == "head"
            )
            self.scene.frames[each.number] = replace(after, valid=before.valid)
            changed.append(each.number)
        self.fraction = fraction
        self.spill.tend(self.scene.frames, changed)
        last = self.scene.frames[changed[-1]].name
        yield Update("Looking again", fraction, f"Placed {last} anew", self.scene, tuple(changed))

    def _at_work(self, work: Callable[[Report], Result], stage: str) -> Generator[Update, None, Result]:
        return (yield from relay(self.model.at_work(work, 1.0), stage, self.fraction, self.fraction, self.scene))

    def _share(self, count: int) -> float:
        """Of the first pass that is done after so many frames."""
        return count / (count + HALFWAY) if self.plan is None else min(1.0, count / len(self.plan.views))

    def _notice_size(self, view: View) -> None:
        if self.size is not None and view.size != self.size:
            width, height = view.size
            self.changes.append(f"From '{view.name}' on the pictures have {width} x {height} pixels.")
        self.size = view.size

    def _tell_of(self, source: Source[Fitted]) -> None:
        """Notes on what the source gave that could not be used, or was unlike what came before, and on its end."""
        few = len(self.changes) <= TOLD
        self.scene.notes += self.changes if few else [f"The pictures changed their size {len(self.changes)} times."]
        for sentence, count in source.refused.items():
            were = "frame was" if count == 1 else "frames were"
            why = "black" if sentence == "black" else f"of no use ({sentence.rstrip('.')})"
            self.scene.notes.append(f"{count} {were} {why} and left out.")
        if source.ended is not None:
            self.scene.notes.append(source.ended)


def picture(image: np.ndarray) -> torch.Tensor:
    """``[H,W,3] uint8`` as the network takes it, ``[3,H,W]`` in 0..1."""
    return torch.tensor(image).movedim(-1, 0).float() / 255
