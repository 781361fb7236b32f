"""Ways through many pictures that were recorded of MUSt3R: collections, videos, and frames that come one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.models.must3r_cameras import OwnCameras, SharedFocal, poses
from recon.models.must3r_collection import batches, go_through
from recon.models.must3r_looking import Looker
from recon.models.must3r_online import Online, Placed
from recon.models.must3r_overlap import FARTHEST, Overlap, Rule, direction_cells
from recon.networks.must3r import Encoded, Must3r, Pointmaps
from tests.parity import Recording
from tests.parity_networks import TOLERANCE, Replayed
from tests.parity_networks.must3r_trajectory import smoothed

POINTED = 1e-3  # of scores whose points are chosen by predicted confidence
# The rule of the run I, whose threshold lies between the scores, and what differs of the runs J.
VIDEO = Rule(0.7281393812538764, 2.5, 2, 70.0, 2, clear=False)
AGENTS: dict[str, dict[str, Any]] = {
    "J_slam": {},
    "J_slam_init3_varying": {"first": 3, "fixed": False},
    "J_slam_kdtree_nn": {"overlap": 0.5, "cells": 0, "relative": False},
    "J_slam_rerender": {"rendered": 3},
    "J_slam_conf23": {"confidence": 2.3},
}


def engines(network: Must3r, wide: Tensor, tall: Tensor) -> Iterator[tuple[str, Replayed]]:
    """Runs G, H and I."""
    lands, port = network.encode(wide), network.encode(tall)
    images = [*(lands[i : i + 1] for i in range(4)), port]
    order = [images[i] for i in (0, 1, 4, 2, 3)]
    yield from collection("output/G_offline", network, order, 3)
    yield from collection("output/G_offline_bs1_refine1", network, order, 3, rounds=1)
    # The reference begins with the smaller of two shapes and calls them by their places before.
    swapped = [images[0], port, images[1]]
    yield from collection("output/G_offline_mixed_init", network, swapped, 3, names=(1, 0, 2))
    yield from video("output/H_video_interval2", network, images, Interval(2), window=1)
    yield from video("output/H_video_interval2_refine1", network, images, Interval(2), window=1, rounds=1)
    yield from video("output/I_video_slam", network, images, Watched(VIDEO))


def told(name: str, maps: Pointmaps) -> Iterator[tuple[str, Replayed]]:
    """What was said of one picture."""
    yield f"{name}/pts3d", Replayed(maps.points[0])
    yield f"{name}/pts3d_local", Replayed(maps.points_in_camera[0])
    yield f"{name}/conf", Replayed(maps.confidence[0])
    yield f"{name}/c2w", Replayed(poses(maps.points, maps.points_in_camera, maps.confidence)[0])


def collection(
    name: str,
    network: Must3r,
    images: Sequence[Encoded],
    remembered: int,
    rounds: int = 0,
    names: Sequence[int] | None = None,
) -> Iterator[tuple[str, Replayed]]:
    """A run over pictures of which the first are remembered."""
    looker, names = Looker(network), names or range(len(images))
    sizes = [(image.rows, image.columns) for image in images]
    results: dict[str, Pointmaps] = {}
    for each in go_through(looker, lambda numbers: [images[i] for i in numbers], sizes, remembered, rounds, batch=2):
        for number, maps in zip(each.numbers, each.maps, strict=True):
            results[f"{'render' if each.last else 'first'}/view{names[number]}"] = maps
    for view, maps in results.items():
        yield from told(f"{name}/{view}", maps)
    memory = looker.memory
    yield f"{name}/mem_labels", Replayed(memory.labels[None], 0.0)
    yield f"{name}/mem_counters", Replayed(np.array([memory.count, memory.count, len(memory)]), 0.0)
    yield f"{name}/mem_last", Replayed(memory.layers[-1][None], 2e-6)


@dataclass
class Interval:
    """Takes every n-th frame for a keyframe."""

    every: int
    asked: list[tuple[int, bool]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def clear(self) -> None:
        self.asked.clear()

    def score(self, maps: Pointmaps, world_from_camera: Tensor) -> float:
        return 0.0

    def accepts(self, score: float, maps: Pointmaps) -> bool:
        number = len(self.asked) + 2
        self.asked.append((number, number % self.every == 0))
        return self.asked[-1][1]

    def add(self, label: int, maps: Pointmaps, world_from_camera: Tensor) -> None:
        pass

    def remove(self, label: int) -> None:
        pass


class Watched(Overlap):
    """The rule itself, its scores and verdicts kept."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.asked: list[tuple[int, bool]] = []
        self.scores: list[float] = []

    def score(self, maps: Pointmaps, world_from_camera: Tensor) -> float:
        self.scores.append(super().score(maps, world_from_camera))
        return self.scores[-1]

    def accepts(self, score: float, maps: Pointmaps) -> bool:
        self.asked.append((len(self.asked) + 2, super().accepts(score, maps)))
        return self.asked[-1][1]


def video(
    name: str, network: Must3r, images: Sequence[Encoded], judge: Interval | Watched, window: int = 0, rounds: int = 0
) -> Iterator[tuple[str, Replayed]]:
    """A run over a video that is there as a whole."""
    looker = Looker(network)
    online = Online(looker, judge, OwnCameras(), waiting=True, window=window)
    placed = {each.number: each for image in images for each in online.step(image)}
    online.settle()
    for _ in range(rounds):
        for numbers in batches(len(images)):
            keyframes = [placed[number].keyframe for number in numbers]
            for each in online.again(numbers, [images[number] for number in numbers], keyframes):
                placed[each.number] = each
        online.settle()
    for number, each in placed.items():
        yield from told(f"{name}/view{number}", each.maps)
    memory, count = looker.memory, len(images)
    yield f"{name}/mem_labels", Replayed(memory.labels[None], 0.0)
    yield f"{name}/mem_last", Replayed(memory.layers[-1][None], 2e-6)
    # Of the reference's counters those of protected images and tokens are left as its last call had them.
    last = len(memory) + 15 * (window + (rounds > 0))
    yield f"{name}/mem_counters", Replayed(np.array([count, count + (rounds > 0), last]), 0.0)
    yield f"{name}/keyframe_queries", Replayed(np.array(judge.asked), 0.0)
    yield f"{name}/is_keyframe", Replayed(np.array([verdict for _, verdict in judge.asked]), 0.0)
    if judge.scores:
        yield from scores(name, judge, POINTED)


class Table:
    """Stands in for a network: what it would say of each frame is known."""

    def __init__(self, recording: Recording) -> None:
        points, local, confidence = (
            torch.from_numpy(recording[f"input/J_slam/{name}"]) for name in ("pts3d", "pts3d_local", "conf")
        )
        self.maps = [Pointmaps(points[i : i + 1], local[i : i + 1], confidence[i : i + 1]) for i in range(len(points))]
        self.memory = -1
        self.calls: list[tuple[list[int], int, bool]] = []

    def begin(self, images: Sequence[Encoded]) -> list[Pointmaps]:
        self.memory = -1
        maps = self.look(images)
        self.memory = 0
        return maps

    def look(self, images: Sequence[Encoded]) -> list[Pointmaps]:
        return self._said([image.rows for image in images], False)

    def keep(self, number: int, label: int, instead: int | None = None) -> None:
        self.memory += 1

    def forget(self, label: int) -> None:
        raise AssertionError("nothing is to be forgotten")

    def render(self, images: Encoded) -> Pointmaps:
        said = self._said(images.tokens.tolist(), True)
        return Pointmaps(
            torch.cat([maps.points for maps in said]),
            torch.cat([maps.points_in_camera for maps in said]),
            torch.cat([maps.confidence for maps in said]),
        )

    def _said(self, numbers: list[int], render: bool) -> list[Pointmaps]:
        self.calls.append((numbers, self.memory, render))
        return [self.maps[number] for number in numbers]


def agents(recording: Recording) -> Iterator[tuple[str, Replayed]]:
    """Runs J: frames one by one."""
    for name, changes in AGENTS.items():
        if recording.cuts(f"output/{name}/scores"):
            yield from agent(f"output/{name}", recording, changes)


def agent(name: str, recording: Recording, changes: dict[str, Any]) -> Iterator[tuple[str, Replayed]]:
    """One of them; a frame is its number here, where an encoded picture has its rows."""
    fixed, first = changes.get("fixed", True), changes.get("first", 2)
    rule = Rule(
        changes.get("overlap", 0.19),
        changes.get("confidence", 1.5),
        cells=changes.get("cells", 2),
        relative=changes.get("relative", True),
    )
    table, judge, cameras = Table(recording), Watched(rule), SharedFocal(fixed)
    online = Online(table, judge, cameras, first=first)
    frames = range(len(table.maps))
    placed: dict[int, Placed] = {}
    last = []
    for number in frames:
        steps = online.step(Encoded(torch.zeros(1), number, 0))
        placed |= {each.number: each for each in steps}
        last.append(steps[-1])
    yield f"{name}/focal", Replayed(np.array([each.focal for each in last]))
    own = torch.stack([each.world_from_camera for each in last])
    yield f"{name}/w2c", Replayed(torch.linalg.inv(own))
    yield f"{name}/is_keyframe", Replayed(np.array([each.keyframe for each in last]), 0.0)
    every = torch.stack([placed[number].world_from_camera for number in frames])
    yield f"{name}/all_poses", Replayed(every)
    yield f"{name}/all_timestamps", Replayed(np.array(frames), 0.0)
    yield f"{name}/all_confs", Replayed(np.array([float(placed[i].maps.confidence.mean()) for i in frames]))
    yield f"{name}/keyframes", Replayed(np.array([i for i in frames if placed[i].keyframe]), 0.0)
    yield from scores(name, judge, TOLERANCE)
    scale = 97 / 48
    focal = np.array([each.focal for each in last]) if not fixed else np.array(cameras.focal(table.maps[0]))
    yield f"{name}/true_focal", Replayed(scale * focal)
    if size := changes.get("rendered"):
        again = []
        for start in range(0, len(frames), size):
            numbers = list(frames[start : start + size])
            keyframes = [placed[number].keyframe for number in numbers]
            again += online.render(numbers, Encoded(torch.tensor(numbers), 0, 0), keyframes)
        yield f"{name}/all_poses_rerendered", Replayed(torch.stack([each.world_from_camera for each in again]))
    yield f"{name}/forward_calls", Replayed(json.dumps(table.calls))
    if name == "output/J_slam":
        centres, confidence = every[:, :3, 3].numpy(), [float(placed[i].maps.confidence.mean()) for i in frames]
        yield f"{name}/smoothed", Replayed(smoothed(centres, rounds=16))
        yield f"{name}/smoothed_conf", Replayed(smoothed(centres, confidence, 0.5, 5))


def scores(name: str, judge: Watched, tolerance: float) -> Iterator[tuple[str, Replayed]]:
    """What the rule gave frames; the largest number of all stands where there was nothing to compare with."""
    given = np.array(judge.scores)
    yield f"{name}/scores", Replayed(given, tolerance, origin=np.where(given == FARTHEST, given, 0.0))


def quadrants(recording: Recording) -> Iterator[tuple[str, Replayed]]:
    """Run N: cells of directions."""
    if "input/N_quadrants/rays" in recording:
        rays = recording["input/N_quadrants/rays"]
        for count in (2, 4):
            yield f"output/N_quadrants/x{count}", Replayed(direction_cells(rays, count), 0.0)
