import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon import geometry, gravity
from recon.scene import Camera, Frame
from tests.helpers import room_from_cameras, synthetic_scene, synthetic_up


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


def look(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """A camera in a world whose up is -y; positive pitch looks up; degrees."""
    rotation = Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True).as_matrix()
    return geometry.rigid(rotation, np.zeros(3))


def without_depth(world_from_camera: np.ndarray) -> list[Frame]:
    image, unknown = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.float32)
    intrinsics = geometry.intrinsics_from_focal(50, 64, 48)
    return [Frame(image, unknown, unknown, Camera(intrinsics, pose)) for pose in world_from_camera]


def on_plane(cameras: list[np.ndarray], normal: np.ndarray) -> list[Frame]:
    """What ``cameras`` at the origin see of the plane ``normal @ point == 1``; other pixels are unknown."""
    frames = without_depth(np.stack(cameras))
    for frame in frames:
        rays = geometry.unproject(np.ones((48, 64)), frame.camera.intrinsics) @ frame.camera.world_from_camera[:3, :3].T
        slope = rays @ normal
        frame.depth = np.where(slope > 0.1, 1 / np.maximum(slope, 0.1), 0).astype(np.float32)
        frame.confidence = np.ones_like(frame.depth)
    return frames


# --- cameras alone -------------------------------------------------------------------------------------------------


def test_one_camera_is_taken_to_be_level():
    np.testing.assert_allclose(gravity.up_from_cameras(look(30, 0)[None]), [0, -1, 0], atol=1e-9)


@pytest.mark.parametrize("frames", [5, 8, 20])
def test_up_is_found_from_cameras_that_all_look_down(frames):
    cameras = geometry.invert(room_from_cameras(frames)[0]) @ room_from_cameras(frames)
    assert degrees_between(cameras[0, :3, 1], -synthetic_up(frames)) > 17  # the pictures alone would say
    assert degrees_between(gravity.up_from_cameras(cameras), synthetic_up(frames)) < 2.5


@pytest.mark.parametrize("seed", range(10))
def test_up_survives_unsteady_hands(seed):
    generator = np.random.default_rng(seed)
    angles = np.stack([generator.uniform(-90, 90, 12), generator.normal(-20, 8, 12), generator.normal(0, 3, 12)], -1)
    assert degrees_between(gravity.up_from_cameras(np.stack([look(*angle) for angle in angles])), [0, -1, 0]) < 5


def test_looking_straight_down_while_turning():
    cameras = np.stack([look(yaw, -90) for yaw in (0, 60, 120, 180, 240, 300)])
    assert cameras[0, 1, 2] == pytest.approx(1)  # forward is +y, down
    assert degrees_between(gravity.up_from_cameras(cameras), [0, -1, 0]) < 1


def test_a_few_photos_lie_on_their_side():
    cameras = np.stack([look(yaw, -10, 90 * (yaw in (-40, 20))) for yaw in range(-60, 80, 20)])
    assert degrees_between(gravity.up_from_cameras(cameras), [0, -1, 0]) < 6


# --- surfaces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 8])
def test_floor_and_walls_correct_cameras_that_look_down(frames):
    scene = synthetic_scene(frames)
    cameras = np.stack([frame.camera.world_from_camera for frame in scene.frames])
    assert degrees_between(gravity.up_from_cameras(cameras), synthetic_up(frames)) > (10 if frames < 3 else 0.5)
    assert degrees_between(gravity.up_direction(scene.frames), synthetic_up(frames)) < 0.5


def test_up_stays_while_a_scene_grows():
    scene = synthetic_scene(16)
    ups = [gravity.up_direction(scene.frames[:count]) for count in range(1, 17)]
    assert max(degrees_between(up, ups[-1]) for up in ups) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_noisy_depth_with_outliers_is_enough(seed):
    generator = np.random.default_rng(seed)
    scene = synthetic_scene(3)
    for frame in scene.frames:
        frame.depth *= np.exp(generator.normal(0, 0.01, frame.depth.shape)).astype(np.float32)
        frame.depth[generator.random(frame.depth.shape) < 0.05] *= 1.5
    assert degrees_between(gravity.up_direction(scene.frames), synthetic_up(3)) < 4


def test_cameras_that_look_up_at_a_facade():
    cameras = [look(yaw, 28) for yaw in (-2, 0, 2)]
    assert degrees_between(gravity.up_from_cameras(np.stack(cameras)), [0, -1, 0]) > 20
    assert degrees_between(gravity.up_direction(on_plane(cameras, np.array([0, 0, 1.0]))), [0, -1, 0]) < 3


def test_cameras_that_look_down_at_a_desk():
    cameras = [look(yaw, -35) for yaw in (-3, 0, 3)]
    assert degrees_between(gravity.up_from_cameras(np.stack(cameras)), [0, -1, 0]) > 20
    assert degrees_between(gravity.up_direction(on_plane(cameras, np.array([0, 1.0, 0]))), [0, -1, 0]) < 3


def test_a_steep_slope_does_not_outweigh_cameras_that_look_all_around():
    cameras = [look(yaw, -15) for yaw in range(0, 360, 45)]
    hill = np.array([np.sin(np.radians(30)), np.cos(np.radians(30)), 0])
    assert degrees_between(gravity.up_direction(on_plane(cameras, hill)), [0, -1, 0]) < 1


@pytest.mark.parametrize("seed", range(5))
def test_surfaces_of_all_directions_change_nothing(seed):
    normals = np.random.default_rng(seed).normal(size=(5000, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    cameras = np.stack([look(yaw, 0) for yaw in (-20, 0, 20)])
    guess = gravity.up_from_cameras(cameras)
    found = gravity.up_from_surfaces(guess, np.diag([200.0, 0, 4]), normals, np.ones(5000))
    assert degrees_between(found, guess) < 5


def test_without_surfaces_the_cameras_decide():
    cameras = np.stack([look(yaw, -20) for yaw in (-30, 0, 30)])
    np.testing.assert_array_equal(gravity.up_direction(without_depth(cameras)), gravity.up_from_cameras(cameras))


def test_confidence_that_is_not_finite_is_left_out():
    scene = synthetic_scene(3)
    for frame in scene.frames:
        frame.confidence[:24] = np.nan
        frame.confidence[24:30] = np.inf
    assert degrees_between(gravity.up_direction(scene.frames), synthetic_up(3)) < 1
    scene.frames[0].confidence[:] = scene.frames[1].confidence[:] = scene.frames[2].confidence[:] = 0
    assert np.isfinite(gravity.up_direction(scene.frames)).all()


def test_the_same_frames_give_the_same_up():
    frames = synthetic_scene(4).frames
    np.testing.assert_array_equal(gravity.up_direction(frames), gravity.up_direction(frames))


# --- upright -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_upright_does_not_depend_on_the_world(seed):
    generator = np.random.default_rng(seed)
    frames = synthetic_scene(8).frames
    new_from_world = geometry.rigid(Rotation.random(random_state=generator).as_matrix(), generator.normal(size=3))
    for frame in frames:
        frame.camera.world_from_camera = (new_from_world @ frame.camera.world_from_camera).astype(np.float32)
    rotation = gravity.upright(frames)[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert degrees_between(rotation @ new_from_world[:3, :3] @ synthetic_up(8), np.array([0, 1, 0])) < 0.5
    forward = np.mean([rotation @ frame.camera.world_from_camera[:3, 2] for frame in frames], 0)
    assert forward[2] < -0.8
    assert abs(forward[0]) < 1e-5


@pytest.mark.parametrize(
    "cameras",
    [
        [(0, -90)],
        [(0, 90)],
        [(0, 0, 90)],
        [(0, 0), (180, 0)],
        [(90 * i, 0) for i in range(4)],
        [(0, 0), *[(0, -90)] * 8],
    ],
)
def test_upright_has_an_answer_for_odd_cameras(cameras):
    rotation = gravity.upright(without_depth(np.stack([look(*angles) for angles in cameras])))[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1)
