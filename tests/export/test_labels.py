import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

import recon
from recon import InputError
from recon.filters import Filters
from recon.palette import classes, painted
from recon.scene import Labels
from tests.helpers import labelled_scene, synthetic_scene


def unpacked(path) -> dict[str, np.ndarray | dict]:
    with zipfile.ZipFile(path) as archive:
        return {
            name: np.array(Image.open(io.BytesIO(archive.read(name)))) if name.endswith(".png")
            else json.loads(archive.read(name))
            for name in archive.namelist()
        }  # fmt: skip


def test_pictures_of_the_photos_size_and_what_their_numbers_mean(tmp_path):
    scene = labelled_scene(3)
    scene.frames[1].original_size = (192, 144)
    scene.frames[1].original_from_processed = np.diag([3, 3, 1]).astype(np.float32)
    files = unpacked(recon.export(scene, tmp_path / "scene.labels.zip", Filters(frames=frozenset({0, 1}))))
    assert len(files) == 7
    told = files["labels.json"]
    assert [photo["photo"] for photo in told["photos"]] == [frame.name for frame in scene.frames[:2]]
    names = {row["number"]: row["name"] for row in told["classes"]}
    things = {row["number"]: row for row in told["segments"]}
    for frame, photo in zip(scene.frames, told["photos"], strict=False):
        semantic, instance, preview = (files[f"{kind}/{photo['file']}"] for kind in ("semantic", "instance", "preview"))
        scale = frame.original_size[0] // 64
        assert semantic.shape == instance.shape == preview.shape[:2] == frame.original_size[::-1]
        middle = instance[scale // 2 :: scale, scale // 2 :: scale]
        np.testing.assert_array_equal(middle, np.maximum(frame.segments, 0))
        for number in (1, 2, 101, 102):
            assert {names[int(value)] for value in np.unique(semantic[instance == number])} == {things[number]["name"]}
        assert (semantic[instance == 0] == 0).all()
        red, blue = preview[instance == 1].mean(0)[[0, 2]]
        assert red > blue + 50
    assert things[1]["thing"]
    assert things[1]["colour"] != things[2]["colour"]


def test_only_the_segments_that_are_chosen(tmp_path):
    scene = labelled_scene(1)
    files = unpacked(recon.export(scene, tmp_path / "a.labels.zip", Filters(segments=frozenset({2}))))
    (name,) = (name for name in files if name.startswith("instance"))
    assert set(np.unique(files[name])) == {0, 2}


@pytest.mark.parametrize("empty", [None, Labels(("ball",), np.zeros((1, 3), np.uint8))])
def test_where_nothing_is_recognised_a_sentence_says_so(tmp_path, empty):
    scene = synthetic_scene(1)
    scene.labels = empty
    with pytest.raises(InputError, match="no labels to write"):
        recon.export(scene, tmp_path / "a.labels.zip")
    assert not list(tmp_path.iterdir())


def test_palettes_tell_classes_and_things_apart():
    labels = labelled_scene(1).labels
    ids = np.array([[1, 2, 101], [102, -1, 7]])
    assert classes(ids, labels).tolist() == [[3, 3, 0], [1, -1, -1]]
    semantic, instance, panoptic = (painted(ids, labels, by) for by in ("semantic", "instance", "panoptic"))
    assert semantic[0, 0].tolist() == semantic[0, 1].tolist() == panoptic[0, 0].tolist() == [214, 39, 40]
    assert panoptic[0, 1].tolist() != [214, 39, 40]
    assert instance[0, 2].tolist() == instance[1, 0].tolist() != instance[1, 1].tolist()
    assert instance[0, 0].tolist() != instance[0, 1].tolist()
    assert panoptic[0, 2].tolist() == labels.colours[0].tolist()
    assert (semantic[1, 1] == semantic[1, 2]).all()
    with pytest.raises(ValueError, match="not by weight"):
        painted(ids, labels, "weight")
