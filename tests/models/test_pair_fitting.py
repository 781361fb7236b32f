import numpy as np
import pytest

from recon.errors import InputError
from recon.models.pair_fitting import fit


def dotted(width: int, height: int, points: np.ndarray) -> np.ndarray:
    """Soft white dots on black, each centred on a point (x, y), pixel centres at +0.5."""
    y, x = np.mgrid[:height, :width] + 0.5
    squares = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    return np.repeat((255 * np.exp(-squares / 18).max(-1))[..., None], 3, -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "network", "expected"),
    [
        ((640, 427), 512, (512, 336)),
        ((200, 300), 512, (336, 512)),
        ((560, 560), 512, (512, 384)),  # the network has hardly seen squares
        ((301, 151), 512, (512, 256)),
        ((120, 200), 512, (304, 512)),
        ((333, 240), 224, (224, 224)),
        ((130, 190), 224, (224, 224)),
        ((224, 224), 224, (224, 224)),
    ],
)
def test_sizes_are_multiples_of_a_patch(size, network, expected):
    assert fit(np.zeros((size[1], size[0], 3), np.uint8), network).size == expected


@pytest.mark.parametrize("network", [512, 224])
@pytest.mark.parametrize("size", [(301, 151), (600, 700), (560, 560)])
def test_points_of_the_input_land_on_the_picture(size, network):
    point = np.array([0.45, 0.6]) * size
    fitted = fit(dotted(*size, point[None]), network)
    light = fitted.image[..., 0].astype(float)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    seen = np.array([(light * x).sum(), (light * y).sum(), light.sum()]) / light.sum()
    np.testing.assert_allclose((fitted.original_from_processed @ seen)[:2], point, atol=0.1)


def test_all_of_the_input_shows_the_photo():
    fitted = fit(np.zeros((300, 400, 3), np.uint8))
    assert fitted.content == (0, 0, *fitted.size)
    corners = fitted.original_from_processed @ np.array([[0, 512], [0, 384], [1, 1]])
    np.testing.assert_allclose(corners[:2], [[0, 400], [0, 300]])


def test_transparency_is_ignored():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 4), np.uint8)
    np.testing.assert_array_equal(fit(image).image, fit(image[..., :3]).image)


@pytest.mark.parametrize(("network", "most"), [(512, 32), (224, 14)])
def test_a_photo_too_elongated_is_refused_in_a_sentence(network, most):
    with pytest.raises(InputError, match=f"2000 x 20 pixels is too elongated; crop it to at most 1:{most}."):
        fit(np.zeros((20, 2000, 3), np.uint8), network)
    assert min(fit(np.zeros((20, 20 * most, 3), np.uint8), network).size) >= 16
