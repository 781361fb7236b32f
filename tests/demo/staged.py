"""A model whose every step the test decides: it waits before each frame until it is let on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from recon import InputError, Model, Options, Plan, Scene, Update, View, geometry
from recon.models import Card
from recon.scene import Tracks
from tests.helpers import synthetic_scene

CARD = Card(
    name="staged", title="Staged", summary="Waits for the test.", gives=("depth", "tracks"), licence="Apache-2.0",
    licence_url="https://www.apache.org/licenses/LICENSE-2.0", commercial=True, metric=True, parameters=0, download=0,
    resolution=64, maximum_views=64, code="tests.demo.staged:Staged",
)  # fmt: skip


class Staged(Model):
    """Gives the frames of the synthetic scene, one for each release of ``steps``; tracks take one as well.

    Attributes:
        size: height and width of the frames.
        render: makes the scene of so many frames, of that height and width.
        failure: raised in place of the next frame, if any.
        closed: set when a stream ends, however it ends.
    """

    size = (48, 64)
    render = staticmethod(synthetic_scene)
    steps = threading.Semaphore(0)
    failure: Exception | None = None
    closed = threading.Event()

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        self.card, self.device, self.weights = card, device, weights

    @classmethod
    def reset(cls) -> None:
        cls.steps, cls.failure, cls.closed = threading.Semaphore(0), None, threading.Event()

    @classmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:  # noqa: B008
        if not views:
            raise InputError("There is nothing to reconstruct: give at least one photo or video.")
        return Plan(tuple(range(len(views))), (64, 48), "float32", 10**8, 1.0)

    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:  # noqa: B008
        scene, given = Scene(metric=True, model="staged"), self.render(len(views), *self.size).frames
        try:
            yield Update("Looking", 0.0, "Looking", scene)
            for i, frame in enumerate(given):
                while not self.steps.acquire(timeout=0.05):
                    yield Update("Looking", i / len(given), "Waiting", scene)
                if self.failure is not None:
                    raise self.failure
                scene.frames.append(replace(frame, name=views[i].name))
                yield Update("Placing", (i + 1) / len(given), f"Placed {frame.name}", scene, (i,))
        finally:
            self.closed.set()

    def track(
        self,
        scene: Scene,
        pixels: np.ndarray | None = None,
        frame: int = 0,
        progress: Callable[[float, str], None] | None = None,
    ) -> Tracks:
        """Where the scene's own depth puts the points; hidden where another surface stands before them."""
        while not self.steps.acquire(timeout=0.02):
            if progress is not None:
                progress(0.5, "Looking closely")
        if self.failure is not None:
            raise self.failure
        if pixels is None:
            width, height = scene.frames[frame].size
            pixels = np.stack(np.meshgrid(np.arange(1, 8) * width / 8, np.arange(1, 6) * height / 6), -1).reshape(-1, 2)
        x, y = pixels.astype(int).T
        points = scene.frames[frame].world_points()[y, x]
        places, visibility = [], []
        for other in scene.frames:
            seen_from = geometry.transform(other.camera.camera_from_world, points)
            place = geometry.project(seen_from, other.camera.intrinsics)
            x, y = place.clip(0, np.array(other.size) - 1).astype(int).T
            inside = ((place >= 0) & (place < other.size)).all(-1)
            places.append(place)
            visibility.append(inside & (seen_from[:, 2] < 1.03 * other.depth[y, x]))
        places[frame] = pixels
        seen = np.array(visibility, np.float32)
        query = np.full(len(pixels), frame, np.int32)
        return Tracks(np.array(places, np.float32), seen, np.full_like(seen, 0.9), query)


def wait(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
