import copy

import cv2
import numpy as np
import pytest

from recon import geometry
from recon.alignment.verify import CONFIDENCE, verify
from recon.scene import Scene, View
from tests.helpers import synthetic_scene, synthetic_views


def run(scene: Scene, views: list[View], **options) -> tuple[tuple[int, ...], list[float]]:
    steps, fractions = verify(scene, views, **options), []
    while True:
        try:
            fractions.append(next(steps)[0])
        except StopIteration as end:
            return end.value, fractions


def as_a_network_sees(truth: Scene, turn: float = 8.0) -> Scene:
    """The scene with cameras, focal length and depth as wrong as a small network has them."""
    scene, random = copy.deepcopy(truth), np.random.default_rng(3)
    for index, frame in enumerate(scene.frames):
        if index:
            axis = random.normal(size=3)
            wrong = cv2.Rodrigues(np.radians(turn) * axis / np.linalg.norm(axis))[0]
            frame.camera.world_from_camera[:3, :3] = frame.camera.world_from_camera[:3, :3] @ wrong
            frame.camera.world_from_camera[:3, 3] += random.normal(size=3) * 0.3
        frame.camera.intrinsics[:2, :2] *= 1.15
        tilt = np.linspace(-0.15, 0.15, frame.depth.shape[1])
        frame.depth = (frame.depth * np.exp(tilt + random.normal() * 0.15)).astype(np.float32)
    return scene


def rotation_errors(scene: Scene, truth: Scene) -> np.ndarray:
    turned, true = (np.array([frame.camera.world_from_camera[:3, :3] for frame in s.frames]) for s in (scene, truth))
    return geometry.rotation_angle(np.swapaxes(turned, 1, 2) @ true)


def direction_errors(scene: Scene, truth: Scene) -> np.ndarray:
    centres, true = (np.array([frame.camera.centre for frame in s.frames[1:]]) for s in (scene, truth))
    cosine = (centres * true).sum(1) / np.linalg.norm(centres, axis=1) / np.linalg.norm(true, axis=1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def depth_error(scene: Scene, truth: Scene) -> float:
    ratios = np.concatenate(
        [(frame.depth / true.depth).ravel() for frame, true in zip(scene.frames, truth.frames, strict=True)]
    )
    return float(np.abs(ratios / np.median(ratios) - 1).mean())


@pytest.fixture(scope="module")
def truth() -> Scene:
    return synthetic_scene(4, 360, 480)


@pytest.fixture(scope="module")
def verified(truth) -> tuple[Scene, Scene, list[float]]:
    before = as_a_network_sees(truth)
    after = copy.deepcopy(before)
    changed, fractions = run(after, synthetic_views(truth))
    assert changed == (0, 1, 2, 3)
    return before, after, fractions


def test_cameras_become_right(verified, truth):
    before, after, _ = verified
    assert after.settings["placement"] == ["mapped"] * 4
    assert rotation_errors(before, truth).max() > 5
    assert rotation_errors(after, truth).max() < 1
    assert direction_errors(after, truth).max() < 3


def test_the_focal_length_calibrates_itself(verified, truth):
    before, after, _ = verified
    true = truth.frames[0].camera.intrinsics[0, 0]
    wrong, right = (abs(np.log(scene.frames[0].camera.intrinsics[0, 0] / true)) for scene in (before, after))
    assert right < 0.5 * wrong


def test_depth_follows_the_triangulated_points(verified, truth):
    before, after, _ = verified
    assert depth_error(after, truth) < 0.5 * depth_error(before, truth)
    assert after.sparse_points is not None
    assert len(after.sparse_points) > 50


def test_the_world_stays_the_first_camera_in_the_models_unit(verified):
    before, after, _ = verified
    np.testing.assert_allclose(after.frames[0].camera.world_from_camera, np.eye(4), atol=1e-6)
    ratio = np.median(after.frames[0].depth) / np.median([np.median(frame.depth) for frame in before.frames])
    assert 0.6 < ratio < 1.6


def test_progress_rises_and_starts_early(verified):
    fractions = verified[2]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.2
    assert fractions[-1] <= 1


def test_the_same_photos_give_the_same_result(truth, verified):
    again = as_a_network_sees(truth)
    run(again, synthetic_views(truth))
    for frame, other in zip(again.frames, verified[1].frames, strict=True):
        np.testing.assert_array_equal(frame.camera.world_from_camera, other.camera.world_from_camera)
        np.testing.assert_array_equal(frame.depth, other.depth)


def test_a_view_that_shares_nothing_is_a_guess_and_said_so(truth):
    scene, views = as_a_network_sees(truth), synthetic_views(truth)
    blank = np.zeros_like(views[2].image)
    views[2] = View(blank, "dark.jpg")
    scene.frames[2].image, scene.frames[2].name = blank, "dark.jpg"
    confidence = scene.frames[2].confidence.copy()
    run(scene, views)
    assert scene.settings["placement"] == ["mapped", "mapped", "guess", "mapped"]
    assert any("dark.jpg" in note for note in scene.notes)
    np.testing.assert_allclose(scene.frames[2].confidence, confidence * CONFIDENCE["guess"], rtol=1e-6)


def test_photos_that_share_nothing_keep_the_networks_cameras(truth):
    scene = as_a_network_sees(truth)
    random = np.random.default_rng(0)
    views = [View(random.integers(0, 255, (90, 120, 3), np.uint8), f"{i}.png") for i in range(4)]
    cameras = [frame.camera.world_from_camera.copy() for frame in scene.frames]
    run(scene, views)
    assert scene.settings["placement"] == ["guess"] * 4
    assert "confidence is low" in scene.notes[-1]
    for frame, camera in zip(scene.frames, cameras, strict=True):
        np.testing.assert_allclose(frame.camera.world_from_camera, camera, atol=1e-5)


def test_two_photos_are_enough(truth):
    two = Scene(truth.frames[:2])
    scene = as_a_network_sees(two)
    run(scene, synthetic_views(two))
    assert scene.settings["placement"] == ["mapped"] * 2
    assert rotation_errors(scene, two).max() < 2
    assert direction_errors(scene, two).max() < 10


def test_one_photo_stays_as_it_is(truth):
    one = Scene(copy.deepcopy(truth.frames[:1]))
    depth = one.frames[0].depth.copy()
    assert run(one, synthetic_views(truth)[:1])[0] == ()
    np.testing.assert_array_equal(one.frames[0].depth, depth)
    assert one.settings["placement"] == ["alone"]


@pytest.mark.parametrize("kind", ["identical", "black", "pixel", "sizes"])
def test_odd_photos_still_give_a_result(truth, kind):
    scene, views = copy.deepcopy(Scene(truth.frames[:3])), synthetic_views(truth)[:3]
    if kind == "identical":
        views = [views[0]] * 3
    elif kind == "black":
        views = [View(np.zeros_like(view.image), view.name) for view in views]
    elif kind == "pixel":
        views = [View(view.image[:1, :1], view.name) for view in views]
    else:
        views[1] = View(np.ascontiguousarray(views[1].image[::2, ::2]), "small.png")
        scene.frames[1].original_from_processed = np.diag([0.5, 0.5, 1]).astype(np.float32)
    run(scene, views)
    for frame in scene.frames:
        assert np.isfinite(frame.camera.world_from_camera).all()
        assert np.isfinite(frame.depth).all()
        assert (frame.depth >= 0).all()
    assert len(scene.settings["placement"]) == 3


def test_identical_photos_of_one_camera_stay_together(truth):
    scene = Scene([copy.deepcopy(truth.frames[0]) for _ in range(4)])
    views = [synthetic_views(truth)[0]] * 4
    run(scene, views)
    assert "guess" not in scene.settings["placement"]
    for frame in scene.frames:
        np.testing.assert_allclose(frame.camera.world_from_camera, np.eye(4), atol=0.02)
        np.testing.assert_array_equal(frame.depth, truth.frames[0].depth)


def test_a_closed_run_leaves_the_scene_alone(truth):
    scene = as_a_network_sees(truth)
    cameras = [frame.camera.world_from_camera.copy() for frame in scene.frames]
    steps = verify(scene, synthetic_views(truth))
    next(steps)
    steps.close()
    for frame, camera in zip(scene.frames, cameras, strict=True):
        np.testing.assert_array_equal(frame.camera.world_from_camera, camera)
