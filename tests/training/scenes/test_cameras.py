"""Cameras in worlds, what they share, and which of them become views."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recon.training.scenes.cameras import candidate_cameras
from recon.training.scenes.covisibility import choose_views, covisibility, presentable
from recon.training.scenes.layout import make_world
from recon.training.scenes.random import rotation_about_z
from recon.training.scenes.world import Cameras, World


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(40, generator(), 4)


def before_a_wall(x: Tensor, distance: float = 2.0, height: int = 18, width: int = 24) -> tuple[Cameras, Tensor]:
    """Cameras at ``x [S,C]`` that look straight at a wall, with square pictures, and what they see."""
    scenes, count = x.shape
    centre = torch.stack([x, torch.zeros_like(x), torch.zeros_like(x)], -1)
    level = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    cameras = Cameras(level.expand(scenes, count, 3, 3), centre, torch.ones(scenes, count, 2))
    return cameras, torch.full((scenes, count, height, width), distance)


def test_cameras_are_rotations_with_a_field_of_view_of_the_given_shape(world: World) -> None:
    wide = candidate_cameras(world, 12, 4 / 3, generator())
    identity = wide.rotation @ wide.rotation.transpose(-1, -2)
    torch.testing.assert_close(identity, torch.eye(3).expand_as(identity), atol=1e-4, rtol=0)
    assert (torch.linalg.det(wide.rotation) > 0.99).all()
    ratio = wide.tangents[..., 0] / wide.tangents[..., 1]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4 / 3), rtol=0.1, atol=0)
    degrees = torch.rad2deg(2 * torch.atan(wide.tangents[..., 0]))
    assert 57 < degrees.median() < 69
    assert degrees.min() > 20
    assert degrees.max() < 112
    tall = candidate_cameras(world, 12, 3 / 4, generator())
    torch.testing.assert_close(tall.tangents.flip(-1), wide.tangents)


def test_cameras_stay_in_the_interior(world: World) -> None:
    cameras = candidate_cameras(world, 12, 1.0, generator())
    local = (cameras.centre - world.interior_centre[:, None]) @ rotation_about_z(world.interior_yaw)
    assert (local.abs() <= world.interior_half[:, None] + 1e-4).all()


def test_cameras_stand_upright_for_the_most_part(world: World) -> None:
    cameras = candidate_cameras(world, 12, 1.0, generator())
    down = cameras.rotation[..., 2, 1]
    assert (down < -0.5).float().mean() > 0.85


def test_the_order_is_that_of_the_motion(world: World) -> None:
    cameras = candidate_cameras(world, 16, 1.0, generator())
    step = (cameras.centre[:, 1:] - cameras.centre[:, :-1]).norm(dim=-1).mean(1)
    jump = (cameras.centre[:, 8:] - cameras.centre[:, :-8]).norm(dim=-1).mean(1)
    assert (jump > 1.5 * step).float().mean() > 0.5


def test_baselines_run_from_small_to_as_large_as_the_distance(world: World) -> None:
    cameras = candidate_cameras(world, 12, 1.0, generator())
    between = torch.cdist(cameras.centre, cameras.centre).flatten(1).amax(1)
    relative = between / (cameras.centre.mean(1) - world.focus.mean(1)).norm(dim=-1)
    assert relative.quantile(0.1) < 0.35
    assert relative.quantile(0.9) > 1.0


def test_cameras_are_drawn_again_from_the_same_seed(world: World) -> None:
    one, two, other = (candidate_cameras(world, 6, 1.0, generator(seed)) for seed in (3, 3, 4))
    assert one.rotation.equal(two.rotation)
    assert one.centre.equal(two.centre)
    assert not one.centre.allclose(other.centre)


def test_covisibility_of_cameras_side_by_side_is_what_their_pictures_share() -> None:
    cameras, depth = before_a_wall(torch.tensor([[0.0, 1.0, 2.0, 5.0]]))
    expected = torch.tensor([[1.0, 0.75, 0.5, 0.0], [0.75, 1.0, 0.75, 0.0], [0.5, 0.75, 1.0, 0.25], [0, 0, 0.25, 1]])
    torch.testing.assert_close(covisibility(cameras, depth)[0], expected, atol=0.09, rtol=0)


def test_nothing_is_shared_through_an_obstacle_or_with_the_sky() -> None:
    cameras, depth = before_a_wall(torch.zeros(1, 3))
    depth[0, 1] = 1.0
    depth[0, 2] = 0.0
    shared = covisibility(cameras, depth)[0]
    assert shared[0, 1] == 0
    assert shared[0, 2] == 0
    assert shared[2].max() == 0


def test_cameras_that_see_nothing_or_stand_in_things_are_not_presentable() -> None:
    cameras, depth = before_a_wall(torch.zeros(1, 6))
    depth[0, 1, :15] = 0
    depth[0, 2, 5, 5] = 0.01
    depth[0, 3, :, :12] = 0.3
    depth[0, 4] = 0.2
    assert presentable(cameras, depth)[0].tolist() == [True, False, False, False, False, True]


def test_cameras_that_see_bare_ground_only_are_not_presentable() -> None:
    cameras, depth = before_a_wall(torch.zeros(1, 5))
    straight_down = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    cameras = Cameras(straight_down.expand(1, 5, 3, 3), cameras.centre, cameras.tangents)
    assert not presentable(cameras, depth).any()
    depth = depth.clone()
    depth[:, 2, 4:10, 4:12] = 1.0
    assert presentable(cameras, depth)[0].tolist() == [False, False, True, False, False]


def test_views_are_chosen_once_and_overlap_with_those_before() -> None:
    cameras, depth = before_a_wall(torch.linspace(0, 6, 20).expand(50, 20))
    choice = choose_views(cameras, depth, 8, generator())
    assert all(len(set(row)) == 8 for row in choice.views.tolist())
    assert choice.good.all()
    shared = covisibility(cameras, depth)
    for scene, row in zip(shared, choice.views.tolist(), strict=True):
        for step in range(1, 8):
            assert scene[row[step], row[:step]].max() > 0.09


def test_the_first_view_is_not_always_the_same_one_and_never_one_that_sees_nothing() -> None:
    cameras, depth = before_a_wall(torch.linspace(0, 3, 20).expand(200, 20))
    depth = depth.clone()
    depth[:, 5] = 0
    choice = choose_views(cameras, depth, 6, generator())
    first = choice.views[:, 0]
    assert len(first.unique()) > 12
    assert not (choice.views == 5).any()
    assert 0.2 < (first == 0).float().mean() < 0.7


def test_both_neighbours_and_far_views_occur() -> None:
    cameras, depth = before_a_wall(torch.linspace(0, 6, 24).expand(200, 24))
    views = choose_views(cameras, depth, 2, generator()).views
    shared = covisibility(cameras, depth)[torch.arange(200), views[:, 0], views[:, 1]]
    assert (shared > 0.85).float().mean() > 0.15
    assert (shared < 0.5).float().mean() > 0.15


def test_a_view_that_shares_nothing_is_marked() -> None:
    cameras, depth = before_a_wall(torch.tensor([[0.0, 100.0]]))
    choice = choose_views(cameras, depth, 2, generator())
    assert choice.good[0].tolist() == [True, False]
