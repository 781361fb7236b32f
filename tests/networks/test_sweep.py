import torch

from recon.networks.sweep import SweepNetwork, picture_grid, project

INTRINSICS = torch.tensor([[[0.9, 0.0, 0.5], [0.0, 1.2, 0.5], [0.0, 0.0, 1.0]]])


def moved(x: float) -> torch.Tensor:
    transform = torch.eye(4)[None]
    transform[0, 0, 3] = x
    return transform


def test_true_hypotheses_land_where_the_source_sees_the_point() -> None:
    grid = picture_grid(4, 6, torch.device("cpu"))
    directions = torch.einsum("nab,bhw->nahw", torch.linalg.inv(INTRINSICS), grid)
    depth = torch.full((1, 1, 4, 6), 2.0)
    places, visible, angle = project(directions, depth, INTRINSICS, moved(-0.1))
    # A step of 0.1 at depth 2 with focal 0.9 moves the picture by 0.045 of its width: 0.09 of grid_sample's range.
    expected = 2 * grid[:2].permute(1, 2, 0) - 1 - torch.tensor([0.09, 0.0])
    torch.testing.assert_close(places[0, 0], expected)
    assert visible[0, 0, :, 1:].all()
    central = 2 * torch.arctan(torch.tensor(0.025))  # about the angle that 0.1 spans at depth 2
    torch.testing.assert_close(angle[0, 0, 1:3, 3].mean(), 10 * central, atol=0.02, rtol=0)


def test_points_behind_a_source_are_not_seen() -> None:
    directions = torch.einsum("nab,bhw->nahw", torch.linalg.inv(INTRINSICS), picture_grid(4, 6, torch.device("cpu")))
    behind = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))[None]
    places, visible, angle = project(directions, torch.full((1, 3, 4, 6), 1.0), INTRINSICS, behind)
    assert not visible.any()
    assert places.isfinite().all()
    assert angle.isfinite().all()


def test_a_fresh_network_stays_near_its_prior_and_lets_gradients_through() -> None:
    torch.manual_seed(0)
    network = SweepNetwork(channels=(8, 8, 16, 16), compared=8, steps=(6, 5))
    features = network.encoder(torch.rand(3, 3, 48, 64))
    one = [features.select(slice(i, i + 1)) for i in range(3)]
    prior = torch.full((1, 48, 64), 1.7)
    refined = network(one[0], one[1:], prior, INTRINSICS, [INTRINSICS] * 2, [moved(0.1), moved(-0.2)])
    assert (refined.depth / prior).log().abs().max() < 0.57
    assert (refined.confidence >= 1).all()
    (refined.depth.mean() + refined.confidence.mean() + refined.coarse[0].mean()).backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
