"""What a run of VGGT takes, and how it is made to fit into the memory that is free."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from recon.models import curves, planning
from recon.models.base import Card, Options, Plan
from recon.models.fitting import PATCH, common_size
from recon.models.planning import Needs, Size
from recon.models.stages import cores, geometry_seconds
from recon.scene import View

FIT_SECONDS = 0.01  # to bring a view to its size
QUERIES, POINTS = 8, 512  # frames whose points are tracked for refinement, about, and how many of each
FOLLOW_BYTES = 650  # of each pixel of all views, while points are tracked, beside what the heads read
FOLLOW_SECONDS = {"cpu": 0.012, "cuda": 1.2e-5}  # a point through a view: one core; one H200, of 512 points at once
ADJUST_SECONDS = 0.3  # bundle adjustment, a view


def suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
    """See `planning.suitable`."""
    device = planning.planned_for(device)
    needs = Needs(
        partial(_size, options),
        lambda count, size, chunk: _memory(card, count, size, device, chunk, options),
        lambda plan: predict_seconds(card, plan, options),
    )
    return planning.suitable(card, views, device, options, available, needs)


def smaller(plan: Plan, sizes: Sequence[Size], options: Options) -> Plan:
    """See `planning.smaller`."""
    return planning.smaller(plan, sizes, partial(_size, options))


def predict_seconds(card: Card, plan: Plan, options: Options) -> dict[str, float]:
    """Of each stage of a run, in their order."""
    count = len(plan.views)
    cost = _cost(card, count, plan.size, plan.device, plan.chunk)
    heads = 2 if options.points == "head" else 1
    seconds = {"Preparing": FIT_SECONDS * count, "Looking": cost.encoding, "Placing": heads * cost.dense}
    if options.refine and count > 1:
        follow = FOLLOW_SECONDS[plan.device] * count * POINTS / (cores() if plan.device == "cpu" else 1)
        seconds["Tracking"] = min(count, QUERIES) * (cost.encoding + follow)
        seconds["Adjusting"] = ADJUST_SECONDS * count
    return {**seconds, **geometry_seconds(count, options.verify is True, options.dense is True)}


def _size(options: Options, sizes: Sequence[Size], side: int) -> Size:
    return common_size(sizes, options.fit, side)


def _memory(card: Card, count: int, size: Size, device: str, chunk: int, options: Options) -> int:
    reconstructing = _cost(card, count, size, device, chunk).memory
    if not options.refine or count < 2:
        return reconstructing
    share = (card.parameters / curves.VGGT.parameters) ** 0.5
    tokens = size[0] * size[1] // PATCH**2
    kept = tokens * curves.VGGT.curves[device].kept + size[0] * size[1] * FOLLOW_BYTES
    return max(reconstructing, _cost(card, 0, size, device, chunk).memory + int(count * share * kept))


def _cost(card: Card, count: int, size: Size, device: str, chunk: int) -> curves.Cost:
    return curves.predict(curves.VGGT, count, size[1], size[0], device, chunk, card.parameters, cores())
