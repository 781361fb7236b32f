"""Losses of queries, each with a class and one mask over all views (Mask2Former: Cheng et al. 2022, section 3.3).

Each true segment is assigned to one query, so that all together cost least (Carion et al. 2020, section 3.1); queries
without one are to say none. Masks are compared at random points, most of them where the network is least sure
(PointRend: Kirillov et al. 2020, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

POINTS = 12544  # of each mask, over all views
OVERSAMPLED, UNSURE = 3.0, 0.75  # times as many are looked at for the least sure, which are that share
CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT = 2.0, 5.0, 5.0  # of the losses
CLASS_COST, MASK_COST, DICE_COST = 1.0, 5.0, 5.0  # of the assignment


@dataclass(frozen=True)
class Truth:
    """The segments of one scene.

    Attributes:
        labels: ``[N] long``.
        masks: ``[N,V,H,W]`` of 0 and 1, or bool.
    """

    labels: Tensor
    masks: Tensor


def segmentation_loss(
    classes: Sequence[Tensor],
    masks: Sequence[Tensor],
    truth: Sequence[Truth],
    class_weights: Tensor,
    points: int = POINTS,
) -> Tensor:
    """Weighted sum over all predictions, each after a layer of the decoder; gradients go to every query's class.

    Args:
        classes: of each prediction, logits ``[B,Q,L + 1]``; the last class is none.
        masks: of each prediction, logits ``[B,Q,V,h,w]``.
        truth: of each of B scenes.
        class_weights: ``[L + 1]``, how much each class counts: that of none little, since most queries are it.
        points: of each mask at which it is compared.
    """
    losses = [
        CLASS_WEIGHT * of_classes + MASK_WEIGHT * of_masks + DICE_WEIGHT * of_overlap
        for of_classes, of_masks, of_overlap in (
            prediction_loss(logits.float(), mask.float(), truth, class_weights, points)
            for logits, mask in zip(classes, masks, strict=True)
        )
    ]
    return torch.stack(losses).sum()


def prediction_loss(
    classes: Tensor, masks: Tensor, truth: Sequence[Truth], class_weights: Tensor, points: int = POINTS
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross entropy of classes, binary cross entropy of masks and dice loss of masks; see `segmentation_loss`."""
    labels = torch.full(classes.shape[:2], classes.shape[-1] - 1, dtype=torch.long, device=classes.device)
    found, wanted = [], []
    for scene, segments in enumerate(truth):
        query, segment = assign(classes[scene], masks[scene], segments, points)
        labels[scene, query] = segments.labels[segment]
        found.append(masks[scene, query])
        wanted.append(segments.masks[segment].float())
    of_classes = functional.cross_entropy(classes.flatten(0, 1), labels.flatten(), class_weights)
    logits, values = sampled_pairs(torch.cat(found), torch.cat(wanted), points)
    count = max(len(logits), 1)
    of_masks = functional.binary_cross_entropy_with_logits(logits, values, reduction="none").mean(-1).sum() / count
    return of_classes, of_masks, dice(logits, values).sum() / count


@torch.no_grad()
def assign(classes: Tensor, masks: Tensor, truth: Truth, points: int = POINTS) -> tuple[Tensor, Tensor]:
    """Queries and the segments that they are to be, ``[N] long`` both: each segment has one, and all cost least.

    Args:
        classes: logits ``[Q,L + 1]``.
        masks: logits ``[Q,V,h,w]``.
        truth: N segments, at most Q.
        points: at which masks are compared, the same for all.
    """
    views = masks.shape[1]
    places = torch.rand(1, views, max(points // views, 1), 2, device=masks.device)
    logits = sample(masks, places.expand(len(masks), -1, -1, -1))
    values = sample(truth.masks.float(), places.expand(len(truth.labels), -1, -1, -1))
    share = 1 / logits.shape[1]
    crossed = share * (functional.softplus(-logits) @ values.T + functional.softplus(logits) @ (1 - values).T)
    probability = logits.sigmoid()
    overlap = 1 - (2 * probability @ values.T + 1) / (probability.sum(1)[:, None] + values.sum(1) + 1)
    kinds = -classes.softmax(-1)[:, truth.labels]
    cost = CLASS_COST * kinds + MASK_COST * crossed + DICE_COST * overlap
    rows, columns = linear_sum_assignment(cost.nan_to_num(1e9, 1e9, -1e9).cpu().numpy())
    return torch.as_tensor(rows, device=masks.device), torch.as_tensor(columns, device=masks.device)


def dice(logits: Tensor, values: Tensor) -> Tensor:
    """``[N]``: one minus twice what masks have in common over what they have together, at points ``[N,P]``."""
    probability = logits.sigmoid()
    return 1 - (2 * (probability * values).sum(1) + 1) / (probability.sum(1) + values.sum(1) + 1)


def sampled_pairs(logits: Tensor, truth: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Both at the same points, ``[N,P]``: most of the least sure ones of many, the rest anywhere.

    Args:
        logits: ``[N,V,h,w]``.
        truth: ``[N,V,H,W]``.
        points: of each pair, over all views.
    """
    count, views = logits.shape[:2]
    each = max(points // views, 1)
    unsure = int(UNSURE * each)
    with torch.no_grad():
        candidates = torch.rand(count, views, int(OVERSAMPLED * each), 2, device=logits.device)
        sureness = sample(logits, candidates).unflatten(1, (views, -1)).abs()
        least = sureness.topk(unsure, -1, largest=False).indices
        hard = candidates.gather(2, least[..., None].expand(-1, -1, -1, 2))
        places = torch.cat([hard, torch.rand(count, views, each - unsure, 2, device=logits.device)], 2)
        values = sample(truth, places)
    return sample(logits, places), values


def sample(maps: Tensor, places: Tensor) -> Tensor:
    """``[N,V * P]`` of ``maps [N,V,h,w]``, bilinear, at ``places [N,V,P,2]`` (x, y) in 0..1 of each view."""
    if not len(maps):
        return (
            maps.new_zeros(0, places.shape[1] * places.shape[2]) + maps.sum()
        )  # whose gradients are none, not missing
    grid = 2 * places.flatten(0, 1)[:, None] - 1
    found = functional.grid_sample(maps.flatten(0, 1)[:, None], grid, padding_mode="border", align_corners=False)
    return found.unflatten(0, maps.shape[:2]).flatten(1)
