import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

import recon
from recon import geometry
from recon.filters import Filters
from recon.scene import Scene, View
from tests.export.test_colmap import EVERYTHING, photographed
from tests.helpers import synthetic_up

Written = tuple[Scene, Path, dict]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("nerfstudio")
    scene = photographed(folder)
    path = recon.export(scene, folder / "out.nerfstudio.zip", EVERYTHING)
    with zipfile.ZipFile(path) as archive:
        return scene, path, json.loads(archive.read("transforms.json"))


def test_points_project_onto_the_photos_by_the_conventions_of_nerfstudio(written: Written) -> None:
    scene, path, document = written
    with zipfile.ZipFile(path) as archive:
        cloud = trimesh.load(io.BytesIO(archive.read(document["ply_file_path"])), file_type="ply")
        assert {name for name in archive.namelist() if name.startswith("images/")} == {
            each["file_path"] for each in document["frames"]
        }
        hits = 0
        for each, frame in zip(document["frames"], scene.frames, strict=True):
            photo = np.asarray(Image.open(io.BytesIO(archive.read(each["file_path"]))), int)
            assert photo.shape[:2] == (each["h"], each["w"]) == (340, 400)
            local = geometry.transform(np.linalg.inv(each["transform_matrix"]), cloud.vertices)
            ahead = -local[:, 2]  # it looks along -z, y up
            x = np.floor(local[:, 0] / ahead * each["fl_x"] + each["cx"]).astype(int)
            y = np.floor(-local[:, 1] / ahead * each["fl_y"] + each["cy"]).astype(int)
            inside = (ahead > 0) & (x >= 12) & (x < 396) & (y >= 20) & (y < 318)
            alike = np.abs(photo[y[inside], x[inside]] - cloud.colors[inside, :3]).max(1) < 24
            seen = frame.depth.size / sum(other.depth.size for other in scene.frames)
            assert alike.mean() > max(0.5, seen)  # the rest is hidden behind what is nearer
            hits += int(alike.sum())
    assert hits > len(cloud.vertices)


def test_the_world_stands_on_its_feet(written: Written) -> None:
    _, _, document = written
    turned = np.asarray(document["applied_transform"])[:, :3] @ synthetic_up(3)
    np.testing.assert_allclose(turned, [0, 0, 1], atol=0.15)


def test_what_is_known_reads_it_back(written: Written) -> None:
    scene, path, _ = written
    views = [recon.read(frame.path).views[0] for frame in scene.frames if frame.path]
    known = recon.attach([View(view.image, view.name, view.path) for view in views], [path])
    for view, frame in zip(known.views, scene.frames, strict=True):
        np.testing.assert_allclose(view.world_from_camera, frame.camera.world_from_camera, atol=1e-5)
        np.testing.assert_allclose(
            view.intrinsics, frame.original_from_processed @ frame.camera.intrinsics, rtol=1e-5, atol=1e-3
        )


def test_hidden_frames_are_left_out(written: Written, tmp_path: Path) -> None:
    path = recon.export(written[0], tmp_path / "one.nerfstudio.zip", Filters(frames={1}))
    with zipfile.ZipFile(path) as archive:
        (only,) = json.loads(archive.read("transforms.json"))["frames"]
    assert only["file_path"] == "images/photo_1.jpg"
