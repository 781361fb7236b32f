"""The embedded model: parallax-small looks at all views at once, then geometry verifies what it saw."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from recon import geometry
from recon.assets import ASSETS
from recon.errors import InputError
from recon.models.base import Card, Model, Options, Plan, Update, spread
from recon.networks.parallax import STRIDE, ParallaxNetwork
from recon.quantization import load_weights
from recon.scene import Camera, Frame, Scene, View
from recon.upsampling import edge_confidence, upsample_depth

WEIGHTS = ASSETS / "parallax-small.safetensors"
INPUT_AREA = 192 * 256  # pixels of a view as the network was trained
FRAME_AREA = 4 * INPUT_AREA  # pixels of a frame: crisper clouds and pictures than the network's own
Progress = tuple[float, str]  # fraction of a part of a run, and what was just done
Result = TypeVar("Result")

# What a run takes, fitted to runs over 1 to 64 views of 640 x 480 pixels on an AMD EPYC with AVX-512, torch 2.13, one
# thread: seconds of one core, and the process's largest resident set.
LOOK_SECONDS, LOOK_SECONDS_PER_PAIR = 0.17, 0.0046  # a view's own blocks; attention between any two views
PLACE_SECONDS = 0.06
VERIFY_SECONDS, VERIFY_SECONDS_PER_PAIR = 0.1, 0.055  # features of a view; matching two views
MATCHED_PER_VIEW = 11  # of long sequences, not all pairs are matched
MEMORY, MEMORY_PER_VIEW = 700_000_000, 15_000_000
THREAD_EFFICIENCY = 0.65  # what n threads do, over n times what one does
GPU_SPEED = 20  # of the network over one core; a cautious guess, not measured


@dataclass
class Look:
    """What the network says of one view, in numpy, on its own grid of ``h x w`` pixels.

    Attributes:
        depth: ``[h,w]`` z-depth, in the unit of all views of the pass.
        confidence: ``[h,w]``, at least 1.
        world_from_camera: ``[4,4]``; the world is the first view's camera.
        fields_of_view: horizontal and vertical, full angles in radians.
        descriptors: ``[h/16,w/16,64]``, unit length; patches that show the same thing have a large scalar product.
    """

    depth: np.ndarray
    confidence: np.ndarray
    world_from_camera: np.ndarray
    fields_of_view: tuple[float, float]
    descriptors: np.ndarray


class Embedded(Model):
    """Parallax small, on any torch device.

    Raises:
        InputError: ``weights`` cannot be read or are of another network.
    """

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        self.card = card
        self.device = device
        self.network = ParallaxNetwork()
        load_weights(self.network, weights or WEIGHTS)
        self.network.to(device).eval()

    def plan(self, views: Sequence[View], device: str | None = None, options: Options = Options()) -> Plan:
        """See `Model.plan`."""
        if not views:
            raise InputError("There is nothing to reconstruct: give at least one photo or video.")
        count = len(views)
        limit = max(1, min(options.maximum_views or self.card.maximum_views, self.card.maximum_views))
        chosen = spread(count, limit)
        notes = []
        if len(chosen) < count:
            notes.append(f"Of {count} views, {len(chosen)} are used, spread evenly from the first to the last.")
        return Plan(
            views=chosen,
            size=max((network_size(*views[i].size) for i in chosen), key=math.prod),
            precision="float32",
            memory=MEMORY + MEMORY_PER_VIEW * len(chosen) + sum(view.image.nbytes for view in views),
            seconds=sum(self.predict_seconds(len(chosen), device or self.device.type, options)),
            notes=tuple(notes),
        )

    def predict_seconds(self, count: int, device: str, options: Options) -> tuple[float, float, float]:
        """Of looking at, placing and verifying ``count`` views."""
        cores = max(1.0, THREAD_EFFICIENCY * torch.get_num_threads())
        look = LOOK_SECONDS * count + LOOK_SECONDS_PER_PAIR * count**2
        matched = min(count * (count - 1) // 2, MATCHED_PER_VIEW * count)
        verify = VERIFY_SECONDS * count + VERIFY_SECONDS_PER_PAIR * matched if options.verify is not False else 0.0
        return look / (cores if device == "cpu" else GPU_SPEED), PLACE_SECONDS * count, verify / cores

    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:
        """See `Model.stream`. All frames are placed right after the network's one pass."""
        plan = self.plan(views, options=options)
        chosen = [views[i] for i in plan.views]
        scene = Scene(metric=self.card.metric, model=self.card.name, notes=list(plan.notes), settings=asdict(options))
        look_seconds, place_seconds, verify_seconds = self.predict_seconds(len(chosen), self.device.type, options)
        looked = look_seconds / (look_seconds + place_seconds + verify_seconds)
        placed = looked * (look_seconds + place_seconds) / look_seconds

        yield Update("Looking", 0.0, f"Looking at {len(chosen)} view{'s' if len(chosen) > 1 else ''}", scene)
        looks = yield from relay(self.look(chosen), "Looking", 0.0, looked, scene)

        focals = focal_lengths(chosen, looks)
        for i, (view, look, focal) in enumerate(zip(chosen, looks, focals, strict=True)):
            scene.frames.append(place(view, plan.views[i], look, focal))
            fraction = looked + (placed - looked) * (i + 1) / len(chosen)
            yield Update("Placing", fraction, f"Placed {view.name}", scene, (i,))

        changed: tuple[int, ...] = ()
        if options.verify is not False:
            from recon.alignment.verify import verify  # brings pycolmap, which a run without it can do without

            verifying = verify(scene, views, patches=[look.descriptors for look in looks])
            changed = yield from relay(verifying, "Verifying", placed, 1.0, scene)
        yield Update("Finishing", 1.0, "Done", scene, changed)

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
                    descriptors=prediction.descriptors[0, j].cpu().numpy(),
                )
        first_from_world = geometry.invert(looks[0].world_from_camera)
        for look in looks.values():
            look.world_from_camera = first_from_world @ look.world_from_camera
        return [looks[i] for i in range(len(views))]


def relay(
    work: Generator[Progress, None, Result], stage: str, start: float, end: float, scene: Scene
) -> Generator[Update, None, Result]:
    """A part of a run, its progress told as updates between the fractions ``start`` and ``end`` of the whole."""
    with closing(work):
        while True:
            try:
                fraction, message = next(work)
            except StopIteration as stop:
                return stop.value
            yield Update(stage, start + (end - start) * fraction, message, scene)


def network_size(width: int, height: int) -> tuple[int, int]:
    """The network's ``(width, height)`` for a picture: multiples of 16, about its aspect, about `INPUT_AREA` pixels."""
    ideal_width = math.sqrt(INPUT_AREA * width / height)
    candidates = []
    for columns in (math.floor(ideal_width / STRIDE), math.ceil(ideal_width / STRIDE)):
        for rows in (math.floor(INPUT_AREA / ideal_width / STRIDE), math.ceil(INPUT_AREA / ideal_width / STRIDE)):
            candidates.append((max(columns, 1) * STRIDE, max(rows, 1) * STRIDE))

    def misfit(size: tuple[int, int]) -> float:
        stretch = math.log(size[0] / size[1] * height / width)
        return 2 * abs(stretch) + abs(math.log(size[0] * size[1] / INPUT_AREA))

    return min(candidates, key=misfit)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``image`` at ``size`` (width, height): by areas where it shrinks, linear where it grows."""
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def preprocess(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """``[H,W,3] uint8`` to the network's ``[3,h,w]`` in 0..1."""
    return torch.from_numpy(resize(image, size)).permute(2, 0, 1).float() / 255


def focal_lengths(views: Sequence[View], looks: Sequence[Look]) -> list[float]:
    """One focal length a view, in pixels of its image.

    What the file says where it says something; else what the network sees, its median over all views of the same
    size, which probably come from one camera.
    """
    seen = []
    for view, look in zip(views, looks, strict=True):
        width, height = view.size
        horizontal, vertical = (math.tan(angle / 2) for angle in look.fields_of_view)
        seen.append(math.sqrt(width / (2 * horizontal) * height / (2 * vertical)))
    shared = {view.size: float(np.median([f for f, v in zip(seen, views, strict=True) if v.size == view.size]))
              for view in views}  # fmt: skip
    return [view.focal_prior or shared[view.size] for view in views]


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
