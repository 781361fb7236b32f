import math

import pytest
import torch
from torch import Tensor

from recon.training.batch import Batch
from recon.training.losses import matching
from tests.training.toy import place_descriptors, toy_batch


def fine_loss(descriptors: Tensor, batch: Batch, seed: int = 0) -> float:
    torch.manual_seed(seed)
    found = matching.fine_correspondences(batch, matching.size_of(descriptors))
    return float(matching.fine_matching(descriptors, found, matching.size_of(batch.depth)))


def test_samples_lie_one_in_every_patch_around_the_cells_centres() -> None:
    pixels = matching.sample_pixels(3, 2, (64, 96), (16, 24), torch.device("cpu"))
    assert pixels.shape == (3, 2, 8 * 6)
    row, column = pixels // 96, pixels % 96
    assert (row // 8 == torch.arange(8).repeat_interleave(6)).all()
    assert (column // 16 == torch.arange(6).repeat(8)).all()
    assert set((row % 4).unique().tolist()) == {1, 2}
    assert set((column % 4).unique().tolist()) == {1, 2}


def test_bilinear_descriptors_are_the_cells_own_at_their_centres_and_between_them_a_mixture() -> None:
    maps = torch.nn.functional.normalize(torch.randn(1, 2, 4, 5, 8), dim=-1)
    partner = torch.tensor([[1, 0]])
    position = torch.tensor([[2.5, 1.5], [3.0, 1.5]]).expand(1, 2, 2, 2)
    found = matching.bilinear(maps, partner, position)
    torch.testing.assert_close(found[0, 0, 0], maps[0, 1, 1, 2])
    between = torch.nn.functional.normalize(maps[0, 0, 1, 2] + maps[0, 0, 1, 3], dim=-1)
    torch.testing.assert_close(found[0, 1, 1], between)


def test_descriptors_of_the_place_cost_little_and_equal_ones_the_logarithm_of_the_candidates() -> None:
    batch = toy_batch()
    good = fine_loss(place_descriptors(batch, 4, 128, 6.0), batch)
    constant = torch.nn.functional.normalize(torch.ones(2, 3, 16, 24, 8), dim=-1)
    chance = fine_loss(constant, batch)
    assert good < 0.4
    assert math.log(40) < chance < math.log(64 + 48)


def test_fine_matching_learns_the_place_within_the_window() -> None:
    """Descriptors that tell windows apart, but not the cells in them, are not enough."""
    batch = toy_batch(scenes=1, views=2)
    batch = batch.with_(world_from_camera=batch.world_from_camera[:, :1].repeat(1, 2, 1, 1))
    batch = batch.with_(depth=batch.depth[:, :1].repeat(1, 2, 1, 1))
    window = torch.nn.functional.normalize(torch.randn(1, 1, 2, 3, 64), dim=-1)
    coarse = window.repeat_interleave(8, 2).repeat_interleave(8, 3).expand(1, 2, -1, -1, -1)
    own = torch.nn.functional.normalize(torch.randn(1, 1, 16, 24, 64), dim=-1).expand(1, 2, -1, -1, -1)
    assert fine_loss(own, batch) < 0.3 < 0.5 * math.log(64) < fine_loss(coarse, batch)


def test_the_logits_of_windows_are_products_with_the_cells_of_each_window() -> None:
    rows, columns = 12, 20  # windows that reach beyond the grid
    cells, there = torch.randn(1, 1, rows, columns, 8), torch.randn(1, 1, rows // 2 * (columns // 4), 8)
    cell = torch.stack([torch.tensor(2 * y * columns + 4 * x + 1) for y in range(6) for x in range(5)]).view(1, 1, -1)
    logits, right = matching.window_logits(cells, there, cell)
    for sample in (0, 7, 29):
        y, x = int(cell[0, 0, sample]) // columns, int(cell[0, 0, sample]) % columns
        block = cells[0, 0, y // 8 * 8 : y // 8 * 8 + 8, x // 8 * 8 : x // 8 * 8 + 8].flatten(0, 1)
        expected = matching.FINE_SHARPNESS * (block @ there[0, 0, sample])
        torch.testing.assert_close(logits[0, 0, sample].logsumexp(0), expected.logsumexp(0))
        torch.testing.assert_close(
            right[0, 0, sample], matching.FINE_SHARPNESS * (cells[0, 0, y, x] @ there[0, 0, sample])
        )


def test_hidden_points_teach_descriptors_nothing() -> None:
    batch = toy_batch()
    maps = place_descriptors(batch, 4, 16, 10.0).requires_grad_()
    torch.manual_seed(0)
    found = matching.fine_correspondences(batch, (16, 24))
    found.visible[:] = False
    loss = matching.fine_matching(maps, found, (64, 96))
    loss.backward()
    assert float(loss.detach()) == 0
    assert maps.grad is not None
    assert (maps.grad == 0).all()


def test_coarse_matching_is_cross_entropy_over_the_partners_cells() -> None:
    batch = toy_batch()
    maps = torch.nn.functional.normalize(torch.randn(2, 3, 4, 6, 16), dim=-1)
    found = matching.coarse_correspondences(batch, (4, 6))
    target = matching.cell_of(found.position, (64, 96), (4, 6))
    expected, count = 0.0, 0
    for scene in range(2):
        for view in range(3):
            other = maps[scene, int(found.partner[scene, view])].flatten(0, 1)
            logits = matching.COARSE_SHARPNESS * maps[scene, view].flatten(0, 1) @ other.T
            terms = torch.nn.functional.cross_entropy(logits.double(), target[scene, view], reduction="none")
            expected += float(terms[found.visible[scene, view]].sum())
            count += int(found.visible[scene, view].sum())
    assert 50 < count < 2 * 3 * 24
    assert float(matching.coarse_matching(maps, found, target)) == pytest.approx(expected / count, rel=1e-4)
