"""The embedded model: parallax-small looks at all views at once, then geometry verifies what it saw."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch

from recon import geometry
from recon.alignment.dense import densify
from recon.assets import WEIGHTS
from recon.errors import InputError
from recon.models.base import Card, Model, Options, Plan, Update, spread
from recon.models.look import INPUT_AREA, Description, Look, agree, focal_lengths, network_size, preprocess, resize
from recon.models.stages import Progress, cores, geometry_seconds, matched_pairs, relay, schedule
from recon.networks.parallax import ParallaxNetwork
from recon.quantization import load_network
from recon.scene import Camera, Frame, Scene, View
from recon.upsampling import edge_confidence, upsample_depth

FRAME_AREA = 4 * INPUT_AREA  # pixels of a frame: crisper clouds and pictures than the network's own

# What a run takes, fitted to runs over 1 to 64 views of 640 x 480 pixels on an AMD EPYC with AVX-512, torch 2.13, one
# thread: seconds of one core, and the process's largest resident set.
LOOK_SECONDS, LOOK_SECONDS_PER_PAIR = 0.17, 0.0046  # a view's own blocks; attention between any two views
AGREE_SECONDS_PER_PAIR = 0.012  # matching what it saw of two views
PLACE_SECONDS = 0.06
MEMORY, MEMORY_PER_VIEW = 700_000_000, 15_000_000
GPU_SPEED = 20  # of the network over one core; a cautious guess, not measured


class Embedded(Model):
    """Parallax small, on any torch device.

    Raises:
        InputError: ``weights`` cannot be read or are of another network.
    """

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        self.card = card
        self.device = device
        self.network = load_network(ParallaxNetwork, weights or WEIGHTS).to(device).eval()

    @classmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:
        """See `Model.predict`."""
        if not views:
            raise InputError("There is nothing to reconstruct: give at least one photo or video.")
        count = len(views)
        limit = max(1, min(options.maximum_views or card.maximum_views, card.maximum_views))
        chosen = spread(count, limit)
        notes = []
        if len(chosen) < count:
            notes.append(f"Of {count} views, {len(chosen)} are used, spread evenly from the first to the last.")
        return Plan(
            views=chosen,
            size=max((network_size(*views[i].size) for i in chosen), key=math.prod),
            precision="float32",
            memory=MEMORY + MEMORY_PER_VIEW * len(chosen) + sum(view.image.nbytes for view in views),
            seconds=sum(predict_seconds(len(chosen), device, options).values()),
            notes=tuple(notes),
            device=device,
        )

    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:
        """See `Model.stream`. All frames are placed right after the network's one pass."""
        plan = self.plan(views, options=options)
        chosen = [views[i] for i in plan.views]
        scene = Scene(metric=self.card.metric, model=self.card.name, notes=list(plan.notes), settings=asdict(options))
        parts = schedule(predict_seconds(len(chosen), self.device.type, options))

        yield Update("Looking", 0.0, f"Looking at {len(chosen)} view{'s' if len(chosen) > 1 else ''}", scene)
        looks = yield from relay(self.look(chosen), "Looking", *parts["Looking"], scene)
        seen = focal_lengths(chosen, looks)
        factor = yield from relay(agree(chosen, looks, seen), "Comparing", *parts["Comparing"], scene)
        focals = [view.focal_prior or factor * focal for view, focal in zip(chosen, seen, strict=True)]

        start, end = parts["Placing"]
        for i, (view, look, focal) in enumerate(zip(chosen, looks, focals, strict=True)):
            scene.frames.append(place(view, plan.views[i], look, focal))
            fraction = start + (end - start) * (i + 1) / len(chosen)
            yield Update("Placing", fraction, f"Placed {view.name}", scene, (i,))

        if options.verify is not False:
            from recon.alignment.verify import verify  # brings pycolmap, which a run without it can do without

            verifying = verify(scene, views, described=[look.description for look in looks])
            changed = yield from relay(verifying, "Verifying", *parts["Verifying"], scene)
            yield Update("Verifying", parts["Verifying"][1], "Verified the cameras", scene, changed)
            if options.dense is not False:
                changed = yield from relay(densify(scene), "Refining", *parts["Refining"], scene)
                yield Update("Refining", parts["Refining"][1], "Refined depth", scene, changed)
        yield Update("Finishing", 1.0, "Done", scene)

    @torch.inference_mode()
    def look(self, views: Sequence[View]) -> Generator[Progress, None, list[Look]]:
        """One pass of the network over all views, the first of which sets the world; returns a `Look` a view."""
        sizes = [network_size(*view.size) for view in views]
        members = {size: [i for i in range(len(views)) if sizes[i] == size] for size in dict.fromkeys(sizes)}
        groups = [torch.stack([preprocess(views[i].image, size) for i in group]) for size, group in members.items()]
        predictions = yield from self.network.steps([group[None].to(self.device) for group in groups])
        looks: dict[int, Look] = {}
        for group, prediction in zip(members.values(), predictions, strict=True):
            camera = prediction.cameras[-1]
            rotations = geometry.rotation_from_quaternion(camera.quaternion[0].cpu().numpy())
            translations = camera.translation[0].cpu().numpy()
            fields_of_view = camera.fields_of_view[0].tolist()
            for j, i in enumerate(group):
                looks[i] = Look(
                    depth=prediction.depth[0, j].cpu().numpy(),
                    confidence=prediction.depth_confidence[0, j].cpu().numpy(),
                    world_from_camera=geometry.rigid(rotations[j], translations[j]),
                    fields_of_view=(fields_of_view[j][0], fields_of_view[j][1]),
                    description=Description(
                        prediction.descriptors[0, j].cpu().numpy(),
                        None
                        if prediction.fine_descriptors is None
                        else prediction.fine_descriptors[0, j].cpu().numpy(),
                    ),
                )
        first_from_world = geometry.invert(looks[0].world_from_camera)
        for look in looks.values():
            look.world_from_camera = first_from_world @ look.world_from_camera
        return [looks[i] for i in range(len(views))]


def predict_seconds(count: int, device: str, options: Options) -> dict[str, float]:
    """Of each stage of a run over ``count`` views, in their order."""
    look = LOOK_SECONDS * count + LOOK_SECONDS_PER_PAIR * count**2
    return {
        "Looking": look / (cores() if device == "cpu" else GPU_SPEED),
        "Comparing": AGREE_SECONDS_PER_PAIR * matched_pairs(count),
        "Placing": PLACE_SECONDS * count,
        **geometry_seconds(count, options.verify is not False, options.dense is not False),
    }


def frame_size(width: int, height: int) -> tuple[int, int]:
    """``(width, height)`` of a picture's frame: its own aspect, about `FRAME_AREA` pixels."""
    scale = math.sqrt(FRAME_AREA / (width * height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def place(view: View, index: int, look: Look, focal: float) -> Frame:
    """The frame of one view; ``index`` among the user's, ``focal`` in pixels of the view's image."""
    size = frame_size(*view.size)
    image = resize(view.image, size)
    depth = upsample_depth(look.depth, image)
    confidence = cv2.resize(look.confidence, size, interpolation=cv2.INTER_LINEAR) * edge_confidence(depth)
    frame_from_view = geometry.resize_transform(view.size, size)
    view_from_frame = geometry.resize_transform(size, view.size)
    return Frame(
        image=image,
        depth=depth,
        confidence=confidence,
        camera=Camera(
            frame_from_view @ geometry.intrinsics_from_focal(focal, *view.size),
            look.world_from_camera.astype(np.float32),
        ),
        name=view.name,
        view=index,
        path=view.path,
        original_size=view.original_size,
        original_from_processed=(view.original_from_view @ view_from_frame).astype(np.float32),
        time=view.time,
        valid=None if view.mask is None else resize(view.mask.astype(np.uint8), size) > 0,
    )
