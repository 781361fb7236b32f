import numpy as np
import pytest

from recon.alignment import depth


def surface(height: int = 60, width: int = 80) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (2 + 0.02 * x + 0.5 * np.sin(y / 9)).astype(np.float32)


def spots(count: int, height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(1).uniform([1, 1], [width - 1, height - 1], (count, 2))


def test_sampling_is_exact_on_a_plane_and_unknown_next_to_holes():
    y, x = np.mgrid[:10, :20]
    plane = (1 + 0.5 * (x + 0.5) + 0.25 * (y + 0.5)).astype(np.float32)
    np.testing.assert_allclose(depth.sample(plane, np.array([[7.3, 4.8]])), [1 + 0.5 * 7.3 + 0.25 * 4.8], rtol=1e-6)
    plane[4, 7] = 0
    assert np.isnan(depth.sample(plane, np.array([[7.3, 4.8], [25.0, 4.0]]))).all()


def test_sampling_no_places_gives_nothing():
    assert depth.sample(surface(), np.zeros((0, 2))).shape == (0,)


def test_a_scale_is_recovered_from_few_points():
    true, pixels = surface(), spots(8)
    fitted = depth.fit(true * 0.4, pixels, depth.sample(true, pixels))
    np.testing.assert_allclose(fitted, true, rtol=0.02)


def test_a_smooth_error_is_corrected_where_there_are_many_points():
    true, pixels = surface(), spots(600)
    bent = true * np.exp(np.linspace(-0.2, 0.2, 80))[None].astype(np.float32)
    fitted = depth.fit(bent, pixels, depth.sample(true, pixels))
    assert np.abs(fitted / true - 1).mean() < 0.25 * np.abs(bent / true - 1).mean()


def test_false_points_do_little():
    true, pixels = surface(), spots(300)
    target = depth.sample(true, pixels)
    target[:60] *= 5
    assert np.abs(depth.fit(true * 1.5, pixels, target) / true - 1).mean() < 0.05


def test_unknown_stays_unknown_and_depth_keeps_its_sign():
    rough, pixels = surface(), spots(50)
    rough[:20] = 0
    target = np.exp(np.random.default_rng(2).normal(0, 2, 50))
    fitted = depth.fit(rough, pixels, target)
    assert (fitted[:20] == 0).all()
    assert (fitted[20:] > 0).all()
    assert np.isfinite(fitted).all()


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_points_fit_nothing(count):
    assert depth.fit(surface(), spots(count), np.ones(count)) is None
