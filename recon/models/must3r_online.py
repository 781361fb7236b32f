"""Frames of a video to MUSt3R one at a time, in their order: each is placed by what is remembered of those before.

Keyframes are remembered (Cabon et al. 2025, section 3.5), the others only while they are among the last few, if at all.
At most so many keyframes are remembered that memory has a bound and a video has none: then one leaves for each that
comes. The first frame, which is the world, stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.models.base import Forget
from recon.models.must3r_cameras import OwnCameras, SharedFocal
from recon.models.must3r_looking import Looker
from recon.models.must3r_overlap import Overlap
from recon.networks.must3r import Encoded, Pointmaps


@dataclass
class Placed:
    """A frame that was placed.

    Attributes:
        number: of the frame.
        maps: of that one picture, on the device.
        world_from_camera: ``[4,4]``, there as well.
        focal: length in pixels of the network's picture.
        keyframe: whether it is one.
    """

    number: int
    maps: Pointmaps
    world_from_camera: Tensor
    focal: float
    keyframe: bool


class Online:
    """A video under way.

    Args:
        looker: with a memory of its own.
        judge: tells which frames become keyframes.
        cameras: makes cameras of pointmaps.
        first: how many frames make the world together.
        waiting: wait for these before the first of them is placed, and take them all for keyframes; else the world is
            made anew each time that one of them comes, and only the first is sure to be a keyframe.
        window: how many of the last frames are remembered, keyframes or not.
        most: keyframes that are remembered at a time, at least ``first``, or None for all.
        forget: which of them leaves.
    """

    def __init__(
        self,
        looker: Looker,
        judge: Overlap,
        cameras: OwnCameras | SharedFocal,
        first: int = 2,
        waiting: bool = False,
        window: int = 0,
        most: int | None = None,
        forget: Forget = "oldest",
    ) -> None:
        self.looker, self.judge, self.cameras = looker, judge, cameras
        self.first, self.waiting, self.window = first, waiting, window
        self.most, self.forget = None if most is None else max(most, first, 2), forget
        self.count = 0  # frames that came
        self.keyframes: dict[int, bool] = {}  # of the frames that are remembered: whether they may stay
        self._centres: dict[int, Tensor] = {}  # of the cameras of those that may
        self._start: list[Encoded] = []
        self._recent: deque[int] = deque()

    @property
    def held(self) -> int:
        """How many keyframes are remembered."""
        return len(self._centres)

    def step(self, image: Encoded) -> list[Placed]:
        """The next frame; more than one is placed where the world is made anew, none where it is yet to be made."""
        number = self.count
        self.count += 1
        if number < self.first:
            self._start.append(image)
            return [] if self.waiting and self.count < self.first else self.begin()
        (maps,) = self.looker.look([image])
        return [self._enter(0, self._place(number, maps))]

    def begin(self) -> list[Placed]:
        """Make the world of the frames that came."""
        self.cameras.clear()
        self.judge.clear()
        self.keyframes.clear()
        self._centres.clear()
        self._recent.clear()
        placed = []
        for number, maps in enumerate(self.looker.begin(self._start)):
            placed.append(self._place(number, maps, sure=self.waiting))
            self.keyframes[number] = True  # all that made the world are remembered
            self._centres[number] = placed[-1].world_from_camera[:3, 3]
            if placed[-1].keyframe:
                self.judge.add(number, placed[-1].maps, placed[-1].world_from_camera)
            self._pass(number)
        if len(placed) == self.first:
            self._start.clear()
        return placed

    def settle(self) -> None:
        """Forget the last frames but for keyframes."""
        while self._recent:
            self._leave()

    def again(self, numbers: Sequence[int], images: Sequence[Encoded], keyframes: Sequence[bool]) -> list[Placed]:
        """Frames that came before, looked at once more beside all that is remembered since.

        Those that still are remembered are so as they are seen now, but for the first, which is the world.
        """
        placed = []
        for i, (number, maps) in enumerate(zip(numbers, self.looker.look(images), strict=True)):
            maps, pose, focal = self.cameras.place_again(maps)
            placed.append(Placed(number, maps, pose, focal, keyframes[i]))
            if self.keyframes.get(number):
                if number != 0:
                    self.looker.keep(i, number, instead=number)
            elif self.window:
                self.looker.keep(i, number)
                self.keyframes[number] = False
            self._pass(number)
        return placed

    def render(self, numbers: Sequence[int], images: Encoded, keyframes: Sequence[bool]) -> list[Placed]:
        """Frames of one size that came before, beside what is remembered, which stays as it is."""
        placed = []
        maps = self.looker.render(images)
        for i, number in enumerate(numbers):
            placed.append(Placed(number, *self.cameras.place_again(maps[i : i + 1]), keyframes[i]))
        return placed

    def _place(self, number: int, maps: Pointmaps, sure: bool = False) -> Placed:
        maps, pose, focal = self.cameras.place(maps, first=number == 0)
        if not sure:
            sure = self.judge.accepts(self.judge.score(maps, pose), maps) or number == 0
        return Placed(number, maps, pose, focal, sure)

    def _enter(self, i: int, placed: Placed) -> Placed:
        """Remember the i-th of the frames that were looked at last, if it is to be."""
        number = placed.number
        if placed.keyframe:
            self.looker.keep(i, number, instead=self._leaving())
            self.judge.add(number, placed.maps, placed.world_from_camera)
            self._centres[number] = placed.world_from_camera[:3, 3]
            self.keyframes[number] = True
        elif self.window:
            self.looker.keep(i, number)
            self.keyframes[number] = False
        self._pass(number)
        return placed

    def _pass(self, number: int) -> None:
        """Count a frame among the last, and let go who is so no more."""
        self._recent.append(number)
        while len(self._recent) > self.window:
            self._leave()

    def _leave(self) -> None:
        number = self._recent.popleft()
        if self.keyframes.get(number) is False:
            self.looker.forget(number)
            del self.keyframes[number]

    def _leaving(self) -> int | None:
        """The keyframe that makes room for one more, if one must."""
        if self.most is None or len(self._centres) < self.most:
            return None
        others = [number for number in self._centres if number != 0]
        victim = others[0]
        if self.forget == "crowded" and len(others) > 1:
            centres = torch.stack(list(self._centres.values()))
            distances = torch.cdist(centres, centres).fill_diagonal_(torch.inf)
            nearest = dict(zip(self._centres, distances.amin(1).tolist(), strict=True))
            victim = min(others[:-1], key=lambda number: nearest[number])  # not the newest, which is near by nature
        del self._centres[victim], self.keyframes[victim]
        self.judge.remove(victim)
        return victim
