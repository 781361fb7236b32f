"""Many pairwise pointmaps to one world: cameras, focal lengths, and a depth map of each view.

The task of DUSt3R's global alignment (Wang et al. 2024, section 3.4), by other means: closed forms and a spanning tree
(`spanning_tree`), Levenberg-Marquardt steps on samples (`pair_adjustment`), and depth last (`depth_fusion`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from recon.alignment.depth_fusion import Witness, fuse
from recon.alignment.pair_adjustment import ITERATIONS, PairAdjustment
from recon.alignment.pair_maps import Known, PairMaps, Samples, photo_sizes, sample
from recon.alignment.spanning_tree import components, first_world
from recon.errors import InputError

LEAST_CONFIDENCE = 1.1  # mean of either map of a pair that shows one place twice; 1 is none at all
PROBES, FEWEST = 32, 8  # points along a photo's shorter side by which that is judged, and how many must be known


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
        pairs: those worth using.
        views: numbers of their photos, sorted; all arrays have this order.
        left_out: photos that no pair worth the name joins to these.
        samples: of the pairs.
        known: by the place of the photo in ``views``.
        principal_point: ``[V,2]`` in pixels, centres at +0.5.
    """

    pairs: tuple[PairMaps, ...]
    views: tuple[int, ...]
    left_out: tuple[int, ...]
    samples: Samples
    known: Known
    principal_point: np.ndarray


def align(pairs: Sequence[PairMaps], known: Known | None = None) -> Generator[tuple[float, str], None, Alignment]:
    """Align pairs, yielding ``(fraction, message)``; two views need closed forms alone.

    Where pairs fall apart into several worlds, the one of most photos is made. The world is that of known cameras;
    without any, the camera of one view, in a unit near the network's own.

    Args:
        pairs: in any order, in one direction or both.
        known: cameras, focal lengths or principal points that are given, or None.

    Raises:
        InputError: there are no pairs, all say that photos have nothing in common, or what is known makes no sense.
    """
    yield 0.0, "Choosing points to align by"
    task = prepare(pairs, known)
    views = len(task.views)
    yield 0.1, f"Placing {views} photos by their pairs"
    adjustment = PairAdjustment(task.samples, first_world(task.samples, task.known), task.known)
    if views > 2:
        for step, _ in enumerate(adjustment.run()):
            yield 0.2 + 0.6 * (step + 1) / ITERATIONS, f"Aligning {views} photos: step {step + 1}"
    depth, confidence = [], []
    for index, fused in enumerate(fuse_views(task, adjustment)):
        depth.append(fused[0])
        confidence.append(fused[1])
        yield 0.8 + 0.2 * (index + 1) / views, f"Depth of photo {index + 1} of {views}"
    return aligned(task, adjustment, depth, confidence)


def prepare(pairs: Sequence[PairMaps], known: Known | None = None) -> Task:
    """Choose the pairs to use and points of them; raises as `align` does."""
    known = known or Known()
    sizes = photo_sizes(pairs)
    _check(known, sizes)
    usable = [pair for pair in pairs if pair.first != pair.second and _worth(pair)]
    if not usable:
        raise InputError("The photos have nothing in common that the model can see; add photos that overlap.")
    views = components([(pair.first, pair.second) for pair in usable])[0]
    left_out = tuple(sorted(set(sizes) - set(views)))
    usable = [pair for pair in usable if pair.first in views]
    samples = sample(usable, sizes, views, known)
    centres = np.array([known.principal_point.get(view, np.array(sizes[view][::-1]) / 2) for view in views])
    return Task(tuple(usable), tuple(views), left_out, samples, _within(known, views), centres)


def fuse_views(task: Task, adjustment: PairAdjustment) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Depth and confidence ``[H,W]`` of one view after the other."""
    witnesses: list[list[Witness]] = [[] for _ in task.views]
    for view, witness in adjustment.witnesses(task.pairs):
        witnesses[view].append(witness)
    focal = adjustment.world().focal
    for index in range(len(task.views)):
        yield fuse(witnesses[index], float(focal[index]), task.principal_point[index])


def aligned(
    task: Task, adjustment: PairAdjustment, depth: Sequence[np.ndarray], confidence: Sequence[np.ndarray]
) -> Alignment:
    """The world as it is now."""
    world = adjustment.world()
    return Alignment(
        task.views, task.left_out, world.world_from_camera, world.focal, task.principal_point, tuple(depth),
        tuple(confidence),
    )  # fmt: skip


def _worth(pair: PairMaps) -> bool:
    """Whether both maps of a pair are more than a guess, judged by some of their points."""
    for points, confidence in (
        (pair.first_points, pair.first_confidence),
        (pair.second_points, pair.second_confidence),
    ):
        step = max(1, min(confidence.shape) // PROBES)
        known = torch.as_tensor(points)[::step, ::step].isfinite().all(-1)
        seen = torch.as_tensor(confidence)[::step, ::step][known].float()
        if len(seen) < FEWEST or not LEAST_CONFIDENCE <= float(seen.nanmean()) < np.inf:
            return False
    return True


def _within(known: Known, views: Sequence[int]) -> Known:
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


def _check(known: Known, sizes: dict[int, tuple[int, int]]) -> None:
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
