"""Lenses that distort: COLMAP's own undistortion is the measure."""

import numpy as np
import pycolmap
import pytest
from PIL import Image

import recon
from recon import geometry, photo
from recon.known import attach
from recon.known.entry import Lens, Unfit
from recon.known.turn import Turn
from recon.known.undistortion import is_pinhole, lookup
from tests.helpers import synthetic_scene
from tests.known.test_colmap import model_of
from tests.test_photo import stored_for

LENSES = {
    "SIMPLE_RADIAL": (300, 161, 119, -0.12),
    "RADIAL": (300, 161, 119, -0.1, 0.02),
    "OPENCV": (300, 305, 161, 119, -0.1, 0.02, 0.001, -0.002),
    "FULL_OPENCV": (300, 305, 161, 119, -0.1, 0.02, 0.001, -0.002, 0.01, 0.02, 0.01, 0.001),
    "OPENCV_FISHEYE": (180, 181, 161, 119, 0.02, -0.01, 0.003, -0.001),
    "RADIAL_FISHEYE": (180, 161, 119, 0.02, -0.01),
    "FOV": (200, 200, 161, 119, 0.7),
    "THIN_PRISM_FISHEYE": (180, 181, 161, 119, 0.02, -0.01, 0.001, -0.001, 0.003, -0.001, 0.001, 0.002),
}
SIZE = (320, 240)


@pytest.mark.parametrize("model", LENSES)
def test_every_pixel_comes_from_where_colmap_takes_it(model):
    camera = pycolmap.Camera(model=model, width=SIZE[0], height=SIZE[1], params=LENSES[model])
    theirs = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), camera)
    lookup.cache_clear()
    intrinsics, pixels = lookup(Lens(model, LENSES[model], SIZE), Turn(1, SIZE), max(theirs.width, theirs.height))
    np.testing.assert_allclose(intrinsics, theirs.calibration_matrix(), atol=1e-9)
    assert pixels.shape[:2] == (theirs.height, theirs.width)
    grid = geometry.pixel_grid(theirs.height, theirs.width).reshape(-1, 2)[::37].astype(float)
    rays = np.column_stack([theirs.cam_from_img(grid), np.ones(len(grid))])
    np.testing.assert_allclose(pixels.reshape(-1, 2)[::37], camera.img_from_cam(rays), atol=1e-4)
    assert (pixels >= 0).all()
    assert (pixels <= SIZE).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_is_resampled_to_what_a_pinhole_camera_sees(tmp_path, orientation):
    scene = synthetic_scene(2, 240, 320)
    lens = pycolmap.Camera(model="OPENCV", width=320, height=240, params=[250, 252, 158, 121, -0.12, 0.03, 0, 0])
    exif = Image.Exif()
    exif[photo.ExifTags.Base.Orientation] = orientation
    turn = Turn(orientation, (320, 240) if orientation == 1 else (240, 320))
    for frame in scene.frames:
        frame.name = frame.name.replace(".png", ".jpg")
        photographed = distorted(frame, lens)
        Image.fromarray(stored_for(orientation, photographed)).save(
            tmp_path / frame.name, quality=98, subsampling=0, exif=exif
        )
    poses = [frame.camera.world_from_camera.astype(float) @ rigid(turn.rotation) for frame in scene.frames]
    if orientation == 6:  # in the stored picture x runs down the upright one, and y to its left
        lens = pycolmap.Camera(model="OPENCV", width=240, height=320, params=[252, 250, 121, 162, -0.12, 0.03, 0, 0])
    views = recon.read(tmp_path).views
    known = attach(views, [model_of(scene, tmp_path / "model", lens, poses=poses)])
    for view, frame, given in zip(known.views, scene.frames, views, strict=True):
        assert view.image is not given.image
        assert max(view.size) == max(given.size)
        assert (view.path, view.original_size) == (None, view.size)  # or exports would give the photo that is bent
        points = geometry.transform(geometry.invert(view.world_from_camera), frame.world_points())
        pixels = geometry.project(points, view.intrinsics)
        inside = ((pixels > 2) & (pixels < np.array(view.size) - 2)).all(-1)
        assert inside.mean() > 0.6
        x, y = pixels[inside].astype(int).T
        difference = np.abs(view.image[y, x].astype(int) - frame.image[inside]).mean(-1)
        shifted = np.abs(view.image[y, np.clip(x + 4, 0, view.size[0] - 1)].astype(int) - frame.image[inside]).mean(-1)
        assert difference.mean() < 0.6 * shifted.mean()
    assert any("resampled" in note and "OPENCV" in note for note in known.notes)
    assert "undistorted" in known.rows[0].intrinsics


def rigid(rotation: np.ndarray) -> np.ndarray:
    return geometry.rigid(rotation, np.zeros(3))


def distorted(frame: recon.Frame, lens: pycolmap.Camera) -> np.ndarray:
    """The picture that the lens takes of what the frame shows, nearest pixels."""
    height, width = frame.image.shape[:2]
    rays = lens.cam_from_img(geometry.pixel_grid(height, width).reshape(-1, 2).astype(float))
    pixels = geometry.project(np.column_stack([rays, np.ones(len(rays))]), frame.camera.intrinsics)
    x, y = np.clip(pixels.astype(int), 0, (width - 1, height - 1)).T
    return frame.image[y, x].reshape(height, width, 3)


def test_a_lens_that_hardly_distorts_leaves_the_photo_as_it_is():
    assert is_pinhole(pycolmap.Camera(model="OPENCV", width=640, height=480, params=[500, 500, 320, 240] + 4 * [1e-6]))
    assert not is_pinhole(
        pycolmap.Camera(model="OPENCV", width=640, height=480, params=[500, 500, 320, 240, 0.01, 0, 0, 0])
    )


@pytest.mark.parametrize(
    ("lens", "sentence"),
    [
        (Lens("PINHOLE", (float("nan"), 500, 320, 240), (640, 480)), "not finite"),
        (Lens("PINHOLE", (-500, 500, 320, 240), (640, 480)), "no lens"),
        (Lens("PINHOLE", (500, 320, 240), (640, 480)), "3 numbers"),
        (Lens("HOLOGRAM", (500, 320, 240), (640, 480)), "unknown kind HOLOGRAM"),
        (Lens("EQUIRECTANGULAR", (), (640, 320)), "all around"),
        (Lens("PINHOLE", (500, 500, 160, 120)), "about 320x240"),
    ],
)
def test_what_is_no_lens_is_named(lens, sentence):
    with pytest.raises(Unfit, match=sentence):
        lens.camera((640, 480))
