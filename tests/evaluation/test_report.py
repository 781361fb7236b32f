"""Scene folders are read in our conventions, and exact reconstructions of them are found exact."""

import json
from dataclasses import replace

import numpy as np
import pytest

from recon import InputError, geometry
from recon.evaluation import report, scenes
from recon.scene import Camera, Frame
from tests.evaluation.scene_folder import DEPTH_SCALE, write_scene
from tests.helpers import synthetic_scene


@pytest.fixture
def scene():
    return synthetic_scene(frames=5)


@pytest.fixture
def folder(scene, tmp_path):
    """The synthetic scene in the format on disk, without depth for its last picture."""
    return write_scene(scene, tmp_path / "room", depths=4)


def elsewhere(frame: Frame, scale: float = 3.0) -> Frame:
    """The same frame in a world of another place, orientation and scale."""
    rotation = geometry.rotation_from_quaternion(np.array([0.9, 0.1, -0.4, 0.2]))
    similarity = geometry.rigid(scale * rotation, np.array([1.0, -7, 2]))
    moved = geometry.apply_similarity(similarity, frame.camera.world_from_camera.astype(np.float64))
    return replace(frame, depth=frame.depth * scale, camera=Camera(frame.camera.intrinsics, moved.astype(np.float32)))


def test_a_scene_folder_is_read_in_our_conventions(folder, scene):
    truth = scenes.load_scene(folder)
    assert (truth.name, len(truth.pictures), truth.metric) == ("room", 5, True)
    for i, frame in enumerate(scene.frames):
        np.testing.assert_allclose(truth.intrinsics[i], frame.camera.intrinsics, atol=1e-5)
        np.testing.assert_allclose(truth.world_from_camera[i], frame.camera.world_from_camera, atol=1e-5)
    np.testing.assert_allclose(truth.depth(3), scene.frames[3].depth, atol=DEPTH_SCALE)
    assert truth.depth(4) is None


def test_pictures_alone_are_a_scene_too(folder):
    for name in ("cameras.npz", "meta.json"):
        (folder / name).unlink()
    truth = scenes.load_scene(folder)
    assert truth.world_from_camera is None
    assert not truth.metric


def test_pictures_are_chosen_evenly_or_from_the_start(folder):
    truth = scenes.load_scene(folder)
    assert truth.choose(3) == (0, 2, 4)
    assert truth.choose(4) == (0, 1, 3, 4)  # 0, 1.33, 2.67, 4
    assert truth.choose(3, first=True) == (0, 1, 2)
    assert truth.choose(1) == (0,)
    assert truth.choose(99) == truth.choose(99, first=True) == (0, 1, 2, 3, 4)


def test_scenes_are_found_in_a_folder_of_scenes(folder):
    assert scenes.find_scenes([folder]) == scenes.find_scenes([folder.parent]) == [folder]
    with pytest.raises(InputError, match="is no scene"):
        scenes.find_scenes([folder / "depth"])
    with pytest.raises(InputError, match="is no scene"):
        scenes.find_scenes([folder / "not there"])


@pytest.mark.parametrize("damage", ["few cameras", "other arrays", "no archive"])
def test_cameras_that_do_not_fit_are_refused(folder, damage):
    path = folder / "cameras.npz"
    if damage == "few cameras":
        np.savez(path, K=np.zeros((2, 3, 3)), world_to_camera=np.zeros((2, 4, 4)))
    elif damage == "other arrays":
        np.savez(path, intrinsics=np.zeros((5, 3, 3)))
    else:
        path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="should hold"):
        scenes.load_scene(folder)


def test_the_truth_in_another_world_is_perfect(folder, scene):
    frames = {i: elsewhere(frame) for i, frame in enumerate(scene.frames)}
    result = report.compare(scenes.load_scene(folder), frames, range(5))
    assert (result.frames, result.auc30, result.rra5, result.rta5) == (5, 1, 1, 1)
    assert result.ate == pytest.approx(0, abs=1e-4)
    assert result.absrel == pytest.approx(0, abs=1e-3)
    assert result.delta125 == 1


def test_errors_of_depth_and_cameras_are_seen(folder, scene):
    frames = {i: elsewhere(frame) for i, frame in enumerate(scene.frames)}
    frames[0] = replace(frames[0], depth=frames[0].depth * 1.5)
    frames[2] = replace(frames[2], camera=frames[1].camera)
    result = report.compare(scenes.load_scene(folder), frames, range(5))
    assert result.absrel == pytest.approx(0.5 / 4, rel=0.01)  # one of the four frames with true depth is half too deep
    assert result.delta125 == pytest.approx(3 / 4, abs=0.01)
    assert result.auc30 < 0.95
    assert result.ate > 0.01


def test_a_picture_left_out_counts_in_all_its_pairs(folder, scene):
    frames = {i: elsewhere(frame) for i, frame in enumerate(scene.frames) if i != 1}
    result = report.compare(scenes.load_scene(folder), frames, range(5))
    assert [result.auc30, result.rra15, result.rta15] == pytest.approx([6 / 10] * 3)


def test_depth_is_compared_at_the_pixels_of_the_original():
    scene = synthetic_scene(frames=1, height=60, width=80)
    height, width = 120, 200  # the frame shows the middle 160 x 120 of a picture, at half size
    original_from_processed = np.array([[2, 0, 20], [0, 2, 0], [0, 0, 1]], np.float32)
    depth = np.tile(np.arange(80, dtype=np.float32) + 10, (60, 1))
    depth[30:, :40] = 0
    frame = replace(
        scene.frames[0],
        depth=depth,
        original_size=(width, height),
        original_from_processed=original_from_processed,
    )
    found = report.depth_at(frame, (width, height))
    assert found.shape == (height, width)
    # the centre of column 100 is x = 100.5 of the original, 40.25 of the frame, where column 40 has its centre at 40.5
    np.testing.assert_allclose(found[10, 100], 40.25 - 0.5 + 10, atol=0.05)
    assert (found[:, :18] == 0).all()
    assert (found[:, 182:] == 0).all()
    assert (found[64:, :98] == 0).all()
    assert (found[64:, 102:178] > 49).all()  # next to the unknown part, the known neighbours alone count
    assert report.depth_at(frame, (width // 2, height // 2))[5, 50] == pytest.approx(40.5 - 0.5 + 10, abs=0.05)


def test_what_is_not_known_is_null_and_left_out_of_the_mean(folder, scene):
    truth = scenes.load_scene(folder)
    frames = dict(enumerate(scene.frames))
    full = report.compare(truth, frames, range(5), seconds=2.0)
    pictures_only = report.compare(replace(truth, world_from_camera=None, depth_files=(None,) * 5), frames, [0, 4], 4.0)
    told = report.as_json({"full": full, "bare": pictures_only})
    assert set(told) == {"scenes", "mean"}
    keys = ["frames", "auc30", "rra5", "rra15", "rta5", "rta15", "ate", "absrel", "delta125", "seconds"]
    assert list(told["scenes"]["full"]) == list(told["mean"]) == keys
    assert all(told["scenes"]["bare"][key] is None for key in keys[1:-1])
    assert told["mean"]["auc30"] == told["scenes"]["full"]["auc30"] == 1
    assert (told["mean"]["seconds"], told["mean"]["frames"]) == (3.0, 3.5)
    json.dumps(told, allow_nan=False)
    table = report.as_table({"full": full, "bare": pictures_only})
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["full", "bare", "mean"]
    assert "nan" not in table
