"""What a run of MapAnything takes, and how it is made to fit into the memory that is free."""

from __future__ import annotations

from collections.abc import Sequence

from recon.models import curves, planning
from recon.models.base import Card, Options, Plan
from recon.models.mapanything_fitting import common_size, common_size_within
from recon.models.planning import SIDES, Needs, Size
from recon.models.stages import cores, geometry_seconds
from recon.scene import View

FIT_SECONDS = 0.025  # to bring a view to its size
EDGE_SECONDS = 4.5e-7  # of each pixel, to find the edges at which surfaces are torn

AGREE_SECONDS = {"cpu": 4e-8, "cuda": 1e-9}  # of each pixel for each other view: of one core; of a GPU it is a guess

KNOWN_BYTES = 40  # of each pixel, of the rays of known cameras and of known depth, and of what is made on the way


def suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
    """See `planning.suitable`."""
    device = planning.planned_for(device)
    known = KNOWN_BYTES * any(view.intrinsics is not None for view in views)
    needs = Needs(
        size_of,
        lambda count, size, chunk: _cost(card, count, size, device, chunk).memory + count * size[0] * size[1] * known,
        lambda plan: predict_seconds(card, plan, options),
    )
    return planning.suitable(card, views, device, options, available, needs)


def smaller(plan: Plan, sizes: Sequence[Size]) -> Plan:
    """See `planning.smaller`."""
    return planning.smaller(plan, sizes, size_of)


def size_of(sizes: Sequence[Size], side: int) -> Size:
    """``(width, height)`` for pictures of these sizes: a size that the network was trained at, or a smaller one."""
    return common_size(sizes) if side == SIDES[0] else common_size_within(sizes, side)


def predict_seconds(card: Card, plan: Plan, options: Options) -> dict[str, float]:
    """Of each stage of a run, in their order."""
    count, pixels = len(plan.views), len(plan.views) * plan.size[0] * plan.size[1]
    cost = _cost(card, count, plan.size, plan.device, plan.chunk)
    seconds = {
        "Preparing": FIT_SECONDS * count,
        "Looking": cost.encoding,
        "Placing": cost.dense + (EDGE_SECONDS * pixels if options.mask else 0),
    }
    if options.agreement:
        seconds["Comparing"] = AGREE_SECONDS[plan.device] * pixels * max(1, count - 1)
    return {**seconds, **geometry_seconds(count, options.verify is True, options.dense is True)}


def _cost(card: Card, count: int, size: Size, device: str, chunk: int) -> curves.Cost:
    return curves.predict(curves.MAPANYTHING, count, size[1], size[0], device, chunk, card.parameters, cores())
