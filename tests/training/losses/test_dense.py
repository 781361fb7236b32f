import math

import pytest
import torch

from recon.training.losses import dense


def test_confidence_costs_its_logarithm_and_multiplies_the_error() -> None:
    error, confidence = torch.tensor([0.1, 0.5, 9.0]), torch.tensor([2.0, 4.0, 1.0])
    mask = torch.tensor([True, True, False])
    expected = ((0.1 * 2 - 0.2 * math.log(2)) + (0.5 * 4 - 0.2 * math.log(4))) / 2
    assert float(dense.confidence_weighted(error, confidence, mask)) == pytest.approx(expected)


def test_the_best_confidence_is_alpha_over_the_error() -> None:
    confidence = torch.tensor([4.0], requires_grad=True)
    dense.confidence_weighted(torch.tensor([0.05]), confidence, torch.tensor([True]), alpha=0.2).backward()
    assert confidence.grad is not None
    assert float(confidence.grad) == pytest.approx(0, abs=1e-7)


def test_depth_errors_are_ratios() -> None:
    truth = torch.tensor([1.0, 10.0, 100.0])
    torch.testing.assert_close(dense.depth_error(truth * 1.1, truth), torch.full((3,), math.log(1.1)))


def test_signed_logarithm_keeps_directions_and_takes_the_logarithm_of_lengths() -> None:
    points = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0, -1e-3, 0.0]])
    expected = torch.tensor([[0.6, 0, 0.8], [0, 0, 0], [0, -1, 0]]) * torch.tensor([[6.0], [1.0], [1.001]]).log()
    torch.testing.assert_close(dense.signed_log(points), expected)


def test_the_gradient_loss_counts_steps_of_the_error_at_each_scale() -> None:
    truth = torch.full((1, 1, 8, 8), 2.0)
    depth = truth.clone()
    depth[..., 4:] *= math.exp(0.3)  # a step of 0.3 in the error, between columns 3 and 4
    mask = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    expected = 0.3 / 7 + 0.3 / 3 + 0.3 / 1
    assert float(dense.multi_scale_gradient(depth, truth, mask)) == pytest.approx(expected, rel=1e-5)
    assert float(dense.multi_scale_gradient(5 * truth, truth, mask)) == pytest.approx(0, abs=1e-6)


def test_normals_of_a_slanted_plane_are_its_own_everywhere() -> None:
    normal = torch.nn.functional.normalize(torch.tensor([0.4, -0.3, -0.8]), dim=0)
    tangents = torch.tensor([[[0.7, 0.5]]])
    depth = -1.6 / (dense.rays(tangents, 20, 24) @ normal)  # points with n . x = -1.6
    found = dense.normals(depth, tangents)
    torch.testing.assert_close(found, normal.expand_as(found), atol=1e-4, rtol=0)


def test_normal_consistency_is_one_minus_the_cosine_and_knows_no_scale() -> None:
    tangents = torch.tensor([[[0.4, 0.4]]])
    rays = dense.rays(tangents, 32, 32)
    angle = math.radians(20)
    upright = 3 / rays[..., 2]
    turned = 3 / (rays @ torch.tensor([math.sin(angle), 0.0, math.cos(angle)]))
    assert float(dense.normal_consistency(turned, upright, tangents)) == pytest.approx(1 - math.cos(angle), rel=1e-3)
    assert float(dense.normal_consistency(7 * upright, upright, tangents)) == pytest.approx(0, abs=1e-5)


def test_no_normal_is_asked_for_at_an_edge_or_beside_the_unknown() -> None:
    truth = torch.full((1, 1, 32, 32), 2.0)
    truth[..., 16:] = 3.0
    truth[..., 8, 4] = 0
    smooth = dense.smooth_surface(truth)
    assert not smooth[0, 0, :, 6:8].any()  # columns 14 and 16 of the image
    assert not smooth[0, 0, 3, 1]
    assert not smooth[0, 0, 3, 0]
    assert smooth.float().mean() > 0.8
