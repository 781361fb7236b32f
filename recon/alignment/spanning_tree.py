"""A first world from pairwise pointmaps: similarities between views, and a tree of the best of them.

As in DUSt3R (Wang et al. 2024, section 3.4), but a view's own pointmap is the median of all that the network gave in
its camera, and the best edges are those that others confirm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recon import geometry
from recon.alignment.own_pointmaps import own_pointmaps
from recon.alignment.pair_maps import Known, Samples
from recon.alignment.relative_similarity import relative_similarities

LOOK = 0.01  # how far along a camera's axes, in distances between cameras, the points are that tell where it looks


@dataclass
class World:
    """Cameras, the depth of the samples, and the scale of each pair.

    Attributes:
        world_from_camera: ``[V,4,4] float64``, rigid.
        focal: ``[V]`` in pixels.
        depth: ``[V,N]``.
        log_scale: ``[P]``, logarithm of the world's units in one of the pair's.
    """

    world_from_camera: np.ndarray
    focal: np.ndarray
    depth: np.ndarray
    log_scale: np.ndarray


def components(edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Sets of views joined by edges, the largest first; each sorted."""
    group = {view: view for edge in edges for view in edge}
    for first, second in edges:
        old, new = group[second], group[first]
        group = {view: new if which == old else which for view, which in group.items()}
    sets = [sorted(view for view in group if group[view] == which) for which in set(group.values())]
    return sorted(sets, key=lambda views: (-len(views), views[0]))


def spanning_tree(scores: Mapping[tuple[int, int], float]) -> list[tuple[int, int]]:
    """The edges, best first, that join all views that can be joined, with the largest scores (Kruskal 1956)."""
    group = {view: view for edge in scores for view in edge}
    tree = []
    for first, second in sorted(scores, key=lambda edge: -scores[edge]):
        if group[first] != group[second]:
            tree.append((first, second))
            old, new = group[second], group[first]
            group = {view: new if which == old else which for view, which in group.items()}
    return tree


def first_world(samples: Samples, known: Known) -> World:
    """Cameras and depth from closed forms alone; known cameras are where they should be.

    Args:
        samples: of a connected graph.
        known: by the index of the view in ``samples``.
    """
    own = own_pointmaps(samples, known)
    relative, scores = relative_similarities(samples, own)
    tree = spanning_tree(scores)
    world_from_view = {next(iter(known.world_from_camera), tree[0][0]): np.eye(4)}
    while len(world_from_view) < len(samples.pixels):
        i, j = next(edge for edge in tree if (edge[0] in world_from_view) != (edge[1] in world_from_view))
        if i in world_from_view:
            world_from_view[j] = world_from_view[i] @ relative[i, j]
        else:
            world_from_view[i] = world_from_view[j] @ np.linalg.inv(relative[i, j])
    similarities = np.stack([world_from_view[view] for view in range(len(samples.pixels))])
    scale = np.cbrt(np.linalg.det(similarities[:, :3, :3]))
    similarities[:, :3, :3] /= scale[:, None, None]
    log_scale = np.log(scale[samples.first]) - own.log_unit
    world = World(similarities, own.focal, own.points[..., 2] * scale[:, None], log_scale)
    move_to_known(world, known)
    return world


def move_to_known(world: World, known: Known) -> None:
    """Move a world as a whole to where it meets known cameras best, then these to their places; in place.

    The scale stays where a single camera, or several at one point, cannot tell it.
    """
    views = sorted(known.world_from_camera)
    if not views:
        return
    target = np.stack([known.world_from_camera[view] for view in views]).astype(np.float64)
    source = world.world_from_camera[views]
    spread = [np.linalg.norm(poses[:, :3, 3] - poses[:, :3, 3].mean(0), axis=1).mean() for poses in (target, source)]
    if min(spread) > 1e-9:
        # Centres, and points on all axes beside them: two centres alone leave a turn to chance.
        steps = LOOK * np.concatenate([np.eye(3), -np.eye(3)])
        target_ends, source_ends = (
            (poses[:, None, :3, 3] + size * np.einsum("vij,sj->vsi", poses[:, :3, :3], steps)).reshape(-1, 3)
            for poses, size in zip((target, source), spread, strict=True)
        )
        moved = geometry.similarity(target_ends, source_ends)
    else:
        moved = target[0] @ geometry.invert(source[0])
    scale = np.cbrt(np.linalg.det(moved[:3, :3]))
    world.world_from_camera = geometry.apply_similarity(moved, world.world_from_camera)
    world.world_from_camera[views] = target
    world.depth = world.depth * scale
    world.log_scale = world.log_scale + np.log(scale)
