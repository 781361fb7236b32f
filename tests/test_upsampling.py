import cv2
import numpy as np
import pytest

from recon.upsampling import edge_confidence, sharpen, upsample_depth

HEIGHT, WIDTH = 96, 128


def two_surfaces(edge: int = 51) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A near grey wall left of ``edge`` before a far blue one: exact depth, photo, soft depth of half the size."""
    near = np.arange(WIDTH) < edge
    exact = np.broadcast_to(np.where(near, 1.0, 3.0), (HEIGHT, WIDTH)).astype(np.float32)
    image = np.where(near[None, :, None], np.uint8(150), np.array([40, 60, 200], np.uint8))
    image = np.broadcast_to(image, (HEIGHT, WIDTH, 3)).copy()
    soft = cv2.resize(cv2.GaussianBlur(1 / exact, (0, 0), 4), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    return exact, image, 1 / soft


def test_edges_move_to_where_the_photo_has_them():
    exact, image, soft = two_surfaces()
    smooth = cv2.resize(soft, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    upsampled = upsample_depth(soft, image)
    between_surfaces = [((depth > 1.15) & (depth < 2.6)).sum(1).mean() for depth in (smooth, upsampled)]
    assert between_surfaces[1] < 0.4 * between_surfaces[0]
    assert np.abs(upsampled - exact).mean() < 0.6 * np.abs(smooth - exact).mean()
    jump = np.abs(np.diff(upsampled, axis=1)).argmax(1) + 1
    assert np.abs(jump - 51).max() <= 1


def test_texture_does_not_bend_a_plane():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (24, 32, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    x = (np.arange(WIDTH) + 0.5) / WIDTH
    plane = np.broadcast_to(1 / (0.5 + 0.5 * x), (HEIGHT, WIDTH)).astype(np.float32)
    coarse = 1 / cv2.resize(1 / plane, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    upsampled = upsample_depth(coarse, image)
    assert np.abs(upsampled / plane - 1)[8:-8, 8:-8].max() < 0.02


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (97, 131), (48, 64), (30, 20)])
def test_any_size_and_never_beyond_the_range_of_the_depth(size):
    rng = np.random.default_rng(1)
    depth = rng.uniform(0.5, 8, (48, 64)).astype(np.float32)
    upsampled = upsample_depth(depth, rng.integers(0, 255, (*size, 3), np.uint8))
    assert upsampled.shape == size
    assert upsampled.dtype == np.float32
    assert upsampled.min() >= depth.min() * 0.9999
    assert upsampled.max() <= depth.max() * 1.0001


def test_sharpening_leaves_a_flat_wall_alone():
    rng = np.random.default_rng(2)
    inverse = np.full((48, 64), 0.25, np.float32)
    np.testing.assert_allclose(sharpen(inverse, rng.integers(0, 255, (48, 64, 3), np.uint8)), inverse, rtol=1e-5)


def test_confidence_falls_at_jumps_only():
    exact, _, _ = two_surfaces()
    factor = edge_confidence(exact)
    assert factor[:, 49:53].max() < 0.1
    assert factor[:, :45].min() > 0.99
    assert factor[:, 57:].min() > 0.99


def test_confidence_does_not_depend_on_the_unit():
    depth = np.random.default_rng(3).uniform(1, 2, (20, 30)).astype(np.float32)
    np.testing.assert_allclose(edge_confidence(depth), edge_confidence(100 * depth), rtol=1e-3)
