import cv2
import numpy as np
import pytest

from recon import geometry
from recon.alignment.bundle import pinhole
from recon.alignment.matching import Features
from recon.alignment.twoview import meaningful, verify_pair

SIZE = (1024.0, 768.0)
FOCAL = 850.0


def pair(points: np.ndarray, second_from_first: np.ndarray, wrong: int = 0):
    """Features and matches of points seen by two cameras, ``wrong`` more of which match by chance."""
    random = np.random.default_rng(0)
    local = [points, geometry.transform(second_from_first, points)]
    pixels = [p[:, :2] / p[:, 2:] * FOCAL + np.array(SIZE) / 2 + random.normal(0, 0.3, (len(p), 2)) for p in local]
    pixels = [np.concatenate([p, random.uniform([0, 0], SIZE, (wrong, 2))]) for p in pixels]
    features = [Features(SIZE, p, np.zeros((len(p), 128), np.float32)) for p in pixels]
    depths = [np.concatenate([p[:, 2], np.full(wrong, np.nan)]) for p in local]
    cameras = [pinhole(FOCAL, np.array(SIZE))] * 2
    return features, np.tile(np.arange(len(pixels[0]))[:, None], 2), cameras, depths


def turn(degrees: float) -> np.ndarray:
    return cv2.Rodrigues(np.radians([degrees * 0.2, degrees, 0]))[0]


def direction_error(found: np.ndarray, true: np.ndarray) -> float:
    true = true / np.linalg.norm(true)
    return float(np.degrees(np.arccos(np.clip(found @ true, -1, 1))))


def test_a_pose_is_found_among_false_matches():
    points = np.random.default_rng(1).uniform([-2, -1.5, 3], [2, 1.5, 8], (80, 3))
    truth = geometry.rigid(turn(6), np.array([-0.6, 0.1, 0.05]))
    features, matches, cameras, depths = pair(points, truth, wrong=60)
    found = verify_pair(0, 1, features, matches, cameras, depths)
    assert found is not None
    assert geometry.rotation_angle(found.second_from_first[:3, :3].T @ truth[:3, :3]) < 0.5
    assert direction_error(found.second_from_first[:3, 3], truth[:3, 3]) < 3
    assert (found.matches[:, 0] < 80).sum() >= 75
    assert 2 < found.angle < 15


@pytest.mark.parametrize("count", [0, 9, 40, 300])
def test_chance_is_not_a_pose(count):
    features, matches, cameras, depths = pair(np.zeros((0, 3)), np.eye(4), wrong=count)
    assert verify_pair(0, 1, features, matches, cameras, depths) is None


def test_depth_tells_the_two_poses_of_a_plane_apart():
    random = np.random.default_rng(2)
    wall = random.uniform([-2, -1.5], [2, 1.5], (150, 2))
    points = np.column_stack([wall, 5 + 0.5 * wall[:, 0]])
    truth = geometry.rigid(turn(12), np.array([-1.2, 0.1, 0.3]))
    features, matches, cameras, depths = pair(points, truth)
    rough = [depth * np.exp(random.normal(0, 0.08, len(depth))) * 1.7 for depth in depths]
    found = verify_pair(0, 1, features, matches, cameras, rough)
    assert found is not None
    assert direction_error(found.second_from_first[:3, 3], truth[:3, 3]) < 10


def test_more_matches_need_more_agreement():
    assert meaningful(20, 22, SIZE)
    assert not meaningful(20, 2000, SIZE)
    assert not meaningful(9, 9, SIZE)


@pytest.mark.parametrize(("count", "believed"), [(30, False), (150, True)])
def test_what_the_model_does_not_expect_needs_more_matches(count, believed):
    points = np.random.default_rng(1).uniform([-2, -1.5, 3], [2, 1.5, 8], (count, 3))
    truth = geometry.rigid(turn(6), np.array([-0.6, 0.1, 0.05]))
    features, matches, cameras, depths = pair(points, truth)
    assert verify_pair(0, 1, features, matches, cameras, depths, expected=truth) is not None
    surprised = geometry.rigid(turn(-40), np.array([1.0, 0.0, 0.0]))
    found = verify_pair(0, 1, features, matches, cameras, depths, expected=surprised)
    assert (found is not None) == believed
    if found is not None:  # matches, not expectation, say what the pose is
        assert geometry.rotation_angle(found.second_from_first[:3, :3].T @ truth[:3, :3]) < 0.5


def test_what_the_model_expects_tells_the_two_poses_of_a_plane_apart():
    random = np.random.default_rng(2)
    wall = random.uniform([-2, -1.5], [2, 1.5], (150, 2))
    points = np.column_stack([wall, 5 + 0.5 * wall[:, 0]])
    truth = geometry.rigid(turn(12), np.array([-1.2, 0.1, 0.3]))
    features, matches, cameras, depths = pair(points, truth)
    flat = [np.full(len(depth), 5.0) for depth in depths]  # says nothing of the wall's slant
    expected = geometry.rigid(turn(8), np.array([-1.0, 0.0, 0.0]))
    found = verify_pair(0, 1, features, matches, cameras, flat, expected=expected)
    assert found is not None
    assert direction_error(found.second_from_first[:3, 3], truth[:3, 3]) < 10
