"""Splat files are read back by the book, and our rasteriser sees in them what the scene shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

import recon
from recon import geometry, gravity
from recon.export.gaussians import DOWN_FROM_UP, turned
from recon.filters import Filters, keep
from recon.scene import Gaussians, Scene
from recon.splatting import render_colours, splats
from recon.surfels import LONGEST, THINNED, WIDTH, from_points, gaussians_of, seen_through
from tests.helpers import labelled_scene, synthetic_scene

ALL = Filters(confidence=0, edges=False)


def read(path) -> tuple[Gaussians, np.ndarray]:
    """What a splat viewer makes of a file, and the table as it is."""
    vertex = trimesh.load(path).metadata["_ply_raw"]["vertex"]["data"]

    def columns(*names):
        return np.column_stack([vertex[name] for name in names]).astype(np.float32)

    rest = sum(name.startswith("f_rest_") for name in vertex.dtype.names)
    count = len(vertex)
    harmonics = np.concatenate(
        [
            columns("f_dc_0", "f_dc_1", "f_dc_2")[..., None],
            columns(*(f"f_rest_{i}" for i in range(rest))).reshape(count, 3, -1) if rest else np.zeros((count, 3, 0)),
        ],
        -1,
    ).astype(np.float32)
    return Gaussians(
        columns("x", "y", "z"),
        np.exp(columns("scale_0", "scale_1", "scale_2")),
        columns("rot_0", "rot_1", "rot_2", "rot_3"),
        1 / (1 + np.exp(-columns("opacity")[:, 0])),
        harmonics,
        np.zeros(count, np.int32),
        np.zeros((count, 2), np.int32),
    ), vertex


def seen(gaussians: Gaussians, scene: Scene, index: int, b_from_world: np.ndarray) -> np.ndarray:
    """What a frame's camera sees of Gaussians of another world."""
    frame = scene.frames[index]
    pose = torch.as_tensor((b_from_world @ frame.camera.world_from_camera).astype(np.float32))[None]
    lens = torch.as_tensor(frame.camera.intrinsics)[None]
    harmonics = torch.as_tensor(gaussians.harmonics)
    return render_colours(splats(gaussians), harmonics, lens, pose, frame.size).features[0].numpy()


def assert_same_picture(one: np.ndarray, other: np.ndarray) -> None:
    """But for single pixels, where two Gaussians are almost equally far and either may come first."""
    difference = np.abs(one - other)
    assert np.quantile(difference, 0.99) < 1e-4
    assert difference.max() < 0.1


def coloured(scene: Scene, count: int) -> Scene:
    """The same scene with Gaussians of its own, whose colours depend on where one stands."""
    gaussians = from_points(scene, keep(scene, ALL))
    random = np.random.default_rng(1)
    more = 0.1 * random.standard_normal((len(gaussians), 3, count - 1)).astype(np.float32)
    means = gaussians.means + 0.005 * random.standard_normal(gaussians.means.shape).astype(np.float32)  # no ties
    scene.gaussians = replace(gaussians, means=means, harmonics=np.concatenate([gaussians.harmonics, more], -1))
    return scene


@pytest.mark.parametrize("harmonics", [1, 4, 16, 25])
def test_a_file_holds_the_picture(tmp_path, harmonics):
    scene = coloured(synthetic_scene(2), harmonics)
    gaussians, vertex = read(recon.export(scene, tmp_path / "scene.splat.ply", ALL))
    assert gaussians.harmonics.shape == (2 * 48 * 64, 3, min(harmonics, 16))
    np.testing.assert_allclose(np.linalg.norm(gaussians.rotations, axis=-1), 1, atol=1e-5)
    names = vertex.dtype.names
    assert names[:9] == ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2")
    assert names[-8:] == ("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
    stored = replace(scene.gaussians, harmonics=scene.gaussians.harmonics[..., :16])
    file_from_world = DOWN_FROM_UP @ gravity.upright(scene.frames)
    for index in range(2):
        there, here = seen(gaussians, scene, index, file_from_world), seen(stored, scene, index, np.eye(4))
        assert_same_picture(there, here)


def test_it_stands_upside_down_beside_the_points(tmp_path):
    scene = synthetic_scene(3)
    gaussians, _ = read(recon.export(scene, tmp_path / "scene.splat.ply"))
    points = trimesh.load(recon.export(scene, tmp_path / "scene.ply")).vertices
    np.testing.assert_allclose(gaussians.means * (-1, -1, 1), points, atol=1e-5)


def test_points_of_any_scene_look_like_their_photos():
    scene = synthetic_scene(3, 96, 128)
    gaussians = from_points(scene, keep(scene, ALL))
    for index, frame in enumerate(scene.frames):
        error = np.square(seen(gaussians, scene, index, np.eye(4)) - frame.image / 255).mean()
        assert -10 * np.log10(error) > 22


def test_surfels_lie_on_the_surface_and_are_as_large_as_the_gaps():
    scene = synthetic_scene(1, 96, 128)
    frame = scene.frames[0]
    gaussians = from_points(scene, keep(scene, ALL))
    normals = geometry.normals(frame.world_points())[gaussians.pixel[:, 1], gaussians.pixel[:, 0]]
    across = geometry.rotation_from_quaternion(gaussians.rotations)[:, :, 2]
    aligned = np.abs((normals * across).sum(-1))
    assert np.median(aligned) > 0.999
    assert (aligned > 0.95).mean() > 0.9
    pixel = frame.depth[gaussians.pixel[:, 1], gaussians.pixel[:, 0]] / frame.camera.intrinsics[0, 0]
    ratio = gaussians.scales[:, 1] / pixel
    assert 0.4 < np.median(ratio) < 0.8
    assert (gaussians.scales[:, 2] < gaussians.scales[:, 1]).mean() > 0.9


def test_a_budget_makes_fewer_and_larger_ones_of_the_most_confident():
    scene = synthetic_scene(3, 96, 128)
    masks = keep(scene, ALL)
    many, few = from_points(scene, masks), from_points(scene, masks, 9_000)
    assert 6_000 < len(few) <= 10_000
    larger = np.median(few.scales) / np.median(many.scales)
    assert larger == pytest.approx(THINNED * np.sqrt(3 * 96 * 128 / 9_000), rel=0.15)
    assert few.opacities.mean() > many.opacities.mean()
    error = np.square(seen(few, scene, 1, np.eye(4)) - scene.frames[1].image / 255).mean()
    assert -10 * np.log10(error) > 18


def test_what_other_views_see_through_is_thin():
    scene = synthetic_scene(3)
    assert (seen_through(from_points(scene, keep(scene, ALL)), scene.frames) > 0).mean() < 0.1
    scene.frames[1].depth[10:20, 10:20] *= 0.6
    gaussians = from_points(scene, keep(scene, ALL))
    column, row = gaussians.pixel.T
    wrong = (gaussians.frame == 1) & (row >= 10) & (row < 20) & (column >= 10) & (column < 20)
    assert np.median(gaussians.opacities[wrong]) < 0.1
    assert np.median(gaussians.opacities[~wrong]) > 0.6


def test_depth_that_is_torn_gives_no_needles():
    scene = synthetic_scene(1)
    scene.frames[0].depth[::2, ::2] = 0
    scene.frames[0].depth[20] *= 3
    gaussians = from_points(scene, keep(scene, ALL))
    assert np.isfinite(gaussians.scales).all()
    assert np.isfinite(gaussians.rotations).all()
    assert (gaussians.scales > 0).all()
    column, row = gaussians.pixel.T
    pixel = scene.frames[0].depth[row, column] / scene.frames[0].camera.intrinsics[0, 0]
    assert (gaussians.scales.max(-1) < 1.5 * WIDTH * LONGEST * pixel).all()


def test_filters_hold_for_gaussians_of_the_scenes_own(tmp_path):
    scene = coloured(labelled_scene(3), 4)
    chosen = replace(ALL, frames=frozenset({0, 2}), segments=frozenset({1, 101}))
    kept = gaussians_of(scene, keep(scene, chosen))
    assert 0 < len(kept) == sum(int(mask.sum()) for mask in keep(scene, chosen))
    assert set(kept.segments(scene.frames)) == {1, 101}
    assert set(kept.frame) == {0, 2}
    _, vertex = read(recon.export(scene, tmp_path / "some.splat.ply", chosen))
    np.testing.assert_array_equal(np.ravel(vertex["instance"]), kept.segments(scene.frames))
    assert len(gaussians_of(scene, keep(scene, ALL), 100)) == 100


@pytest.mark.parametrize("suffix", [".ply", ".splat.ply"])
def test_labels_are_properties_named_in_the_header(tmp_path, suffix):
    scene = labelled_scene(2)
    path = recon.export(scene, tmp_path / f"scene{suffix}", ALL)
    vertex = trimesh.load(path).metadata["_ply_raw"]["vertex"]["data"]
    instance = np.concatenate([frame.segments.ravel() for frame in scene.frames])
    np.testing.assert_array_equal(np.ravel(vertex["instance"]), instance)
    semantic = np.ravel(vertex["semantic"])
    assert {(int(a), int(b)) for a, b in zip(instance, semantic, strict=True)} == {
        (1, 3), (2, 3), (101, 0), (102, 1), (-1, -1),
    }  # fmt: skip
    header = path.read_bytes().partition(b"end_header")[0].decode("ascii")
    assert "comment semantic 3 is ball\n" in header
    assert "is table" not in header


def test_turning_a_world_turns_its_colours():
    scene = coloured(synthetic_scene(1), 25)
    turn = geometry.rigid(geometry.rotation_from_quaternion(np.array([0.5, 0.1, -0.7, 0.3])), np.zeros(3))
    before = seen(scene.gaussians, scene, 0, np.eye(4))
    after = seen(turned(scene.gaussians, turn), scene, 0, turn)
    assert_same_picture(after, before)
