import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon import geometry
from tests.helpers import synthetic_scene, synthetic_up

SEEDS = range(20)


def random_rigid(generator: np.random.Generator) -> np.ndarray:
    return geometry.rigid(Rotation.random(random_state=generator).as_matrix(), generator.normal(size=3))


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


# --- pixels and rays -----------------------------------------------------------------------------------------------


def test_the_centre_of_the_first_pixel_is_at_one_half():
    grid = geometry.pixel_grid(2, 3)
    assert grid.shape == (2, 3, 2)
    assert grid.dtype == np.float32
    assert grid[0, 0].tolist() == [0.5, 0.5]
    assert grid[1, 2].tolist() == [2.5, 1.5]


def test_unproject_known_values():
    intrinsics = np.array([[100, 0, 2], [0, 50, 1], [0, 0, 1]], np.float32)
    points = geometry.unproject(np.full((2, 4), 10.0), intrinsics)
    assert points.dtype == np.float32
    # the pixel (0, 0) has its centre at (0.5, 0.5): x = 10 (0.5 - 2) / 100, y = 10 (0.5 - 1) / 50
    np.testing.assert_allclose(points[0, 0], [-0.15, -0.1, 10], rtol=1e-6)
    np.testing.assert_allclose(points[1, 3], [0.15, 0.1, 10], rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_project_undoes_unproject(seed):
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 40, 2)
    intrinsics = geometry.intrinsics_from_focal((generator.uniform(20, 200), generator.uniform(20, 200)), width, height)
    intrinsics[:2, 2] += generator.normal(0, 3, 2)
    points = geometry.unproject(generator.uniform(0.1, 50, (height, width)), intrinsics)
    np.testing.assert_allclose(geometry.project(points, intrinsics), geometry.pixel_grid(height, width), atol=1e-3)


def test_a_point_in_the_plane_of_the_camera_has_no_pixel():
    assert not np.isfinite(geometry.project(np.array([1.0, 2.0, 0.0]), np.eye(3))).any()


def test_field_of_view_reaches_from_edge_to_edge():
    intrinsics = geometry.intrinsics_from_fov(np.radians(90), np.radians(60), 200, 100)
    left, top = geometry.project(np.array([[-1.0, 0, 1], [0, -np.tan(np.radians(30)), 1]]), intrinsics)
    np.testing.assert_allclose(left, [0, 50], atol=1e-4)
    np.testing.assert_allclose(top, [100, 0], atol=1e-4)


def test_resizing_moves_corners_to_corners_and_intrinsics_along():
    large_from_small = geometry.resize_transform((40, 30), (80, 90))
    np.testing.assert_allclose(large_from_small @ [40, 30, 1], [80, 90, 1])
    small, point = geometry.intrinsics_from_focal(35.0, 40, 30), np.array([0.2, -0.1, 1.5])
    pixel = np.append(geometry.project(point, small), 1)
    np.testing.assert_allclose(geometry.project(point, large_from_small @ small), (large_from_small @ pixel)[:2])


# --- rigid and similarity transforms -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_invert_undoes_a_rigid_transform(seed):
    generator = np.random.default_rng(seed)
    a_from_b = np.stack([random_rigid(generator) for _ in range(3)])
    np.testing.assert_allclose(geometry.invert(a_from_b) @ a_from_b, np.tile(np.eye(4), (3, 1, 1)), atol=1e-12)
    points = generator.normal(size=(2, 5, 3))
    there = geometry.transform(a_from_b[0], points)
    np.testing.assert_allclose(geometry.transform(geometry.invert(a_from_b[0]), there), points, atol=1e-12)


def test_quaternion_known_values():
    quarter = np.sqrt(0.5)
    np.testing.assert_allclose(geometry.rotation_from_quaternion(np.array([1.0, 0, 0, 0])), np.eye(3))
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # 90 degrees about z: x goes to y
    np.testing.assert_allclose(geometry.rotation_from_quaternion(np.array([quarter, 0, 0, quarter])), turn, atol=1e-12)
    np.testing.assert_allclose(geometry.quaternion_from_rotation(turn), [quarter, 0, 0, quarter], atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_quaternions_agree_with_scipy_and_return(seed):
    generator = np.random.default_rng(seed)
    quaternion = generator.normal(size=(4, 4))  # of any length
    rotation = geometry.rotation_from_quaternion(quaternion)
    np.testing.assert_allclose(rotation, Rotation.from_quat(quaternion[:, [1, 2, 3, 0]]).as_matrix(), atol=1e-12)
    for single, matrix in zip(quaternion, rotation, strict=True):
        expected = single / np.linalg.norm(single) * (1 if single[0] >= 0 else -1)
        np.testing.assert_allclose(geometry.quaternion_from_rotation(matrix), expected, atol=1e-9)
    expected = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True) * np.sign(quaternion[:, :1])
    np.testing.assert_allclose(geometry.quaternions_from_rotations(rotation), expected, atol=1e-9)


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 2, 3], [-1, 1, 1e-9]])
def test_half_turns_have_quaternions(axis):
    rotation = Rotation.from_rotvec(np.pi * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    np.testing.assert_allclose(
        geometry.rotation_from_quaternion(geometry.quaternion_from_rotation(rotation)), rotation, atol=1e-9
    )
    many = geometry.quaternions_from_rotations(np.stack([rotation, np.eye(3)]))
    np.testing.assert_allclose(geometry.rotation_from_quaternion(many), np.stack([rotation, np.eye(3)]), atol=1e-9)


@pytest.mark.parametrize("angle", [0, 1e-7, 1e-3, 1, 90, 179.999, 180])
def test_rotation_angle(angle):
    axis = np.array([1, -2, 0.5]) / np.linalg.norm([1, -2, 0.5])
    rotation = Rotation.from_rotvec(np.radians(angle) * axis).as_matrix()
    assert geometry.rotation_angle(rotation) == pytest.approx(angle, abs=1e-8)
    assert geometry.rotation_angle(np.stack([rotation, np.eye(3)])).shape == (2,)


@pytest.mark.parametrize("seed", SEEDS)
def test_similarity_finds_what_moved_the_points(seed):
    generator = np.random.default_rng(seed)
    target_from_source = random_rigid(generator)
    target_from_source[:3, :3] *= generator.uniform(0.01, 100)
    source = generator.normal(size=(4 + seed, 3))
    if seed % 2:
        source[:, 2] = 0  # flat
    target = geometry.transform(target_from_source, source)
    np.testing.assert_allclose(geometry.similarity(target, source), target_from_source, rtol=1e-6, atol=1e-8)


def test_similarity_weighs_and_never_mirrors():
    generator = np.random.default_rng(0)
    source = generator.normal(size=(10, 3))
    target = 2 * source + 1
    target[-1] += 100
    weights = np.array([1.0] * 9 + [0.0])
    expected = [[2, 0, 0, 1], [0, 2, 0, 1], [0, 0, 2, 1]]
    np.testing.assert_allclose(geometry.similarity(target, source, weights)[:3], expected, atol=1e-12)
    mirrored = geometry.similarity(source * [1, 1, -1], source)
    assert np.linalg.det(mirrored[:3, :3]) > 0


def test_similarity_of_one_point_moves_it():
    target_from_source = geometry.similarity(np.array([[1.0, 2, 3]]), np.array([[0.0, 0, 1]]))
    np.testing.assert_allclose(geometry.transform(target_from_source, np.array([0, 0, 1])), [1, 2, 3])


def test_a_similarity_keeps_cameras_rigid_and_pixels_where_they_are():
    generator = np.random.default_rng(1)
    similarity = random_rigid(generator)
    similarity[:3, :3] *= 3
    cameras = np.stack([random_rigid(generator) for _ in range(5)])
    moved = geometry.apply_similarity(similarity, cameras)
    np.testing.assert_allclose(np.linalg.det(moved[:, :3, :3]), 1)
    points = generator.normal(size=(7, 3))
    for before, after in zip(cameras, moved, strict=True):
        seen = geometry.transform(geometry.invert(before), points)
        seen_after = geometry.transform(geometry.invert(after), geometry.transform(similarity, points))
        np.testing.assert_allclose(seen_after, 3 * seen, atol=1e-10)


# --- cameras from points -------------------------------------------------------------------------------------------


def correspondences(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    intrinsics = geometry.intrinsics_from_focal(500.0, 640, 480)
    world_from_camera = random_rigid(generator)
    points_in_camera = generator.uniform([-2, -1.5, 3], [2, 1.5, 8], (count, 3))
    pixels = geometry.project(points_in_camera, intrinsics) + generator.normal(0, 0.3, (count, 2))
    return geometry.transform(world_from_camera, points_in_camera), pixels, intrinsics, world_from_camera


@pytest.mark.parametrize("seed", range(5))
def test_pnp_finds_the_camera_among_outliers(seed):
    points, pixels, intrinsics, world_from_camera = correspondences(seed, 120)
    wrong = np.arange(120) % 3 == 0
    pixels[wrong] = np.random.default_rng(seed).uniform([0, 0], [640, 480], (wrong.sum(), 2))
    found = geometry.pnp(points, pixels, intrinsics)
    assert found is not None
    estimated, inliers = found
    assert geometry.rotation_angle(estimated[:3, :3].T @ world_from_camera[:3, :3]) < 0.2
    assert np.linalg.norm(estimated[:3, 3] - world_from_camera[:3, 3]) < 0.03
    assert inliers[~wrong].all()
    assert inliers[wrong].mean() < 0.1


def test_pnp_does_not_believe_noise_or_too_little():
    generator = np.random.default_rng(0)
    points, pixels, intrinsics, _ = correspondences(0, 40)
    assert geometry.pnp(points[:5], pixels[:5], intrinsics) is None
    assert geometry.pnp(points, generator.uniform([0, 0], [640, 480], (40, 2)), intrinsics, minimum=20) is None


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_pnp_works_in_any_unit(unit):
    points, pixels, intrinsics, world_from_camera = correspondences(0, 60)
    found = geometry.pnp(unit * points, pixels, intrinsics)
    assert found is not None
    assert np.linalg.norm(found[0][:3, 3] / unit - world_from_camera[:3, 3]) < 0.03


@pytest.mark.parametrize("shape", ["point", "line"])
def test_pnp_survives_degenerate_points(shape):
    generator = np.random.default_rng(0)
    points = np.ones((20, 3)) if shape == "point" else np.linspace(0, 1, 20)[:, None] * [[1.0, 2, 3]]
    geometry.pnp(points, generator.uniform(0, 100, (20, 2)), geometry.intrinsics_from_focal(100.0, 100, 100))


# --- surfaces ------------------------------------------------------------------------------------------------------


def test_normals_of_a_plane_face_the_camera():
    """The plane n.x = -4 with n towards the camera, met by each ray at depth -4 / (n.ray)."""
    normal = np.array([0.3, -0.5, -1.0]) / np.linalg.norm([0.3, -0.5, -1.0])
    rays = geometry.unproject(np.ones((20, 30)), geometry.intrinsics_from_focal(30.0, 30, 20))
    points = rays * (-4 / (rays @ normal))[..., None]
    normals = geometry.normals(points)
    assert normals.dtype == np.float32
    np.testing.assert_allclose(normals, np.broadcast_to(normal, normals.shape), atol=1e-3)
    np.testing.assert_allclose(geometry.normals(points * 1e-6), normals, atol=1e-2)  # whatever the unit


def test_normals_of_the_synthetic_scene_do_not_bend_at_depth_edges():
    frame = synthetic_scene(1, 96, 128).frames[0]
    normals = geometry.normals(frame.world_points())
    on_floor = degrees_from(normals, synthetic_up(1)) < 10
    floor_height = frame.world_points() @ synthetic_up(1)
    floor = np.abs(floor_height - floor_height.min()) < 1e-3
    assert floor.sum() > 1000
    assert on_floor[floor].mean() > 0.97  # balls stand before a part of it


def degrees_from(directions: np.ndarray, direction: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(directions @ direction, -1, 1)))


def test_normals_use_what_is_known():
    rays = geometry.unproject(np.full((5, 5), 2.0), geometry.intrinsics_from_focal(5.0, 5, 5))
    rays[2, 2] = np.nan
    normals = geometry.normals(rays)
    assert normals[2, 2].tolist() == [0, 0, 0]
    around = np.ones((5, 5), bool)
    around[2, 2] = False
    np.testing.assert_allclose(normals[around], np.broadcast_to([0, 0, -1], (24, 3)), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_a_single_line_of_pixels_has_no_normals(shape):
    assert not geometry.normals(np.random.default_rng(0).normal(size=(*shape, 3))).any()


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("scaled", [True, False])
def test_cameras_are_brought_to_others_however_few(count, scaled):
    random = np.random.default_rng(count)
    rotations = geometry.rotation_from_quaternion(random.standard_normal((count + 1, 4)))
    source = np.stack([geometry.rigid(rotation, random.standard_normal(3)) for rotation in rotations[:count]])
    scale = 2.5 if scaled and count > 1 else 1.0
    moved = geometry.rigid(scale * rotations[-1], np.array([3.0, -2, 100]))
    target = geometry.apply_similarity(moved, source)
    np.testing.assert_allclose(geometry.align_cameras(target, source, scaled), moved, atol=1e-9)


def test_the_nearest_rotation_turns_and_no_more():
    rotation = geometry.rotation_from_quaternion(np.array([0.3, 0.5, -0.2, 0.7]))
    np.testing.assert_allclose(geometry.nearest_rotation(3 * rotation), rotation, atol=1e-12)
    mirrored = geometry.nearest_rotation(rotation @ np.diag([1.0, 1, -1]))
    assert np.linalg.det(mirrored) == pytest.approx(1)
