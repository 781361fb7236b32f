import numpy as np
import pytest

from recon.geometry import project
from recon.models.mapanything_fitting import (
    SIZES,
    common_size,
    common_size_within,
    place_depth,
    place_image,
    place_intrinsics,
    placement,
)

INTRINSICS = np.array([[900.0, 0, 640], [0, 880, 350], [0, 0, 1]])


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(640, 480)], (518, 392)),
        ([(480, 640)], (392, 518)),
        ([(500, 500), (1000, 1000)], (518, 518)),
        ([(1920, 1080)], (518, 294)),
        ([(640, 480), (480, 640)], (518, 518)),
        ([(100, 5000)], (252, 518)),
        ([(5000, 100)], (518, 168)),
    ],
)
def test_all_pictures_get_the_size_of_the_nearest_aspect(sizes, expected):
    assert common_size(sizes) == expected


def test_sizes_are_whole_patches():
    for size in [*SIZES.values(), *(common_size_within([(w, 100)], 224) for w in (1, 30, 100, 170, 9000))]:
        assert size[0] % 14 == 0
        assert size[1] % 14 == 0
        assert min(size) > 0


@pytest.mark.parametrize("original", [(131, 97), (97, 131), (1280, 720), (60, 400), (518, 392), (1, 1)])
@pytest.mark.parametrize("size", [(518, 392), (70, 56), (56, 70)])
@pytest.mark.parametrize("calibrated", [True, False])
def test_a_placed_picture_has_the_size_and_shows_the_picture_alone(original, size, calibrated):
    placed = placement(original, size, calibrated)
    picture = place_image(np.full((original[1], original[0], 3), 200, np.uint8), placed)
    assert picture.shape == (size[1], size[0], 3)
    assert (picture == 200).all()
    corners = np.array([[0, 0, 1], [size[0], size[1], 1]]) @ placed.original_from_processed.T
    assert (corners[:, :2] >= -1e-9).all()
    assert (corners[:, :2] <= np.array(original) + 1e-9).all()


def test_intrinsics_and_depth_follow_the_picture():
    placed = placement((1280, 720), (518, 392), calibrated=True)
    columns, rows = np.meshgrid(np.linspace(0, 255, 1280), np.linspace(0, 255, 720))
    picture = place_image(np.stack([columns, rows, rows], -1).astype(np.uint8), placed)
    point = np.array([0.1, -0.05, 1.0])
    before, after = project(point, INTRINSICS), project(point, place_intrinsics(INTRINSICS, placed))
    back = placed.original_from_processed @ [*after, 1]
    np.testing.assert_allclose(back[:2], before, atol=1.0)  # the published way rounds by less than a pixel
    red, green, _ = picture[int(after[1]), int(after[0])].astype(float)
    np.testing.assert_allclose([red / 255 * 1279, green / 255 * 719], before, atol=8)


def test_depth_does_not_mix_edges():
    depth = np.where(np.arange(640) < 301, 1.0, 5.0).astype(np.float32) * np.ones((480, 1), np.float32)
    depth[:100] = 0
    placed = placement((640, 480), (252, 196))
    assert set(np.unique(place_depth(depth, placed))) == {0.0, 1.0, 5.0}
    assert place_depth(depth, placed).shape == (196, 252)


def test_transparent_pictures_stand_on_white():
    picture = place_image(np.zeros((97, 131, 4), np.uint8), placement((131, 97), (70, 56)))
    assert (picture == 255).all()
