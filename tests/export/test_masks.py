import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import recon
from recon.errors import InputError
from recon.filters import Filters
from tests.helpers import moving_scene, synthetic_scene


def read(path):
    with zipfile.ZipFile(path) as archive:
        return {name: np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in archive.namelist()}


def test_masks_have_the_frames_names_and_say_what_moves(tmp_path):
    scene = moving_scene(3)
    scene.frames[1].moving = None
    masks = read(recon.export(scene, tmp_path / "scene.masks.zip"))
    assert list(masks) == [f"{scene.frames[index].name}.png" for index in (0, 2)]
    for index, mask in zip((0, 2), masks.values(), strict=True):
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, 255 * scene.frames[index].moving)
    only = read(recon.export(scene, tmp_path / "scene.masks.zip", Filters(frames=frozenset({2}))))
    assert list(only) == [f"{scene.frames[2].name}.png"]


def test_masks_have_the_size_of_the_untouched_photo_and_lie_where_the_frame_does(tmp_path):
    frame = moving_scene(2).frames[0]
    height, width = frame.depth.shape
    # the frame was cut out of a photo 10 and 20 pixels larger on the left and on top, and made three times smaller
    frame.original_from_processed = np.array([[3, 0, 10], [0, 3, 20], [0, 0, 1]], np.float32)
    frame.original_size = (3 * width + 15, 3 * height + 20)
    frame.moving = np.zeros((height, width), bool)
    frame.moving[5, 7] = frame.moving[0, 0] = frame.moving[-1, -1] = True
    scene = replace(moving_scene(2), frames=[frame])
    (mask,) = read(recon.export(scene, tmp_path / "scene.masks.zip")).values()
    expected = np.zeros((3 * height + 20, 3 * width + 15), np.uint8)
    expected[20:, 10 : 10 + 3 * width] = 255 * np.kron(frame.moving, np.ones((3, 3), np.uint8))
    np.testing.assert_array_equal(mask, expected)


def test_where_nothing_tells_what_moves_it_is_said(tmp_path):
    with pytest.raises(InputError, match="what moves"):
        recon.export(synthetic_scene(), tmp_path / "scene.masks.zip")
    assert list(tmp_path.iterdir()) == []
