import math

import pytest
import torch

from recon.training.losses.segmentation import (
    Truth,
    assign,
    dice,
    prediction_loss,
    sample,
    sampled_pairs,
    segmentation_loss,
)
from recon.training.losses.smoothness import mask_guided_smoothness

LABELS = 3  # and one more that means none
WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 0.1])


def truth() -> Truth:
    """Two segments over two views: all of the first, all of the second; so none has an edge."""
    masks = torch.zeros(2, 2, 8, 12)
    masks[0, 0] = masks[1, 1] = 1
    return Truth(torch.tensor([2, 0]), masks)


def perfect(order: list[int], strength: float = 20.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of four queries, of which those named say what is true, in the order of the segments."""
    classes, masks = torch.zeros(1, 4, LABELS + 1), torch.full((1, 4, 2, 8, 12), -strength)
    classes[..., LABELS] = strength
    for segment, query in enumerate(order):
        classes[0, query] = strength * torch.nn.functional.one_hot(truth().labels[segment], LABELS + 1)
        masks[0, query] = strength * (2 * truth().masks[segment] - 1)
    return classes, masks


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("order", [[0, 1], [3, 1], [2, 0]])
def test_each_segment_is_assigned_to_the_query_that_says_it(order: list[int]) -> None:
    classes, masks = perfect(order)
    query, segment = assign(classes[0], masks[0], truth())
    assert dict(zip(segment.tolist(), query.tolist(), strict=True)) == dict(enumerate(order))


def test_the_class_decides_between_masks_that_are_alike_and_the_other_way_round() -> None:
    classes, masks = perfect([1, 2])
    masks[0, 3], masks[0, 0] = masks[0, 1], masks[0, 1]
    query, segment = assign(classes[0], masks[0], truth())
    assert query[segment == 0].tolist() == [1]
    classes, masks = perfect([1, 2])
    classes[0, 0] = classes[0, 1]
    query, segment = assign(classes[0], masks[0], truth())
    assert query[segment == 0].tolist() == [1]


def test_what_is_perfect_costs_nothing_in_any_order() -> None:
    for order in ([0, 1], [3, 2]):
        classes, masks = perfect(order)
        assert float(segmentation_loss([classes], [masks], [truth()], WEIGHTS)) < 1e-3


def test_wrong_classes_and_wrong_masks_cost_by_themselves() -> None:
    classes, masks = perfect([0, 1])
    right = [float(part) for part in prediction_loss(classes, masks, [truth()], WEIGHTS)]
    swapped = classes.roll(1, -1)
    wrong_class = [float(part) for part in prediction_loss(swapped, masks, [truth()], WEIGHTS)]
    assert wrong_class[0] > right[0] + 5
    assert wrong_class[2] == pytest.approx(right[2], abs=0.1)
    wrong_mask = [float(part) for part in prediction_loss(classes, 0 * masks, [truth()], WEIGHTS)]
    assert wrong_mask[0] == pytest.approx(right[0], abs=1e-4)
    assert wrong_mask[1] == pytest.approx(math.log(2), rel=1e-4)
    assert wrong_mask[2] > right[2] + 0.3


def test_cross_entropy_counts_queries_that_are_none_little() -> None:
    classes, masks = torch.zeros(1, 4, LABELS + 1), torch.zeros(1, 4, 2, 8, 12)
    of_classes, of_masks, _ = prediction_loss(classes, masks, [truth()], WEIGHTS)
    assert float(of_classes) == pytest.approx(math.log(4))
    assert float(of_masks) == pytest.approx(math.log(2), rel=1e-5)
    classes[0, :, LABELS] = 3  # all say none: two of four are wrong, and these count ten times as much
    wrong = math.log(3 + math.exp(3))
    expected = (2 * wrong + 2 * 0.1 * (wrong - 3)) / 2.2
    assert float(prediction_loss(classes, masks, [truth()], WEIGHTS)[0]) == pytest.approx(expected, rel=1e-5)


def test_losses_teach() -> None:
    classes = torch.zeros(1, 4, LABELS + 1, requires_grad=True)
    masks = (0.1 * torch.randn(1, 4, 2, 8, 12)).requires_grad_()
    optimizer = torch.optim.Adam([classes, masks], 0.2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = segmentation_loss([classes], [masks], [truth()], WEIGHTS, points=256)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.15 * losses[0]
    query, segment = assign(classes[0], masks[0], truth())
    assert (classes[0, query].argmax(-1) == truth().labels[segment]).all()
    assert ((masks[0, query] > 0) == (truth().masks[segment] > 0)).float().mean() > 0.95


def test_a_scene_without_segments_teaches_that_all_is_none() -> None:
    nothing = Truth(torch.zeros(0, dtype=torch.long), torch.zeros(0, 2, 8, 12))
    classes, masks = torch.zeros(1, 4, LABELS + 1, requires_grad=True), torch.zeros(1, 4, 2, 8, 12, requires_grad=True)
    of_classes, of_masks, of_overlap = prediction_loss(classes, masks, [nothing], WEIGHTS)
    (of_classes + of_masks + of_overlap).backward()
    assert of_masks.item() == of_overlap.item() == 0
    assert classes.grad is not None
    assert (classes.grad[..., LABELS] < 0).all()
    assert masks.grad is not None
    assert (masks.grad == 0).all()


def test_points_are_sampled_in_each_view_and_mostly_where_masks_are_unsure() -> None:
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    centres = torch.tensor([[0.5 / 4, 0.5 / 3], [3.5 / 4, 2.5 / 3]]).expand(1, 2, 2, 2)
    torch.testing.assert_close(sample(maps, centres), torch.tensor([[0.0, 11, 12, 23]]))
    logits = torch.full((1, 1, 16, 16), 9.0)
    logits[..., :2] = 0
    values, _ = sampled_pairs(logits, torch.ones(1, 1, 16, 16), 400)
    assert values.shape == (1, 400)
    assert (values.abs() < 1).float().mean() > 0.25  # a tenth of all that there are


def test_dice_is_the_share_of_what_is_not_in_common() -> None:
    logits = torch.tensor([[50.0, 50, -50, -50]])
    assert float(dice(logits, torch.tensor([[1.0, 1, 0, 0]]))) == pytest.approx(0)
    assert float(dice(logits, torch.tensor([[0.0, 1, 1, 0]]))) == pytest.approx(1 - 3 / 5)
    assert float(dice(logits, torch.tensor([[0.0, 0, 1, 1]]))) == pytest.approx(1 - 1 / 5)


def test_depth_is_smooth_within_segments_only() -> None:
    segments = torch.tensor([[0, 0, 1, 1], [0, 0, 1, -1]])
    depth = torch.tensor([[1.0, 2, 9, 9], [1, 2, 9, 5]], requires_grad=True)
    loss = mask_guided_smoothness(depth, segments)
    assert loss.item() == pytest.approx(2 / 6)  # of six steps across two are within a segment; none of four down
    loss.backward()
    assert depth.grad is not None
    assert (depth.grad[:, 2:] == 0).all()
    depth = torch.tensor([[1.0, 2], [4, 4]])
    assert float(mask_guided_smoothness(depth, torch.ones(2, 2))) == pytest.approx((1 + 0) / 2 + (3 + 2) / 2)
    assert float(mask_guided_smoothness(depth, -torch.ones(2, 2))) == 0


def test_rendered_depth_learns_from_segments() -> None:
    from recon.splatting import Splats, render

    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    lens = torch.tensor([[[16.0, 0, 8], [0, 16, 8], [0, 0, 1]]])
    bumps = (0.2 * torch.randn(16, 16)).requires_grad_()
    optimizer = torch.optim.Adam([bumps], 0.02)
    segments = (x > 8).int()[None]
    losses = []
    for _ in range(30):
        depth = 2 + bumps + (x > 8)
        means = torch.stack([(x - 8) / 16 * depth, (y - 8) / 16 * depth, depth], -1).flatten(0, 1)
        splats = Splats(means, 0.003 * torch.eye(3).expand(256, 3, 3), torch.full((256,), 0.9))
        seen = render(splats, torch.zeros(256, 1), lens, torch.eye(4)[None], (16, 16))
        loss = mask_guided_smoothness(seen.depth, segments)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    step = (2 + bumps + (x > 8))[:, 8:].mean() - (2 + bumps)[:, :8].mean()
    assert step.item() > 0.8  # which itself stays
