import numpy as np
import pytest

from recon.models.fitting import centred, common_size, crop, cut, fit, on_white, pad, sample, square

SIZES = [(171, 96), (120, 200), (100, 100), (640, 360), (75, 333)]  # width, height


def gradient(width: int, height: int) -> np.ndarray:
    """Red grows by a level a pixel to the right, green downwards: a colour tells where it came from."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, np.full_like(x, 100)], -1).astype(np.uint8)


def dotted(width: int, height: int, points: np.ndarray) -> np.ndarray:
    """Soft white dots on black, each centred on a point (x, y), pixel centres at +0.5."""
    y, x = np.mgrid[:height, :width] + 0.5
    squares = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    return np.repeat((255 * np.exp(-squares / 18).max(-1))[..., None], 3, -1).astype(np.uint8)


def centroid(image: np.ndarray, around: np.ndarray, radius: int) -> np.ndarray:
    """Centre of mass (x, y) of the light near a point."""
    left, top = np.maximum(np.floor(around).astype(int) - radius, 0)
    patch = image[top : top + 2 * radius, left : left + 2 * radius, 0].astype(float)
    patch[patch < 40] = 0
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]] + 0.5
    return np.array([left + (x * patch).sum() / patch.sum(), top + (y * patch).sum() / patch.sum()])


@pytest.mark.parametrize("way", [crop, pad, square])
@pytest.mark.parametrize("size", [(171, 96), (120, 150), (90, 90)])
def test_points_of_the_input_land_on_the_picture(way, size):
    width, height = size
    points = np.array([[0.25, 0.3], [0.5, 0.5], [0.7, 0.65]]) * size
    fitted = way(dotted(width, height, points))
    back = fitted.original_from_processed
    for point in points:
        expected = np.linalg.solve(back, [*point, 1])[:2]
        seen = centroid(fitted.image, expected, int(8 / back[0, 0]))
        np.testing.assert_allclose(seen, expected, atol=0.35)  # of the input's pixels, three of which are one or more
        np.testing.assert_allclose(back[:2, :2] @ seen + back[:2, 2], point, atol=0.1)


@pytest.mark.parametrize("way", [crop, pad, square])
@pytest.mark.parametrize("size", SIZES)
def test_content_is_where_the_picture_is(way, size):
    fitted = way(np.zeros((size[1], size[0], 3), np.uint8))
    left, top, right, bottom = fitted.content
    corners = fitted.original_from_processed @ np.array([[left, right], [top, bottom], [1, 1]])
    assert (corners > -1e-9).all()
    assert (corners[:2] < np.array(size)[:, None] + 1e-9).all()
    assert np.ptp(corners[0]) == pytest.approx(size[0])  # never cropped
    if way is crop:
        return
    assert np.ptp(corners[1]) == pytest.approx(size[1])
    if way is pad:
        white = np.ones(fitted.image.shape[:2], bool)
        white[int(top) : int(bottom), int(left) : int(right)] = False
        np.testing.assert_array_equal(fitted.image[..., 0] == 255, white)


@pytest.mark.parametrize(
    ("size", "cropped", "padded"),
    [
        ((171, 96), (518, 294), (518, 294)),
        ((120, 200), (518, 518), (308, 518)),
        ((1000, 20), (518, 14), (518, 14)),
        ((1000, 5), (518, 14), (518, 14)),
        ((518, 21), (518, 28), (518, 28)),  # 1.5 patches: to the even one
        ((518, 35), (518, 28), (518, 28)),  # 2.5 patches: to the even one
    ],
)
def test_sizes_are_multiples_of_a_patch(size, cropped, padded):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    assert crop(image).size == cropped == common_size([size], "crop")
    assert pad(image).size == (518, 518) == common_size([size], "pad")
    assert cut(pad(image)).size == padded


def test_the_centre_rows_of_a_tall_picture_are_kept():
    fitted = crop(gradient(100, 200), 98)
    assert fitted.size == (98, 98)
    y = (fitted.original_from_processed @ [0.5, 49, 1])[1]
    assert y == pytest.approx(100, abs=1.1)
    assert fitted.image[:, 49, 1].mean() == pytest.approx(99.5, abs=1.1)
    assert fitted.image[0, 49, 1] == pytest.approx(50, abs=2)


def test_pictures_of_other_shapes_share_a_size():
    images = [np.zeros((96, 171, 3), np.uint8), np.zeros((200, 120, 3), np.uint8), np.zeros((77, 130, 3), np.uint8)]
    sizes = [(171, 96), (120, 200), (130, 77)]
    for mode in ("crop", "pad"):
        fitted = fit(images, mode, 140)
        assert {one.size for one in fitted} == {common_size(sizes, mode, 140)} == {(140, 140)}
        for one, alone in zip(fitted, images, strict=True):
            inner = cut(one)
            assert not inner.image.any()  # no white is left
            expected = cut(crop(alone, 140) if mode == "crop" else pad(alone, 140))
            assert inner.size == expected.size
            np.testing.assert_allclose(inner.original_from_processed, expected.original_from_processed, atol=1e-9)


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_what_was_cut_can_be_put_back(mode):
    fitted = fit([gradient(171, 96), gradient(120, 200), gradient(130, 77)], mode, 154)
    for one in fitted:
        again = centred(cut(one).image, one.size)
        np.testing.assert_array_equal(again.image, one.image)
        assert again.content == one.content


def test_transparent_pictures_lie_on_white():
    image = np.zeros((20, 30, 4), np.uint8)
    image[:, :10, 3] = 255
    image[:, 10:20, 3] = 51
    flat = on_white(image)
    assert [tuple(flat[0, x]) for x in (0, 15, 25)] == [(0, 0, 0), (204, 204, 204), (255, 255, 255)]
    assert crop(image, 42).image[0, -1].tolist() == [255, 255, 255]


def test_maps_of_the_picture_are_sampled_where_its_pixels_went():
    image = gradient(150, 90)
    for fitted in (cut(crop(image, 280)), cut(pad(image, 70)), crop(gradient(90, 150), 98)):
        source = image if fitted.size[0] > fitted.size[1] else gradient(90, 150)
        assert sample(source[..., 0], fitted).shape == fitted.image.shape[:2]
        errors = np.abs(sample(source, fitted).astype(int) - fitted.image)[2:-2, 2:-2]
        assert errors.max() <= 1  # the nearest pixel's colour, up to half a pixel of gradient
