"""Exports of scanning apps: Polycam, 3D Scanner App, Record3D."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import lzfse
import numpy as np
import OpenEXR
import pytest

from recon import InputError, geometry
from recon.known import attach
from recon.scene import Scene
from tests.known.photographed import misplaced, photographed
from tests.known.test_nerfstudio import GL


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographed(tmp_path_factory.mktemp("phones") / "images")


def arkit_poses(scene: Scene) -> list[np.ndarray]:
    return [frame.camera.world_from_camera.astype(float) @ GL for frame in scene.frames]


def shrunk(depth: np.ndarray) -> np.ndarray:
    """As the depth sensor has it: fewer pixels, whole millimetres."""
    return (depth[::2, ::2] * 1000).round().astype(np.uint16)


def polycam(scene: Scene, folder: Path, corrected: bool) -> Path:
    keyframes = folder / "keyframes"
    for kind in ["cameras", "depth", *(["corrected_cameras"] if corrected else [])]:
        (keyframes / kind).mkdir(parents=True)
    (fx, _, cx), (_, fy, cy), _ = scene.frames[0].camera.intrinsics.tolist()
    for frame, pose in zip(scene.frames, arkit_poses(scene), strict=True):
        camera = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "width": 96, "height": 72, "blur_score": 100}
        stem = Path(frame.name).stem
        for kind, drift in [("cameras", 0.5 if corrected else 0), *([("corrected_cameras", 0)] if corrected else [])]:
            moved = pose + drift
            rows = {f"t_{row}{column}": moved[row, column] for row in range(3) for column in range(4)}
            (keyframes / kind / f"{stem}.json").write_text(json.dumps({**camera, **rows}))
        cv2.imwrite(str(keyframes / "depth" / f"{stem}.png"), shrunk(frame.depth))
    return folder


@pytest.mark.parametrize("corrected", [False, True])
def test_polycam(photos, tmp_path, corrected):
    scene, views = photos
    known = attach(views, [polycam(scene, tmp_path, corrected)])
    assert known.notes == []
    for view, frame in zip(known.views, scene.frames, strict=True):
        assert misplaced(view, frame) < 0.02
        assert view.metric
        np.testing.assert_allclose(view.depth[::2, ::2], frame.depth[::2, ::2], atol=6e-4)


def test_3d_scanner_app(photos, tmp_path):
    scene, views = photos
    for index, (frame, pose) in enumerate(zip(scene.frames, arkit_poses(scene), strict=True)):
        document = {
            "cameraPoseARFrame": pose.ravel().tolist(), "intrinsics": frame.camera.intrinsics.ravel().tolist(),
            "frame_index": index, "time": 0.1 * index,
        }  # fmt: skip
        (tmp_path / f"IMG_{index}.json").write_text(json.dumps(document))
        cv2.imwrite(str(tmp_path / f"depth_{index}.png"), shrunk(frame.depth))
        cv2.imwrite(str(tmp_path / f"conf_{index}.png"), np.full((36, 48), 2, np.uint8))
    known = attach(views, [tmp_path])
    assert known.notes == []
    for view, frame in zip(known.views, scene.frames, strict=True):
        assert misplaced(view, frame) < 0.02
        assert view.metric
        assert view.depth is not None


def record3d(scene: Scene, per_frame: bool) -> dict[str, object]:
    quaternions = [geometry.quaternion_from_rotation(pose[:3, :3])[[1, 2, 3, 0]] for pose in arkit_poses(scene)]
    centres = [pose[:3, 3] for pose in arkit_poses(scene)]
    k = scene.frames[0].camera.intrinsics
    metadata = {
        "w": 96, "h": 72, "dw": 48, "dh": 36, "fps": 30, "K": k.T.ravel().tolist(),
        "poses": [[*q.tolist(), *c.tolist()] for q, c in zip(quaternions, centres, strict=True)],
    }  # fmt: skip
    if per_frame:
        metadata["K"] = np.eye(3).ravel().tolist()
        metadata["perFrameIntrinsicCoeffs"] = [[float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])]] * 3
    return metadata


@pytest.mark.parametrize("per_frame", [False, True])
def test_an_r3d_file(tmp_path, per_frame):
    scene, views = photographed(tmp_path / "photos")
    for index, view in enumerate(views):
        view.path, view.name = tmp_path / "rgbd" / f"{index}.jpg", f"{index}.jpg"
    with zipfile.ZipFile(tmp_path / "scan.r3d", "w") as archive:
        archive.writestr("metadata", json.dumps(record3d(scene, per_frame)))
        for index, frame in enumerate(scene.frames):
            archive.writestr(f"rgbd/{index}.jpg", "a photo")
            archive.writestr(f"rgbd/{index}.depth", lzfse.compress(frame.depth[::2, ::2].astype("<f4").tobytes()))
    known = attach(views, [tmp_path / "scan.r3d"])
    assert known.notes == []
    for view, frame in zip(known.views, scene.frames, strict=True):
        assert misplaced(view, frame) < 0.02
        assert view.metric
        np.testing.assert_array_equal(view.depth[::2, ::2], frame.depth[::2, ::2])


def test_a_record3d_folder_of_exr(tmp_path):
    scene, views = photographed(tmp_path / "photos")
    for index, view in enumerate(views):
        view.path, view.name = tmp_path / "rgb" / f"{index}.jpg", f"{index}.jpg"
    (tmp_path / "export" / "depth").mkdir(parents=True)
    (tmp_path / "export" / "metadata.json").write_text(json.dumps(record3d(scene, True)))
    for index, frame in enumerate(scene.frames):
        OpenEXR.File({}, {"R": frame.depth}).write(str(tmp_path / "export" / "depth" / f"{index}.exr"))
    known = attach(views, [tmp_path / "export"])
    np.testing.assert_array_equal(known.views[2].depth, scene.frames[2].depth)
    assert all(view.metric and misplaced(view, f) < 0.02 for view, f in zip(known.views, scene.frames, strict=True))


@pytest.mark.parametrize("metadata", ["", "{}", '{"poses": []}', '{"poses": [[1, 2], null, "x"], "w": "wide"}'])
def test_a_damaged_recording_is_told_in_one_sentence(photos, tmp_path, metadata):
    with zipfile.ZipFile(tmp_path / "scan.r3d", "w") as archive:
        archive.writestr("metadata", metadata)
        archive.writestr("rgbd/0.depth", b"bvx2" + bytes(20))
    with pytest.raises(InputError) as told:
        attach(photos[1], [tmp_path / "scan.r3d"])
    assert str(told.value).count(". ") == 0


def test_frames_of_a_recordings_video_are_found_by_time(photos, tmp_path):
    scene, views = photos
    (tmp_path / "metadata.json").write_text(json.dumps({**record3d(scene, True), "fps": 2}))
    clip = [replace(view, name=f"scan.mp4 at {i}", time=i / 2) for i, view in enumerate(views)]
    known = attach(clip, [tmp_path])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))
