"""MonST3R: DUSt3R's network, trained on videos in which things move, and an alignment that tells what moves.

Long videos are taken a window at a time, so that memory does not grow with their length.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from recon.alignment.global_alignment import Alignment, Step
from recon.alignment.pair_maps import Known
from recon.alignment.pair_store import PairStore
from recon.alignment.video_alignment import Video, VideoAlignment, align_video
from recon.alignment.windows import joining, moved, windows
from recon.errors import InputError
from recon.models import fitting
from recon.models.base import Card, Options, Plan, Update
from recon.models.dust3r import Dust3r, fit
from recon.models.dust3r_plan import is_video
from recon.models.monst3r_plan import described, pairs_to_decode, predict_seconds, suitable
from recon.models.pair_world import Member, Predicted, build, is_metric, known_of
from recon.models.stages import relay, schedule, verified
from recon.scene import Scene, View

STAGES = ("Looking", "Pairing", "Aligning")  # of each window
UNTIMED = "The photos say no times: they are taken for frames of one video, in the order given, at even steps."
ALONE = "One frame shows no motion: nothing is marked as moving, and its depth is less sure than that of several."
BROKEN = "The video falls apart before '{}': frames from there on were left out."


class Monst3r(Dust3r):
    """A checkpoint of MonST3R, on any torch device; see `Dust3r`."""

    @staticmethod
    def _suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
        return described(suitable(card, views, device, options, available))

    def _attempt(
        self, scene: Scene, views: Sequence[View], plan: Plan, options: Options, start: float
    ) -> Generator[Update, None, None]:
        """The run that ``plan`` describes, told from the fraction ``start`` on."""
        count = len(plan.views)
        scene.notes[:] = plan.notes
        scene.settings["size"] = list(plan.size)
        parts = schedule(predict_seconds(self.card, plan, options), start)
        yield Update("Preparing", start, f"Preparing {count} frame{'s' if count > 1 else ''}", scene)
        members = yield from relay(fit(views, plan), "Preparing", *parts["Preparing"], scene)
        scene.metric = is_metric(members)
        timed = is_video([member.view for member in members])
        if not timed and count > 1:
            scene.notes.append(UNTIMED)
        parted = [[members[place] for place in window] for window in windows(count)]
        videos = [video_of(chosen, timed) for chosen in parted]
        for number, (chosen, video) in enumerate(zip(parted, videos, strict=True)):
            known = known_of(chosen, options.shared_focal is not False)
            if scene.frames and known.shared_focal and not known.focal:
                known = replace(known, focal={0: float(scene.frames[0].camera.intrinsics[0, 0])})
            own = {stage: parts[f"{stage} {number}"] for stage in STAGES}
            before = {frame.view for frame in scene.frames}
            together = yield from self._window(scene, chosen, video, known, plan, options, own)
            told = f"Placed {len(scene.frames)} of {count}"
            new = tuple(index for index, frame in enumerate(scene.frames) if frame.view not in before)
            yield Update("Aligning", own["Aligning"][1], told, scene, new)
            if not together:
                break
        if count == 1:
            scene.notes.append(ALONE)
        yield from verified(scene, views, options, parts)
        yield Update("Finishing", 1.0, "Done", scene)

    def _window(
        self,
        scene: Scene,
        members: Sequence[Member],
        video: Video,
        known: Known,
        plan: Plan,
        options: Options,
        parts: dict[str, tuple[float, float]],
    ) -> Generator[Update, None, bool]:
        """Make frames of one window and join them to the scene's; whether that was possible."""
        part = Scene() if scene.frames else scene
        pairs = pairs_to_decode(len(members), options)
        seen = yield from relay(self._look(members), "Looking", *parts["Looking"], scene)
        predictions = self._compare(seen, pairs, plan.chunk)
        for update in marked(part, members, predictions, len(pairs), known, parts, video):
            yield update if part is scene else replace(update, scene=scene, changed=())
        return part is scene or append(scene, part, members, placed=len(known.world_from_camera) > 1)


def marked(
    scene: Scene,
    members: Sequence[Member],
    predictions: Generator[Predicted, None, None],
    expected: int,
    known: Known,
    parts: dict[str, tuple[float, float]],
    video: Video,
) -> Generator[Update, None, None]:
    """Fill ``scene`` as `pair_world.build` does, and mark what moves."""
    found: list[VideoAlignment] = []

    def aligning(store: PairStore, known: Known) -> Generator[Step, None, Alignment]:
        found.append((yield from align_video(store, video, known)))
        return found[0].alignment

    with closing(build(scene, members, predictions, expected, known, parts, aligning)) as updates:
        yield from updates
    for result in found:
        for frame, mask in zip(scene.frames, result.moving, strict=True):
            frame.moving = mask
        scene.notes.extend(result.notes)
    if len(members) == 1:
        scene.frames[0].moving = video.moving.get(0, np.zeros(scene.frames[0].depth.shape, bool))


def append(scene: Scene, part: Scene, members: Sequence[Member], placed: bool = False) -> bool:
    """Add the new frames of a window's own scene, where it shares a frame with ``scene``; whether it does.

    Args:
        scene: of the windows before.
        part: of this window, changed.
        members: the window's frames.
        placed: known cameras have put both where they are.
    """
    places = {frame.view: frame for frame in scene.frames}
    shared = [frame for frame in part.frames if frame.view in places]
    scene.notes.extend(note for note in part.notes if note not in scene.notes)
    if not shared:
        new = next(member for member in members if member.index not in places)
        scene.notes.append(BROKEN.format(new.view.name))
        return False
    if not placed:
        scene_from_part = joining([places[frame.view] for frame in shared], shared)
        for frame in part.frames:
            moved(frame, scene_from_part)
    scene.frames.extend(frame for frame in part.frames if frame.view not in places)
    scene.frames.sort(key=lambda frame: frame.view)
    return True


def video_of(members: Sequence[Member], timed: bool) -> Video:
    """What is known of frames beside their pairs, by their place.

    Raises:
        InputError: a mask that is not of its picture's size.
    """
    moving = {}
    for place, member in enumerate(members):
        mask = member.view.moving
        if mask is None:
            continue
        if mask.shape != member.view.image.shape[:2]:
            raise InputError(
                f"What moves in '{member.view.name}' is marked in {mask.shape[1]} x {mask.shape[0]} pixels; "
                f"mark it in {member.view.size[0]} x {member.view.size[1]}, the picture's size."
            )
        moving[place] = fitting.sample(mask, member.fitted).astype(bool)
    times = {
        place: member.view.time if timed and member.view.time is not None else float(place)
        for place, member in enumerate(members)
    }
    return Video({place: member.fitted.image for place, member in enumerate(members)}, times, moving)
