import numpy as np
import pytest
import trimesh

import recon
from recon.export import cloud
from recon.filters import Filters, keep
from tests.helpers import synthetic_scene

FILTERS = Filters(confidence=30, frames=frozenset({0, 2}))


@pytest.fixture
def scene():
    return synthetic_scene(3)


def test_the_header_is_plain_ply(tmp_path, scene):
    scene.model = "größer"
    data = recon.export(scene, tmp_path / "scene.ply", FILTERS).read_bytes()
    header, _, body = data.partition(b"end_header\n")
    count = sum(mask.sum() for mask in keep(scene, FILTERS))
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert f"element vertex {count}" in lines
    assert any("+Y is up" in line for line in lines)
    properties = [line.split()[1:] for line in lines if line.startswith("property")]
    assert properties == [
        *(["float", name] for name in ("x", "y", "z", "nx", "ny", "nz")),
        *(["uchar", name] for name in ("red", "green", "blue")),
        ["float", "confidence"],
    ]
    assert len(body) == count * (6 * 4 + 3 + 4)


def test_trimesh_reads_what_the_filters_leave(tmp_path, scene):
    masks = keep(scene, FILTERS)
    loaded = trimesh.load(recon.export(scene, tmp_path / "scene.ply", FILTERS))
    assert isinstance(loaded, trimesh.PointCloud)
    np.testing.assert_allclose(loaded.vertices, cloud.positions(scene, masks), atol=1e-6)
    np.testing.assert_array_equal(loaded.colors[:, :3], cloud.colours(scene, masks))
    vertex = loaded.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(np.ravel(vertex["confidence"]), cloud.confidences(scene, masks))
    normals = np.column_stack([vertex[name] for name in ("nx", "ny", "nz")])
    np.testing.assert_allclose(normals, cloud.normals(scene, masks), atol=1e-6)


def test_it_stands_as_the_glb_does(tmp_path, scene):
    ply = trimesh.load(recon.export(scene, tmp_path / "scene.ply"))
    glb = trimesh.load_scene(recon.export(scene, tmp_path / "scene.glb"))
    np.testing.assert_allclose(ply.vertices, glb.geometry["points"].vertices, atol=1e-6)
