"""MapAnything: one pass over photos, and over what is known of them, gives metric cameras, depth and points."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon import checkpoint
from recon.models import memory
from recon.models.base import Card, Options, Plan, Update
from recon.models.checkpointed import Checkpointed, needed
from recon.models.fitting import Fitted, arrays, pictures
from recon.models.mapanything_confidence import ABSOLUTE, agreement
from recon.models.mapanything_fitting import Placement, place_image, place_intrinsics, placement
from recon.models.mapanything_frames import Maps, Rig, place, rig_of, usable_intrinsics
from recon.models.mapanything_known import Told, internal_order, known_of, told_of
from recon.models.mapanything_plan import predict_seconds, smaller, suitable
from recon.models.planning import in_half
from recon.models.stages import Alone, Progress, in_background, prepared, relay, schedule, until_it_fits, verified
from recon.networks.mapanything import Features
from recon.networks.mapanything import MapAnything as Network
from recon.networks.mapanything_acceleration import accelerate
from recon.networks.mapanything_checkpoint import configuration_of, own_names
from recon.networks.mapanything_outputs import intrinsics_from_rays, pose_matrices
from recon.networks.vggt import slices
from recon.scene import Camera, Frame, Scene, View

TOGETHER = 32  # views whose poses are read at a time
QUICK = 1.0  # seconds; what is over sooner tells of no progress, and needs no thread

Input = tuple[Placement, Fitted]  # how a picture was brought to its size, and what came of it


class MapAnything(Checkpointed[Network]):
    """A checkpoint of MapAnything, a published one or any other of that network, on any torch device.

    Raises:
        InputError: ``weights`` cannot be read, or are of another network.
    """

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        weights = needed(card, weights)
        state = own_names(checkpoint.read_state(weights))
        configuration = configuration_of(checkpoint.read_json_beside(weights), state)
        network = checkpoint.built(lambda: Network(configuration), state, weights.name)
        super().__init__(card, device, accelerate(network, device))
        self._alone = Alone(device)

    @classmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:
        """See `Model.predict`. What does not fit is planned with smaller chunks, then smaller, then of fewer views."""
        return in_half(suitable(card, views, device, options, cls.available(card, device)))

    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:
        """See `Model.stream`. A run that asks for more memory than there is begins anew, smaller, once.

        What is known of views is told to the network, as far as ``options.use`` has it; a view whose pose is known is
        its first one then.
        """
        plan = self.plan(views, options=options)
        scene = Scene(metric=self.card.metric, model=self.card.name, settings=asdict(options))

        def attempt(plan: Plan, start: float) -> Generator[Update, None, None]:
            return self._attempt(scene, views, plan, options, start)

        def less(plan: Plan) -> Plan:
            return smaller(plan, [view.size for view in views])

        yield from until_it_fits(attempt, plan, less, scene, self.release)

    def release(self) -> None:
        """Give the device's memory back."""
        memory.release(self.device)

    # --- a run -------------------------------------------------------------------------------------------------------

    def _attempt(
        self, scene: Scene, views: Sequence[View], plan: Plan, options: Options, start: float
    ) -> Generator[Update, None, None]:
        """The run that ``plan`` describes, told from the fraction ``start`` on."""
        chosen = [views[i] for i in plan.views]
        told, complaints = told_of(chosen, options.use)
        scene.notes[:] = [*plan.notes, *complaints]
        scene.settings["size"] = list(plan.size)
        seconds = predict_seconds(self.card, plan, options)
        parts = schedule(seconds, start)

        yield Update("Preparing", start, f"Preparing {len(chosen)} view{'s' if len(chosen) > 1 else ''}", scene)
        inputs = yield from relay(fit(chosen, told, plan.size, options), "Preparing", *parts["Preparing"], scene)
        order = internal_order(told)
        looking = self._look([inputs[i] for i in order], [told[i] for i in order], options, seconds["Looking"] < QUICK)
        features = yield from relay(looking, "Looking", *parts["Looking"], scene)
        scale, poses = self._poses(features, order)
        rig = rig_of(poses, told, [view.name for view in chosen], options.align)
        scene.metric = rig.metric
        scene.notes.extend(rig.notes)

        guessed: list[str] = []

        def framed(i: int, maps: Maps) -> Frame:
            camera, own = camera_of(maps, rig, i, inputs[i], told[i])
            if not own:
                guessed.append(chosen[i].name)
            return place(chosen[i], plan.views[i], inputs[i][1], camera, maps, rig.unit, options)

        start, end = parts["Placing"]
        with ThreadPoolExecutor(4) as pool:
            for frames in slices(len(chosen), plan.chunk):
                changed = tuple(range(frames.start, frames.stop))
                maps = self._maps(features, [order.index(i) for i in changed], scale)
                scene.frames.extend(pool.map(framed, changed, maps))
                fraction = start + (end - start) * frames.stop / len(chosen)
                yield Update("Placing", fraction, f"Placed {chosen[changed[-1]].name}", scene, changed)
        del features
        if guessed:
            photos = f"{len(guessed)} of the {len(chosen)} photos look" if len(chosen) > 1 else "the photo looks"
            scene.notes.append(f"How wide {photos} could not be told: it is a guess.")

        if options.agreement:
            yield from relay(self._agree(scene, rig.unit), "Comparing", *parts["Comparing"], scene)
            yield Update("Comparing", parts["Comparing"][1], "Compared views", scene, tuple(range(len(chosen))))
        yield from verified(scene, views, options, parts)
        yield Update("Finishing", 1.0, "Done", scene)

    def _look(
        self, inputs: Sequence[Input], told: Sequence[Told], options: Options, quick: bool
    ) -> Generator[Progress, None, Features]:
        """One pass of the network over all views, in its order."""

        def encode(report: Callable[[float, str], None] | None) -> Features:
            progress = None if report is None else lambda fraction: report(fraction, f"Looked {fraction:.0%}")
            with self._alone(report):
                known = known_of(told, [placed for placed, _ in inputs], options.use, self.device)
                images = pictures([fitted for _, fitted in inputs], self.device)
                return self.network.encode(images, known, progress)

        if quick and self.device.type == "cuda":
            return encode(None)
        return (yield from in_background(encode))

    def _poses(self, features: Features, order: Sequence[int]) -> tuple[Tensor, np.ndarray]:
        """Metres of the network's unit ``[1]``, and ``[V,4,4] float64`` in metres, of the views in the user's order."""
        with self._alone():
            scale = self.network.scale(features)
            read = [self.network.poses(features, frames) for frames in slices(features.views, TOGETHER)]
            translations, quaternions = (torch.cat(each, 1)[0].cpu().double() for each in zip(*read, strict=True))
            matrices = pose_matrices(quaternions, translations * scale.cpu().double()).numpy()
        poses = np.empty_like(matrices)
        poses[order] = matrices
        return scale, poses

    def _maps(self, features: Features, members: Sequence[int], scale: Tensor) -> list[Maps]:
        """Of views, by their places in the network's order."""
        with self._alone():
            maps = self.network.maps(features, members)
            points = maps.rays * (maps.depth * scale)[..., None]
            intrinsics = intrinsics_from_rays(maps.rays)
            parts = (points, maps.confidence, maps.clear, intrinsics)
            return [
                Maps(points, confidence, clear > 0, camera)
                for points, confidence, clear, camera in zip(*map(arrays, parts), strict=True)
            ]

    def _agree(self, scene: Scene, unit: float) -> Generator[Progress, None, None]:
        """Judge the confidence of all frames by each other, in a world of so many units a metre."""
        frames = scene.frames
        depth, clear, intrinsics, poses = (
            torch.from_numpy(np.stack(values)).to(self.device)
            for values in (
                [frame.depth for frame in frames],
                [frame.known() for frame in frames],
                [frame.camera.intrinsics for frame in frames],
                [frame.camera.world_from_camera for frame in frames],
            )
        )
        intrinsics[:, :2, 2] -= 0.5
        shares = agreement(depth, intrinsics, poses, clear, unit * ABSOLUTE)
        for done, (frame, share) in enumerate(zip(frames, shares, strict=True), 1):
            frame.confidence = share.cpu().numpy()
            yield done / len(frames), f"Compared {frame.name}"


def fit(
    views: Sequence[View], told: Sequence[Told], size: tuple[int, int], options: Options
) -> Generator[Progress, None, list[Input]]:
    """All views at the size of the network's input, cropped as published for known intrinsics, or for none."""
    calibrated = {
        id(view): one.intrinsics is not None and "intrinsics" in options.use
        for view, one in zip(views, told, strict=True)
    }

    def prepare(view: View) -> Input:
        placed = placement(view.size, size, calibrated[id(view)])
        content = (0, 0, *size)
        return placed, Fitted(place_image(view.image, placed), placed.original_from_processed, content)

    return (yield from prepared(views, prepare))


def camera_of(maps: Maps, rig: Rig, member: int, given: Input, told: Told) -> tuple[Camera, bool]:
    """The camera of a view of the run, and whether its intrinsics are the network's own."""
    placed, fitted = given
    known = None if told.intrinsics is None else place_intrinsics(told.intrinsics, placed)
    intrinsics, own = usable_intrinsics(maps.intrinsics, fitted.size, known)
    pose = rig.world_from_camera[member].astype(np.float32)
    return Camera(intrinsics.astype(np.float32), pose), own
