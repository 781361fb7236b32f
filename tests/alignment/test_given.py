"""Given cameras are laid on those that were found, whatever world they come from."""

from dataclasses import replace

import numpy as np
import pytest

from recon import geometry
from recon.alignment.given import compare
from recon.given import Given, given_cameras
from recon.scene import Camera, Frame, View
from tests.helpers import synthetic_scene, synthetic_views


def turn(seed: int, angle: float | None = None) -> np.ndarray:
    axis = np.random.default_rng(seed).normal(size=4)
    if angle is not None:
        axis = np.array([np.cos(np.radians(angle) / 2), *(np.sin(np.radians(angle) / 2) * np.array([0, 1.0, 0]))])
    return geometry.rotation_from_quaternion(axis)


def world(scale: float) -> np.ndarray:
    """``given_from_found``."""
    return geometry.rigid(scale * turn(1), np.array([3.0, -20.0, 7.0]))


def cameras(count: int, shape: str = "arc") -> list[Frame]:
    """Frames of cameras on an arc, on a line, or all in one place and turned."""
    frames = synthetic_scene(count, 12, 16).frames
    for index, frame in enumerate(frames):
        pose = frame.camera.world_from_camera.copy()
        if shape == "line":
            pose[:3, 3] = [0.3 * index, 0, 0]
        elif shape == "place":
            pose[:3, 3] = [1, 2, 3]
        frame.camera = Camera(frame.camera.intrinsics, pose)
    return frames


def given_of(frames: list[Frame], scale: float, metric: bool) -> Given:
    poses = np.stack([frame.camera.world_from_camera for frame in frames]).astype(np.float64)
    return Given(tuple(range(len(frames))), geometry.apply_similarity(world(scale), poses), metric)


@pytest.mark.parametrize("shape", ["arc", "line", "place"])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("metric", [False, True])
def test_the_same_cameras_in_another_world_lie_on_those_that_were_found(shape: str, count: int, metric: bool) -> None:
    frames = cameras(count, shape)
    comparison = compare(given_of(frames, 1.0 if metric else 4.0, metric), frames, metric)
    found = np.stack([frame.camera.world_from_camera for frame in frames])
    np.testing.assert_allclose(comparison.world_from_camera, found, atol=2e-4)
    assert comparison.rotation < 0.05
    assert comparison.distance < 1e-3
    assert comparison.rigid == metric


def test_one_camera_that_is_wrong_does_not_move_the_others() -> None:
    frames = cameras(9)
    given = given_of(frames, 2.0, False)
    given.world_from_camera[4, :3, 3] += 30
    comparison = compare(given, frames, False)
    found = np.stack([frame.camera.world_from_camera for frame in frames])
    off = np.linalg.norm(comparison.world_from_camera[:, :3, 3] - found[:, :3, 3], axis=-1)
    assert np.delete(off, 4).max() < 0.02 * comparison.size
    assert off[4] > comparison.size


def test_turned_cameras_are_told_in_degrees_and_another_size_in_metres() -> None:
    frames = cameras(6)
    given = given_of(frames, 1.0, True)
    given.world_from_camera[:, :3, :3] = given.world_from_camera[:, :3, :3] @ turn(0, 5.0)
    assert compare(given, frames, True).rotation == pytest.approx(5, abs=0.1)
    larger = given_of(frames, 1.1, True)
    comparison = compare(larger, frames, True)
    centres = np.stack([frame.camera.centre for frame in frames])
    expected = 0.1 * np.linalg.norm(centres - centres.mean(0), axis=-1).mean()
    assert comparison.distance == pytest.approx(expected, rel=0.15)
    assert "cm" in comparison.in_words(6)
    assert compare(larger, frames, False).distance < 1e-3, "without metres the size is not known"


def test_the_sentence_says_what_can_be_said() -> None:
    frames = cameras(5)
    given = given_of(frames, 3.0, False)
    given.world_from_camera[:, :3, :3] = given.world_from_camera[:, :3, :3] @ turn(0, 5.0)
    assert compare(given, frames, True).in_words(5).startswith("All 5 cameras were given: on average 5.0° and 0.0% of")
    other_axes = Given(given.frames, given.world_from_camera @ np.diag([1.0, -1, -1, 1]), False)
    assert "of other axes" in compare(other_axes, frames, True).in_words(5)
    some = Given((0, 2, 4), given.world_from_camera[[0, 2, 4]], False)
    assert compare(some, frames, True).in_words(5).startswith("3 of 5 cameras")
    two = compare(Given((0, 1), given.world_from_camera[:2], False), frames, False).in_words(5)
    assert "°" in two
    assert "%" not in two
    assert "cannot be compared" in compare(Given((3,), given.world_from_camera[3:4], False), frames, False).in_words(5)


def test_given_cameras_are_those_of_the_frames_views() -> None:
    scene = synthetic_scene(3, 12, 16)
    views = synthetic_views(scene)
    assert given_cameras(scene.frames, views) is None
    pose = geometry.rigid(turn(3), np.array([1.0, 2, 3]))
    views[2] = replace(views[2], world_from_camera=pose.astype(np.float32), metric=True)
    scene.frames = [scene.frames[2], scene.frames[0]]  # one view was left out, and the order is another
    given = given_cameras(scene.frames, views)
    assert given is not None
    assert (given.frames, given.metric) == ((0,), True)
    np.testing.assert_allclose(given.world_from_camera[0], pose, atol=1e-6)
    views[0] = View(views[0].image, "a", world_from_camera=np.eye(4))
    given = given_cameras(scene.frames, views)
    assert given is not None
    assert (given.frames, given.metric) == ((0, 1), False)
