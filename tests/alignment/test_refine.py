import copy

import cv2
import numpy as np
import pytest

from recon import geometry
from recon.alignment import depth as depth_fit
from recon.alignment.observations import MOST, group_by_camera, observe
from recon.alignment.refine import Refinement, refine
from recon.errors import InputError
from recon.scene import Scene, Tracks
from tests.helpers import synthetic_scene


def followed(
    scene: Scene, count: int = 300, noise: float = 0.5, outliers: float = 0.15, queries: tuple[int, ...] = (0,)
) -> Tracks:
    """Random pixels of the query frames followed through all frames: noisy, a share of them gone astray."""
    random = np.random.default_rng(0)
    height, width = scene.frames[0].depth.shape
    points, query = [], np.repeat(queries, count).astype(np.int32)
    for index in queries:
        frame = scene.frames[index]
        pixels = random.uniform([1, 1], [width - 1, height - 1], (count, 2))
        rays = np.column_stack([pixels, np.ones(count)]) @ np.linalg.inv(frame.camera.intrinsics).T
        local = rays * depth_fit.sample(frame.depth, pixels)[:, None]
        points.append(geometry.transform(frame.camera.world_from_camera, local))
    world = np.concatenate(points)
    tracks = Tracks(*np.zeros((3, len(scene.frames), len(world), 1), np.float32), query)
    tracks.pixels = np.repeat(tracks.pixels, 2, -1)
    tracks.visibility, tracks.confidence = tracks.visibility[..., 0] + 0.05, tracks.confidence[..., 0] + 0.9
    for index, frame in enumerate(scene.frames):
        local = geometry.transform(frame.camera.camera_from_world, world)
        pixels = geometry.project(local, frame.camera.intrinsics)
        elsewhere = query != index
        visible = np.abs(depth_fit.sample(frame.depth, pixels) / local[:, 2] - 1) < 0.02
        pixels += random.normal(0, noise, pixels.shape) * elsewhere[:, None]
        astray = (random.random(len(pixels)) < outliers) & elsewhere
        pixels[astray] = random.uniform([0, 0], [width, height], (astray.sum(), 2))
        tracks.pixels[index] = pixels
        tracks.visibility[index, visible | astray] = 0.9
    return tracks


def perturbed(truth: Scene, turn: float = 2.0, step: float = 0.03, focal: float = 1.04) -> Scene:
    """The scene with all cameras but the first turned (degrees) and moved (of the usual depth), and a wrong focal."""
    scene, random = copy.deepcopy(truth), np.random.default_rng(3)
    distance = float(np.median(truth.frames[0].depth))
    for index, frame in enumerate(scene.frames):
        frame.camera.intrinsics = frame.camera.intrinsics * np.array(
            [[focal, 1, 1], [1, focal, 1], [1, 1, 1]], np.float32
        )
        if index:
            axis, way = (direction / np.linalg.norm(direction) for direction in random.normal(size=(2, 3)))
            frame.camera.world_from_camera[:3, :3] @= cv2.Rodrigues(np.radians(turn) * axis)[0].astype(np.float32)
            frame.camera.world_from_camera[:3, 3] += step * distance * way
    return scene


def pose_errors(scene: Scene, truth: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Degrees and distances by which each camera but the first is off."""
    poses, true = (np.array([frame.camera.world_from_camera for frame in s.frames[1:]]) for s in (scene, truth))
    angles = geometry.rotation_angle(np.swapaxes(poses[:, :3, :3], 1, 2) @ true[:, :3, :3])
    return angles, np.linalg.norm(poses[:, :3, 3] - true[:, :3, 3], axis=1)


def depth_error(scene: Scene, truth: Scene) -> float:
    pairs = zip(scene.frames, truth.frames, strict=True)
    return float(np.mean([np.abs(np.log(frame.depth / true.depth)).mean() for frame, true in pairs]))


def arrays(scene: Scene) -> list[np.ndarray]:
    cameras = [array for f in scene.frames for array in (f.camera.intrinsics, f.camera.world_from_camera)]
    return cameras + [frame.depth for frame in scene.frames]


@pytest.fixture(scope="module")
def truth() -> Scene:
    return synthetic_scene(6, 360, 480)


@pytest.fixture(scope="module")
def refined(truth) -> tuple[Scene, Scene, Refinement]:
    before = perturbed(truth)
    before.tracks = followed(truth, queries=(0, 4))
    after = copy.deepcopy(before)
    return before, after, after.refine()


# --- what refinement achieves --------------------------------------------------------------------------------------


def test_cameras_become_right(refined, truth):
    before, after, _ = refined
    for wrong, right in zip(pose_errors(before, truth), pose_errors(after, truth), strict=True):
        assert right.mean() < wrong.mean() / 5
    true = truth.frames[0].camera.intrinsics[0, 0]
    assert abs(after.frames[0].camera.intrinsics[0, 0] / true - 1) < 0.04 / 4


def test_the_report_tells_what_the_tracks_say(refined):
    _, after, result = refined
    assert result.changed == (0, 1, 2, 3, 4, 5)
    assert result.weak == ()
    assert result.before.median > 5
    assert 0.2 < result.after.median < 0.7  # of noise with a standard deviation of half a pixel a side
    assert result.after.mean < 1
    assert 450 < result.points <= 600
    assert result.observations > 4 * result.points
    assert after.sparse_points is not None
    assert len(after.sparse_points) == result.points
    assert f"{result.before.median:.2f} to {result.after.median:.2f} pixels" in after.notes[-1]
    assert "one focal length for all frames" in after.notes[-1]


def test_the_world_and_its_scale_stay(refined, truth):
    before, after, _ = refined
    np.testing.assert_allclose(after.frames[0].camera.world_from_camera, np.eye(4), atol=1e-6)
    ratio = np.median([np.median(a.depth / b.depth) for a, b in zip(after.frames, before.frames, strict=True)])
    assert abs(ratio - 1) < 0.01


def test_sparse_points_lie_on_the_surfaces(refined, truth):
    _, after, _ = refined
    surface = np.concatenate([frame.world_points()[::4, ::4].reshape(-1, 3) for frame in truth.frames])
    distances = [np.linalg.norm(surface - point, axis=1).min() for point in after.sparse_points[::10]]
    assert np.median(distances) < 0.03  # metres, of a room of seven; the surface is sampled every few centimetres


def test_depth_follows_the_cameras(truth):
    scene = perturbed(truth)
    scene.tracks = followed(truth)
    for frame, factor in zip(scene.frames, (1.1, 0.9, 1.1, 1, 0.95, 1), strict=True):
        frame.depth *= np.float32(factor)
    wrong = depth_error(scene, truth)
    scene.refine()
    scale = np.median(
        np.concatenate([(f.depth / t.depth).ravel() for f, t in zip(scene.frames, truth.frames, strict=True)])
    )
    for frame in scene.frames:
        frame.depth /= scale
    assert depth_error(scene, truth) < wrong / 3


def test_a_rough_start_is_no_obstacle(truth):
    """Cameras, focal length and depth as wrong as a small network has them."""
    scene = perturbed(truth, turn=5, step=0.08, focal=1.15)
    scene.tracks = followed(truth, queries=(0, 2, 4))
    for frame, factor in zip(scene.frames, (1.15, 1, 0.85, 1, 1.1, 1), strict=True):
        frame.depth *= np.float32(factor)
    assert scene.refine().weak == ()
    assert pose_errors(scene, truth)[0].max() < 1


def test_perfect_tracks_give_perfect_cameras(truth):
    scene = perturbed(truth)
    scene.tracks = followed(truth, noise=0, outliers=0)
    result = scene.refine()
    assert result.after.median < 0.01
    assert pose_errors(scene, truth)[0].max() < 0.05


def test_a_frame_in_a_wrong_place_is_found_by_the_others(truth):
    scene = perturbed(truth, turn=0.5)
    scene.tracks = followed(truth)
    scene.frames[2].camera.world_from_camera = perturbed(truth, turn=25, step=0.3).frames[2].camera.world_from_camera
    assert scene.refine().weak == ()
    assert pose_errors(scene, truth)[0].max() < 0.5


def test_points_of_the_models_own_stay_on_their_pixels(truth):
    scene = perturbed(truth)
    scene.tracks = followed(truth)
    for frame in scene.frames:
        frame.points = frame.world_points().copy()
    scene.refine()
    for frame, true in zip(scene.frames, truth.frames, strict=True):
        local = geometry.transform(frame.camera.camera_from_world, frame.points)
        pixels = geometry.project(local, frame.camera.intrinsics)
        np.testing.assert_allclose(pixels, geometry.pixel_grid(*frame.depth.shape), atol=0.02)
        assert np.median(np.abs(local[..., 2] / true.depth - 1)) < 0.03


def test_pixels_of_the_photo_are_square_whatever_the_model_made_of_it(truth):
    scene = perturbed(truth)
    scene.tracks = followed(truth)
    squeeze = np.array([[1, 0, 0], [0, 0.8, 36], [0, 0, 1]])  # about the principal point
    for frame in scene.frames:
        frame.original_size = (968, 736)
        frame.original_from_processed = (
            np.diag([2, 2, 1]) @ np.array([[1, 0, 2], [0, 1, 4], [0, 0, 1]]) @ np.linalg.inv(squeeze)
        )
        frame.camera.intrinsics = (squeeze @ frame.camera.intrinsics).astype(np.float32)
    scene.tracks.pixels = (scene.tracks.pixels @ squeeze[:2, :2].T + squeeze[:2, 2]).astype(np.float32)
    scene.refine()
    assert pose_errors(scene, truth)[0].mean() < 0.4
    for frame, true in zip(scene.frames, truth.frames, strict=True):
        np.testing.assert_allclose(frame.camera.intrinsics, squeeze @ true.camera.intrinsics, rtol=0.01)
        np.testing.assert_allclose(frame.camera.intrinsics[1, 1], 0.8 * frame.camera.intrinsics[0, 0], rtol=1e-5)


# --- what keeps it from doing harm ---------------------------------------------------------------------------------


def assert_untouched(scene: Scene, before: list[np.ndarray]) -> None:
    for now, then in zip(arrays(scene), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert scene.sparse_points is None


@pytest.mark.parametrize("fault", ["outliers", "hidden", "unsure", "few", "one frame", "nothing followed"])
def test_too_little_that_agrees_changes_nothing_and_says_so(truth, fault):
    scene = perturbed(truth)
    scene.tracks = followed(truth, count=15 if fault == "few" else 300, outliers=1.0 if fault == "outliers" else 0.15)
    if fault == "hidden":
        scene.tracks.visibility[:] = 0.1
    if fault == "unsure":
        scene.tracks.confidence[:] = 0.1
    if fault == "one frame":
        scene.frames = scene.frames[:1]
        scene.tracks = followed(scene)
    if fault == "nothing followed":
        scene.tracks = followed(scene, count=0)
    before = arrays(scene)
    before = [array.copy() for array in before]
    result = scene.refine()
    assert_untouched(scene, before)
    assert (result.changed, result.points, result.observations) == ((), 0, 0)
    assert scene.notes == ["Refinement changed nothing: too few tracked points agree between frames."]


def test_a_camera_that_only_turns_tells_nothing_of_depth(truth):
    scene = Scene([copy.deepcopy(truth.frames[0]) for _ in range(3)])
    scene.tracks = followed(scene)
    before = [array.copy() for array in arrays(scene)]
    assert scene.refine().changed == ()
    assert_untouched(scene, before)


def test_what_cannot_be_bettered_is_left_alone(truth):
    scene = copy.deepcopy(truth)
    scene.tracks = followed(truth, noise=0, outliers=0)
    for index, frame in enumerate(scene.frames):  # as exact as arrays of float32 say
        local = geometry.transform(frame.camera.camera_from_world, observed_points(scene))
        scene.tracks.pixels[index] = geometry.project(local, frame.camera.intrinsics)
    result = scene.refine()
    assert pose_errors(scene, truth)[0].max() < 0.01
    assert result.after.median <= result.before.median


def observed_points(scene: Scene) -> np.ndarray:
    points = observe(scene.frames, scene.tracks).points
    return np.where(np.isfinite(points), points, 1.0)


def test_weak_frames_stay_and_are_named(truth):
    scene = perturbed(truth)
    scene.tracks = followed(truth)
    scene.tracks.visibility[[2, 5]] = 0.0
    before = [array.copy() for array in arrays(scene)]
    result = scene.refine()
    assert (result.changed, result.weak) == ((0, 1, 3, 4), (2, 5))
    for index in (4, 5, 10, 11, 14, 17):  # cameras and depth of the two
        np.testing.assert_array_equal(arrays(scene)[index], before[index])
    assert scene.frames[2].name in scene.notes[-1]
    assert scene.frames[5].name in scene.notes[-1]


def test_the_first_frame_may_be_weak(truth):
    scene = perturbed(truth)
    scene.tracks = followed(truth, queries=(2,))
    scene.tracks.visibility[0] = 0.0
    anchor = scene.frames[1].camera.world_from_camera.copy()
    result = scene.refine()
    assert result.weak == (0,)
    np.testing.assert_allclose(scene.frames[1].camera.world_from_camera, anchor, atol=1e-5)
    relative, true = (
        geometry.invert(s.frames[1].camera.world_from_camera) @ s.frames[4].camera.world_from_camera
        for s in (scene, truth)
    )
    assert geometry.rotation_angle(relative[:3, :3].T @ true[:3, :3]) < 0.4


def test_frames_that_hang_together_only_among_themselves_are_not_mixed(truth):
    scene = perturbed(truth)
    scene.tracks = followed(truth, queries=(0, 5))
    scene.tracks.visibility[4:, :300] = 0.0
    scene.tracks.visibility[:4, 300:] = 0.0
    assert scene.refine().changed == (0, 1, 2, 3)


def test_two_frames_hold_their_focal_length(truth):
    scene = perturbed(Scene(truth.frames[:2]), focal=1.0)
    scene.tracks = followed(Scene(truth.frames[:2]))
    before = scene.frames[1].camera.intrinsics.copy()
    assert scene.refine().changed == (0, 1)
    np.testing.assert_allclose(scene.frames[1].camera.intrinsics, before, rtol=1e-6)
    assert "focal lengths held" in scene.notes[-1]


def test_tracks_are_needed_and_must_be_of_this_scene(truth):
    scene = copy.deepcopy(truth)
    with pytest.raises(InputError, match="no tracks: follow points"):
        scene.refine()
    scene.tracks = followed(Scene(truth.frames[:4]))
    with pytest.raises(InputError, match="not of this scene's frames"):
        scene.refine()


def test_progress_never_falls(truth):
    scene = perturbed(truth)
    scene.tracks = followed(truth)
    fractions = [fraction for fraction, _ in refine(scene)]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] < 1


# --- observations --------------------------------------------------------------------------------------------------


def test_frames_of_one_size_and_about_one_focal_length_share_it():
    sizes = [(640, 480), (640, 480), (480, 640), (640, 480), (640, 480)]
    group = group_by_camera(sizes, np.array([500.0, 520.0, 500.0, 1500.0, 490.0]))
    assert group[0] == group[1] == group[4]
    assert len({group[0], group[2], group[3]}) == 3
    assert sorted(set(group)) == [0, 1, 2]


def test_points_start_where_depth_puts_them(truth):
    start = observe(truth.frames, followed(truth, noise=0, outliers=0))
    assert np.percentile(start.errors(), 90) < 1
    assert (start.view == 0).sum() > 250


def test_a_point_without_depth_starts_where_its_rays_meet(truth):
    scene = copy.deepcopy(truth)
    scene.frames[0].depth[:] = 0
    start = observe(scene.frames, followed(truth, noise=0, outliers=0))
    assert np.median(start.errors()) < 1


def test_what_moves_or_is_masked_is_not_observed(truth):
    scene = copy.deepcopy(truth)
    tracks = followed(truth)
    scene.frames[1].moving = np.ones(scene.frames[1].depth.shape, bool)
    scene.frames[2].valid = np.zeros(scene.frames[2].depth.shape, bool)
    start = observe(scene.frames, tracks)
    assert set(start.view) == {0, 3, 4, 5}


def test_more_observations_than_can_be_adjusted_are_thinned_evenly():
    scene = synthetic_scene(4, 24, 32)
    count = MOST // 2
    random = np.random.default_rng(0)
    pixels = np.tile(random.uniform([0, 0], [32, 24], (count, 2)).astype(np.float32), (4, 1, 1))
    everywhere = np.ones((4, count), np.float32)
    start = observe(scene.frames, Tracks(pixels, everywhere, everywhere, np.zeros(count, np.int32)))
    assert 0.9 * MOST < len(start.view) <= MOST
    assert len(np.unique(np.unique(start.point) // (count // 10))) == 10
