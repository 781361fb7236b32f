import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import recon
from recon import gravity
from recon.errors import InputError
from recon.export import WRITERS, cloud, format_of
from recon.filters import Filters, keep
from recon.geometry import transform
from recon.placement import place
from recon.scene import Scene
from tests.helpers import moving_scene, synthetic_scene, synthetic_up

FORMATS = sorted(set(WRITERS) - {".labels.zip"})  # of which `test_labels` tells


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_appears_under_its_name_alone(tmp_path, suffix):
    path = tmp_path / f"ö ü{suffix}"
    assert recon.export(moving_scene(3), path) == path
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    recon.export(moving_scene(3), str(path))  # again, over the old one
    files = [file for file in (path, *path.rglob("*")) if file.is_file()]
    assert sum(file.stat().st_size for file in files) > (300 if suffix in (".tum", ".masks.zip") else 10_000)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_suffix_may_be_in_capitals_and_folders_are_made(tmp_path):
    assert recon.export(synthetic_scene(), tmp_path / "new" / "OUT.PLY").read_bytes().startswith(b"ply\n")


@pytest.mark.parametrize("name", ["scene", "scene/", "scene.v2/"])
def test_a_path_without_suffix_is_a_folder_with_everything(tmp_path, name):
    scene = synthetic_scene()
    folder = recon.export(scene, f"{tmp_path}/{name}", Filters(confidence=90))
    assert folder == tmp_path / name.rstrip("/")
    np.testing.assert_array_equal(Scene.load(folder).frames[0].depth, scene.frames[0].depth)


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path):
    (tmp_path / "a.colmap").mkdir()
    (tmp_path / "a.colmap" / "letter.txt").write_text("keep me")
    with pytest.raises(InputError, match="holds other files"):
        recon.export(synthetic_scene(), tmp_path / "a.colmap")
    assert (tmp_path / "a.colmap" / "letter.txt").read_text() == "keep me"


def test_the_longest_suffix_counts(tmp_path):
    assert [format_of(f"a/b{suffix.upper()}") for suffix in WRITERS] == list(WRITERS)
    assert format_of("a.colmap/") == ".colmap"
    assert format_of("a.glb/") == format_of(tmp_path) == format_of("a") == ""
    with pytest.raises(InputError, match=r"no format '\.zip'"):
        format_of("a.zip")


def test_unknown_formats_are_answered_with_the_known_ones(tmp_path):
    with pytest.raises(InputError) as error:
        recon.export(synthetic_scene(), tmp_path / "scene.obj")
    assert all(suffix in str(error.value) for suffix in (*FORMATS, ".obj"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_to_write(tmp_path, suffix):
    (tmp_path / f"scene{suffix}").write_text("old")
    for scene, filters in ((synthetic_scene(), Filters(frames=frozenset())), (Scene(), Filters())):
        with pytest.raises(InputError, match="nothing to write"):
            recon.export(scene, tmp_path / f"scene{suffix}", filters)
    assert (tmp_path / f"scene{suffix}").read_text() == "old"


SMALL_DISK = """
import resource, signal, sys
from pathlib import Path
import recon
from tests.helpers import moving_scene
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
folder, *names = sys.argv[1:]
for name in names:
    try:
        recon.export(moving_scene(3), Path(folder, name))
        sys.exit(f"{name} was written")
    except recon.InputError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files, which Windows does not know")
def test_a_write_that_fails_half_way_leaves_no_half(tmp_path):
    names = [*(f"scene{suffix}" for suffix in FORMATS), "scene"]
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", SMALL_DISK, tmp_path, *names]
    finished = subprocess.run(command, cwd=root, check=True, text=True, stdout=subprocess.PIPE)
    sentences = finished.stdout.splitlines()
    assert len(sentences) == len(names)
    assert all("cannot be written" in sentence for sentence in sentences)
    assert not list(tmp_path.iterdir())


# --- the points that all formats share -----------------------------------------------------------------------------


def test_points_are_turned_upright_and_nothing_else():
    scene = synthetic_scene(8)
    masks = keep(scene)
    points = cloud.positions(scene, masks)
    in_world = np.concatenate([frame.world_points()[mask] for frame, mask in zip(scene.frames, masks, strict=True)])
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), np.linalg.norm(in_world, axis=-1), rtol=1e-5)
    assert np.corrcoef(points[:, 1], in_world @ synthetic_up(8))[0, 1] > 0.999
    np.testing.assert_allclose(points, transform(gravity.upright(scene.frames), in_world), atol=1e-5)


@pytest.mark.parametrize("frames", [1, 3, 8])
def test_the_viewer_stands_the_same_way(frames):
    """Its +z is the file's +y, its +y the file's -z; it scales and centres besides."""
    scene = synthetic_scene(frames)
    placement = place(scene.frames)
    viewer_from_upright = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    np.testing.assert_allclose(
        placement.viewer_from_world[:3, :3] / placement.scale,
        viewer_from_upright @ gravity.upright(scene.frames)[:3, :3],
        atol=1e-5,
    )


def test_normals_face_their_camera_and_the_floor_points_up():
    scene = synthetic_scene(8)
    masks = keep(scene, Filters(confidence=0, edges=False))
    points, normals = cloud.positions(scene, masks), cloud.normals(scene, masks)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    upright_from_world = gravity.upright(scene.frames)
    centres = [transform(upright_from_world, frame.camera.centre) for frame in scene.frames]
    towards = np.repeat(centres, 48 * 64, 0) - points
    assert ((towards * normals).sum(-1) >= 0).all()
    on_floor = points[:, 1] < points[:, 1].min() + 0.02
    assert on_floor.sum() > 1000
    assert np.median(normals[on_floor, 1]) > 0.999


def test_normals_of_a_pointmap_turned_inside_out_still_face_the_camera():
    scene = synthetic_scene(1)
    frame = scene.frames[0]
    frame.points = frame.world_points()[:, ::-1].copy()
    masks = keep(scene, Filters(confidence=0, edges=False))
    assert ((-cloud.positions(scene, masks) * cloud.normals(scene, masks)).sum(-1) >= 0).all()  # the camera is at 0
