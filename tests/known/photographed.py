"""A scene on disk as a user has it: photos, and what is known of them, to be read back."""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

import recon
from recon import geometry
from recon.scene import Frame, Scene, View
from tests.helpers import synthetic_scene
from tests.test_photo import stored_for

HEIGHT, WIDTH = 72, 96


def photographed(folder: Path, count: int = 3, orientation: int = 1, scale: int = 1) -> tuple[Scene, list[View]]:
    """A scene, and the views of its photos, which are written to ``folder`` turned as the EXIF orientation says."""
    scene = synthetic_scene(count, HEIGHT * scale, WIDTH * scale)
    folder.mkdir(exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for index, frame in enumerate(scene.frames):
        frame.name, frame.path = f"IMG_{index}.jpg", folder / f"IMG_{index}.jpg"
        Image.fromarray(stored_for(orientation, frame.image)).save(frame.path, quality=98, subsampling=0, exif=exif)
    return scene, recon.read(folder).views


def misplaced(view: View, frame: Frame) -> float:
    """Pixels of ``view``, in the median, by which points of ``frame`` fall beside where the frame shows them.

    The pictures are those of one photo, at whatever scales.
    """
    assert view.intrinsics is not None
    assert view.world_from_camera is not None
    points = frame.world_points()[::7, ::7].reshape(-1, 3)
    pixels = geometry.pixel_grid(*frame.image.shape[:2])[::7, ::7].reshape(-1, 2)
    local = geometry.transform(geometry.invert(view.world_from_camera.astype(float)), points)
    projected = geometry.project(local, view.intrinsics)
    expected = pixels * np.divide(view.size, frame.size)
    return float(np.median(np.linalg.norm(projected - expected, axis=-1)))
