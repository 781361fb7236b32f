"""Pairwise pointmaps of a scene that is known exactly, disturbed as a network's are: noise, turns, wrong points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from recon import geometry
from recon.alignment.pair_graph import Pair, complete, symmetrised
from recon.alignment.pair_maps import PairMaps

HEIGHT, WIDTH = 48, 64


@dataclass
class PairScene:
    """A smooth wall before cameras that look at it: ``[V,4,4]``, ``[V]``, ``[V,H,W]``, ``[V,H,W,3]`` in the world."""

    pairs: list[PairMaps]
    world_from_camera: np.ndarray
    focal: np.ndarray
    depth: np.ndarray
    points: np.ndarray


def pair_scene(
    seed: int,
    views: int = 4,
    noise: float = 0.01,
    wrong: float = 0.0,
    turn: float = 1.0,
    bent: float = 0.0,
    graph: Sequence[Pair] | None = None,
    shared_focal: bool = False,
    portrait: Sequence[int] = (),
) -> PairScene:
    """A scene of its own for each ``seed``.

    Args:
        seed: of everything random.
        views: cameras.
        noise: standard deviation of points, relative to their distance from the pair's camera.
        wrong: share of points that are anywhere.
        turn: standard deviation in degrees, about each axis, by which a pair's second map is turned.
        bent: standard deviation of a smooth field that distances are wrong by, relative to them.
        graph: pairs, all in both orders if None.
        shared_focal: one focal length for all.
        portrait: views taken upright.
    """
    random = np.random.default_rng(seed)
    waves = random.normal(size=(6, 2)) * 0.9, random.uniform(0, 2 * np.pi, 6), random.normal(size=6) * 0.08

    def wall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        bumps = sum(a * np.sin(k[0] * x + k[1] * y + p) for k, p, a in zip(*waves, strict=True))
        return 4.0 - 0.15 * (x**2 + y**2) + bumps

    poses, focals, depths, points = [], [], [], []
    for view in range(views):
        centre = np.array([-1.6 + 3.2 * view / max(views - 1, 1), 0, 0]) + random.normal(size=3) * [0.2, 0.4, 0.2]
        forward = np.array([0, 0, 3.8]) + random.normal(size=3) * 0.3 - centre
        forward /= np.linalg.norm(forward)
        right = np.cross([random.normal() * 0.1, 1, 0], forward)
        right /= np.linalg.norm(right)
        pose = geometry.rigid(np.stack([right, np.cross(forward, right), forward], 1), centre)
        focal = 62.0 if shared_focal else float(random.uniform(52, 75))
        height, width = (WIDTH, HEIGHT) if view in portrait else (HEIGHT, WIDTH)
        pixels = geometry.pixel_grid(height, width).astype(np.float64) - [width / 2, height / 2]
        rays = np.concatenate([pixels / focal, np.ones((height, width, 1))], -1)
        directions = rays @ pose[:3, :3].T
        depth = np.full((height, width), 4.0)
        for _ in range(60):
            world = centre + directions * depth[..., None]
            depth += 0.7 * (wall(world[..., 0], world[..., 1]) - world[..., 2]) / directions[..., 2]
        poses.append(pose)
        focals.append(focal)
        depths.append(depth)
        points.append(centre + directions * depth[..., None])
    pairs = []
    for i, j in symmetrised(complete(views)) if graph is None else graph:
        scale, maps = np.exp(random.uniform(np.log(0.5), np.log(2))), []
        rotation = cv2.Rodrigues(np.radians(turn) * random.normal(size=3))[0]
        for view in (i, j):
            local = geometry.transform(geometry.invert(poses[i]), points[view])
            if view == j:
                local = local @ rotation.T
            distance = np.linalg.norm(local, axis=-1, keepdims=True)
            if bent > 0:
                local = local * np.exp(bent * smooth_field(random, *distance.shape[:2]))[..., None]
            local = local + random.normal(size=local.shape) * distance * noise / np.sqrt(3)
            lost = random.random(local.shape[:2]) < wrong
            local[lost] = random.uniform([-4, -4, 0.2], [4, 4, 9], (int(lost.sum()), 3))
            confidence = 1 + 8 * np.exp(0.1 * random.normal(size=lost.shape)) / (1 + 0.3 * abs(i - j) * (view == j))
            maps += [(scale * local).astype(np.float32), confidence.astype(np.float32)]
        pairs.append(PairMaps(i, j, *maps))
    return PairScene(pairs, np.array(poses), np.array(focals), depths, points)


def smooth_field(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """``[height,width]`` of standard deviation 1, about, with one or two hills and valleys."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    waves = random.normal(size=(4, 3)) * [1.0, 2.0, 2.0]
    return sum(a * np.sin(k * x + m * y + random.uniform(0, 2 * np.pi)) for a, k, m in waves) / np.sqrt(2)
