"""Pairwise pointmaps, wherever they come from, to frames of a scene: it grows while they come, then settles.

The seam between network and world: `build` takes what a network says of pairs, or what a test knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from recon.alignment.global_alignment import Alignment, Step, align
from recon.alignment.growing_world import GrowingWorld
from recon.alignment.pair_graph import Pair
from recon.alignment.pair_maps import Known, PairMaps
from recon.alignment.pair_store import PairStore
from recon.alignment.single_pointmap import alone
from recon.models import fitting
from recon.models.base import Update
from recon.models.fitting import Fitted
from recon.networks.dust3r import Pointmaps
from recon.scene import Camera, Frame, Scene, View

NAMED = 4  # photos that a note names


@dataclass(frozen=True)
class Member:
    """A photo of a run.

    Attributes:
        view: what the user gave.
        index: of it among the user's.
        fitted: the network's input, without padding.
    """

    view: View
    index: int
    fitted: Fitted


Aligning: TypeAlias = Callable[[PairStore, Known], Generator[Step, None, Alignment]]
Predicted = tuple[float, Sequence[PairMaps]]  # share of all pairs that is done, and those that have come since


def build(
    scene: Scene,
    members: Sequence[Member],
    predictions: Generator[Predicted, None, None],
    expected: int,
    known: Known,
    parts: dict[str, tuple[float, float]],
    aligning: Aligning = align,
) -> Generator[Update, None, Alignment]:
    """Fill ``scene`` with frames of the photos that hang together; the others are named in a note.

    Args:
        scene: gets frames and notes.
        members: the photos; pairs and ``known`` have them by their place in this list. One alone is its own pair.
        predictions: pairs as they come; the first photos of those that come together are of one size, so the second.
        expected: how many pairs there will be.
        known: what is known of the cameras beforehand.
        parts: where the stages "Pairing" and "Aligning" begin and end, as fractions of the whole run.
        aligning: what makes one world of the pairs.

    Raises:
        InputError: no two photos have anything in common, or what is known of them makes no sense.
    """
    shown = Shown(scene, members)
    store = PairStore(expected)
    world = GrowingWorld(store, known)
    start, end = parts["Pairing"]
    done = 0
    with closing(predictions):
        for fraction, pairs in predictions:
            done += len(pairs)
            changed: tuple[int, ...] = ()
            if len(members) == 1 and pairs:
                return shown.finish(alone(pairs[0], known))
            if pairs:
                store.add(pairs)
                changed = shown.show(world, world.grow()) if len(members) > 2 else ()
            yield Update("Pairing", start + (end - start) * fraction, f"Saw {done} of {expected} pairs", scene, changed)
    start, end = parts["Aligning"]
    with closing(aligning(store, known)) as steps:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return shown.finish(stop.value)
            changed = ()
            if step.world is not None and (places := [view for view in step.views if view in world.views]):
                world.settle(step.views, step.world)
                shown.frames.clear()  # of photos that turn out to be left out
                changed = shown.show(world, places)
            yield Update("Aligning", start + (end - start) * step.fraction, step.message, scene, changed)


class Shown:
    """The frames of a scene by the places of their photos among the members."""

    def __init__(self, scene: Scene, members: Sequence[Member]) -> None:
        self.scene, self.members = scene, members
        self.frames: dict[int, Frame] = {}

    def show(self, world: GrowingWorld, places: Sequence[int]) -> tuple[int, ...]:
        """Make frames of these places as they are in ``world`` now; the indices of frames that changed."""
        for place in places:
            placed, store = world.views[place], world.store
            self.frames[place] = frame_of(
                self.members[place],
                placed.world_from_camera,
                placed.focal,
                store.centre(place, world.known),
                placed.depth,
                store.highest[place].cpu().numpy(),
            )
        return self._refill()

    def finish(self, alignment: Alignment) -> Alignment:
        """Make frames of what an alignment holds, and of nothing else; say what was left out."""
        self.frames = {
            place: frame_of(self.members[place], *parts)
            for place, *parts in zip(
                alignment.views,
                alignment.world_from_camera,
                alignment.focal,
                alignment.principal_point,
                alignment.depth,
                alignment.confidence,
                strict=True,
            )
        }
        self._refill()
        if alignment.left_out:
            self.scene.notes.append(left_out([self.members[place].view.name for place in alignment.left_out]))
        return alignment

    def _refill(self) -> tuple[int, ...]:
        before = list(self.scene.frames)
        self.scene.frames[:] = [self.frames[place] for place in sorted(self.frames)]
        return tuple(
            index for index, frame in enumerate(self.scene.frames) if index >= len(before) or before[index] is not frame
        )


def as_pair_maps(pairs: Sequence[Pair], first: Pointmaps, second: Pointmaps) -> list[PairMaps]:
    """What a network says of both sides of those pairs."""
    maps = zip(first.points, first.confidence, second.points, second.confidence, strict=True)
    return [PairMaps(*pair, *sides) for pair, sides in zip(pairs, maps, strict=True)]


def frame_of(
    member: Member,
    world_from_camera: np.ndarray,
    focal: float,
    principal_point: np.ndarray,
    depth: np.ndarray,
    confidence: np.ndarray,
) -> Frame:
    """The frame of a photo, its camera and maps being those of the network's input."""
    view, fitted = member.view, member.fitted
    intrinsics = np.array([[focal, 0, principal_point[0]], [0, focal, principal_point[1]], [0, 0, 1]], np.float32)
    camera = Camera(intrinsics, np.asarray(world_from_camera, np.float32))
    return fitting.framed(view, member.index, fitted, camera, depth, confidence)


def known_of(members: Sequence[Member], shared_focal: bool) -> Known:
    """What the views say of their cameras, in pixels of the network's inputs; by the place among ``members``."""
    poses, focals, centres = {}, {}, {}
    for place, member in enumerate(members):
        if member.view.world_from_camera is not None:
            poses[place] = np.asarray(member.view.world_from_camera, np.float64)
        if member.view.intrinsics is not None:
            matrix = np.linalg.inv(member.fitted.original_from_processed) @ member.view.intrinsics
            focals[place] = float(np.sqrt(abs(matrix[0, 0] * matrix[1, 1])))
            centres[place] = matrix[:2, 2]
    return Known(poses, focals, centres, shared_focal)


def is_metric(members: Sequence[Member]) -> bool:
    """Whether the known cameras tell of metres: all of them, and two at least that stand apart."""
    posed = [member.view for member in members if member.view.world_from_camera is not None]
    centres = np.array([view.world_from_camera[:3, 3] for view in posed])  # type: ignore[index]
    return len(posed) > 1 and all(view.metric for view in posed) and bool(np.ptp(centres, axis=0).max() > 0)


def left_out(names: Sequence[str]) -> str:
    """A sentence on photos that are in no world with the others."""
    told = ", ".join(f"'{name}'" for name in names[:NAMED])
    if len(names) > NAMED:
        told += f" and {len(names) - NAMED} more"
    were = "was" if len(names) == 1 else "were"
    return f"{told} {were} left out, since no pair joins {'it' if len(names) == 1 else 'them'} to the other photos."
