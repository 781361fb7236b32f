"""transforms.json of nerfstudio, instant-ngp and Blender scenes."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from recon import InputError, geometry
from recon.known import attach
from recon.scene import Scene
from tests.known.photographed import misplaced, photographed

GL = np.diag([1.0, -1, -1, 1])
PERMUTED = np.array([[0, 0, 1, 0.5], [1, 0, 0, -2], [0, 1, 0, 1]])  # a world turned and moved, as nerfstudio writes


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nerfstudio") / "images"
    return photographed(folder)


def frames_of(scene: Scene, applied: np.ndarray | None = None, scale: float = 1) -> list[dict[str, Any]]:
    frames = []
    for frame in scene.frames:
        pose = frame.camera.world_from_camera.astype(float)
        if applied is not None:
            pose = np.vstack([applied, [0, 0, 0, 1]]) @ pose
        pose[:3, 3] *= scale
        frames.append({"file_path": f"images/{frame.name}", "transform_matrix": (pose @ GL).tolist()})
    return frames


def shared(scene: Scene) -> dict[str, Any]:
    (fx, _, cx), (_, fy, cy), _ = scene.frames[0].camera.intrinsics.tolist()
    width, height = scene.frames[0].size
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": width, "h": height, "camera_model": "OPENCV"}


def written(folder: Path, document: dict[str, Any], name: str = "transforms.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("where", ["shared", "per frame"])
def test_intrinsics_are_shared_or_each_frames_own(photos, tmp_path, where):
    scene, views = photos
    document = {"frames": frames_of(scene)}
    for target in [document] if where == "shared" else document["frames"]:
        target.update(shared(scene))
    known = attach(views, [written(tmp_path, document)])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))
    assert known.notes == []
    assert not known.views[0].metric


def test_applied_transform_and_scale_are_undone(photos, tmp_path):
    scene, views = photos
    document = {
        **shared(scene), "applied_transform": PERMUTED.tolist(), "applied_scale": 0.25,
        "frames": frames_of(scene, PERMUTED, 0.25),
    }  # fmt: skip
    known = attach(views, [written(tmp_path, document)])
    for view, frame in zip(known.views, scene.frames, strict=True):
        np.testing.assert_allclose(view.world_from_camera, frame.camera.world_from_camera, atol=1e-5)


def test_instant_ngp_gives_an_angle(photos, tmp_path):
    scene, views = photos
    angle = 2 * np.arctan(scene.frames[0].size[0] / 2 / scene.frames[0].camera.intrinsics[0, 0])
    document = {"camera_angle_x": float(angle), "frames": frames_of(scene)}
    for frame in document["frames"]:
        frame["file_path"] = "./images/" + Path(frame["file_path"]).stem  # Blender scenes leave the suffix out
    known = attach(views, [written(tmp_path, document)])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))


def test_parts_of_a_data_set_share_a_world(photos, tmp_path):
    scene, views = photos
    frames = frames_of(scene)
    written(tmp_path, {**shared(scene), "frames": frames[:1]}, "transforms_test.json")
    written(tmp_path, {**shared(scene), "frames": frames[1:]}, "transforms_train.json")
    known = attach(views, [tmp_path])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))


@pytest.mark.parametrize(("model", "keys"), [("OPENCV", ("k1", "p1")), ("OPENCV_FISHEYE", ("k1", "k4"))])
def test_distortion_is_taken_out(photos, tmp_path, model, keys):
    scene, views = photos
    document = {**shared(scene), **dict.fromkeys(keys, 0.02), "camera_model": model, "frames": frames_of(scene)}
    known = attach(views, [written(tmp_path, document)])
    assert f"{model} undistorted" in known.rows[0].intrinsics


def test_depth_is_in_metres_by_its_factor(photos, tmp_path):
    scene, views = photos
    (tmp_path / "depth").mkdir()
    document = {**shared(scene), "depth_unit_scale_factor": 0.0005, "frames": frames_of(scene)}
    for index, (frame, entry) in enumerate(zip(scene.frames[:2], document["frames"], strict=False)):
        cv2.imwrite(str(tmp_path / "depth" / f"{index}.png"), (frame.depth / 0.0005).round().astype(np.uint16))
        entry["depth_file_path"] = f"depth/{index}.png"
    written(tmp_path, document)
    known = attach(views, [tmp_path])
    np.testing.assert_allclose(known.views[1].depth, scene.frames[1].depth, atol=3e-4)
    assert known.views[1].metric
    assert known.views[2].depth is None
    assert any("No depth" in note and "'IMG_2.jpg'" in note for note in known.notes)


def bent(kind: str) -> list[list[float]]:
    pose = geometry.rigid(np.eye(3), np.ones(3))
    if kind == "left-handed":
        pose[0, 0] = -1
    if kind == "scaled by 2":
        pose[:3, :3] *= 2
    if kind == "no rotation":
        pose[0, 1] = 0.5
    if kind == "not finite":
        pose[0, 3] = np.nan
    return pose.tolist() if kind != "pose with numbers" else [[1, 2], [3]]


@pytest.mark.parametrize("kind", ["left-handed", "scaled by 2", "no rotation", "not finite", "pose with numbers"])
def test_a_pose_that_is_none_is_named_and_the_others_are_used(photos, tmp_path, kind):
    scene, views = photos
    frames = frames_of(scene)
    frames[1]["transform_matrix"] = bent(kind)
    known = attach(views, [written(tmp_path, {**shared(scene), "frames": frames})])
    assert [view.world_from_camera is None for view in known.views] == [False, True, False]
    assert known.views[1].intrinsics is not None
    assert any("'IMG_1.jpg'" in note and kind in note for note in known.notes)


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", '{"frames": 3}', '{"frames": []}', "[" * 100_000, '{"frames": [1, null, {}]}', "\x00"]
)
def test_what_is_no_transforms_json_is_told_in_one_sentence(photos, tmp_path, text):
    path = tmp_path / "transforms.json"
    path.write_text(text)
    with pytest.raises(InputError) as told:
        attach(photos[1], [path])
    assert str(told.value).count(". ") == 0


def test_frames_of_other_photos(photos, tmp_path):
    scene, views = photos
    frames = frames_of(scene)
    for frame in frames:
        frame["file_path"] = frame["file_path"].replace("IMG", "other")
    with pytest.raises(InputError, match=r"other_0.jpg.*not among the photos"):
        attach(views, [written(tmp_path, {**shared(scene), "frames": frames})])


def test_depth_that_a_frame_names_is_not_read_twice(photos, tmp_path):
    scene, views = photos
    frames = frames_of(scene)
    for index, (frame, entry) in enumerate(zip(scene.frames, frames, strict=True)):
        np.save(tmp_path / f"IMG_{index}.npy", frame.depth * 1000)
        entry["depth_file_path"] = f"IMG_{index}.npy"
    written(tmp_path, {**shared(scene), "frames": frames})
    known = attach(views, [tmp_path])
    assert known.notes == []
    np.testing.assert_allclose(known.views[0].depth, scene.frames[0].depth, rtol=1e-5)


@pytest.mark.parametrize("width", [pytest.param(10**400, id="huge"), -3, 0, None, "wide", [1, 2], float("inf")])
def test_sizes_that_are_none_are_no_trace(photos, tmp_path, width):
    scene, views = photos
    known = attach(views, [written(tmp_path, {**shared(scene), "w": width, "frames": frames_of(scene)})])
    assert all(view.world_from_camera is not None for view in known.views)
