import math

import pytest
import torch
from torch import Tensor

from recon.training.correspondences import cyclic_partners
from recon.training.losses import photometric
from tests.training.toy import toy_batch


def test_images_are_as_dissimilar_as_their_statistics() -> None:
    image = torch.rand(1, 3, 12, 12)
    assert float(photometric.photometric_error(image, image).max()) == pytest.approx(0, abs=1e-6)
    black, white = torch.zeros(1, 3, 12, 12), torch.ones(1, 3, 12, 12)
    expected = 0.85 * (1 - 1e-4 / (1 + 1e-4)) / 2 + 0.15
    torch.testing.assert_close(photometric.photometric_error(black, white), torch.full((1, 12, 12), expected))


def test_true_depth_and_cameras_warp_one_view_onto_the_other() -> None:
    batch = toy_batch(scenes=1, views=2)
    partner = cyclic_partners(1, 2, "cpu")
    warped, seen = photometric.warp(batch.images, batch.depth, batch.world_from_camera, batch.tangents, partner)
    error = (warped - batch.images).abs().mean(2)[seen]
    assert seen.float().mean() > 0.8
    assert float(error.median()) < 2e-3
    assert float(error.mean()) < 0.15 * float((batch.images.flip(1) - batch.images).abs().mean())


def test_the_photometric_loss_is_least_for_the_truth_and_its_gradient_leads_there() -> None:
    batch = toy_batch(scenes=1, views=3)

    def loss(factor: Tensor) -> Tensor:
        return photometric.photometric(batch.images, factor * batch.depth, batch.world_from_camera, batch.tangents)

    at = {factor: float(loss(torch.tensor(factor))) for factor in (0.9, 0.97, 1.0, 1.03, 1.1)}
    assert at[0.9] > at[0.97] > at[1.0] < at[1.03] < at[1.1]
    assert at[1.0] < 0.01
    factor = torch.tensor(0.95, requires_grad=True)
    loss(factor).backward()
    assert factor.grad is not None
    assert float(factor.grad) < 0


def test_what_does_not_move_is_left_out() -> None:
    batch = toy_batch(scenes=1, views=2)
    images = batch.images[:, :1].repeat(1, 2, 1, 1, 1)  # a frozen picture: any depth but the far one is wrong
    loss = photometric.photometric(images, batch.depth, batch.world_from_camera, batch.tangents)
    assert float(loss) == 0


def test_smoothness_forgives_edges_of_the_picture() -> None:
    inverse = torch.full((1, 8, 8), 0.75)
    inverse[..., 4:] = 1.25
    plain, edge = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1.0
    assert float(photometric.edge_aware_smoothness(1 / inverse, plain)) == pytest.approx(0.5 / 7, rel=1e-5)
    assert float(photometric.edge_aware_smoothness(1 / inverse, edge)) == pytest.approx(0.5 / 7 / math.e, rel=1e-5)
