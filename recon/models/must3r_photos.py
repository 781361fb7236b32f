"""Photos in any order on their way through MUSt3R into a scene."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from recon.models import must3r_fitting
from recon.models.base import Options, Update
from recon.models.fitting import Fitted
from recon.models.must3r_cameras import OwnCameras, SharedFocal
from recon.models.must3r_collection import Told, batches, go_through
from recon.models.must3r_frames import frame_of
from recon.models.must3r_looking import Looker
from recon.models.must3r_online import Placed
from recon.models.spill import Spill
from recon.models.stages import relay
from recon.networks.must3r import Encoded, Pointmaps
from recon.scene import Scene, View

if TYPE_CHECKING:
    from recon.models.must3r import Must3r

TOGETHER = {"cpu": 1, "cuda": 8}  # pictures that are placed at a time
Report = Callable[[float, str], None]


class Photos:
    """Photos on their way into a scene.

    Args:
        model: whose network looks.
        scene: gets the frames.
        options: of the run.
        views: in the order in which they are gone through.
        indices: of them among the user's.
    """

    def __init__(
        self, model: Must3r, scene: Scene, options: Options, views: Sequence[View], indices: Sequence[int]
    ) -> None:
        self.model, self.scene, self.options = model, scene, options
        self.views, self.indices = views, indices
        self.cameras = SharedFocal() if options.shared_focal else OwnCameras()
        self.spill = Spill(model.spilling)
        self.sizes = must3r_fitting.sizes_of(model.card.resolution)
        self.fitted: dict[int, Fitted] = {}
        self.places: dict[int, int] = {}  # of photos among the frames

    def go(self, remembered: int, begin: float, end: float) -> Generator[Update, None, None]:
        """Remember the first so many, then place all."""
        count, device = len(self.views), self.model.device.type
        looks = len(batches(remembered)) * (1 + self.options.rounds)
        reporting: list[Report] = []

        def encode(numbers: Sequence[int]) -> list[Encoded]:
            encoded = []
            for number in numbers:
                picture, self.fitted[number] = must3r_fitting.fit(self.views[number].image, self.sizes)
                encoded.append(self.model.encode([picture], reporting[-1]))
            return encoded

        inputs = [must3r_fitting.nearest_size(*view.size, self.sizes) for view in self.views]
        steps = go_through(
            Looker(self.model.network), encode, inputs, remembered, self.options.rounds, TOGETHER.get(device, 1)
        )

        def step(report: Report) -> tuple[Told, list[Placed]] | None:
            reporting[:] = [report]
            told = next(steps, None)
            return (
                None
                if told is None
                else (told, [self._place(*each, told.last) for each in zip(told.numbers, told.maps, strict=True)])
            )

        done = 0
        while True:
            work = self.model.at_work(step, 1.0)
            fraction = begin + (end - begin) * done / (looks + count)
            stage = "Remembering" if done < looks else "Placing"
            result = yield from relay(work, stage, fraction, fraction, self.scene)
            if result is None:
                break
            told, placed = result
            done += len(told.numbers) if told.last else 1
            changed = [self._show(each, told.last) for each in placed]
            self.spill.tend(self.scene.frames, changed)
            fraction = begin + (end - begin) * done / (looks + count)
            yield Update(stage, fraction, f"Placed {self.views[told.numbers[-1]].name}", self.scene, tuple(changed))
        self.scene.settings["keyframe_views"] = sorted(self.indices[:remembered])
        frames = self.scene.frames
        if [frame.view for frame in frames] != sorted(frame.view for frame in frames):
            frames.sort(key=lambda frame: frame.view)
            yield Update("Placing", end, "Put the photos in order", self.scene, tuple(range(len(frames))))

    def _place(self, number: int, maps: Pointmaps, last: bool) -> Placed:
        place = self.cameras.place_again if last else self.cameras.place
        return Placed(number, *place(maps), keyframe=False)

    def _show(self, placed: Placed, last: bool) -> int:
        """Make a frame of a photo; gives its place."""
        number = placed.number
        frame = frame_of(
            self.views[number],
            self.indices[number],
            self.fitted.pop(number) if last else self.fitted[number],
            placed.maps,
            placed.world_from_camera,
            placed.focal,
            self.options.points == "head",
        )
        place = self.places.setdefault(number, len(self.scene.frames))
        self.scene.frames[place : place + 1] = [frame]
        return place
