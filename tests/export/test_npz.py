import json
import re

import numpy as np

import recon
from recon.export import cloud
from recon.export.npz import write_npz
from recon.filters import Filters, keep
from recon.geometry import transform
from tests.alignment.test_refine import followed
from tests.helpers import moving_scene, synthetic_scene

FILTERS = Filters(confidence=30, frames=frozenset({0, 2}))


def test_everything_is_there_in_the_scenes_own_frame(tmp_path):
    scene = synthetic_scene(3)
    scene.frames[1].time = 2.5
    scene.notes, scene.settings = ["Größe unknown."], {"verify": True}
    with np.load(recon.export(scene, tmp_path / "scene.npz", FILTERS)) as file:
        arrays = dict(file)
    for index, (frame, mask) in enumerate(zip(scene.frames, keep(scene, FILTERS), strict=True)):
        for key, expected in (
            ("images", frame.image), ("depth", frame.depth), ("confidence", frame.confidence), ("mask", mask),
            ("points", frame.world_points()), ("intrinsics", frame.camera.intrinsics),
            ("world_from_camera", frame.camera.world_from_camera),
            ("original_from_processed", frame.original_from_processed),
        ):  # fmt: skip
            np.testing.assert_array_equal(arrays[key][index], expected, err_msg=key)
            assert arrays[key].dtype == expected.dtype, key
    assert arrays["names"].tolist() == [frame.name for frame in scene.frames]
    np.testing.assert_array_equal(arrays["times"], [np.nan, 2.5, np.nan])
    assert arrays["sizes"].tolist() == arrays["original_sizes"].tolist() == [[64, 48]] * 3
    assert (bool(arrays["metric"]), str(arrays["model"])) == (True, "synthetic")
    assert json.loads(str(arrays["settings"])) == {"verify": True}
    assert Filters(**json.loads(str(arrays["filters"]))) == FILTERS
    assert arrays["notes"].tolist() == ["Größe unknown."]
    assert arrays["sparse_points"].shape == (0, 3)
    assert not arrays["moving"].any()
    assert arrays["track_pixels"].shape == (3, 0, 2)


def test_what_moves_is_there(tmp_path):
    scene = moving_scene(3)
    with np.load(recon.export(scene, tmp_path / "scene.npz", FILTERS)) as file:
        np.testing.assert_array_equal(file["moving"], [frame.moving for frame in scene.frames])


def test_tracks_are_there(tmp_path):
    scene = synthetic_scene(3)
    scene.tracks = followed(scene, count=7)
    with np.load(recon.export(scene, tmp_path / "scene.npz", FILTERS)) as file:
        assert file["track_pixels"].shape == (3, 7, 2)
        np.testing.assert_array_equal(file["track_pixels"], scene.tracks.pixels)
        np.testing.assert_array_equal(file["track_visibility"], scene.tracks.visibility)
        np.testing.assert_array_equal(file["track_confidence"], scene.tracks.confidence)
        np.testing.assert_array_equal(file["track_query"], scene.tracks.query)


def test_its_mask_and_transform_give_the_points_of_the_other_formats(tmp_path):
    scene = synthetic_scene(3)
    with np.load(recon.export(scene, tmp_path / "scene.npz", FILTERS)) as file:
        points = transform(file["upright_from_world"], file["points"][file["mask"]])
    np.testing.assert_allclose(points, cloud.positions(scene, keep(scene, FILTERS)), atol=1e-5)


def test_frames_of_different_sizes_are_padded(tmp_path):
    scene = synthetic_scene(2)
    scene.frames[1] = synthetic_scene(1, 60, 30).frames[0]
    scene.frames[1].depth[0, 0] = 0
    with np.load(recon.export(scene, tmp_path / "scene.npz", Filters(confidence=0, edges=False))) as file:
        assert file["sizes"].tolist() == [[64, 48], [30, 60]]
        assert file["images"].shape == (2, 60, 64, 3)
        np.testing.assert_array_equal(file["depth"][1, :, :30], scene.frames[1].depth)
        assert not file["mask"][1, 0, 0]
        assert not file["points"][1, 0, 0].any()
        assert [int(mask.sum()) for mask in file["mask"]] == [48 * 64, 60 * 30 - 1]
        assert not file["depth"][0, 48:].any()


def test_every_key_is_documented(tmp_path):
    with np.load(recon.export(synthetic_scene(1), tmp_path / "scene.npz")) as file:
        keys = set(file)
    table = (write_npz.__doc__ or "").split("=\n")[1]
    documented = {key for line in table.splitlines() for key in re.findall(r"^ +((?:\w+, )*\w+) {2,}", line)}
    assert {name for row in documented for name in row.split(", ")} == keys
