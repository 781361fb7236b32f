"""A model whose every step the test decides: it waits before each frame until it is let on."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from pathlib import Path

import torch

from recon import InputError, Model, Options, Plan, Scene, Update, View
from recon.models import Card
from tests.helpers import synthetic_scene

CARD = Card(
    name="staged", title="Staged", summary="Waits for the test.", gives=("depth",), licence="Apache-2.0",
    licence_url="https://www.apache.org/licenses/LICENSE-2.0", commercial=True, metric=True, parameters=0, download=0,
    resolution=64, maximum_views=64, code="tests.demo.staged:Staged",
)  # fmt: skip


class Staged(Model):
    """Gives the frames of the synthetic scene, one for each release of ``steps``.

    Attributes:
        failure: raised in place of the next frame, if any.
        closed: set when a stream ends, however it ends.
    """

    steps = threading.Semaphore(0)
    failure: Exception | None = None
    closed = threading.Event()

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        self.card, self.device = card, device

    @classmethod
    def reset(cls) -> None:
        cls.steps, cls.failure, cls.closed = threading.Semaphore(0), None, threading.Event()

    @classmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:  # noqa: B008
        if not views:
            raise InputError("There is nothing to reconstruct: give at least one photo or video.")
        return Plan(tuple(range(len(views))), (64, 48), "float32", 10**8, 1.0)

    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:  # noqa: B008
        scene, given = Scene(metric=True, model="staged"), synthetic_scene(len(views)).frames
        try:
            yield Update("Looking", 0.0, "Looking", scene)
            for i, frame in enumerate(given):
                while not self.steps.acquire(timeout=0.05):
                    yield Update("Looking", i / len(given), "Waiting", scene)
                if self.failure is not None:
                    raise self.failure
                scene.frames.append(frame)
                yield Update("Placing", (i + 1) / len(given), f"Placed {frame.name}", scene, (i,))
        finally:
            self.closed.set()
