"""From queries to segments: which thing is at each pixel of each view, the same thing in all of them.

A query has a class and one mask over all views (Mask2Former: Cheng et al. 2022, section 4), so segments need no
matching between views. Things are told apart; all stuff of one class (walls, floors) is one segment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recon.scene import Segment

SCORE = 0.5  # that a query's class must exceed
OVERLAP = 0.8  # share of its own mask that a segment must win
RENDERED = 0.3  # that the best class of a pixel must reach, where queries are read from rendered Gaussians


@dataclass
class Panoptic:
    """What the queries amount to, over V views.

    Attributes:
        segmentation: ``[V,H,W] int32``: ids from 1 on, 0 where no segment was kept, -1 all over if nothing was found.
        segments: one for each query that was kept; stuff of one class shares its id.
        masks: ``[K,V,H,W]``, probabilities of these queries; of one that is nowhere, where nothing was found.
        classes: ``[K,L + 1]``, their probabilities; the last class is none.
    """

    segmentation: Tensor
    segments: list[Segment]
    masks: Tensor
    classes: Tensor

    def query_classes(self) -> Tensor:
        """``[V,K,L + 1,H,W]``: for each pixel how much it is of each query and class."""
        return torch.einsum("kvhw,kl->vklhw", self.masks, self.classes)


def panoptic(
    classes: Tensor,
    masks: Tensor,
    size: tuple[int, int],
    stuff: Collection[int],
    through: tuple[int, int] | None = None,
    words: Tensor | None = None,
) -> Panoptic:
    """The segments of one batch item.

    Args:
        classes: logits ``[Q,L + 1]``, the last class is none.
        masks: logits ``[Q,V,h,w]``.
        size: height and width to bring the masks to.
        stuff: classes that are one segment each.
        through: size at which logits become probabilities, which are then resized; None for ``size``. The reference
            always takes 256 x 256.
        words: how well each query fits each of some words, ``[n,Q]``: only the best of each is kept.
    """
    probabilities = classes.softmax(-1)
    score, label = probabilities.max(-1)
    chosen = (label != classes.shape[-1] - 1) & (score > SCORE)
    asked = torch.ones_like(chosen) if words is None else torch.zeros_like(chosen).index_fill(0, words.argmax(-1), True)
    if not (chosen & asked).any():
        return nothing(masks.shape[1], size, probabilities)
    score, label, asked = score[chosen], label[chosen], asked[chosen]
    mask = resized(resized(masks[chosen], through or size).sigmoid(), size)
    weighted = mask * score[:, None, None, None]
    winner = weighted.argmax(0)
    segmentation = winner.new_zeros(winner.shape, dtype=torch.int32)
    segments: list[Segment] = []
    kept: list[int] = []
    ids: dict[int, int] = {}
    for query in asked.nonzero()[:, 0].tolist():
        won = winner == query
        area, full = int(won.sum()), int((weighted[query] >= 0.5).sum())
        if not area or not full or area / full <= OVERLAP:
            continue
        kind = int(label[query])
        new = max((segment.id for segment in segments), default=0) + 1
        number = ids.setdefault(kind, new) if kind in stuff else new
        segmentation[won] = number
        segments.append(Segment(number, kind, kind not in stuff, round(float(score[query]), 6)))
        kept.append(query)
    if not kept:
        return Panoptic(segmentation, [], *_nowhere(masks.shape[1], size, probabilities))
    return Panoptic(segmentation, segments, mask[kept], probabilities[chosen][kept])


def nothing(views: int, size: tuple[int, int], like: Tensor) -> Panoptic:
    """Where no query is of any class."""
    segmentation = torch.full((views, *size), -1, dtype=torch.int32, device=like.device)
    return Panoptic(segmentation, [], *_nowhere(views, size, like))


def _nowhere(views: int, size: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Mask and class of one query that is surely none, everywhere."""
    classes = like.new_zeros(1, like.shape[-1])
    classes[:, -1] = 1
    return like.new_ones(1, views, *size), classes


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """``[K,V,h,w]`` to ``[K,V,*size]``, bilinear, outer edges onto outer edges."""
    if maps.shape[-2:] == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


# --- reconstruction helps understanding ----------------------------------------------------------------------------


@dataclass
class Aggregated:
    """What Gaussians that know their queries show in some views.

    Attributes:
        semantic: ``[v,H,W] int32``: class + 1, 0 for none.
        instance: ``[v,H,W] int32``: query + 1; `STUFF` + class + 1 for stuff; 0 for none.
        segments: of the queries that are seen, each by its first pixel; see `segments_seen` for all pixels' say.
    """

    semantic: Tensor
    instance: Tensor
    segments: list[Segment]


STUFF = 100  # added to the ids of stuff


def aggregate(
    rendered: Tensor, scores: Sequence[float], stuff: Collection[int], threshold: float = RENDERED
) -> Aggregated:
    """The best query and class of each pixel, and the queries that are seen, as the reference has them.

    Args:
        rendered: ``[v,K,L + 1,H,W]``, `Panoptic.query_classes` of all Gaussians as some views see them.
        scores: of the queries.
        stuff: classes that are one segment each.
        threshold: what is less sure than this is none.
    """
    semantic, query = winners(rendered, threshold)
    segments = []
    for number, score in enumerate(scores):
        seen = semantic[query == number + 1]
        if len(seen):
            kind = int(seen[0])
            fused = kind - 1 in stuff
            segments.append(Segment(STUFF + kind if fused else number + 1, kind - 1, not fused, float(score)))
    return Aggregated(semantic, merged(semantic, query, stuff), segments)


def winners(rendered: Tensor, threshold: float = RENDERED) -> tuple[Tensor, Tensor]:
    """Class + 1 and query + 1 of each pixel, ``[v,H,W]`` both, 0 for none; see `aggregate`."""
    best, query = rendered.max(1)
    best, query = best.roll(1, 1), query.roll(1, 1)  # none comes first
    value, semantic = best.max(1, keepdim=True)
    instance = (query.gather(1, semantic) + 1)[:, 0]
    semantic = torch.where(value < threshold, 0, semantic)[:, 0]
    return semantic.int(), torch.where(semantic == 0, 0, instance).int()


def merged(semantic: Tensor, query: Tensor, stuff: Collection[int]) -> Tensor:
    """Ids ``[v,H,W]`` of what `winners` gave: the query's, but one for all stuff of a class."""
    kinds = torch.tensor([kind + 1 for kind in stuff], dtype=semantic.dtype, device=semantic.device)
    return torch.where(torch.isin(semantic, kinds), STUFF + semantic, query)


def segments_seen(semantic: Tensor, query: Tensor, instance: Tensor, scores: Sequence[float]) -> list[Segment]:
    """All that `merged` tells apart, each of the class of most of its pixels, with the score of its surest query."""
    segments = []
    for number in instance[instance > 0].unique().tolist():
        mine = instance == number
        kind = int(semantic[mine].mode().values) - 1
        score = max(scores[each - 1] for each in query[mine].unique().tolist())
        segments.append(Segment(number, kind, number <= STUFF, score))
    return segments


def as_segments(instance: Tensor) -> np.ndarray:
    """``[...] int32`` ids as frames have them: -1 for none."""
    return torch.where(instance > 0, instance, -1).int().cpu().numpy()
