"""The size of a scene: lengths, what a known one does to everything that has a length, and the way back."""

from dataclasses import fields

import numpy as np
import pytest

import recon
from recon.errors import InputError
from recon.filters import Filters
from recon.measurement import Measurement, in_words, position
from recon.scale import as_made, in_metres, rescaled
from recon.scene import Camera, Frame, Gaussians, Scene, Tracks
from tests.helpers import synthetic_scene

WITHOUT_LENGTH = {  # what scaling leaves alone; a new field must be thought of here or scaled
    Scene: {"metric", "model", "settings", "notes", "tracks", "measurements", "labels", "given"},
    Frame: {
        "image", "confidence", "name", "view", "path", "original_size", "original_from_processed", "time", "valid",
        "moving", "segments",
    },
    Camera: {"intrinsics"},
    Gaussians: {"rotations", "opacities", "harmonics", "frame", "pixel"},
}  # fmt: skip
WITH_LENGTH = {
    Scene: {"frames", "sparse_points", "gaussians"},
    Frame: {"depth", "camera", "points"},
    Camera: {"world_from_camera"},
    Gaussians: {"means", "scales"},
}


def full_scene() -> Scene:
    """Not metric; one frame has points of its own, and there are sparse points, tracks and a measurement."""
    scene = synthetic_scene(3)
    scene.metric = False
    scene.frames[1].points = scene.frames[1].world_points() + np.float32(0.01)
    scene.sparse_points = scene.frames[0].world_points()[::8, ::8].reshape(-1, 3)
    places = np.full((3, 4, 2), 20, np.float32)
    scene.tracks = Tracks(places, np.ones((3, 4), np.float32), np.ones((3, 4), np.float32), np.zeros(4, np.int32))
    scene.gaussians = Gaussians(
        scene.sparse_points, np.full_like(scene.sparse_points, 0.1), np.tile(np.float32([1, 0, 0, 0]), (48, 1)),
        np.ones(48, np.float32), np.zeros((48, 3, 1), np.float32), np.zeros(48, np.int32), np.zeros((48, 2), np.int32),
    )  # fmt: skip
    scene.measurements = [Measurement((0, 1), ((10, 40), (50, 12)))]
    return scene


@pytest.mark.parametrize("kind", [Scene, Frame, Camera, Gaussians])
def test_every_field_is_known_to_have_a_length_or_none(kind: type) -> None:
    assert {field.name for field in fields(kind)} == WITH_LENGTH[kind] | WITHOUT_LENGTH[kind]


def test_all_that_has_a_length_is_scaled_and_the_former_scene_stays() -> None:
    scene, untouched = full_scene(), full_scene()
    scaled = scene.rescaled(2.5)
    for frame, larger, same in zip(scene.frames, scaled.frames, untouched.frames, strict=True):
        np.testing.assert_allclose(larger.world_points(), 2.5 * frame.world_points(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(larger.depth, 2.5 * frame.depth, rtol=1e-6)
        np.testing.assert_allclose(larger.camera.centre, 2.5 * frame.camera.centre, rtol=1e-6)
        np.testing.assert_array_equal(larger.camera.world_from_camera[:3, :3], frame.camera.world_from_camera[:3, :3])
        assert larger.depth.dtype == larger.world_points().dtype == np.float32
        assert larger.confidence is frame.confidence
        np.testing.assert_array_equal(frame.depth, same.depth)
        np.testing.assert_array_equal(frame.camera.world_from_camera, same.camera.world_from_camera)
    np.testing.assert_allclose(scaled.sparse_points, 2.5 * scene.sparse_points, rtol=1e-6)
    np.testing.assert_allclose(scaled.gaussians.means, scaled.sparse_points)
    np.testing.assert_allclose(scaled.gaussians.scales, 0.25)
    assert scaled.gaussians.means.dtype == np.float32
    length = scene.measurements[0].length(scene.frames)
    assert scaled.measurements[0].length(scaled.frames) == pytest.approx(2.5 * length, rel=1e-5)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_a_factor_that_makes_no_scene_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="positive length"):
        rescaled(synthetic_scene(1), factor)


def test_a_known_length_puts_the_scene_in_metres_and_can_be_changed_and_taken_back() -> None:
    scene = full_scene()
    length = scene.measurements[0].length(scene.frames)
    first = in_metres(scene, length, 1.2)
    assert first.metric
    assert first.measurements[0].length(first.frames) == pytest.approx(1.2, rel=1e-5)
    said = first.settings["known_length"]["note"]
    assert f"{length:.2f} model units is 1.20 m" in said
    second = in_metres(first, first.measurements[0].length(first.frames), 0.3)
    assert second.measurements[0].length(second.frames) == pytest.approx(0.3, rel=1e-5)
    assert f"{length:.2f} model units is 30.0 cm" in second.settings["known_length"]["note"]
    for scaled in (first, second):
        made = as_made(scaled)
        assert (made.metric, made.settings, made.notes) == (False, scene.settings, scene.notes)
        np.testing.assert_allclose(made.frames[2].world_points(), scene.frames[2].world_points(), rtol=1e-5, atol=1e-5)
    assert as_made(scene) is scene
    for wrong in (0.0, -2.0, float("nan")):
        with pytest.raises(InputError, match="greater than zero"):
            in_metres(scene, length, wrong)


def test_a_metric_model_can_be_corrected_and_is_metric_again_afterwards() -> None:
    scene = synthetic_scene(2)
    scaled = in_metres(scene, 1.0, 1.1)
    assert "what was 1.00 m is 1.10 m" in scaled.settings["known_length"]["note"]
    assert as_made(scaled).metric


@pytest.mark.parametrize("own_points", [False, True])
def test_a_measurement_lies_on_its_pixels_points(own_points: bool) -> None:
    frames = synthetic_scene(2).frames
    points = [frame.world_points() for frame in frames]
    if own_points:
        frames[0].points, frames[1].points = points
    np.testing.assert_allclose(position(frames[1], (50, 12)), points[1][12, 50], atol=1e-5)
    measurement = Measurement((0, 1), ((10, 40), (50, 12)))
    expected = np.linalg.norm(points[0][40, 10] - points[1][12, 50])
    assert measurement.length(frames) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("length", "metric", "words"),
    [
        (1.8249, True, "1.82 m"),
        (123.4, True, "123 m"),
        (4567.8, True, "4568 m"),
        (0.4349, True, "43.5 cm"),
        (0.00612, True, "6.12 mm"),
        (0.43491, False, "0.435 model units"),
        (0.0, False, "0.00 model units"),
        (12.345, False, "12.3 model units"),
    ],
)
def test_lengths_are_told_in_their_unit(length: float, metric: bool, words: str) -> None:
    assert in_words(length, metric) == words


def test_a_folder_keeps_measurements_and_what_set_the_scale(tmp_path) -> None:
    scene = in_metres(full_scene(), 0.5, 2.0)
    loaded = Scene.load(scene.save(tmp_path / "scene"))
    assert (loaded.metric, loaded.measurements) == (True, scene.measurements)
    assert loaded.settings["known_length"] == scene.settings["known_length"]
    np.testing.assert_array_equal(as_made(loaded).frames[0].depth, as_made(scene).frames[0].depth)


def test_exports_are_in_metres(tmp_path) -> None:
    scene = full_scene()
    scaled = in_metres(scene, 0.5, 2.0)
    everything = Filters(confidence=0, edges=False)
    before, after = (
        {suffix: _read(recon.export(one, tmp_path / f"{number}{suffix}", everything)) for suffix in (".ply", ".glb",
         ".npz", ".colmap")} for number, one in enumerate((scene, scaled))
    )  # fmt: skip
    for suffix, points in before.items():
        np.testing.assert_allclose(after[suffix], 4 * points, rtol=2e-4, atol=2e-4, err_msg=suffix)
    assert b"1 unit is arbitrary" in (tmp_path / "0.ply").read_bytes()[:200]
    assert b"1 unit is one metre" in (tmp_path / "1.ply").read_bytes()[:200]
    assert np.load(tmp_path / "1.npz")["metric"]


def _read(path) -> np.ndarray:
    """All points of a file, and what it has of cameras' centres."""
    if path.suffix == ".ply":
        import trimesh

        return np.asarray(trimesh.load(path).vertices)
    if path.suffix == ".glb":
        import trimesh

        loaded = trimesh.load(path)
        matrices = [loaded.graph.get(name)[0][:3, 3] for name in sorted(loaded.graph.nodes_geometry)]
        return np.concatenate([loaded.geometry["points"].vertices, matrices])
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return np.concatenate([arrays["points"].reshape(-1, 3), arrays["world_from_camera"][:, :3, 3]])
    import pycolmap

    model = pycolmap.Reconstruction(path / "sparse" / "0")
    centres = [model.images[index].projection_center() for index in sorted(model.images)]
    return np.concatenate([[model.points3D[index].xyz for index in sorted(model.points3D)], centres])
