import pytest
import torch

from recon.training.batch import Batch
from recon.training.correspondences import (
    cyclic_partners,
    find_correspondences,
    look_up,
    of_partner,
    pixel_centres,
    project,
    to_camera,
    to_world,
    unproject,
)
from tests.training.toy import BOX_FRONT, BOX_HALF, WALL, toy_batch


def side_by_side() -> Batch:
    """A wall at depth 4 and a box before it, seen by two cameras 0.5 apart along x, without rotation."""
    from tests.training.toy import look

    world_from_camera = torch.eye(4).repeat(1, 2, 1, 1)
    world_from_camera[0, 1, 0, 3] = 0.5
    tangents = torch.full((1, 2, 2), 0.5)
    depth, images = look(world_from_camera, tangents, 64, 64)
    return Batch(images, depth, world_from_camera, tangents, torch.ones(1, 2, dtype=torch.bool))


def test_a_point_moves_by_focal_length_times_baseline_over_depth() -> None:
    batch = side_by_side()
    source = torch.tensor([32 * 64 + 32, 2 * 64 + 40])  # one on the box, one on the wall
    found = find_correspondences(batch, torch.tensor([[1, 0]]), source.expand(1, 2, 2))
    focal = 32 / 0.5
    expected = torch.tensor([[32.5 - focal * 0.5 / BOX_FRONT, 32.5], [40.5 - focal * 0.5 / WALL, 2.5]])
    torch.testing.assert_close(found.position[0, 0], expected)
    assert found.visible[0, 0].all()
    torch.testing.assert_close(found.position[0, 1, 1], torch.tensor([40.5 + 8, 2.5]))


def test_what_the_box_hides_is_not_visible() -> None:
    batch = side_by_side()
    row = torch.full((64,), 32) * 64 + torch.arange(64)
    found = find_correspondences(batch, torch.tensor([[1, 0]]), row.expand(1, 2, 64))
    x = (torch.arange(64) + 0.5 - 32) / 64  # of the ray at z = 1
    on_box = (x * BOX_FRONT).abs() < BOX_HALF
    from_second = (x * WALL - 0.5) / WALL  # where the second camera sees the wall's points
    hidden = (from_second * BOX_FRONT + 0.5).abs() < BOX_HALF
    inside = from_second.abs() < 0.5
    expected = torch.where(on_box, True, inside & ~hidden)
    assert (found.visible[0, 0] == expected).float().mean() > 0.96  # but for a pixel at each edge
    assert (hidden & ~on_box & ~found.visible[0, 0]).sum() >= 3


def test_what_has_no_depth_or_lies_behind_is_not_visible() -> None:
    batch = side_by_side()
    batch.depth[0, 0, 32, 32] = 0
    batch.world_from_camera[0, 1, 2, 3] = 10.0  # beyond the wall
    found = find_correspondences(batch, torch.tensor([[1, 0]]), torch.tensor([32 * 64 + 32, 9]).expand(1, 2, 2))
    assert not found.visible[0, 0].any()
    assert found.position.isfinite().all()
    assert (found.position >= 0).all()
    assert (found.position <= 64).all()


def test_projection_undoes_unprojection_in_any_camera() -> None:
    batch = toy_batch()
    pixel = pixel_centres(torch.arange(0, 64 * 96, 7), 96).expand(2, 3, -1, 2)
    depth = batch.depth.flatten(2)[:, :, ::7]
    points = to_world(unproject(pixel, depth, batch.tangents, 64, 96), batch.world_from_camera)
    torch.testing.assert_close(points, batch.points().flatten(2, 3)[:, :, ::7])
    back, distance = project(to_camera(points, batch.world_from_camera), batch.tangents, 64, 96)
    torch.testing.assert_close(back, pixel, atol=1e-3, rtol=0)
    torch.testing.assert_close(distance, depth)


@pytest.mark.parametrize("views", [2, 3, 4, 7])
def test_every_view_is_the_partner_of_another_one(views: int) -> None:
    partner = cyclic_partners(views - 1, views, "cpu")
    assert (partner != torch.arange(views)).all()
    assert (partner.sort(-1).values == torch.arange(views)).all()
    pairs = {(view, int(other)) for row in partner for view, other in enumerate(row)}
    assert len(pairs) == views * (views - 1)  # over the scenes, every pair


def test_values_are_looked_up_in_the_partner() -> None:
    values = torch.randn(2, 3, 10, 4)
    partner = cyclic_partners(2, 3, "cpu")
    index = torch.randint(10, (2, 3, 5))
    expected = of_partner(values, partner).gather(2, index[..., None].expand(-1, -1, -1, 4))
    torch.testing.assert_close(look_up(values, partner, index), expected)
