"""Incremental mapping: from verified pairs to cameras and points (Schönberger and Frahm 2016), made for few photos.

Where a mapper for large collections gives up (small baselines, two photos, few inliers), this one goes on with what
there is: the focal lengths come with a prior, so that even a weak pair is a well-posed problem.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import pycolmap

from recon.alignment.bundle import Mapping, adjust
from recon.alignment.matching import Features
from recon.alignment.twoview import SEED, Pair, ray_angles

REPROJECTION_ERROR = 4.0  # of an inlier, in working pixels
PNP_ERROR = 8.0
PNP_INLIERS = 8
MINIMUM_ANGLE = 0.6  # degrees between two rays, for a point to have a depth worth using


def tracks(features: Sequence[Features], pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Join matches into tracks: the view, the point and the pixels of each observation, and the number of points.

    Stronger pairs are joined first; a match that would put two places of one view into a track is left out.
    """
    offsets = np.concatenate([[0], np.cumsum([len(feature.pixels) for feature in features])])
    parent = list(range(int(offsets[-1])))
    members: dict[int, dict[int, int]] = {}

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for pair in sorted(pairs, key=lambda pair: -len(pair.matches)):
        for a, b in pair.matches:
            node_a, node_b = int(offsets[pair.first] + a), int(offsets[pair.second] + b)
            root_a, root_b = find(node_a), find(node_b)
            if root_a == root_b:
                continue
            members_a = members.pop(root_a, {pair.first: node_a} if root_a == node_a else {})
            members_b = members.pop(root_b, {pair.second: node_b} if root_b == node_b else {})
            if members_a.keys() & members_b.keys():
                members[root_a], members[root_b] = members_a, members_b
                continue
            parent[root_b] = root_a
            members[root_a] = members_a | members_b
    view, point, pixels = [], [], []
    for index, track in enumerate(members[root] for root in sorted(members) if len(members[root]) >= 2):
        for v, node in sorted(track.items()):
            view.append(v)
            point.append(index)
            pixels.append(features[v].pixels[node - offsets[v]])
    count = point[-1] + 1 if point else 0
    return np.array(view, int), np.array(point, int), np.array(pixels, float).reshape(-1, 2), count


def triangulate(mapping: Mapping, everything: bool = False) -> None:
    """Give each track seen by two registered views a point, where its rays meet well; in place.

    Linear triangulation of all tracks at once; observations that disagree are left out, then the rest is solved again.
    ``everything`` also renews the points that exist.
    """
    registered = mapping.registered()[mapping.view]
    wanted = np.ones(len(mapping.points), bool) if everything else ~np.isfinite(mapping.points[:, 0])
    active = registered & wanted[mapping.point]
    mapping.points[wanted] = np.nan
    for tolerance in (4 * REPROJECTION_ERROR, REPROJECTION_ERROR):
        solve_points(mapping, active)
        active = active & (mapping.errors() < tolerance)
    # Observations of points that were known already count as soon as they agree.
    mapping.used = registered & (mapping.errors() < REPROJECTION_ERROR)
    drop_weak(mapping)


def solve_points(mapping: Mapping, active: np.ndarray) -> None:
    """Triangulate linearly, in place, each point that the observations ``active [O] bool`` see at least twice."""
    rows = np.flatnonzero(active)
    poses = mapping.pose_array()[mapping.view[rows], :3]
    rays = (mapping.pixels[rows] - mapping.size[mapping.view[rows]] / 2) / mapping.focal[
        mapping.group[mapping.view[rows]], None
    ]
    equations = rays[:, :, None] * poses[:, 2:3] - poses[:, :2]
    normal = np.zeros((len(mapping.points), 4, 4))
    np.add.at(normal, mapping.point[rows], np.einsum("nki,nkj->nij", equations, equations))
    counts = np.bincount(mapping.point[rows], minlength=len(mapping.points))
    solvable, touched = counts >= 2, counts > 0
    homogeneous = np.linalg.eigh(normal[solvable])[1][:, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        solved = homogeneous[:, :3] / homogeneous[:, 3:]
    mapping.points[touched] = np.nan
    mapping.points[solvable] = np.where(np.isfinite(solved).all(1, keepdims=True), solved, np.nan)


def point_angles(mapping: Mapping) -> np.ndarray:
    """``[P]``: the largest angle in degrees between a point's rays to the views that see it (about, from below)."""
    rows = np.flatnonzero(mapping.used)
    poses = mapping.pose_array()[mapping.view[rows]]
    centres = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    rays = centres - mapping.points[mapping.point[rows]]
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    angles = np.zeros(len(mapping.points))
    # From the first view of each track, then from the one farthest from it: never below half of the true largest.
    order = np.argsort(mapping.point[rows], kind="stable")
    points, starts = np.unique(mapping.point[rows][order], return_index=True)
    reference = np.zeros((len(mapping.points), 3))
    reference[points] = rays[order[starts]]
    for _ in range(2):
        here = ray_angles(rays, reference[mapping.point[rows]])
        np.maximum.at(angles, mapping.point[rows], here)
        farthest = here >= angles[mapping.point[rows]]
        reference[mapping.point[rows][farthest]] = rays[farthest]
    return angles


def drop_weak(mapping: Mapping, minimum_angle: float = MINIMUM_ANGLE) -> None:
    """Forget, in place, points that fewer than two views use or whose rays meet at too small an angle in degrees."""
    counts = np.bincount(mapping.point[mapping.used], minlength=len(mapping.points))
    weak = (counts < 2) | (point_angles(mapping) < minimum_angle)
    mapping.points[weak] = np.nan
    mapping.used &= ~weak[mapping.point]


def refine(mapping: Mapping, refine_focal: bool, rounds: int = 2, iterations: int = 20) -> Generator[None, None, None]:
    """Adjust, drop what disagrees and add what now agrees, in turns, in place."""
    for _ in range(rounds):
        adjust(mapping, refine_focal, iterations)
        yield
        triangulate(mapping)


def register(mapping: Mapping, view: int) -> bool:
    """Place a view by the points it sees (PnP), if enough of them agree; in place."""
    rows = np.flatnonzero((mapping.view == view) & np.isfinite(mapping.points[mapping.point, 0]))
    if len(rows) < PNP_INLIERS:
        return False
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error, options.ransac.random_seed = PNP_ERROR, SEED
    options.ransac.min_num_trials, options.ransac.max_num_trials = 200, 5000
    found = pycolmap.estimate_and_refine_absolute_pose(
        mapping.pixels[rows], mapping.points[mapping.point[rows]], mapping.camera(view), options
    )
    if found is None or found["num_inliers"] < max(PNP_INLIERS, 0.2 * len(rows)):
        return False
    mapping.poses[view] = np.vstack([found["cam_from_world"].matrix(), [0, 0, 0, 1]])
    return True


def seed_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs to start from, best first: many matches, and an angle that gives them depth."""
    return sorted(pairs, key=lambda pair: -len(pair.matches) * min(pair.angle, 8.0) ** 0.5)


def grow(mapping: Mapping, seed: Pair, candidates: set[int]) -> Generator[None, None, None]:
    """Map from one pair: register, triangulate, adjust, until no view of ``candidates`` fits any more; in place."""
    mapping.poses = {seed.first: np.eye(4), seed.second: seed.second_from_first.copy()}
    triangulate(mapping, everything=True)
    yield from refine(mapping, refine_focal=False, rounds=1)
    refused: set[int] = set()
    adjusted = 2
    while True:
        remaining = sorted(candidates - mapping.poses.keys() - refused)
        if not remaining:
            break
        known = np.isfinite(mapping.points[mapping.point, 0])
        seen = np.bincount(mapping.view[known], minlength=len(mapping.group))
        view = max(remaining, key=lambda v: seen[v])
        if not register(mapping, view):
            refused.add(view)
            yield
            continue
        triangulate(mapping)
        refused.clear()
        if len(mapping.poses) <= 8 or len(mapping.poses) >= 1.15 * adjusted:
            adjusted = len(mapping.poses)
            yield from refine(mapping, refine_focal=adjusted > 2, rounds=1, iterations=15)
        yield
    poses, points, focal = dict(mapping.poses), mapping.points.copy(), mapping.focal.copy()
    yield from refine(mapping, refine_focal=True, rounds=3, iterations=40)
    # Few views hardly tell the focal length: how far they may move it from what was expected grows with their number.
    limit = mapping.focal_deviation * (len(mapping.poses) - 1)
    if (np.abs(np.log(mapping.focal / mapping.focal_prior)) > limit).any():
        mapping.poses, mapping.points, mapping.focal = poses, points, focal
        mapping.focal = np.where(np.abs(np.log(focal / mapping.focal_prior)) > limit, mapping.focal_prior, focal)
        triangulate(mapping)
        yield from refine(mapping, refine_focal=False, rounds=3, iterations=40)
