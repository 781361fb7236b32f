"""COLMAP models: read back what our exporter and pycolmap write."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pycolmap
import pytest

import recon
from recon import InputError, geometry
from recon.filters import Filters
from recon.known import attach
from recon.known.colmap import MODELS
from recon.known.placing import rigid_pose
from recon.scene import Scene
from tests.known.photographed import misplaced, photographed

EVERYTHING = Filters(confidence=0, edges=False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colmap")
    scene, views = photographed(folder / "photos")
    return scene, views, recon.export(scene, folder / "model.colmap", EVERYTHING)


def poses_of(scene: Scene) -> list[np.ndarray]:
    """``world_from_camera [4,4] float64``, rigid as far as float64 goes."""
    return [rigid_pose(frame.camera.world_from_camera.astype(np.float64)) for frame in scene.frames]


def model_of(
    scene: Scene, folder: Path, camera: pycolmap.Camera, text: bool = False, poses: list[np.ndarray] | None = None
) -> Path:
    """A model of the scene's poses, or others, with one camera, as pycolmap writes it."""
    folder.mkdir()
    reconstruction = pycolmap.Reconstruction()
    camera.camera_id = 1
    reconstruction.add_camera_with_trivial_rig(camera)
    for index, (frame, pose) in enumerate(zip(scene.frames, poses or poses_of(scene), strict=True), 1):
        image = pycolmap.Image(name=frame.name, camera_id=1, image_id=index)
        reconstruction.add_image_with_trivial_frame(image, pycolmap.Rigid3d(geometry.invert(pose)[:3]))
    (reconstruction.write_text if text else reconstruction.write_binary)(folder)
    return folder


def pinhole(scene: Scene) -> pycolmap.Camera:
    width, height = scene.frames[0].size
    k = scene.frames[0].camera.intrinsics
    return pycolmap.Camera(
        model="PINHOLE", width=width, height=height, params=[k[0, 0], k[1, 1], k[0, 2], k[1, 2]]
    )  # fmt: skip


def test_what_we_export_is_read_back(exported):
    scene, views, model = exported
    known = attach(views, [model])
    assert known.notes == []
    for view, given, frame in zip(known.views, views, scene.frames, strict=True):
        np.testing.assert_allclose(view.intrinsics, frame.camera.intrinsics, rtol=1e-5)
        np.testing.assert_allclose(view.world_from_camera, frame.camera.world_from_camera, atol=1e-5)
        assert not view.metric
        assert given.intrinsics is None
    assert known.rows[1].source == "model.colmap (COLMAP)"
    assert "62° wide" in known.rows[1].intrinsics


@pytest.mark.parametrize("form", ["zip", "loose files", "folder of photos and model"])
def test_a_model_comes_in_many_forms(exported, tmp_path, form):
    scene, views, model = exported
    tables = sorted((model / "sparse" / "0").iterdir())
    given = [model]
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "my model.zip", "w") as archive:
            for file in model.rglob("*.*"):
                archive.write(file, f"deep/inside/{file.relative_to(model)}")
        given = [tmp_path / "my model.zip"]
    if form == "loose files":
        given = []
        for table in tables:  # as a page keeps uploads, each in a folder of its own
            (tmp_path / table.name).mkdir()
            given.append(Path(shutil.copy(table, tmp_path / table.name)))
    known = attach(views, given)
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))


@pytest.mark.parametrize("text", [False, True])
def test_pycolmaps_own_files_with_rigs_and_frames(exported, tmp_path, text):
    scene, views, _ = exported
    model = model_of(scene, tmp_path / "model", pinhole(scene), text)
    assert {file.stem for file in model.iterdir()} >= {"rigs", "frames", "cameras", "images"}
    known = attach(views, [model])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))


def test_every_model_of_the_table_is_pycolmaps():
    for number, (name, count) in MODELS.items():
        assert pycolmap.CameraModelId.__members__[name] == pycolmap.CameraModelId(number)
        camera = pycolmap.Camera.create_from_model_name(1, name, 500.0, 640, 480)
        assert len(camera.params) == count


def test_a_photo_resized_since_has_its_intrinsics_scaled(exported, tmp_path):
    scene, views, _ = exported
    camera = pinhole(scene)
    camera.rescale(4 * camera.width, 4 * camera.height)
    known = attach(views, [model_of(scene, tmp_path / "model", camera)])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))


def test_a_photo_of_another_shape_keeps_its_pose_alone(exported, tmp_path):
    scene, views, _ = exported
    camera = pinhole(scene)
    camera.height = 96
    known = attach(views, [model_of(scene, tmp_path / "model", camera)])
    assert all(view.intrinsics is None and view.world_from_camera is not None for view in known.views)
    assert any("96x72 pixels" in note and "96x96" in note and "'IMG_0.jpg'" in note for note in known.notes)


def test_a_large_view_is_given_in_its_own_pixels(tmp_path):
    scene, _ = photographed(tmp_path / "photos", 1, scale=2)
    views = recon.read(tmp_path / "photos", maximum_side=96).views
    known = attach(views, [model_of(scene, tmp_path / "model", pinhole(scene))])
    assert known.views[0].size == (96, 72)
    assert known.views[0].intrinsics[0, 2] == pytest.approx(48)
    assert misplaced(known.views[0], scene.frames[0]) < 0.02


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photo_that_lies_on_its_side(tmp_path, orientation):
    """COLMAP sees the photo as it is stored; the model must see it upright."""
    scene, views = photographed(tmp_path / "photos", 2, orientation)
    angle = np.radians({3: 180, 6: -90, 8: 90}[orientation])
    stored_from_upright = np.eye(4)
    stored_from_upright[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    poses = [pose @ np.linalg.inv(stored_from_upright) for pose in poses_of(scene)]
    camera = pinhole(scene)
    if orientation in (6, 8):
        camera = pycolmap.Camera(
            model="PINHOLE", width=72, height=96, params=[*camera.params[:2], camera.params[3], camera.params[2]]
        )
    known = attach(views, [model_of(scene, tmp_path / "model", camera, poses=poses)])
    assert known.views[0].size == (96, 72)
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))
    assert any("EXIF" in note for note in known.notes) == (orientation == 3)


def test_photos_that_are_not_there_and_photos_without_a_pose(exported):
    _, views, model = exported
    known = attach(views[1:], [model])
    assert any("'IMG_0.jpg'" in note and "not among the photos" in note for note in known.notes)
    extra = recon.View(views[0].image, "elsewhere.jpg")
    known = attach([*views, extra], [model])
    assert known.views[3].world_from_camera is None
    assert known.rows[3] == recon.known.Row("elsewhere.jpg")
    assert any("No pose was found for 'elsewhere.jpg'" in note for note in known.notes)


@pytest.mark.parametrize(
    "damage", ["cut", "noise", "empty", "counts", "no cameras", "no images", "text cut", "nothing in it"]
)
def test_a_damaged_model_is_told_in_one_sentence(exported, tmp_path, damage):
    scene, views, model = exported
    copy = Path(shutil.copytree(model / "sparse" / "0", tmp_path / "model"))
    images = copy / "images.bin"
    if damage == "cut":
        images.write_bytes(images.read_bytes()[:100])
    if damage == "noise":
        images.write_bytes(np.random.default_rng(0).bytes(5000))
    if damage == "empty":
        images.write_bytes(b"")
    if damage == "counts":
        images.write_bytes(b"\xff" * 7 + b"\0" + images.read_bytes()[8:])
    if damage == "no cameras":
        (copy / "cameras.bin").unlink()
    if damage == "no images":
        images.write_bytes(bytes(8))
    if damage == "text cut":
        copy = model_of(scene, tmp_path / "text", pinhole(scene), text=True)
        (copy / "images.txt").write_text("1 0.5 0.5\n")
    if damage == "nothing in it":
        copy = tmp_path / "bare"
        copy.mkdir()
    with pytest.raises(InputError) as told:
        attach(views, [copy])
    assert str(told.value).count(". ") == 0
    assert str(told.value).endswith(".")


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [("nan 0 0 0 0 0 0", "not finite"), ("0 0 0 0 1 2 3", "not finite"), ("1 0 0 0 inf 0 0", "not finite")],
)
def test_a_pose_that_is_none_leaves_the_others(exported, tmp_path, numbers, sentence):
    scene, views, _ = exported
    model = model_of(scene, tmp_path / "model", pinhole(scene), text=True)
    lines = (model / "images.txt").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith("IMG_1.jpg"))
    lines[at] = f"2 {numbers} 1 IMG_1.jpg"
    (model / "images.txt").write_text("\n".join(lines))
    known = attach(views, [model])
    assert [view.world_from_camera is None for view in known.views] == [False, True, False]
    assert any("'IMG_1.jpg'" in note and sentence in note for note in known.notes)


def test_of_two_models_the_one_with_more_photos_gives_the_poses(exported, tmp_path):
    scene, views, model = exported
    shutil.copytree(model / "sparse" / "0", tmp_path / "both" / "1")
    fewer = Scene(scene.frames[:1])
    model_of(fewer, tmp_path / "both" / "0", pinhole(scene))
    known = attach(views, [tmp_path / "both"])
    assert [row.source for row in known.rows] == ["both, 1 (COLMAP)"] * 3
    assert any("another world" in note for note in known.notes)


def test_a_world_far_from_its_origin_comes_near(exported, tmp_path):
    scene, views, _ = exported
    far = np.array([500_000.125, 5_000_000.25, 100])
    poses = poses_of(scene)
    moved = [geometry.rigid(np.eye(3), far) @ pose for pose in poses]
    known = attach(views, [model_of(scene, tmp_path / "model", pinhole(scene), poses=moved)])
    steps = [view.world_from_camera[:3, 3] - known.views[0].world_from_camera[:3, 3] for view in known.views]
    expected = [pose[:3, 3] - poses[0][:3, 3] for pose in poses]
    np.testing.assert_allclose(steps, expected, atol=1e-4)
    assert any("subtracted" in note for note in known.notes)


def test_frames_of_a_video_find_their_pictures_of_an_export(tmp_path):
    scene, views = photographed(tmp_path / "photos")
    clip = tmp_path / "my clip.mp4"
    for index, (frame, view) in enumerate(zip(scene.frames, views, strict=True)):
        frame.name = view.name = f"my clip.mp4 at {index + 0.5:.2f} s"
        frame.path, frame.time, view.path, view.time = clip, index + 0.5, clip, index + 0.5
    known = attach(views, [recon.export(scene, tmp_path / "model.colmap.zip", EVERYTHING)])
    assert all(misplaced(view, frame) < 0.02 for view, frame in zip(known.views, scene.frames, strict=True))
