"""Many pairwise pointmaps to one world: cameras, focal lengths, and a depth map of each view.

The task of DUSt3R's global alignment (Wang et al. 2024, section 3.4), by other means: closed forms and a spanning tree
(`spanning_tree`), Levenberg-Marquardt steps on samples (`pair_adjustment`), and depth last (`depth_fusion`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from recon.alignment.depth_fusion import Witness, fuse
from recon.alignment.pair_adjustment import ITERATIONS, PairAdjustment
from recon.alignment.pair_maps import Known, PairMaps, Samples
from recon.alignment.pair_store import PairStore
from recon.alignment.spanning_tree import World, components, first_world
from recon.errors import InputError

SHOWN = (2, 6, 18)  # steps after which the world is given out: they change less and less


@dataclass(frozen=True)
class Step:
    """A step of an alignment.

    Attributes:
        fraction: 0 to 1, never falling.
        message: what is being done, one phrase.
        views: the photos of ``world``, sorted.
        world: as it is now, where it has changed much since it was given out last.
    """

    fraction: float
    message: str
    views: tuple[int, ...] = ()
    world: World | None = None


@dataclass(frozen=True)
class Alignment:
    """One world from pairs, by the numbers of the photos.

    Attributes:
        views: the photos that are in it, sorted; the arrays below have their order.
        left_out: photos that no pair worth the name joins to these.
        world_from_camera: ``[V,4,4] float64``, rigid.
        focal: ``[V]`` in pixels, for both axes.
        principal_point: ``[V,2]`` in pixels, centres at +0.5.
        depth: z-depth ``[H,W] float32`` of each view, 0 where unknown.
        confidence: ``[H,W] float32``, the highest of any pair.
    """

    views: tuple[int, ...]
    left_out: tuple[int, ...]
    world_from_camera: np.ndarray
    focal: np.ndarray
    principal_point: np.ndarray
    depth: tuple[np.ndarray, ...]
    confidence: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Task:
    """What there is to align, of the photos that belong together.

    Attributes:
        store: of the pairs.
        members: places in ``store.pairs`` of those to use.
        views: numbers of their photos, sorted; all arrays have this order.
        left_out: photos that no pair worth the name joins to these.
        samples: of the pairs.
        known: by the place of the photo in ``views``.
        principal_point: ``[V,2]`` in pixels, centres at +0.5.
    """

    store: PairStore
    members: tuple[int, ...]
    views: tuple[int, ...]
    left_out: tuple[int, ...]
    samples: Samples
    known: Known
    principal_point: np.ndarray


def align(pairs: Sequence[PairMaps] | PairStore, known: Known | None = None) -> Generator[Step, None, Alignment]:
    """Align pairs, telling of each step; two views need closed forms alone.

    Where pairs fall apart into several worlds, the one of most photos is made. The world is that of known cameras;
    without any, the camera of one view, in a unit near the network's own.

    Args:
        pairs: in any order, in one direction or both.
        known: cameras, focal lengths or principal points that are given, or None.

    Raises:
        InputError: there are no pairs, all say that photos have nothing in common, or what is known makes no sense.
    """
    yield Step(0.0, "Choosing points to align by")
    task = prepare(pairs, known)
    views = len(task.views)
    yield Step(0.1, f"Placing {views} photos by their pairs")
    adjustment = PairAdjustment(task.samples, first_world(task.samples, task.known), task.known)
    if views > 2:
        yield Step(0.2, f"Placed {views} photos", task.views, adjustment.world())
        for step, _ in enumerate(adjustment.run(), 1):
            world = adjustment.world() if step in SHOWN else None
            yield Step(0.2 + 0.6 * step / ITERATIONS, f"Aligning {views} photos: step {step}", task.views, world)
    yield Step(0.8, f"Aligned {views} photos")
    depth, confidence = [], []
    for index, fused in enumerate(fuse_views(task, adjustment)):
        depth.append(fused[0])
        confidence.append(fused[1])
        yield Step(0.8 + 0.2 * (index + 1) / views, f"Depth of photo {index + 1} of {views}")
    return aligned(task, adjustment, depth, confidence)


def prepare(pairs: Sequence[PairMaps] | PairStore, known: Known | None = None) -> Task:
    """Choose the pairs to use and points of them; raises as `align` does."""
    known = known or Known()
    store = pairs if isinstance(pairs, PairStore) else PairStore.of(pairs)
    check(known, store.sizes)
    if not store.pairs:
        raise InputError("The photos have nothing in common that the model can see; add photos that overlap.")
    views = components([(pair.first, pair.second) for pair in store.pairs])[0]
    members = store.among(views)
    return Task(
        store,
        tuple(members),
        tuple(views),
        tuple(sorted(set(store.sizes) - set(views))),
        store.samples(views, known, members),
        among(known, views),
        np.array([store.centre(view, known) for view in views]),
    )


def fuse_views(task: Task, adjustment: PairAdjustment) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Depth and confidence ``[H,W]`` of one view after the other."""
    stances, focal = adjustment.stances(), adjustment.world().focal
    side = {2 * member + which: 2 * place + which for place, member in enumerate(task.members) for which in (0, 1)}

    def fused(index: int) -> tuple[np.ndarray, np.ndarray]:
        view = task.views[index]
        maps = task.store.maps[view]
        witnesses = [Witness(each.points, each.confidence, stances[side[each.side]]) for each in maps]
        depth = fuse(witnesses, float(focal[index]), task.principal_point[index])
        return depth, task.store.highest[view].cpu().numpy()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # what is done to a few rows uses one core
        yield from pool.map(fused, range(len(task.views)))


def aligned(
    task: Task, adjustment: PairAdjustment, depth: Sequence[np.ndarray], confidence: Sequence[np.ndarray]
) -> Alignment:
    """The world as it is now."""
    world = adjustment.world()
    return Alignment(
        task.views, task.left_out, world.world_from_camera, world.focal, task.principal_point, tuple(depth),
        tuple(confidence),
    )  # fmt: skip


def among(known: Known, views: Sequence[int]) -> Known:
    """What is known of these views, by their place among them."""
    return replace(
        known,
        world_from_camera={
            views.index(view): np.asarray(pose, np.float64)
            for view, pose in known.world_from_camera.items()
            if view in views
        },
        focal={views.index(view): float(focal) for view, focal in known.focal.items() if view in views},
    )


def check(known: Known, sizes: Mapping[int, tuple[int, int]]) -> None:
    """Whether cameras of photos of these sizes can be so.

    Raises:
        InputError: they cannot.
    """
    strangers = (set(known.world_from_camera) | set(known.focal) | set(known.principal_point)) - set(sizes)
    if strangers:
        raise InputError(f"Photo {min(strangers)} is in no pair; give cameras of photos that are.")
    for view, pose in known.world_from_camera.items():
        rotation = np.asarray(pose)[:3, :3]
        if np.shape(pose) != (4, 4) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
            raise InputError(f"The known pose of photo {view} is not rigid; give a rotation and a translation [4,4].")
    for view, focal in known.focal.items():
        if not (np.isfinite(focal) and focal > 0):
            raise InputError(f"The known focal length of photo {view} is not positive; give it in pixels.")
