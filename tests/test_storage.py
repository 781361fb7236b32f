import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon.errors import InputError
from recon.given import Given
from recon.measurement import Measurement
from recon.scene import Camera, Frame, Gaussians, Labels, Scene, Segment, Tracks
from recon.storage import VERSION, replacing
from tests.helpers import synthetic_scene


def full_scene() -> Scene:
    """Frames of two sizes; the first has every field, the second leaves out what may be left out."""
    scene = synthetic_scene(2, 12, 16)
    first = scene.frames[0]
    first.path = Path("/photos/ö ü/-a.jpg")
    first.name, first.view, first.time, first.original_size = "ö ü/-a.jpg", 7, 1 / 3, (4032, 3024)
    first.original_from_processed = np.diag([252, 252, 1]).astype(np.float32)
    first.points = first.world_points()
    first.valid = first.depth > 3
    first.moving = first.depth < 3
    first.segments = np.arange(12 * 16, dtype=np.int32).reshape(12, 16) - 1
    scene.frames[1] = synthetic_scene(1, 9, 7).frames[0]
    scene.frames[1].depth[0, 0] = 0
    scene.frames[1].confidence[0, 1] = np.inf
    scene.settings = {"maximum_views": None, "verify": True, "nested": {"array": [1, 2.5, "three"]}, "sizes": (1, 2)}
    scene.notes = ["One view was left out.", "Größe unknown."]
    random = np.random.default_rng(0)
    scene.sparse_points = random.normal(size=(5, 3)).astype(np.float32)
    seen = random.random((2, 2, 4), np.float32)
    pixels = (20 * random.random((2, 4, 2)) - 2).astype(np.float32)
    scene.tracks = Tracks(pixels, seen[0], seen[1], np.array([0, 0, 1, 0], np.int32))
    parts = [random.random((6, *shape), np.float32) for shape in ((3,), (3,), (4,), (), (3, 4))]
    scene.gaussians = Gaussians(*parts, np.zeros(6, np.int32), np.tile(np.arange(6, dtype=np.int32)[:, None], 2))
    colours = np.array([[174, 199, 232], [188, 189, 34]], np.uint8)
    scene.labels = Labels(("wall", "chair"), colours, [Segment(3, 1, True, 0.9), Segment(4, 0, False, 0.7)])
    scene.measurements = [Measurement((0, 1), ((3, 2), (5, 6)))]
    scene.given = Given((1,), random.normal(size=(1, 4, 4)), True)
    return scene


def assert_same(a: Any, b: Any, name: str = "scene") -> None:
    """Equal to the last bit, and of the same types."""
    assert type(a) is type(b), name
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name), f"{name}.{field.name}")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), name
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{name}[{index}]")
    elif isinstance(a, dict):
        assert list(a) == list(b), name
        for key in a:
            assert_same(a[key], b[key], f"{name}[{key}]")
    else:
        assert a == b, name


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_lost(tmp_path):
    scene = full_scene()
    assert scene.save(tmp_path / "scene") == tmp_path / "scene"
    assert_same(Scene.load(tmp_path / "scene"), scene)
    assert names_in(tmp_path) == ["scene"]


def test_every_field_is_exercised():
    """When a dataclass gains a field, `full_scene` must fill it, so that the test above covers it."""
    scene = full_scene()
    for value in (scene, scene.frames[0], scene.frames[0].camera, scene.tracks):
        for field in dataclasses.fields(value):
            assert getattr(value, field.name) is not field.default, f"full_scene leaves {field.name} at its default"


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "uint16", "bool", ">f4"])
def test_dtypes_stay(tmp_path, dtype):
    scene = synthetic_scene(1, 4, 6)
    scene.frames[0].depth = scene.frames[0].depth.astype(dtype)
    scene.settings = {"step": np.float32(0.1)}
    scene.save(tmp_path / "scene")
    assert_same(Scene.load(tmp_path / "scene"), scene)


def test_an_empty_scene(tmp_path):
    Scene().save(tmp_path / "scene")
    assert_same(Scene.load(tmp_path / "scene"), Scene())


def test_the_layout_is_plain(tmp_path):
    """Other programs can read it, and no pickle is among it."""
    scene = full_scene()
    folder = scene.save(tmp_path / "deep" / "er" / "scene")
    assert json.loads((folder / "scene.json").read_text())["version"] == VERSION
    with np.load(folder / "frames" / "00000.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["depth"], scene.frames[0].depth)
        np.testing.assert_array_equal(arrays["camera.intrinsics"], scene.frames[0].camera.intrinsics)


def test_what_cannot_be_saved_is_refused_and_leaves_nothing(tmp_path):
    for settings in ({"model": object()}, {"array": np.array([object()])}, {"nested": {1: 2}}):
        with pytest.raises(TypeError, match="cannot be saved"):
            Scene(settings=settings).save(tmp_path / "scene")
    assert names_in(tmp_path) == []


def test_a_new_field_takes_its_default_in_an_old_folder(tmp_path):
    folder = synthetic_scene(1, 4, 6).save(tmp_path / "scene")
    document = json.loads((folder / "scene.json").read_text())
    del document["frames"][0]["Frame"]["segments"], document["scene"]["Scene"]["notes"]
    (folder / "scene.json").write_text(json.dumps(document))
    scene = Scene.load(folder)
    assert scene.frames[0].segments is None
    assert scene.notes == []


# --- replacing -----------------------------------------------------------------------------------------------------


def test_saving_again_replaces(tmp_path):
    synthetic_scene(3, 4, 6).save(tmp_path / "scene")
    scene = synthetic_scene(1, 4, 6)
    scene.save(tmp_path / "scene")
    assert_same(Scene.load(tmp_path / "scene"), scene)
    assert names_in(tmp_path) == ["scene"]
    assert names_in(tmp_path / "scene" / "frames") == ["00000.npz"]


def test_an_empty_folder_is_taken_but_not_one_with_other_files(tmp_path):
    (tmp_path / "empty").mkdir()
    synthetic_scene(1, 4, 6).save(tmp_path / "empty")
    assert len(Scene.load(tmp_path / "empty").frames) == 1
    (tmp_path / "empty" / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match="other files"):
        synthetic_scene(1, 4, 6).save(tmp_path / "empty")
    assert (tmp_path / "empty" / "holiday.jpg").read_bytes() == b"precious"


def test_a_failed_save_keeps_the_old_scene(tmp_path):
    old = synthetic_scene(2, 4, 6)
    old.save(tmp_path / "scene")
    broken = synthetic_scene(2, 4, 6)
    broken.frames[1].segments = np.array([object()])
    with pytest.raises(TypeError):
        broken.save(tmp_path / "scene")
    assert_same(Scene.load(tmp_path / "scene"), old)
    assert names_in(tmp_path) == ["scene"]


def test_a_file_stands_in_the_way(tmp_path):
    (tmp_path / "scene").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        Scene().save(tmp_path / "scene")
    assert (tmp_path / "scene").read_text() == "a file"
    with pytest.raises(InputError, match="cannot be written"):
        Scene().save(tmp_path / "scene" / "below")
    assert names_in(tmp_path) == ["scene"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device on which every write finds the disk full")
def test_a_full_disk_is_said_in_one_sentence(tmp_path):
    def write() -> None:
        with replacing(tmp_path / "file.bin") as temporary:
            temporary.write_text("half")
            Path("/dev/full").write_text("x")

    (tmp_path / "file.bin").write_text("old")
    with pytest.raises(InputError, match="disk is full"):
        write()
    assert (tmp_path / "file.bin").read_text() == "old"
    assert names_in(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_place_that_may_not_be_written(tmp_path, code):
    with pytest.raises(InputError, match="may not be written"), replacing(tmp_path / "file.bin"):
        raise OSError(code, "refused")


# --- folders that hold no scene ------------------------------------------------------------------------------------


def test_no_scene_there(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(InputError, match="no scene"):
            Scene.load(path)


def test_a_newer_layout(tmp_path):
    folder = Scene().save(tmp_path / "scene")
    document = json.loads((folder / "scene.json").read_text())
    document["version"] = VERSION + 1
    (folder / "scene.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="newer"):
        Scene.load(folder)


@pytest.mark.parametrize("name", ["scene.json", "scene.npz", "frames/00000.npz"])
@pytest.mark.parametrize("content", ["nothing", "half", "noise", "missing"])
def test_damaged_files(tmp_path, name, content):
    folder = full_scene().save(tmp_path / "scene")
    file = folder / name
    whole = file.read_bytes()
    noise = np.random.default_rng(0).bytes(len(whole))
    if content == "missing":
        file.unlink()
    else:
        file.write_bytes({"nothing": b"", "half": whole[: len(whole) // 2], "noise": noise}[content])
    with pytest.raises(InputError, match=r"damaged|incomplete|no scene"):
        Scene.load(folder)


@pytest.mark.parametrize(
    "text",
    ["[]", "3", "{}", '{"version": "new"}', '{"version": 1, "scene": {"Popen": {}}, "frames": []}',
     '{"version": 1, "scene": {"Scene": {"frames": [], "no such field": 1}}, "frames": []}',
     '{"version": 1, "scene": {"Scene": {"frames": []}}, "frames": [{"path": "x"}]}'],
)  # fmt: skip
def test_json_of_something_else(tmp_path, text):
    folder = full_scene().save(tmp_path / "scene")
    (folder / "scene.json").write_text(text)
    with pytest.raises(InputError, match="damaged"):
        Scene.load(folder)


def test_a_pickle_is_not_opened(tmp_path):
    folder = Scene(sparse_points=np.zeros((1, 3), np.float32)).save(tmp_path / "scene")
    np.savez(folder / "scene.npz", sparse_points=np.array([Camera(np.eye(3), np.eye(4))], dtype=object))
    with pytest.raises(InputError, match="damaged"):
        Scene.load(folder)


def test_frames_of_a_scene_are_frames():
    assert all(isinstance(frame, Frame) for frame in full_scene().frames)
