import numpy as np

from recon.alignment.matching import Features, candidate_pairs, extract, match
from recon.scene import View
from tests.helpers import synthetic_scene, synthetic_views


def view() -> View:
    return synthetic_views(synthetic_scene(1, 240, 320))[0]


def test_features_lie_in_the_picture_in_working_pixels():
    features = extract(view())
    assert len(features.pixels) > 100
    assert features.size == (1024, 768)
    assert (features.pixels >= 0).all()
    assert (features.pixels <= features.size).all()
    np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1, rtol=1e-4)


def test_a_blank_picture_has_no_features():
    assert len(extract(View(np.full((50, 60, 3), 128, np.uint8), "blank")).pixels) == 0


def test_what_is_masked_has_no_features():
    masked = view()
    masked.mask = np.ones(masked.image.shape[:2], bool)
    masked.mask[:, :160] = False
    assert extract(masked).pixels[:, 0].min() >= 512


def test_a_shifted_picture_matches_itself():
    image = view().image
    first, second = extract(View(image[:, :300].copy(), "a")), extract(View(image[:, 20:].copy(), "b"))
    matches = match(first, second)
    shift = first.pixels[matches[:, 0]] - second.pixels[matches[:, 1]]
    assert len(matches) > 50
    np.testing.assert_allclose(np.median(shift, 0), [20 * 1024 / 300, 0], atol=0.5)


def test_no_features_no_matches():
    nothing = Features((1024, 768), np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    assert match(nothing, extract(view())).shape == (0, 2)


def test_patches_keep_apart_what_looks_the_same():
    random = np.random.default_rng(0)
    one = np.abs(random.normal(size=(1, 128))).astype(np.float32)
    one /= np.linalg.norm(one)
    pixels = np.array([[100.0, 100.0], [900.0, 600.0]])
    twice = Features((1024, 768), pixels, np.repeat(one, 2, 0))
    assert len(match(twice, twice)) == 0
    grid = np.eye(48, dtype=np.float32).reshape(6, 8, 48)
    grid = grid + 0.01 * random.random(grid.shape, np.float32)
    np.testing.assert_array_equal(match(twice, twice, patches=(grid, grid)), [[0, 0], [1, 1]])


def test_few_views_are_matched_in_all_pairs_and_many_in_fewer():
    assert len(candidate_pairs(8)) == 28
    many = candidate_pairs(64)
    assert len(many) < 64 * 63 / 4
    assert {(i, i + 1) for i in range(63)} <= set(many)
    assert all(0 <= first < second < 64 for first, second in many)
