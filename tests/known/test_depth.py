"""Depth maps in every format, matched by name or in order."""

import json
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pycolmap
import pytest

import recon
from recon import InputError
from recon.known import attach
from recon.known.depth import DepthFile
from tests.known.photographed import photographed
from tests.known.test_nerfstudio import frames_of, shared, written


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographed(tmp_path_factory.mktemp("depth") / "images")


def save(path: Path, depth: np.ndarray) -> Path:
    """In the format of the suffix: PNG in millimetres, others in metres."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".png":
        cv2.imwrite(str(path), (depth * 1000).round().astype(np.uint16))
    elif path.suffix == ".exr":
        OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, {"Z": depth.astype(np.float32)}).write(str(path))
    elif path.suffix == ".bin":
        pycolmap.DepthMap.from_array(depth.astype(np.float32), 0.0, 100.0).write(path)
    elif path.suffix == ".npz":
        np.savez_compressed(path, depth=depth)
    else:
        np.save(path, depth)
    return path


@pytest.mark.parametrize("suffix", [".png", ".exr", ".npy", ".npz", ".jpg.geometric.bin"])
def test_every_format_gives_the_same_depth(photos, tmp_path, suffix):
    scene, views = photos
    paths = [save(tmp_path / f"IMG_{i}{suffix}", frame.depth) for i, frame in enumerate(scene.frames)]
    known = attach(views, paths)
    for view, frame in zip(known.views, scene.frames, strict=True):
        np.testing.assert_allclose(view.depth, frame.depth, atol=6e-4)
        assert view.depth.dtype == np.float32
    assert known.views[0].metric == (suffix == ".png")
    assert known.notes == []
    assert ("in millimetres" if suffix == ".png" else "in its own unit") in known.rows[0].depth
    assert "100% known" in known.rows[0].depth


def test_a_scale_and_metres_can_be_said(photos, tmp_path):
    scene, views = photos
    paths = [save(tmp_path / f"IMG_{i}.npy", frame.depth * 50) for i, frame in enumerate(scene.frames)]
    known = attach(views, paths, depth_scale=0.02, metric=True)
    np.testing.assert_allclose(known.views[2].depth, scene.frames[2].depth, rtol=1e-5)
    assert known.views[2].metric
    assert "times 0.02" in known.rows[2].depth
    assert not attach(views, paths, metric=False).views[0].metric
    with pytest.raises(InputError, match="above 0"):
        attach(views, paths, depth_scale=-1)


def test_edges_are_not_mixed_and_unknown_stays_unknown(photos, tmp_path):
    _, views = photos
    depth = np.zeros((36, 48), np.float32)
    depth[:, 24:] = 5
    depth[0, 24:30] = [np.nan, np.inf, -1, 0, 1, 2]
    known = attach(views, [save(tmp_path / "IMG_0.npy", depth)])
    assert known.views[0].depth.shape == (72, 96)
    assert set(np.unique(known.views[0].depth)) == {0, 1, 2, 5}
    np.testing.assert_array_equal(known.views[0].depth[1::2, 1::2][1:], depth[1:])


@pytest.mark.parametrize(
    "name", ["IMG_{}_depth", "depth_{}", "IMG_{}.depth", "{}", "img_{}", "depth/{:05d}", "rgb_{}_zdepth"]
)
def test_names_need_only_be_alike(photos, tmp_path, name):
    scene, views = photos
    for index, frame in reversed(list(enumerate(scene.frames))):
        save(tmp_path / f"{name.format(index)}.npy", frame.depth)
    known = attach(views, [tmp_path])
    for view, frame in zip(known.views, scene.frames, strict=True):
        np.testing.assert_array_equal(view.depth, frame.depth)


def test_numbers_are_compared_as_numbers(photos, tmp_path):
    scene, _ = photos
    views = [recon.View(scene.frames[0].image, f"rgb-{number}.png") for number in (8, 9, 10, 11)]
    for number in (9, 10):
        save(tmp_path / f"depth_{number:04d}.npy", np.full((72, 96), float(number)))
    known = attach(views, [tmp_path])
    assert [None if view.depth is None else view.depth[0, 0] for view in known.views] == [None, 9, 10, None]
    assert any("'depth_0009.npy' to 'rgb-9.png'" in note for note in known.notes)


def test_other_names_are_taken_in_order_where_there_are_as_many(photos, tmp_path):
    scene, views = photos
    for name, frame in zip(["front", "left", "right"], scene.frames, strict=True):
        save(tmp_path / f"{name}.npy", frame.depth)
    known = attach(views, [tmp_path])
    np.testing.assert_array_equal(known.views[1].depth, scene.frames[1].depth)
    assert any("in their order" in note for note in known.notes)
    (tmp_path / "right.npy").unlink()
    with pytest.raises(InputError, match=r"2 pictures.*3 photos"):
        attach(views, [tmp_path])


def test_depth_of_another_shape_is_refused_and_the_rest_is_used(photos, tmp_path):
    scene, views = photos
    save(tmp_path / "IMG_0.npy", scene.frames[0].depth[:, :72])
    save(tmp_path / "IMG_1.npy", scene.frames[1].depth)
    known = attach(views, [tmp_path])
    assert [view.depth is None for view in known.views] == [True, False, True]
    assert any("'IMG_0.jpg'" in note and "96x72" in note and "72x72" in note for note in known.notes)


@pytest.mark.parametrize("orientation", [3, 6])
def test_depth_of_a_photo_as_it_is_stored_is_turned_with_it(tmp_path, orientation):
    from tests.test_photo import stored_for

    scene, views = photographed(tmp_path / "photos", 1, orientation)
    known = attach(views, [save(tmp_path / "IMG_0.npy", stored_for(orientation, scene.frames[0].depth))])
    np.testing.assert_array_equal(known.views[0].depth, scene.frames[0].depth)


def test_depth_follows_a_photo_whose_distortion_is_taken_out(photos, tmp_path):
    scene, views = photos
    document = {**shared(scene), "k1": -0.1, "frames": frames_of(scene)}
    rows = np.tile(np.arange(1, 73, dtype=np.float32)[:, None], (1, 96))
    known = attach(views, [written(tmp_path, document), save(tmp_path / "IMG_0.npy", rows)])
    height = known.views[0].depth.shape[0]
    left, middle = known.views[0].depth[2, 2], known.views[0].depth[2, known.views[0].size[0] // 2]
    assert left > middle  # a straight row of the photo is an arc now, and bends towards the middle
    assert known.views[0].depth[height // 2, 48] == pytest.approx(36, abs=1)


def test_poses_without_metres_and_depth_in_metres_are_not_called_metric(photos, tmp_path):
    scene, views = photos
    poses = written(tmp_path, {**shared(scene), "frames": frames_of(scene)})
    depth = save(tmp_path / "IMG_0.png", scene.frames[0].depth)
    known = attach(views, [poses, depth])
    assert not known.views[0].metric
    assert any("IMG_0.png" in note and "is in metres" in note for note in known.notes)
    assert attach(views, [poses, depth], metric=True).views[0].metric


BROKEN = {
    "empty.png": b"",
    "IMG_0.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x60\0\0\0\x48\x10\0\0\0\0",
    "IMG_0.exr": b"\x76\x2f\x31\x01" + bytes(50),
    "IMG_0.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999)}".ljust(
        127
    )
    + b"\n",
    "IMG_0.npz": b"PK\x03\x04",
    "IMG_0.jpg.geometric.bin": b"96&72&1&" + bytes(50),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_named(photos, tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(InputError, match=name) as told:
        attach(photos[1], [tmp_path / name])
    assert str(told.value).count(". ") == 0


def test_values_that_are_no_depth_are_named(photos, tmp_path):
    views = photos[1]
    np.save(tmp_path / "IMG_0.npy", np.zeros((72, 96, 3)))
    np.save(tmp_path / "IMG_1.npy", np.zeros((72, 96)))
    np.save(tmp_path / "IMG_2.npy", np.array([{"code": 1}], object), allow_pickle=True)
    with pytest.raises(InputError):
        attach(views, [tmp_path])
    for index, sentence in enumerate(["72x96x3 values", "knows no depth", "damaged or no depth map"]):
        with pytest.raises(InputError, match=sentence):
            DepthFile(tmp_path / f"IMG_{index}.npy", f"IMG_{index}.npy").load()


def test_a_picture_is_not_taken_for_depth(photos, tmp_path):
    scene, views = photos
    cv2.imwrite(str(tmp_path / "IMG_0.png"), scene.frames[0].image)
    with pytest.raises(InputError, match="16 bits"):
        attach(views, [tmp_path / "IMG_0.png"])
    with pytest.raises(InputError, match="tells nothing"):
        attach(views, [tmp_path])
    (tmp_path / "cameras.json").write_text(json.dumps({"note": "nothing"}))
    with pytest.raises(InputError, match="tells nothing"):
        attach(views, [tmp_path])


def test_values_for_nothing_are_not_taken_for_distances(tmp_path):
    np.save(tmp_path / "half.npy", np.array([[1, 65504, 2]], np.float16))
    cv2.imwrite(str(tmp_path / "whole.png"), np.array([[1000, 65535, 2000]], np.uint16))
    OpenEXR.File({}, {"Z": np.array([[1, 1e10, 2]], np.float32)}).write(str(tmp_path / "rendered.exr"))
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_allclose(DepthFile(path, path.name).load()[0], [[1, 0, 2]], rtol=1e-3)


def test_depth_is_found_in_a_part_of_an_exr_file(tmp_path):
    colour, depth = np.zeros((4, 6, 3), np.float16), np.full((4, 6), 3, np.float32)
    parts = [OpenEXR.Part({"name": "beauty"}, {"RGB": colour}), OpenEXR.Part({"name": "z"}, {"Z": depth})]
    OpenEXR.File(parts).write(str(tmp_path / "a.exr"))
    np.testing.assert_array_equal(DepthFile(tmp_path / "a.exr", "a.exr").load()[0], depth)
    OpenEXR.File({}, {"RGB": np.dstack([depth, depth, depth])}).write(str(tmp_path / "grey.exr"))
    np.testing.assert_array_equal(DepthFile(tmp_path / "grey.exr", "grey.exr").load()[0], depth)
    colour[..., 0] = 1
    OpenEXR.File({}, {"RGB": colour, "A": depth}).write(str(tmp_path / "photo.exr"))
    with pytest.raises(InputError, match="no channel for depth among a, b, g, r"):
        DepthFile(tmp_path / "photo.exr", "photo.exr").load()


def test_a_map_that_is_cut_off_is_refused_whole(photos, tmp_path):
    scene, views = photos
    for index in range(2):
        save(tmp_path / f"IMG_{index}.png", scene.frames[index].depth)
    whole = (tmp_path / "IMG_0.png").read_bytes()
    (tmp_path / "IMG_0.png").write_bytes(whole[: len(whole) // 2])
    known = attach(views, [tmp_path])
    assert [view.depth is None for view in known.views] == [True, False, True]
    assert any("'IMG_0.png' is damaged" in note for note in known.notes)
