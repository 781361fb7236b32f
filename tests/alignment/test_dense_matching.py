"""Descriptors made from true geometry: random Fourier features of the point that a cell shows, with noise."""

import numpy as np
import pytest

from recon import geometry
from recon.alignment.dense_matching import Description, dense_matches
from recon.alignment.depth import sample
from recon.scene import Frame
from tests.helpers import synthetic_scene


def features(points: np.ndarray, scale: float, channels: int, noise: float, seed: int) -> np.ndarray:
    """Unit descriptors ``[h,w,channels]`` whose likeness falls with the distance of points over ``scale``."""
    directions = np.random.default_rng(7).normal(size=(3, channels // 2)) / scale
    phases = points @ directions
    waves = np.concatenate([np.cos(phases), np.sin(phases)], -1)
    waves += noise * np.random.default_rng(seed).normal(size=waves.shape)
    return (waves / np.linalg.norm(waves, axis=-1, keepdims=True)).astype(np.float32)


def describe(frame: Frame, seed: int, noise: float = 0.3, fine: bool = True) -> Description:
    points = frame.world_points()
    middle = points[8::16, 8::16]
    cells = (points[1::4, 1::4] + points[2::4, 2::4]) / 2
    # A patch is about a third of a metre wide.
    return Description(features(middle, 0.3, 64, noise, seed), features(cells, 0.1, 32, noise, seed) if fine else None)


def pixel_errors(first: Frame, second: Frame, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """How far, in pixels, matches end from where they should."""
    size = np.array(first.size)
    depth = sample(first.depth, here * size)
    rays = np.column_stack([here * size, np.ones(len(here))]) @ np.linalg.inv(first.camera.intrinsics).T
    world = geometry.transform(first.camera.world_from_camera, rays * depth[:, None])
    seen = geometry.project(geometry.transform(second.camera.camera_from_world, world), second.camera.intrinsics)
    return np.linalg.norm(seen - there * size, axis=1)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return synthetic_scene(2, 192, 256).frames


def test_cells_match_to_parts_of_a_cell(frames):
    first, second = frames
    found = dense_matches(describe(first, 1), describe(second, 2))
    errors = pixel_errors(first, second, found.first, found.second)
    assert len(errors) > 500
    assert np.median(errors) < 1.0
    assert (errors < 4).mean() > 0.9


def test_patches_alone_match_to_parts_of_a_patch(frames):
    first, second = frames
    found = dense_matches(describe(first, 1, fine=False), describe(second, 2, fine=False))
    errors = pixel_errors(first, second, found.first, found.second)
    assert len(errors) > 60
    assert np.median(errors) < 4
    exact = pixel_errors(first, second, found.first, np.floor(found.second * [16, 12]) / [16, 12] + [1 / 32, 1 / 24])
    assert np.median(errors) < 0.8 * np.median(exact)


def test_confident_matches_are_the_better_ones(frames):
    first, second = frames
    found = dense_matches(describe(first, 1, noise=0.8), describe(second, 2, noise=0.8))
    errors = pixel_errors(first, second, found.first, found.second)
    sure = found.confidence > np.median(found.confidence)
    assert (errors[sure] < 4).mean() > (errors[~sure] < 4).mean()
    best = found.strongest(16, 12)
    assert len(best.first) <= 16 * 12
    assert len(np.unique((best.first * [16, 12]).astype(int), axis=0)) == len(best.first)


def test_matches_of_different_things_are_not_confident(frames):
    first, second = frames
    elsewhere = features(np.random.default_rng(3).normal(size=(12, 16, 3)) * 100, 1, 64, 0, 0)
    cells = features(np.random.default_rng(4).normal(size=(48, 64, 3)) * 100, 1, 32, 0, 0)
    right = dense_matches(describe(first, 1), describe(second, 2))
    wrong = dense_matches(describe(first, 1), Description(elsewhere, cells))
    assert wrong.confidence.sum() < 0.15 * right.confidence.sum()


def test_pictures_of_different_shapes_match(frames):
    first, second = frames
    whole = describe(second, 2)
    assert whole.cells is not None
    left = Description(whole.patches[:, :12], whole.cells[:, :48])
    found = dense_matches(describe(first, 1), left)
    errors = pixel_errors(first, second, found.first, found.second * [12 / 16, 1])
    assert np.median(errors) < 1.5


def test_featureless_pictures_match_nowhere():
    plain = Description(np.full((3, 4, 8), 8**-0.5, np.float32), np.full((12, 16, 8), 8**-0.5, np.float32))
    found = dense_matches(plain, plain)
    assert found.first.shape == found.second.shape == (len(found.confidence), 2)
    assert (found.confidence < 0.1).all()
