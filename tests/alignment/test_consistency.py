"""What views say of each other, on cameras that look at a wall in a row."""

from __future__ import annotations

import numpy as np
import pytest

from recon import geometry
from recon.alignment.consistency import agreement, choose_sources, confirm, pull, seen_through
from recon.alignment.stereo import COARSE, Stereo, match
from recon.alignment.sweep import Shot

HEIGHT, WIDTH, FOCAL, DEPTH = 96, 128, 120.0, 4.0
SIZE = (HEIGHT, WIDTH)


def wall(centres: list[float], seed: int = 0) -> list[Shot]:
    """Views of a textured wall at `DEPTH` from places along x, a whole number of pixels apart in the picture."""
    texture = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 4, 1024 // 4, 3)).astype(np.float32)
    texture = np.kron(texture, np.ones((4, 4, 1))).astype(np.uint8)
    shots = []
    for x in centres:
        start = 256 + round(x * FOCAL / DEPTH)
        pose = geometry.rigid(np.eye(3), np.array([-x, 0, 0]))
        intrinsics = geometry.intrinsics_from_focal(FOCAL, WIDTH, HEIGHT)
        shots.append(Shot(texture[:, start : start + WIDTH], intrinsics.astype(float), pose))
    return shots


def flat(depth: float) -> np.ndarray:
    return np.full(SIZE, 1 / depth, np.float32)


def test_views_from_a_good_angle_are_chosen_before_close_and_far_ones() -> None:
    shots = wall([0, 0.01, 0.6, 3.0, 12.0])
    assert choose_sources(shots, [flat(DEPTH)] * 5, 2)[0][0] == 2
    assert 4 not in choose_sources(shots, [flat(DEPTH)] * 5, 4)[0]


def test_the_sweep_finds_a_wall_that_the_prior_has_too_near() -> None:
    reference, *sources = wall([0, 0.5, -0.5])
    stereo = match(reference, flat(DEPTH * 0.8), sources, COARSE)
    inner = stereo.inverse[10:-10, 30:-30]
    assert np.median(np.abs(inner * DEPTH - 1)) < 0.01
    assert np.median(stereo.score) > 0.9


def test_a_view_without_sources_keeps_its_prior() -> None:
    stereo = match(wall([0])[0], flat(3), [], COARSE)
    np.testing.assert_array_equal(stereo.inverse, flat(3))
    assert not stereo.score.any()


def test_only_depth_that_another_view_shares_is_believed() -> None:
    first, second = wall([0, 0.6])
    ones, movement = np.ones(SIZE, np.float32), np.full(SIZE, 20, np.float32)
    view = Stereo(first, flat(DEPTH), ones, movement)
    same, other = (Stereo(second, flat(depth), ones, movement) for depth in (DEPTH, DEPTH * 1.3))
    assert (confirm(view, [same])[:, 30:] > 0.2).all()
    assert not confirm(view, [other]).any()
    assert not confirm(Stereo(first, flat(DEPTH), 0 * ones, movement), [same]).any()
    assert agreement(view, confirm(view, [same])) > 0.2
    assert agreement(view, confirm(view, [other])) == 0


def test_what_stands_in_front_of_a_sure_surface_is_seen_through() -> None:
    first, second = wall([0, 0.6])
    inverse = flat(DEPTH)
    inverse[30:60, 60:90] = 1 / 2  # floats half way to the wall
    found = seen_through(first, inverse, [(second, flat(DEPTH), np.ones(SIZE, np.float32))])
    assert found[30:60, 60:90].mean() > 0.9
    found[30:60, 60:90] = False
    assert not found.any()
    assert not seen_through(first, inverse, [(second, flat(DEPTH), np.zeros(SIZE, np.float32))]).any()


@pytest.mark.parametrize(("depth", "moves"), [(DEPTH * 1.05, True), (DEPTH * 2, False)])
def test_surfaces_that_nearly_meet_pull_each_other(depth: float, moves: bool) -> None:
    first, second = wall([0, 0.2])
    change, weight = pull(first, flat(DEPTH), [(second, flat(depth), np.ones(SIZE, np.float32))])
    pulled = (change * weight)[20:-20, 40:-40]
    if moves:
        np.testing.assert_allclose(change[20:-20, 40:-40], np.log(DEPTH / depth), atol=0.005)
        assert (weight[20:-20, 40:-40] > 0.5).all()
    else:
        assert np.abs(pulled).max() < 0.01
