"""A world that can be looked at while pairs are still coming: each photo placed by the first good pair that reaches it.

Closed forms alone; `recon.alignment.global_alignment` makes the world to keep, once all pairs are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recon import geometry
from recon.alignment.depth_fusion import Witness, fuse
from recon.alignment.global_alignment import among
from recon.alignment.pair_adjustment import PairAdjustment
from recon.alignment.pair_maps import Known
from recon.alignment.pair_store import PairStore
from recon.alignment.spanning_tree import World, first_world

Edge = tuple[int, int]


@dataclass
class Placed:
    """A photo's place for now.

    Attributes:
        world_from_camera: ``[4,4]``, rigid.
        focal: in pixels.
        depth: z-depth ``[H,W] float32``, 0 where unknown.
    """

    world_from_camera: np.ndarray
    focal: float
    depth: np.ndarray


class GrowingWorld:
    """Photos placed so far.

    Args:
        store: to which pairs are added meanwhile.
        known: cameras that are given beforehand.

    Attributes:
        views: by the number of the photo.
    """

    def __init__(self, store: PairStore, known: Known) -> None:
        self.store, self.known = store, known
        self.views: dict[int, Placed] = {}
        self._edges: dict[Edge, list[int]] = {}  # that may place a photo yet, and their pairs in the store
        self._taken = 0

    def grow(self) -> list[int]:
        """Place what the pairs that have come can place; the numbers of those photos."""
        for member, pair in enumerate(self.store.pairs[self._taken :], self._taken):
            self._edges.setdefault((min(pair.first, pair.second), max(pair.first, pair.second)), []).append(member)
        self._taken = len(self.store.pairs)
        placed: list[int] = []
        while self._edges:
            self._edges = {edge: pairs for edge, pairs in self._edges.items() if not set(edge) <= self.views.keys()}
            reaching = [edge for edge in self._edges if not self.views or self.views.keys() & set(edge)]
            if not reaching:
                break
            best = max(reaching, key=self._promise)
            placed += self._place(best, self._edges.pop(best))
        return placed

    def settle(self, views: Sequence[int], world: World) -> None:
        """Move what is placed to where a better world has it."""
        for index, view in enumerate(views):
            placed = self.views.get(view)
            if placed is None:
                continue
            here = placed.depth[self.store.places(view)]
            seen = (here > 0) & (world.depth[index] > 0)
            if seen.any():
                placed.depth = placed.depth * np.float32(np.median(world.depth[index][seen] / here[seen]))
            placed.world_from_camera, placed.focal = world.world_from_camera[index], float(world.focal[index])

    def _promise(self, edge: Edge) -> tuple[int, float]:
        """How good an edge is to go on with: known cameras first, as a start, then sure maps, the worse of a pair."""
        known = 0 if self.views else len(self.known.world_from_camera.keys() & set(edge))
        return known, max(float(self.store.pairs[member].weights.mean(1).min()) for member in self._edges[edge])

    def _place(self, edge: Edge, members: list[int]) -> list[int]:
        """Place those photos of an edge that have no place; their numbers."""
        known = among(self.known, edge)
        if self.views:
            known = replace(known, world_from_camera={})
        samples = self.store.samples(edge, self.known, members)
        world = first_world(samples, known)
        here = np.eye(4)
        for index, view in enumerate(edge):
            if view in self.views:
                here = self._world_from_edge(view, world, index)
        stances = PairAdjustment(samples, world, known).stances()
        sides = {2 * member + which: 2 * place + which for place, member in enumerate(members) for which in (0, 1)}
        scale = np.cbrt(np.linalg.det(here[:3, :3]))
        placed = []
        for index, view in enumerate(edge):
            maps = [each for each in self.store.maps[view] if each.side in sides]
            if view in self.views or not maps:
                continue
            best = max(maps, key=lambda each: each.worth)
            centre = self.store.centre(view, self.known)
            witness = Witness(best.points, best.confidence, stances[sides[best.side]])
            depth = fuse([witness], float(world.focal[index]), centre) * np.float32(scale)
            pose = geometry.apply_similarity(here, world.world_from_camera[index])
            self.views[view] = Placed(pose, float(world.focal[index]), depth)
            placed.append(view)
        return placed

    def _world_from_edge(self, view: int, world: World, index: int) -> np.ndarray:
        """``[4,4]`` similarity that takes an edge's own world to this one, by a photo that is placed in both."""
        placed = self.views[view]
        here, there = placed.depth[self.store.places(view)], world.depth[index]
        seen = (here > 0) & (there > 0)
        scale = float(np.median(here[seen] / there[seen])) if seen.any() else 1.0
        return (
            placed.world_from_camera
            @ np.diag([scale, scale, scale, 1])
            @ geometry.invert(world.world_from_camera[index])
        )
