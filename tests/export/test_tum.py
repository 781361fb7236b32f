import numpy as np

import recon
from recon import geometry
from recon.filters import Filters
from tests.helpers import moving_scene, synthetic_scene


def read(path):
    """Timestamps ``[N]`` and poses ``[N,4,4]``, read as the format's documents say."""
    rows = np.loadtxt(path, ndmin=2)
    x, y, z, w = rows[:, 4:].T
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, 3] = rows[:, 1:4]
    poses[:, :3, :3] = geometry.rotation_from_quaternion(np.stack([w, x, y, z], -1))
    return rows[:, 0], poses


def test_it_holds_the_cameras_of_the_shown_frames_at_their_times(tmp_path):
    scene = moving_scene(5)
    path = recon.export(scene, tmp_path / "scene.tum", Filters(frames=frozenset({0, 2, 3})))
    times, poses = read(path)
    np.testing.assert_allclose(times, [0, 1, 1.5])
    expected = [scene.frames[index].camera.world_from_camera for index in (0, 2, 3)]
    np.testing.assert_allclose(poses, expected, atol=1e-6)
    assert path.read_text().splitlines()[1] == "# timestamp tx ty tz qx qy qz qw"


def test_lines_are_in_the_order_of_time(tmp_path):
    scene = moving_scene(3)
    for frame, time in zip(scene.frames, (2.0, 0.5, 1.0), strict=True):
        frame.time = time
    times, poses = read(recon.export(scene, tmp_path / "scene.tum"))
    np.testing.assert_allclose(times, [0.5, 1, 2])
    np.testing.assert_allclose(poses[2], scene.frames[0].camera.world_from_camera, atol=1e-6)


def test_photos_and_several_videos_are_numbered(tmp_path):
    photos, videos = synthetic_scene(3), moving_scene(4)
    videos.frames[2].time = videos.frames[0].time
    for scene in (photos, videos):
        times, _ = read(recon.export(scene, tmp_path / "scene.tum"))
        np.testing.assert_array_equal(times, np.arange(len(scene.frames)))
