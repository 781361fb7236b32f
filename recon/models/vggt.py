"""VGGT: one pass over all views gives cameras and features; heads turn these into depth, points and tracks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from recon import checkpoint
from recon.alignment.keyframes import keyframes
from recon.errors import InputError
from recon.models import fitting, memory
from recon.models.base import Card, Options, Plan, Update
from recon.models.checkpointed import Checkpointed, needed
from recon.models.fitting import Fitted, arrays, pictures
from recon.models.keypoints import keypoints
from recon.models.planning import in_half
from recon.models.stages import Alone, Progress, in_background, prepared, relay, schedule, until_it_fits, verified
from recon.models.vggt_frames import Maps, place, rig_of
from recon.models.vggt_plan import predict_seconds, smaller, suitable
from recon.models.vggt_tracking import Tracking, points_of
from recon.networks.vggt import VGGT, Features, read_configuration, slices
from recon.networks.vggt_acceleration import accelerate
from recon.scene import Scene, Tracks, View

QUICK = 1.0  # seconds; what is over sooner tells of no progress, and needs no thread


class Vggt(Checkpointed[VGGT]):
    """A checkpoint of VGGT, the published one or any other of that network, on any torch device.

    Raises:
        InputError: ``weights`` cannot be read, or are of another network or of one without cameras or depth.
    """

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        weights = needed(card, weights)
        configuration = read_configuration(checkpoint.read_json_beside(weights))
        network = checkpoint.built(lambda: VGGT(configuration), checkpoint.read_state(weights), weights.name)
        if network.camera_head is None or network.depth_head is None:
            raise InputError(f"'{weights.name}' gives no cameras or no depth; give a checkpoint with both heads.")
        super().__init__(card, device, accelerate(network, device))
        self._alone = Alone(device)  # the page may track while it reconstructs
        self._tracking = Tracking(self.network, device)

    @classmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:
        """See `Model.predict`. What does not fit is planned with smaller chunks, then smaller, then of fewer views."""
        return in_half(suitable(card, views, device, options, cls.available(card, device)))

    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:
        """See `Model.stream`. A run that asks for more memory than there is begins anew, smaller, once."""
        if options.points == "head" and self.network.point_head is None:
            raise InputError("This checkpoint has no point head: take points from depth and camera.")
        self._tracking.forget()
        plan = self.plan(views, options=options)
        scene = Scene(metric=self.card.metric, model=self.card.name, settings=asdict(options))

        def attempt(plan: Plan, start: float) -> Generator[Update, None, None]:
            return self._attempt(scene, views, plan, options, start)

        def less(plan: Plan) -> Plan:
            return smaller(plan, [view.size for view in views], options)

        yield from until_it_fits(attempt, plan, less, scene, self.release)

    def track(
        self,
        scene: Scene,
        pixels: ArrayLike | None = None,
        frame: int = 0,
        progress: Callable[[float, str], None] | None = None,
    ) -> Tracks:
        """See `Model.track`. What the network saw from that frame is kept, so that a second call answers sooner."""
        report = progress or (lambda fraction, message: None)
        if not scene.frames:
            raise InputError("This scene is empty: reconstruct photos first.")
        if not 0 <= frame < len(scene.frames):
            raise InputError(f"There is no frame {frame}: choose one of 0 to {len(scene.frames) - 1}.")
        points = keypoints(scene.frames[frame]) if pixels is None else points_of(pixels)
        if pixels is None and not len(points):
            raise InputError(f"'{scene.frames[frame].name}' shows no corners to follow: click points on it.")
        try:
            with self._alone(report):
                return self._tracking.follow(scene, points, frame, report)
        except Exception as error:
            if not memory.is_refusal(error):
                raise
        self.release()
        raise InputError(
            f"There is not enough memory to follow points through {len(scene.frames)} frames: use fewer photos."
        )

    def release(self) -> None:
        """Free what was kept for the next tracking, and give the device's memory back."""
        self._tracking.forget()
        memory.release(self.device)

    # --- a run -------------------------------------------------------------------------------------------------------

    def _attempt(
        self, scene: Scene, views: Sequence[View], plan: Plan, options: Options, start: float
    ) -> Generator[Update, None, None]:
        """The run that ``plan`` describes, told from the fraction ``start`` on."""
        chosen = [views[i] for i in plan.views]
        scene.notes[:] = plan.notes
        scene.settings["size"] = list(plan.size)
        seconds = predict_seconds(self.card, plan, options)
        parts = schedule(seconds, start)

        yield Update("Preparing", start, f"Preparing {len(chosen)} view{'s' if len(chosen) > 1 else ''}", scene)
        fitted = yield from relay(fit(chosen, plan.size, options), "Preparing", *parts["Preparing"], scene)
        looking = self._look(fitted, seconds["Looking"] < QUICK and self.device.type == "cuda")
        features = yield from relay(looking, "Looking", *parts["Looking"], scene)
        rig = rig_of(self._cameras(features), [view.name for view in chosen], plan.size)
        scene.notes.extend(rig.notes)

        start, end = parts["Placing"]
        for frames in slices(len(chosen), plan.chunk):
            changed = tuple(range(frames.start, frames.stop))
            for i, maps in zip(changed, self._maps(features, frames, options.points == "head"), strict=True):
                scene.frames.append(place(chosen[i], plan.views[i], fitted[i], rig, i, maps))
            fraction = start + (end - start) * frames.stop / len(chosen)
            yield Update("Placing", fraction, f"Placed {chosen[changed[-1]].name}", scene, changed)
        self._tracking.keep(scene, 0, features)
        del features, fitted

        if options.refine and len(scene.frames) > 1:
            yield from self._refine(scene, parts)
        yield from verified(scene, views, options, parts)
        yield Update("Finishing", 1.0, "Done", scene)

    def _look(self, fitted: Sequence[Fitted], quick: bool) -> Generator[Progress, None, Features]:
        """One pass of the network over all views.

        In steps, whose features serve the tracks too: recorded launches (`Accelerated.forward`) would save no more than
        hundredths of a second beside reading the photos.
        """

        def encode(report: Callable[[float, str], None] | None) -> Features:
            progress = None if report is None else lambda fraction: report(fraction, f"Looked {fraction:.0%}")
            with self._alone():
                return self.network.encode(pictures(fitted, self.device), progress)

        if quick:
            return encode(None)
        return (yield from in_background(encode))

    def _cameras(self, features: Features) -> Tensor:
        """Encodings ``[V,9]`` of the cameras of all views."""
        with self._alone():
            return self.network.cameras(features)[-1][0].double().cpu()

    def _maps(self, features: Features, frames: slice, head: bool) -> list[Maps]:
        """Of some views; their points come from the point ``head``, or are left to depth and camera."""
        with self._alone():
            depth, confidence = self.network.depth(features, frames)
            if not head:
                return [(*maps, None) for maps in zip(arrays(depth), arrays(confidence), strict=True)]
            points, confidence = self.network.points(features, frames)
            return list(zip(arrays(depth), arrays(confidence), arrays(points), strict=True))

    def _refine(self, scene: Scene, parts: dict[str, tuple[float, float]]) -> Generator[Update, None, None]:
        """Bundle adjustment over tracks of the network."""
        from recon.alignment.refine import refine  # brings pycolmap

        chosen = [(i, found) for i in keyframes(scene) if len(found := keypoints(scene.frames[i]))]
        if not chosen:
            scene.notes.append("The cameras were not refined, since no photo shows corners that could be followed.")
            return
        start, end = parts["Tracking"]
        share = (end - start) / len(chosen)
        try:
            for number, (frame, pixels) in enumerate(chosen):
                following = in_background(partial(self.track, scene, pixels, frame))
                begin = start + number * share
                tracks = yield from relay(following, "Tracking", begin, begin + share, scene)
                scene.tracks = tracks if scene.tracks is None else scene.tracks.joined(tracks)
            done = yield from relay(refine(scene), "Adjusting", *parts["Adjusting"], scene)
        except InputError as error:
            scene.notes.append(str(error))
            return
        message = "Adjusted the cameras" if done.changed else "Left the cameras as they were"
        yield Update("Adjusting", parts["Adjusting"][1], message, scene, done.changed)


def fit(views: Sequence[View], size: tuple[int, int], options: Options) -> Generator[Progress, None, list[Fitted]]:
    """All views at the size of the network's input."""
    way = fitting.crop if options.fit == "crop" else fitting.pad
    fitted = yield from prepared(views, lambda view: way(view.image, size[0]))
    return fitting.together(fitted)
