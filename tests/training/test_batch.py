"""Batches: geometry, units and picking."""

from __future__ import annotations

import torch

from recon.training.batch import Batch, rays


def plane_batch() -> Batch:
    """Two scenes of two views that look straight at a wall 2 m away; the second camera stands 1 m to the right."""
    world_from_camera = torch.eye(4).repeat(2, 2, 1, 1)
    world_from_camera[:, 1, 0, 3] = 1.0
    world_from_camera[:, :, 2, 3] = 5.0
    depth = torch.full((2, 2, 6, 8), 2.0)
    depth[1, 0, :3] = 0
    tangents = torch.tensor([1.0, 0.75]).expand(2, 2, 2)
    return Batch(torch.zeros(2, 2, 3, 6, 8), depth, world_from_camera, tangents, torch.ones(2, 2, dtype=torch.bool))


def test_rays_run_from_one_edge_of_the_field_of_view_to_the_other() -> None:
    directions = rays(torch.tensor([1.0, 0.5]), 2, 4)
    assert directions.shape == (2, 4, 3)
    torch.testing.assert_close(directions[0, :, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    torch.testing.assert_close(directions[:, 0, 1], torch.tensor([-0.25, 0.25]))
    assert (directions[..., 2] == 1).all()


def test_points_lie_on_the_wall_and_unknown_ones_in_the_camera() -> None:
    batch = plane_batch()
    points = batch.points()
    torch.testing.assert_close(points[0, ..., 2], torch.full((2, 6, 8), 7.0))
    torch.testing.assert_close(points[0, 1, ..., 0] - points[0, 0, ..., 0], torch.ones(6, 8))
    torch.testing.assert_close(points[1, 0, :3], torch.tensor([0.0, 0.0, 5.0]).expand(3, 8, 3))


def test_normalised_puts_the_first_camera_at_the_origin_and_the_mean_distance_at_one() -> None:
    batch = plane_batch()
    turned = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    batch.world_from_camera[:, :, :3, :3] = turned
    once = batch.normalised()
    torch.testing.assert_close(once.world_from_camera[:, 0], torch.eye(4).expand(2, 4, 4))
    distance = once.points().norm(dim=-1)
    torch.testing.assert_close(distance[0].mean(), torch.tensor(1.0))
    torch.testing.assert_close(distance[1][once.valid[1]].mean(), torch.tensor(1.0))
    assert (once.depth > 0).equal(batch.depth > 0)
    again = once.normalised()
    torch.testing.assert_close(again.depth, once.depth)
    torch.testing.assert_close(again.world_from_camera, once.world_from_camera)


def test_normalised_keeps_a_scene_without_any_depth_finite() -> None:
    batch = plane_batch()
    batch.depth[0] = 0
    once = batch.normalised()
    assert once.world_from_camera.isfinite().all()
    assert not once.valid[0].any()


def test_select_takes_the_same_views_of_each_scene() -> None:
    batch = plane_batch()
    some = batch.select(slice(1, 2), torch.tensor([1, 0]))
    assert some.images.shape == (1, 2, 3, 6, 8)
    torch.testing.assert_close(some.world_from_camera[0, 0], batch.world_from_camera[1, 1])
