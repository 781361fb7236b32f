"""Exact cameras and depth of a synthetic scene, disturbed: what should come back, and what should stay."""

import numpy as np
import pytest

from recon import geometry
from recon.alignment.dense_matching import DenseMatches
from recon.alignment.soft_bundle import Sightings, settle
from recon.evaluation.metrics import pair_errors
from recon.scene import Scene
from tests.helpers import synthetic_scene

VIEWS = 4


def sightings(scene: Scene, focal: float = 1.0, noise: float = 0.5, wrong: float = 0.0, depth_noise: float = 0.3):
    """True matches of all pairs on a grid of pixels, with ``noise`` in pixels; a share of ``wrong`` ones."""
    random = np.random.default_rng(0)
    parts = []
    for i, here in enumerate(scene.frames):
        pixels = geometry.pixel_grid(*here.depth.shape)[6::12, 6::12].reshape(-1, 2)
        depth = here.depth[6::12, 6::12].ravel()
        world = here.world_points()[6::12, 6::12].reshape(-1, 3)
        rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(here.camera.intrinsics).T
        for j, there in enumerate(scene.frames):
            if i == j:
                continue
            local = geometry.transform(there.camera.camera_from_world, world)
            seen = geometry.project(local, there.camera.intrinsics)
            good = (local[:, 2] > 0) & (seen > 0).all(1) & (seen < there.size).all(1)
            count = int(good.sum())
            seen = seen[good] + noise * random.normal(size=(count, 2))
            lost = random.random(count) < wrong
            seen[lost] = random.random((int(lost.sum()), 2)) * there.size
            back = np.column_stack([seen, np.ones(count)]) @ np.linalg.inv(there.camera.intrinsics).T
            rough = depth[good] * np.exp(depth_noise * random.normal(size=count))
            deviation = np.full(count, noise / there.camera.intrinsics[0, 0])
            parts.append(
                (
                    np.full(count, i), np.full(count, j), rays[good] * [focal, focal, 1], rough,
                    focal * back[:, :2], deviation, np.full(count, 0.1),
                )
            )  # fmt: skip
    return Sightings(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def disturbed(poses: np.ndarray, turn: float, step: float) -> np.ndarray:
    """Cameras turned by about ``turn`` degrees and moved by about ``step`` of their distance; the first stays."""
    random = np.random.default_rng(1)
    rough = poses.copy()
    distance = np.linalg.norm(poses[1:, :3, 3] - poses[0, :3, 3], axis=1).mean()
    for pose in rough[1:]:
        quaternion = np.r_[1, np.radians(turn) / 2 / np.sqrt(3) * random.normal(size=3)]
        pose[:3, :3] = pose[:3, :3] @ geometry.rotation_from_quaternion(quaternion)
        pose[:3, 3] += step * distance * random.normal(size=3) / np.sqrt(3)
    return rough


@pytest.fixture(scope="module")
def scene() -> Scene:
    return synthetic_scene(VIEWS, 96, 128)


@pytest.fixture(scope="module")
def poses(scene) -> np.ndarray:
    poses = np.stack([frame.camera.world_from_camera for frame in scene.frames]).astype(float)
    return geometry.invert(poses[0]) @ poses


def test_rough_cameras_become_better(scene, poses):
    rough = disturbed(poses, 5, 0.5)
    settled = settle(rough, sightings(scene))
    before, after = pair_errors(poses, rough).worst, pair_errors(poses, settled.world_from_camera).worst
    assert after.max() < 0.3 * before.max()
    np.testing.assert_array_equal(settled.world_from_camera[0], rough[0])


def test_many_false_matches_do_little_harm(scene, poses):
    rough = disturbed(poses, 5, 0.5)
    clean = pair_errors(poses, settle(rough, sightings(scene)).world_from_camera).worst
    spoilt = pair_errors(poses, settle(rough, sightings(scene, wrong=0.4)).world_from_camera).worst
    assert spoilt.max() < 2 * clean.max() + 2


def test_a_wrong_unit_of_one_view_is_found(scene, poses):
    given = sightings(scene, depth_noise=0.05)
    given.depth[given.view == 2] *= 1.3
    settled = settle(poses, given)
    others = np.delete(settled.scale, 2)
    assert settled.scale[2] < 0.96 * others.min()


def test_a_wrong_focal_length_is_moved_the_right_way(scene, poses):
    wide, narrow = (settle(poses, sightings(scene, focal, depth_noise=0.05)).focal for focal in (1.1, 0.9))
    assert narrow < 0.99 < 1.005 < wide


def test_without_a_match_for_a_view_it_stays(scene, poses):
    rough = disturbed(poses, 5, 0.5)
    every = sightings(scene)
    kept = (every.view != 3) & (every.other != 3)
    settled = settle(rough, Sightings(*(np.asarray(values)[kept] for values in vars(every).values())))
    np.testing.assert_allclose(settled.world_from_camera[3], rough[3], atol=1e-6)


def test_a_pair_that_hardly_matches_counts_little(scene):
    depth = scene.frames[0].depth
    places = np.random.default_rng(4).uniform(0.1, 0.9, (50, 2))
    tangents = [np.array([0.5, 0.4])] * 2

    def total(confidence: float) -> float:
        found = DenseMatches(places, places, np.full(50, confidence), 0.01)
        return float(Sightings.of((0, 1), found, depth, tangents).weight.sum())

    assert total(0.5) == total(0.9) > 10 * total(0.1) > 0
