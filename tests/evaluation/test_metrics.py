"""The formulas, against values computed by hand."""

import numpy as np
import pytest

from recon import geometry
from recon.evaluation import metrics


def cameras(*centres, rotations=None):
    rotations = rotations or [np.eye(3)] * len(centres)
    return np.stack([geometry.rigid(r, np.array(c, float)) for r, c in zip(rotations, centres, strict=True)])


def turn(degrees, axis):
    half = np.radians(degrees) / 2
    return geometry.rotation_from_quaternion(np.array([np.cos(half), *(np.sin(half) * np.eye(3)["xyz".index(axis)])]))


LINE = cameras([0, 0, 0], [1, 0, 0], [2, 0, 0])


def test_another_world_makes_no_pose_error():
    truth = cameras([0, 0, 0], [1, 0, 0.5], [2, 1, 0], rotations=[np.eye(3), turn(20, "y"), turn(40, "x")])
    similarity = geometry.rigid(3 * turn(70, "z"), np.array([4.0, -2, 9]))
    estimate = geometry.apply_similarity(similarity, truth)
    errors = metrics.pair_errors(truth, estimate)
    np.testing.assert_allclose(errors.worst, 0, atol=1e-5)
    assert metrics.trajectory_error(truth, estimate) == pytest.approx(0, abs=1e-9)


def test_a_rolled_camera_is_wrong_by_its_angle_in_its_own_pairs():
    estimate = cameras([0, 0, 0], [1, 0, 0], [2, 0, 0], rotations=[np.eye(3), np.eye(3), turn(9.5, "z")])
    errors = metrics.pair_errors(LINE, estimate)
    np.testing.assert_allclose(errors.rotation, [0, 9.5, 9.5], atol=1e-6)  # pairs 01, 02, 12
    np.testing.assert_allclose(errors.direction, [0, 9.5, 9.5], atol=1e-6)  # camera 2 sees the others turned by as much
    assert metrics.accuracy(errors.rotation, 5) == pytest.approx(1 / 3)
    assert metrics.accuracy(errors.direction, 15) == 1
    # a third of the pairs is within 1 ... 9 degrees, all are within 10 ... 30
    assert metrics.area_under_curve(errors.worst) == pytest.approx((9 / 3 + 21) / 30)


def test_the_larger_of_both_errors_counts():
    estimate = cameras([0, 0, 0], [np.cos(np.radians(12.5)), np.sin(np.radians(12.5)), 0])
    errors = metrics.pair_errors(LINE[:2], estimate)
    assert errors.rotation == pytest.approx(0, abs=1e-6)
    assert errors.worst == pytest.approx(12.5)
    assert metrics.area_under_curve(errors.worst) == pytest.approx(18 / 30)  # within 13 ... 30 degrees


def test_the_sign_of_a_direction_counts():
    errors = metrics.pair_errors(LINE, cameras([0, 0, 0], [-1, 0, 0], [-2, 0, 0]))
    np.testing.assert_allclose(errors.direction, 180)
    assert metrics.area_under_curve(errors.worst) == 0


def test_a_view_without_a_pose_is_wrong_by_180_degrees_in_all_its_pairs():
    estimate = LINE.copy()
    estimate[1] = np.nan
    errors = metrics.pair_errors(LINE, estimate)
    np.testing.assert_allclose(errors.rotation, [180, 0, 180], atol=1e-6)
    np.testing.assert_allclose(errors.direction, [180, 0, 180], atol=1e-6)
    assert metrics.area_under_curve(errors.worst) == pytest.approx(1 / 3)


def test_true_cameras_at_one_place_are_judged_by_their_rotation_alone():
    truth = cameras([0, 0, 0], [0, 0.0005, 0], [1, 0, 0])
    errors = metrics.pair_errors(truth, cameras([0, 0, 0], [0, 0, 0.3], [1, 0, 0]))
    assert np.isnan(errors.direction[0])
    assert errors.worst[0] == pytest.approx(0, abs=1e-6)
    assert metrics.accuracy(errors.direction, 5) == 0.5  # of the two pairs that have a direction, 1-2 is 17 degrees off
    spinning = metrics.pair_errors(cameras([0, 0, 0], [0, 0, 0]), cameras([0, 0, 0], [1, 0, 0]))
    assert np.isnan(metrics.accuracy(spinning.direction, 5))
    assert metrics.area_under_curve(spinning.worst) == 1


def test_estimated_cameras_at_one_place_have_no_direction_to_be_right_about():
    np.testing.assert_allclose(metrics.pair_errors(LINE, cameras(*[[1, 1, 1]] * 3)).direction, 180)


def test_one_view_has_no_pairs():
    assert np.isnan(metrics.area_under_curve(metrics.pair_errors(LINE[:1], LINE[:1]).worst))


def test_trajectory_error_after_the_best_similarity():
    truth = cameras([1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0])
    estimate = cameras([2, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0])
    # scale (2 + 2 + 1 + 1) / (4 + 4 + 1 + 1) = 0.6 leaves 0.2 twice and 0.4 twice
    assert metrics.trajectory_error(truth, estimate) == pytest.approx(np.sqrt(0.1))


def test_trajectory_error_is_over_the_posed_views_and_needs_three():
    truth = cameras([1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [5, 5, 5])
    estimate = cameras([2, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [np.nan] * 3)
    assert metrics.trajectory_error(truth, estimate) == pytest.approx(np.sqrt(0.1))
    assert np.isnan(metrics.trajectory_error(LINE[:2], LINE[:2]))


def test_depth_after_one_median_scale():
    errors = metrics.depth_errors(np.array([[1, 2], [4, 0]]), np.array([[1, 1], [1, 7]]))
    assert errors.scale == 2  # the median of 1, 2, 4; then the estimate is 2, 2, 2
    assert errors.absolute_relative == pytest.approx((1 + 0 + 0.5) / 3)
    assert errors.root_mean_square == pytest.approx(np.sqrt((1 + 0 + 4) / 3))
    assert errors.within_25_percent == pytest.approx(1 / 3)


def test_depth_that_is_known_nowhere_in_both_cannot_be_told():
    errors = metrics.depth_errors(np.array([1.0, 0, np.nan]), np.array([0.0, 1, 1]))
    assert np.isnan(errors.absolute_relative)


def test_cloud():
    truth = np.array([[0, 0, 0], [1, 0, 0], [3, 0, 0]])
    estimate = np.array([[0, 0, 0.1], [1, 0, 0], [np.nan, 0, 0]])
    errors = metrics.cloud_errors(truth, estimate, threshold=0.5)
    assert errors.accuracy == pytest.approx(0.05)
    assert errors.completeness == pytest.approx(2.1 / 3)
    assert errors.chamfer == pytest.approx(0.375)
    assert (errors.precision, errors.recall) == (1, pytest.approx(2 / 3))
    assert errors.f_score == pytest.approx(0.8)


def test_an_empty_cloud_cannot_be_told():
    assert np.isnan(metrics.cloud_errors(np.zeros((0, 3)), np.zeros((1, 3)), 1).f_score)


def test_nearest_distance_is_exact_far_from_the_origin():
    random = np.random.default_rng(0)
    points, queries = random.uniform(0, 1, (500, 3)) + 1e4, random.uniform(0, 1, (300, 3)) + 1e4
    brute = np.linalg.norm(queries[:, None] - points[None], axis=-1).min(1)
    np.testing.assert_allclose(metrics.nearest_distance(points, queries), brute, atol=1e-6)
