import numpy as np
import pytest

from recon import geometry
from recon.alignment import placement
from recon.alignment.matching import Features
from recon.alignment.placement import Evidence
from recon.alignment.twoview import Pair
from recon.scene import Scene
from tests.helpers import synthetic_scene


def situation(noise: float = 0.5) -> tuple[Scene, Evidence, np.ndarray]:
    """Two frames of the synthetic room, what is known of them, and exact matches between them."""
    scene = synthetic_scene(2, 120, 160)
    frame_from_working = [np.diag([160 / 1024, 160 / 1024, 1.0])] * 2
    intrinsics = [np.linalg.inv(frame_from_working[0]) @ frame.camera.intrinsics for frame in scene.frames]
    random = np.random.default_rng(0)
    first = random.uniform([10, 10], [150, 110], (200, 2)).astype(int)
    points = scene.frames[0].world_points()[first[:, 1], first[:, 0]]
    second = geometry.project(
        geometry.transform(scene.frames[1].camera.camera_from_world, points), scene.frames[1].camera.intrinsics
    )
    pixels = [(first + 0.5) * 6.4, second * 6.4 + random.normal(0, noise, second.shape)]
    features = [Features((1024, 768), p, np.zeros((200, 128), np.float32)) for p in pixels]
    evidence = Evidence(scene.frames, features, frame_from_working, intrinsics)
    return scene, evidence, np.tile(np.arange(200)[:, None], 2)


def test_depth_of_one_frame_places_another():
    scene, evidence, matches = situation()
    matches[:60, 1] = np.roll(matches[:60, 1], 7)
    truth = scene.frames[1].camera.world_from_camera
    found = placement.by_depth(1, [0], evidence, {(0, 1): matches})
    assert found is not None
    assert geometry.rotation_angle(found[:3, :3].T @ truth[:3, :3]) < 1
    np.testing.assert_allclose(found[:3, 3], truth[:3, 3], atol=0.05)


def test_a_pair_takes_its_length_from_depth():
    scene, evidence, matches = situation(noise=0.1)
    truth = scene.frames[1].camera.world_from_camera
    second_from_first = np.asarray(scene.frames[1].camera.camera_from_world, np.float64)
    second_from_first[:3, 3] /= np.linalg.norm(second_from_first[:3, 3])
    pair = Pair(0, 1, matches, second_from_first, 6.0)
    found = placement.by_pair(1, [0], evidence, [pair])
    assert found is not None
    np.testing.assert_allclose(found, truth, atol=0.03)


def test_without_a_connection_nothing_is_found():
    _, evidence, _ = situation()
    assert placement.by_pair(1, [0], evidence, []) is None
    assert placement.by_depth(1, [0], evidence, {}) is None


@pytest.mark.parametrize("nearest", [0, 2])
def test_a_guess_leans_on_the_nearest_placed_view(nearest):
    network = np.tile(np.eye(4), (4, 1, 1))
    network[:, 0, 3] = [0, 10, 20, 30]
    network[1, 0, 3] = network[nearest, 0, 3] + 1
    world = network.copy()
    world[nearest, :3, 3] += [0, 5, 0]
    guess = placement.by_network(1, [0, 2, 3], network, world)
    np.testing.assert_allclose(guess[:3, 3], network[1, :3, 3] + [0, 5, 0])
