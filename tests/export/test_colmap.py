import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import ExifTags, Image

import recon
from recon import geometry
from recon.export.colmap import corner_and_ratio, rescale_camera, rescale_pixels
from recon.export.sparse import dense_points, tracked_points
from recon.filters import Filters, keep
from recon.scene import Scene
from tests.alignment.test_refine import followed
from tests.helpers import synthetic_scene

EVERYTHING = Filters(confidence=0, edges=False)


def photographed(folder: Path) -> Scene:
    """A scene whose frames are crops of larger photos on disk, a third of their size and slightly squeezed."""
    scene = synthetic_scene(3, 96, 128)
    original_from_processed = np.array([[3, 0, 12], [0, 3.1, 20], [0, 0, 1]], np.float32)
    for index, frame in enumerate(scene.frames):
        frame.original_size, frame.original_from_processed = (400, 340), original_from_processed
        frame.name, frame.path = f"photo {index}.jpg", folder / f"photo {index}.jpg"
        Image.fromarray(picture_around(frame.image)).save(frame.path, quality=98, subsampling=0)
    return scene


def picture_around(image: np.ndarray) -> np.ndarray:
    """What ``original_from_processed`` of `photographed` was cropped from."""
    middle = Image.fromarray(image).resize((384, 298), Image.Resampling.BILINEAR)
    whole = Image.new("RGB", (400, 340))
    whole.paste(middle, (12, 20))
    return np.array(whole)


def written(scene: Scene, folder: Path, filters: Filters = EVERYTHING) -> pycolmap.Reconstruction:
    recon.export(scene, folder / "model.colmap", filters)
    return pycolmap.Reconstruction(folder / "model.colmap" / "sparse" / "0")


def observations(model: pycolmap.Reconstruction) -> list[tuple[pycolmap.Image, np.ndarray, pycolmap.Point3D]]:
    return [
        (image, point.xy, model.points3D[point.point3D_id])
        for image in model.images.values()
        for point in image.points2D
        if point.has_point3D()
    ]


# --- the round trip --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> tuple[Scene, pycolmap.Reconstruction, Path]:
    folder = tmp_path_factory.mktemp("colmap")
    scene = photographed(folder)
    return scene, written(scene, folder), folder / "model.colmap"


def test_cameras_are_those_of_the_photos(model):
    scene, reconstruction, folder = model
    assert reconstruction.num_images() == 3
    for image, frame in zip(
        sorted(reconstruction.images.values(), key=lambda i: i.image_id), scene.frames, strict=True
    ):
        camera = reconstruction.cameras[image.camera_id]
        assert (camera.width, camera.height) == Image.open(folder / "images" / image.name).size == (400, 340)
        expected = frame.original_from_processed.astype(float) @ frame.camera.intrinsics
        np.testing.assert_allclose(camera.calibration_matrix(), expected, atol=1e-3)
        np.testing.assert_allclose(image.cam_from_world().matrix(), frame.camera.camera_from_world[:3], atol=1e-5)


def test_points_project_onto_the_pixels_of_the_photo_that_they_came_from(model):
    _, reconstruction, folder = model
    pictures = {
        image.name: np.array(Image.open(folder / "images" / image.name)) for image in reconstruction.images.values()
    }
    seen = observations(reconstruction)
    assert len(seen) == 3 * 96 * 128
    differences = []
    for image, pixel, point in seen[::50]:
        np.testing.assert_allclose(image.project_point(point.xyz), pixel, atol=0.01)
        column, row = pixel.astype(int)
        differences.append(np.abs(pictures[image.name][row, column].astype(int) - point.color).mean())
    assert np.median(differences) < 10  # of 255; enlarging blurs the edges of the texture


def test_a_camera_shared_by_all_is_written_once(model):
    _, reconstruction, _ = model
    assert reconstruction.num_cameras() == 1
    assert reconstruction.compute_mean_reprojection_error() < 0.01


def test_a_photo_is_copied_byte_for_byte(model):
    scene, _, folder = model
    for frame in scene.frames:
        copy = folder / "images" / frame.name.replace(" ", "_")
        assert copy.read_bytes() == frame.path.read_bytes()


def test_a_zip_holds_the_same_as_a_folder(model, tmp_path):
    scene, _, folder = model
    os.utime(scene.frames[0].path, (0, 0))  # as archives often leave it
    with zipfile.ZipFile(recon.export(scene, tmp_path / "model.colmap.zip", EVERYTHING)) as archive:
        assert archive.testzip() is None
        files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert set(files) > {"sparse/0/cameras.bin", "sparse/0/images.bin", "sparse/0/points3D.bin"}


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photo_that_lies_on_its_side_is_turned_upright(tmp_path, orientation):
    scene = photographed(tmp_path)
    frame = scene.frames[0]
    upright = Image.open(frame.path)
    turned = upright.transpose(
        {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    )
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turned.save(frame.path, quality=98, subsampling=0, exif=exif)
    written(scene, tmp_path)
    exported = Image.open(tmp_path / "model.colmap" / "images" / "photo_0.jpg")
    assert exported.size == (400, 340)
    assert exported.getexif().get(ExifTags.Base.Orientation, 1) == 1
    assert np.abs(np.array(exported).astype(int) - np.array(upright)).mean() < 4


@pytest.mark.parametrize("kind", ["16 bits", "webp"])
def test_what_trainers_may_not_read_is_written_as_jpeg(tmp_path, kind):
    scene = photographed(tmp_path)
    frame = scene.frames[0]
    grey = np.array(Image.open(frame.path).convert("L"))
    if kind == "webp":
        Image.fromarray(grey).convert("RGB").save(frame.path, "WEBP", lossless=True)
    else:
        Image.fromarray(grey.astype(np.uint16) * 256).save(frame.path, "PNG")
    written(scene, tmp_path)
    exported = Image.open(tmp_path / "model.colmap" / "images" / "photo_0.jpg")
    assert (exported.format, exported.mode, exported.size) == ("JPEG", "RGB", (400, 340))
    assert np.abs(np.array(exported)[..., 1].astype(int) - grey).mean() < 3


@pytest.mark.parametrize("fate", ["gone", "another", "damaged", "video"])
def test_without_the_photo_the_models_own_picture_is_there(tmp_path, fate):
    scene = photographed(tmp_path)
    frame = scene.frames[0]
    if fate == "gone":
        frame.path.unlink()
    if fate == "another":
        Image.new("RGB", (300, 200)).save(frame.path)
    if fate == "damaged":
        frame.path.write_bytes(frame.path.read_bytes()[:100])
    if fate == "video":
        frame.time, frame.name = 1.5, "clip.mp4 at 0:01.50"
    reconstruction = written(scene, tmp_path)
    image = reconstruction.images[1]
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "model.colmap" / "images" / image.name)), frame.image)
    camera = reconstruction.cameras[image.camera_id]
    assert (camera.width, camera.height) == frame.size
    np.testing.assert_allclose(camera.calibration_matrix(), frame.camera.intrinsics, rtol=1e-5)
    for image, pixel, point in observations(reconstruction)[::500]:
        np.testing.assert_allclose(image.project_point(point.xyz), pixel, atol=0.01)
    assert image.name != "clip.mp4 at 0:01.50"


def test_names_are_unique_and_have_no_spaces(tmp_path):
    scene = photographed(tmp_path)
    for frame in scene.frames:
        frame.name = "ä/../b c.JPG"
    reconstruction = written(scene, tmp_path)
    names = sorted(image.name for image in reconstruction.images.values())
    assert names == ["b_c.jpg", "b_c_2.jpg", "b_c_3.jpg"]
    assert sorted(file.name for file in (tmp_path / "model.colmap" / "images").iterdir()) == names


# --- points ----------------------------------------------------------------------------------------------------------


def test_filters_hide_points_and_frames(tmp_path):
    scene = photographed(tmp_path)
    filters = Filters(confidence=50, edges=True, frames=frozenset({0, 2}))
    reconstruction = written(scene, tmp_path, filters)
    assert sorted(image.name for image in reconstruction.images.values()) == ["photo_0.jpg", "photo_2.jpg"]
    masks = keep(scene, filters)
    assert reconstruction.num_points3D() == sum(mask.sum() for mask in masks)
    inverse = np.linalg.inv(scene.frames[0].original_from_processed)
    for image, pixel, _ in observations(reconstruction)[::20]:
        column, row = (inverse @ [*pixel, 1])[:2].astype(int)
        assert masks[int(image.name[6])][row, column]


def test_a_dense_scene_gives_its_confident_pixels_evenly():
    scene = synthetic_scene(3, 96, 128)
    scene.frames[1].confidence[:] += 100  # a level of its own does not bring a picture more points
    masks = keep(scene, EVERYTHING)
    points = dense_points(scene, masks, 1000)
    assert 600 < len(points.positions) <= 1000
    counts = np.bincount(points.frame)
    assert counts.max() < 1.2 * counts.min()
    left = points.pixels[:, 0] < 64
    assert 0.4 < left.mean() < 0.6
    rows, columns = points.pixels[points.frame == 0][:, ::-1].astype(int).T
    assert np.median(scene.frames[0].confidence[rows, columns]) > np.percentile(scene.frames[0].confidence, 55)
    np.testing.assert_array_equal(points.point, np.arange(len(points.positions)))
    assert len(dense_points(scene, masks, 0).positions) == 0
    assert len(dense_points(scene, masks, 7).positions) <= 7


def test_tracks_give_points_with_all_their_observations(tmp_path):
    scene = synthetic_scene(5, 120, 160)
    scene.tracks = followed(scene, noise=0.2)
    reconstruction = written(scene, tmp_path)
    lengths = np.array([point.track.length() for point in reconstruction.points3D.values()])
    assert (lengths > 1).sum() > 200
    assert np.median(lengths[lengths > 1]) >= 4
    for point in [point for point in reconstruction.points3D.values() if point.track.length() > 1][::10]:
        assert point.error < 2
        for element in point.track.elements:
            image = reconstruction.images[element.image_id]
            error = np.linalg.norm(image.project_point(point.xyz) - image.points2D[element.point2D_idx].xy)
            assert error < 4 * 160 / 1024  # what counts as agreeing, in working pixels


def test_tracks_give_points_whatever_the_shape_of_a_cameras_pixels(tmp_path):
    scene = synthetic_scene(5, 120, 160)
    for index, frame in enumerate(scene.frames):
        step = 2 + index % 2  # columns left out, so that pixels are wide, and not in all frames alike
        frame.image, frame.depth = frame.image[:, :150:step], frame.depth[:, :150:step]
        frame.confidence = frame.confidence[:, :150:step]
        frame.camera.intrinsics = np.diag([1 / step, 1, 1]).astype(np.float32) @ frame.camera.intrinsics
        frame.camera.intrinsics[0, 2] += 0.5 - 0.5 / step
        frame.original_size = (150, 120)
        frame.original_from_processed = np.diag([frame.size[0] / 75, 1, 1]).astype(np.float32)
    scene.tracks = followed(scene, noise=0.1)
    many = [point for point in written(scene, tmp_path).points3D.values() if point.track.length() > 1]
    assert len(many) > 200
    assert max(point.error for point in many) < 1


def test_tracked_points_heed_filters():
    scene = synthetic_scene(5, 120, 160)
    scene.tracks = followed(scene, noise=0.2)
    masks = keep(scene, EVERYTHING)
    everything = tracked_points(scene, masks)
    masks[1][:] = False
    for mask in masks:
        mask[:, :80] = False
    some = tracked_points(scene, masks)
    assert 0 < len(some.positions) < 0.7 * len(everything.positions)
    assert 1 not in some.frame
    right = np.array([masks[f][y, x] for f, (x, y) in zip(some.frame, some.pixels.astype(int), strict=True)])
    assert right.mean() > 0.9


def test_a_few_points_that_the_user_picked_do_not_replace_the_cloud(tmp_path):
    scene = synthetic_scene(3, 48, 64)
    scene.tracks = followed(scene, count=5, noise=0, outliers=0)
    reconstruction = written(scene, tmp_path)
    assert reconstruction.num_points3D() > 3 * 48 * 64 - 10


# --- coordinates -----------------------------------------------------------------------------------------------------


def test_the_recorded_cameras_and_pixels_are_reproduced():
    """Recorded from VGGT's export to COLMAP, of a photo of 171 x 96 pixels on a black square of 518 or 1024."""
    corner, size = np.array([0, 221.5672], np.float32), np.array([171, 96], np.float32)
    pinhole = np.array([400, 410, 259, 259], np.float32)
    np.testing.assert_allclose(rescale_camera(pinhole, 171 / 518, size), [132.04633, 135.34749, 85.5, 48], rtol=1e-7)
    simple = np.array([800.61774, 512, 512], np.float32)
    np.testing.assert_allclose(rescale_camera(simple, 171 / 1024, size), [133.69691, 85.5, 48], rtol=1e-7)
    pixels = np.array([[904.0512686, 934.71749303], [725.20388004, 567.80480232]])
    expected = [[150.96949896, 119.0905275], [121.10338231, 57.81897465]]
    np.testing.assert_allclose(rescale_pixels(pixels, corner, 171 / 1024), expected, rtol=1e-7)


def test_a_photo_that_is_not_square_keeps_its_pixels_in_place():
    """VGGT's export without bundle adjustment took the corner in other pixels than the ratio; ours has both of one."""
    original_from_processed = geometry.resize_transform((518, 518), (171, 171)).astype(float)
    original_from_processed[1, 2] = -(171 - 96) / 2
    corner, ratio = corner_and_ratio(original_from_processed)
    np.testing.assert_allclose(rescale_pixels(np.array([259.0, 259.0]), corner, ratio), [171 / 2, 96 / 2])
    inside = rescale_pixels(np.array([[0, corner[1]], [518, 518 - corner[1]]]), corner, ratio)
    np.testing.assert_allclose(inside, [[0, 0], [171, 96]], atol=1e-9)


def test_the_png_of_a_frame_is_lossless(tmp_path):
    scene = synthetic_scene(1, 48, 64)
    with zipfile.ZipFile(recon.export(scene, tmp_path / "a.colmap.zip")) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("images/"))
        picture = np.array(Image.open(io.BytesIO(archive.read(name))))
    np.testing.assert_array_equal(picture, scene.frames[0].image)
