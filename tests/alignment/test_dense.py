"""Dense refinement on a ray-cast room: depth comes closer to the truth, and bad cameras do not spoil it."""

from __future__ import annotations

import copy
from collections.abc import Generator

import numpy as np
import pytest

from recon import geometry
from recon.alignment.dense import densify
from recon.scene import Scene
from tests.helpers import synthetic_scene

HEIGHT, WIDTH = 144, 192


def drain(work: Generator[tuple[float, str], None, tuple[int, ...]]) -> tuple[list[float], tuple[int, ...]]:
    """The fractions that it told, and what it returned."""
    fractions = []
    while True:
        try:
            fractions.append(next(work)[0])
        except StopIteration as stop:
            return fractions, stop.value


@pytest.fixture(scope="module")
def truth() -> Scene:
    return synthetic_scene(4, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def refined(truth: Scene) -> Scene:
    scene = bent(truth)
    drain(densify(scene))
    return scene


def bent(truth: Scene) -> Scene:
    """The scene with depth as a network might see it: smooth errors of ten to twenty percent, others for each frame."""
    scene = copy.deepcopy(truth)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    for index, frame in enumerate(scene.frames):
        wave = 0.15 * np.sin(3 * x + index) + 0.1 * np.cos(4 * y - 2 * index)
        frame.depth = (frame.depth * np.exp(wave)).astype(np.float32)
    return scene


def errors(scene: Scene, truth: Scene) -> np.ndarray:
    return np.stack([np.abs(f.depth / t.depth - 1) for f, t in zip(scene.frames, truth.frames, strict=True)])


def test_depth_comes_close_to_the_truth(truth: Scene, refined: Scene) -> None:
    assert errors(bent(truth), truth).mean() > 0.1
    after = errors(refined, truth)
    assert after.mean() < 0.02
    assert np.median(after) < 0.006


def test_confidence_hides_what_is_wrong(truth: Scene, refined: Scene) -> None:
    after = errors(refined, truth)
    confidence = np.stack([frame.confidence for frame in refined.frames])
    shown = confidence >= np.percentile(confidence, 20)
    assert after[~shown].mean() > 3 * after[shown].mean()


def test_progress_rises_and_every_frame_is_told(truth: Scene) -> None:
    fractions, changed = drain(densify(bent(truth)))
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == 1
    assert len(fractions) > 2 * len(truth.frames)
    assert changed == (0, 1, 2, 3)


def test_wrong_cameras_leave_depth_and_confidence_alone(truth: Scene) -> None:
    scene = bent(truth)
    for index, frame in enumerate(scene.frames):
        turn = geometry.rotation_from_quaternion(np.array([1, 0.15 * (-1) ** index, 0.1 * index, -0.1]))
        frame.camera.world_from_camera = frame.camera.world_from_camera @ geometry.rigid(turn, np.zeros(3))
    before = copy.deepcopy(scene)
    _, changed = drain(densify(scene))
    assert changed == ()
    for frame, old in zip(scene.frames, before.frames, strict=True):
        np.testing.assert_array_equal(frame.depth, old.depth)
        np.testing.assert_array_equal(frame.confidence, old.confidence)


def test_guessed_frames_are_not_refined_and_say_nothing(truth: Scene, refined: Scene) -> None:
    scene = bent(truth)
    scene.settings["placement"] = ["mapped", "mapped", "mapped", "guess"]
    guessed = scene.frames[3].depth.copy()
    scene.frames[3].camera.world_from_camera = np.eye(4, dtype=np.float32)  # where the first frame stands
    drain(densify(scene))
    np.testing.assert_array_equal(scene.frames[3].depth, guessed)
    assert errors(scene, truth)[:3].mean() < 0.03


def test_unknown_depth_stays_unknown_and_frames_may_differ_in_size(truth: Scene) -> None:
    scene = bent(truth)
    scene.frames[1] = scene.frames[1].thinned(2)
    scene.frames[0].depth[:30, :40] = 0
    drain(densify(scene))
    assert (scene.frames[0].depth[:30, :40] == 0).all()
    assert (scene.frames[0].depth[30:] > 0).all()
    assert scene.frames[1].depth.shape == (HEIGHT // 2, WIDTH // 2)
    error = np.abs(scene.frames[1].depth / truth.frames[1].depth[::2, ::2] - 1)
    assert error.mean() < 0.03


@pytest.mark.parametrize("placement", [["alone"], ["mapped", "guess"]])
def test_one_frame_has_nothing_to_be_compared_with(truth: Scene, placement: list[str]) -> None:
    scene = bent(truth)
    scene.frames = scene.frames[: len(placement)]
    scene.settings["placement"] = placement
    assert drain(densify(scene)) == ([], ())


def test_where_there_is_no_texture_the_prior_keeps_its_shape(truth: Scene) -> None:
    scene = bent(truth)
    for frame in scene.frames:
        frame.image[:60] = 128  # the upper part of the wall, in all views
    before = [np.log(frame.depth) for frame in scene.frames]
    drain(densify(scene))
    for frame, old in zip(scene.frames, before, strict=True):
        correction = (np.log(frame.depth) - old)[5:50, 5:-5]
        assert np.abs(np.diff(correction, axis=0)).max() < 0.03
        assert np.abs(np.diff(correction, axis=1)).max() < 0.03


def test_a_closed_run_changes_nothing(truth: Scene) -> None:
    scene = bent(truth)
    before = copy.deepcopy(scene)
    work = densify(scene)
    for _ in range(6):
        next(work)
    work.close()
    for frame, old in zip(scene.frames, before.frames, strict=True):
        np.testing.assert_array_equal(frame.depth, old.depth)
        np.testing.assert_array_equal(frame.confidence, old.confidence)
