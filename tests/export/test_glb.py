import json
import struct

import numpy as np
import pytest
import trimesh

import recon
from recon import gravity
from recon.export import cloud
from recon.export.glb import linear_from_srgb
from recon.filters import Filters, keep
from recon.scene import Scene
from tests.helpers import synthetic_scene

FILTERS = Filters(confidence=30, frames=frozenset({0, 2}))


@pytest.fixture(scope="module")
def scene() -> Scene:
    scene = synthetic_scene(3)
    scene.frames[0].name = 'a "strange" name ö.jpg'
    return scene


@pytest.fixture(scope="module")
def path(scene, tmp_path_factory):
    return recon.export(scene, tmp_path_factory.mktemp("glb") / "scene.glb", FILTERS)


@pytest.fixture(scope="module")
def loaded(path) -> trimesh.Scene:
    return trimesh.load_scene(path)


@pytest.fixture(scope="module")
def document(path) -> dict:
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, kind = struct.unpack_from("<I4s", data, 12)
    binary_length, binary_kind = struct.unpack_from("<I4s", data, 20 + json_length)
    assert (kind, binary_kind) == (b"JSON", b"BIN\0")
    assert json_length % 4 == binary_length % 4 == 0
    assert 28 + json_length + binary_length == len(data)
    return json.loads(data[20 : 20 + json_length])


def test_it_holds_the_points_that_the_filters_leave(scene, loaded):
    masks = keep(scene, FILTERS)
    points = loaded.geometry["points"]
    assert isinstance(points, trimesh.PointCloud)
    assert len(points.vertices) == sum(mask.sum() for mask in masks)
    np.testing.assert_allclose(points.vertices, cloud.positions(scene, masks), atol=1e-6)


def test_colours_are_the_photos_in_linear_light(scene, loaded):
    """As the specification wants it: three.js and Blender turn them back."""
    linear = loaded.geometry["points"].colors[:, :3] / 255
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    expected = cloud.colours(scene, keep(scene, FILTERS)).astype(float)
    assert np.abs(srgb - expected).max() < 8  # trimesh rounds to 8 bits, which is coarse in the dark
    assert np.abs(srgb - expected).mean() < 1
    assert linear_from_srgb()[[0, 255]].tolist() == [0, 1]
    assert linear_from_srgb()[128] == pytest.approx(0.21586, abs=1e-5)


def test_colours_are_not_rounded_in_the_file(path, document, scene):
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    accessor = document["accessors"][attributes["COLOR_0"]]
    view = document["bufferViews"][accessor["bufferView"]]
    data = path.read_bytes()
    start = 28 + struct.unpack_from("<I", data, 12)[0] + view["byteOffset"]
    colours = np.frombuffer(data, "<f4", accessor["count"] * 3, start).reshape(-1, 3)
    back = np.searchsorted(linear_from_srgb(), colours)
    np.testing.assert_array_equal(back, cloud.colours(scene, keep(scene, FILTERS)))


def test_up_is_plus_y_and_the_cameras_look_to_minus_z(tmp_path):
    """Cameras that all look down by 17 degrees: the floor must lie level all the same."""
    loaded = trimesh.load_scene(recon.export(synthetic_scene(8), tmp_path / "scene.glb", Filters(confidence=0)))
    heights = loaded.geometry["points"].vertices[:, 1]
    floor = np.percentile(heights, 1)
    assert np.mean(np.abs(heights - floor) < 0.05) > 0.2
    poses = np.stack([loaded.graph[name][0] for name in loaded.graph.nodes_geometry if name != "points"])
    assert len(poses) == 8
    assert (poses[:, 1, 1] > 0.9).all()  # a glTF camera has its up on y
    assert poses[:, 2, 2].mean() > 0.9  # and looks along -z


def test_a_frustum_stands_at_each_shown_camera(scene, loaded):
    upright_from_world = gravity.upright(scene.frames)
    for index in (0, 2):
        camera = scene.frames[index].camera
        pose, geometry = loaded.graph[scene.frames[index].name]
        outline = loaded.geometry[geometry]
        assert isinstance(outline, trimesh.path.Path3D)
        centre = upright_from_world[:3, :3] @ camera.centre
        np.testing.assert_allclose(pose[:3, 3], centre, atol=1e-5)
        in_file = trimesh.transform_points(outline.vertices, pose)
        assert np.linalg.norm(in_file - centre, axis=-1).min() < 1e-5
        in_camera = (in_file @ upright_from_world[:3, :3] - camera.centre) @ camera.world_from_camera[:3, :3]
        corners = in_camera[in_camera[:, 2] > 1e-4]
        pixels = corners[:, :2] / corners[:, 2:] * camera.intrinsics[[0, 1], [0, 1]] + camera.intrinsics[:2, 2]
        for corner in ([0, 0], [64, 0], [64, 48], [0, 48]):
            assert np.abs(pixels - corner).sum(-1).min() < 1e-2
    assert scene.frames[1].name not in loaded.graph.nodes


def test_cameras_are_cameras(document, scene):
    assert [camera["name"] for camera in document["cameras"]] == [scene.frames[0].name, scene.frames[2].name]
    perspective = document["cameras"][0]["perspective"]
    intrinsics = scene.frames[0].camera.intrinsics
    assert perspective["yfov"] == pytest.approx(2 * np.arctan(24 / intrinsics[1, 1]))
    assert perspective["aspectRatio"] == pytest.approx(64 / 48)
    nodes = {node["name"]: node for node in document["nodes"]}
    for index, camera in enumerate(document["cameras"]):
        node = nodes[f"camera of {camera['name']}"]
        assert node["camera"] == index
        assert node["matrix"] == nodes[camera["name"]]["matrix"]  # where its frustum stands


def test_positions_declare_their_limits(document, loaded):
    position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    np.testing.assert_allclose([position["min"], position["max"]], loaded.geometry["points"].bounds, atol=1e-6)


def test_a_camera_stays_when_its_points_are_hidden(tmp_path):
    """As in the viewer: the confidence hides points, only the choice of frames hides cameras."""
    scene = synthetic_scene(2)
    scene.frames[1].confidence[:] = 0
    loaded = trimesh.load_scene(recon.export(scene, tmp_path / "scene.glb", Filters(confidence=60)))
    assert set(loaded.geometry) == {"points", *(frame.name for frame in scene.frames)}


def test_one_frame_alone(tmp_path):
    loaded = trimesh.load_scene(recon.export(synthetic_scene(1), tmp_path / "scene.glb"))
    assert len(loaded.geometry) == 2
