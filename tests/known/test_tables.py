"""Tables of numbers: intrinsics, trajectories, named columns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import recon
from recon import InputError, geometry
from recon.known import attach
from recon.scene import Scene
from tests.known.photographed import misplaced, photographed


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographed(tmp_path_factory.mktemp("tables") / "images")


def written(folder: Path, name: str, rows: list[object]) -> Path:
    path = folder / name
    path.write_text("\n".join(map(str, rows)) + "\n")
    return path


def k_file(scene: Scene, folder: Path, scale: float = 1) -> Path:
    matrix = np.diag([scale, scale, 1]) @ scene.frames[0].camera.intrinsics
    return written(folder, "K.txt", [" ".join(f"{value:.6f}" for value in row) for row in matrix])


def place(pose: np.ndarray) -> list[float]:
    """x, y, z, qx, qy, qz, qw."""
    w, x, y, z = geometry.quaternion_from_rotation(pose[:3, :3])
    return [*pose[:3, 3].tolist(), float(x), float(y), float(z), float(w)]


def tum(scene: Scene, times: list[float]) -> list[object]:
    rows = zip(times, scene.frames, strict=True)
    return ["# timestamp tx ty tz qx qy qz qw"] + [
        " ".join(map(str, [time, *place(frame.camera.world_from_camera)])) for time, frame in rows
    ]


def test_one_matrix_is_of_all_photos_and_poses_come_in_order(photos, tmp_path):
    scene, views = photos
    rows = [" ".join(map(str, frame.camera.world_from_camera[:3].ravel().tolist())) for frame in scene.frames]
    known = attach(views, [k_file(scene, tmp_path), written(tmp_path, "poses.txt", rows)])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))
    assert "KITTI" in known.rows[0].source
    assert any("in their order" in note for note in known.notes)


def test_a_matrix_of_another_resolution_is_named(photos, tmp_path):
    scene, views = photos
    with pytest.raises(InputError, match=r"96x72 pixels.*about 384x288") as told:
        attach(views, [k_file(scene, tmp_path, 4)])
    assert "'IMG_0.jpg', 'IMG_1.jpg' and 'IMG_2.jpg'" in str(told.value)


@pytest.mark.parametrize("start", [0.0, 1_700_000_000.0])
def test_a_trajectory_finds_the_frames_of_a_video_by_time(photos, tmp_path, start):
    scene, views = photos
    clip = [replace(view, name=f"clip.mp4 at {i}", time=0.5 * i) for i, view in enumerate(views)]
    times = [start, start + 0.25, start + 0.51, start + 0.75, start + 0.99]
    doubled = Scene([scene.frames[i] for i in (0, 2, 1, 0, 2)])
    known = attach(clip, [written(tmp_path, "trajectory.txt", tum(doubled, times))])
    for view, frame in zip(known.views, scene.frames, strict=True):
        np.testing.assert_allclose(view.world_from_camera, frame.camera.world_from_camera, atol=1e-5)
    assert any("start of the video" in note for note in known.notes) == (start > 0)


def test_photos_that_are_named_after_their_time(photos, tmp_path):
    scene, views = photos
    times = [1341847980.722988, 1341847981.726650, 1341847982.730674]
    named = [replace(view, path=None, name=f"{time:.6f}.png") for view, time in zip(views, times, strict=True)]
    trajectory = written(tmp_path, "groundtruth.txt", tum(scene, [time + 0.004 for time in times]))
    known = attach(named[1:], [trajectory])
    np.testing.assert_allclose(known.views[1].world_from_camera, scene.frames[2].camera.world_from_camera, atol=1e-5)


@pytest.mark.parametrize("separator", [",", "; ", " "])
def test_columns_that_are_named(photos, tmp_path, separator):
    scene, views = photos
    (fx, _, cx), (_, fy, cy), _ = (2 * scene.frames[0].camera.intrinsics).tolist()
    rows = [["filename", "w", "h", "fx", "fy", "cx", "cy", "tx", "ty", "tz", "qx", "qy", "qz", "qw"]] + [
        [f"sub/{frame.name}", 192, 144, fx, fy, cx, cy, *place(frame.camera.world_from_camera)]
        for frame in reversed(scene.frames)
    ]
    table = written(tmp_path, "cameras.csv", [separator.join(map(str, row)) for row in rows])
    known = attach(views, [table])
    assert known.notes == []
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))


def test_rows_that_begin_with_the_photos_name(photos, tmp_path):
    scene, views = photos
    rows = [f"{frame.name} " + " ".join(map(str, place(frame.camera.world_from_camera))) for frame in scene.frames]
    known = attach(views, [written(tmp_path, "poses.txt", rows[::-1])])
    np.testing.assert_allclose(
        known.views[0].world_from_camera, scene.frames[0].camera.world_from_camera, atol=1e-5
    )  # fmt: skip


@pytest.mark.parametrize(
    "rows",
    [["hello world"], ["1 2 3"], ["1 2 3 4 5 6 7 8", "1 2 3"], ["0 1 2 3 0 0 0 0"] * 3, ["fx,cx", "a,b"], ["\0"]],
)
def test_what_is_no_table_is_told_in_one_sentence(photos, tmp_path, rows):
    with pytest.raises(InputError) as told:
        attach(photos[1], [written(tmp_path, "table.txt", rows)])
    assert str(told.value).count(". ") == 0


def test_a_table_for_another_number_of_photos(photos, tmp_path):
    scene, views = photos
    rows = [" ".join(map(str, frame.camera.world_from_camera.ravel().tolist())) for frame in scene.frames]
    with pytest.raises(InputError, match=r"3 pictures.*2 photos"):
        attach(views[:2], [written(tmp_path, "poses.csv", rows)])


def test_text_beside_what_is_known_is_left_alone(photos, tmp_path):
    scene, views = photos
    k_file(scene, tmp_path)
    written(tmp_path, "readme.txt", ["Taken on a Sunday, with the old phone."])
    assert attach(views, [tmp_path]).notes == []


def test_a_folder_as_scannet_has_it(tmp_path):
    scene, _ = photographed(tmp_path / "photos")
    (tmp_path / "scan" / "pose").mkdir(parents=True)
    (tmp_path / "scan" / "intrinsic").mkdir()
    matrix = np.eye(4)
    matrix[:3, :3] = scene.frames[0].camera.intrinsics
    for name in ("intrinsic_color", "intrinsic_depth", "extrinsic_color", "extrinsic_depth"):
        rows = matrix if name == "intrinsic_color" else 0.5 * matrix if name == "intrinsic_depth" else np.eye(4)
        rows[3, 3] = 1
        np.savetxt(tmp_path / "scan" / "intrinsic" / f"{name}.txt", rows)
    for index, frame in enumerate(scene.frames):
        frame.path.rename(tmp_path / "photos" / f"{index:06d}.jpg")
        pose = frame.camera.world_from_camera if index != 1 else np.full((4, 4), -np.inf)
        np.savetxt(tmp_path / "scan" / "pose" / f"{index}.txt", pose)
    known = attach(recon.read(tmp_path / "photos").views, [tmp_path / "scan"])
    assert misplaced(known.views[2], scene.frames[2]) < 0.02
    assert known.views[1].world_from_camera is None
    assert any("'000001.jpg'" in note and "not finite" in note for note in known.notes)


def test_a_pose_in_a_file_each_beside_one_line_of_intrinsics(photos, tmp_path):
    scene, views = photos
    k = scene.frames[0].camera.intrinsics
    calibration = written(tmp_path, "calib.txt", [f"{k[0, 0]} {k[1, 1]} {k[0, 2]} {k[1, 2]}"])
    poses = []
    for frame in scene.frames:
        poses.append(tmp_path / f"{Path(frame.name).stem}.pose.txt")
        np.savetxt(poses[-1], frame.camera.world_from_camera)
    known = attach(views, [*poses, calibration])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_matrix_of_the_upright_photo_is_seen_by_its_middle(tmp_path, orientation):
    scene, views = photographed(tmp_path / "photos", 1, orientation)
    known = attach(views, [k_file(scene, tmp_path)])
    np.testing.assert_allclose(known.views[0].intrinsics, scene.frames[0].camera.intrinsics, rtol=1e-5)
    stored = written(tmp_path, "K.txt", [f"{scene.frames[0].camera.intrinsics[0, 0]} 0 36", "0 100 48", "0 0 1"])
    known = attach(views, [stored])
    assert known.views[0].intrinsics[:2, 2].tolist() == [48, 36]
    assert known.views[0].intrinsics[0, 0] == pytest.approx(100)
