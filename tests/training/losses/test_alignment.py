import math

import pytest
import torch

from recon.training.losses import alignment


def test_best_scale_is_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    points, truth = torch.randn(2, 50, 3, generator=generator), torch.randn(2, 50, 3, generator=generator)
    weight = torch.rand(2, 50, generator=generator)
    found = alignment.best_scale(points, truth, weight)
    for index in range(2):
        root = weight[index].sqrt()[:, None]
        column, target = (root * points[index]).reshape(-1, 1), (root * truth[index]).reshape(-1, 1)
        expected = torch.linalg.lstsq(column.double(), target.double()).solution
        assert float(found[index]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_two_way_alignment_knows_no_scale(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(2, 50, 3, generator=generator) + 3
    guess = truth + 0.1 * torch.randn(2, 50, 3, generator=generator)
    mask = torch.rand(2, 50, generator=generator) > 0.2
    loss = alignment.two_way_alignment(guess, truth, mask)
    torch.testing.assert_close(alignment.two_way_alignment(scale * guess, truth, mask), loss, atol=0, rtol=1e-4)
    torch.testing.assert_close(alignment.two_way_alignment(truth, guess, mask), loss)
    assert 0.01 < float(loss) < 0.1
    assert float(alignment.two_way_alignment(scale * truth, truth, mask)) == pytest.approx(0, abs=2e-4)


def test_points_by_depth_and_points_told_are_to_agree() -> None:
    points = torch.tensor([[[0.0, 0.0, 1.0], [3.0, 0.0, 0.0], [0.0, 7.0, 0.0]]])
    others = torch.tensor([[[0.0, 0.0, 3.0], [3.0, 0.0, 0.0], [0.0, 0.0, 7.0]]])
    mask = torch.tensor([[True, True, False]])
    loss = alignment.consistency(points, others, mask)
    assert float(loss) == pytest.approx(math.log(4 / 2) / 2, rel=1e-3)
