import io
import zipfile

import numpy as np
import trimesh

import recon
from recon.export import cloud
from recon.filters import Filters, keep
from tests.helpers import moving_scene, synthetic_scene

FILTERS = Filters(confidence=30)


def read(path):
    """Points by the file's name, and what ``frames.txt`` says."""
    with zipfile.ZipFile(path) as archive:
        clouds = {
            name: trimesh.load(io.BytesIO(archive.read(name)), file_type="ply").vertices
            for name in archive.namelist()
            if name.endswith(".ply") and b"element vertex 0\n" not in archive.read(name)
        }
        return clouds, archive.read("frames.txt").decode(), archive.namelist()


def test_the_static_world_comes_once_and_what_moves_frame_by_frame(tmp_path):
    scene = moving_scene(3)
    clouds, frames, _ = read(recon.export(scene, tmp_path / "scene.frames.zip", FILTERS))
    assert list(clouds) == ["static.ply", "moving_0001.ply", "moving_0002.ply", "moving_0003.ply"]
    masks = keep(scene, FILTERS)
    nothing = [np.zeros_like(mask) for mask in masks]
    for index in range(3):
        alone = [*nothing[:index], masks[index] & scene.frames[index].moving, *nothing[index + 1 :]]
        np.testing.assert_allclose(clouds[f"moving_000{index + 1}.ply"], cloud.positions(scene, alone), atol=1e-6)
    static = [mask & ~frame.moving for mask, frame in zip(masks, scene.frames, strict=True)]
    np.testing.assert_allclose(clouds["static.ply"], cloud.positions(scene, static), atol=1e-6)
    assert frames.splitlines()[1] == f"0002 0.500000 {scene.frames[1].name}"


def test_where_nothing_tells_what_moves_each_frame_has_its_points(tmp_path):
    scene = synthetic_scene(3)
    chosen = Filters(confidence=30, frames=frozenset({0, 2}))
    clouds, frames, _ = read(recon.export(scene, tmp_path / "scene.frames.zip", chosen))
    assert list(clouds) == ["frame_0001.ply", "frame_0003.ply"]
    assert [len(points) for points in clouds.values()] == [int(keep(scene, chosen)[index].sum()) for index in (0, 2)]
    assert frames.splitlines()[0] == f"0001 - {scene.frames[0].name}"


def test_a_frame_in_which_nothing_moves_keeps_its_number(tmp_path):
    scene = moving_scene(3)
    scene.frames[1].moving[:] = False
    clouds, _, names = read(recon.export(scene, tmp_path / "scene.frames.zip", FILTERS))
    assert "moving_0002.ply" in names
    assert "moving_0002.ply" not in clouds
