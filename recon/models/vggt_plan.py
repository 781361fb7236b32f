"""What a run of VGGT takes, and how it is made to fit into the memory that is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recon.errors import InputError
from recon.models import curves
from recon.models.base import Card, Options, Plan, spread
from recon.models.fitting import PATCH, SIDE, common_size
from recon.models.memory import in_words
from recon.models.stages import cores, geometry_seconds
from recon.scene import View

Size = tuple[int, int]

SIDES = (SIDE, 448, 392, 336, 280, 224)  # long sides of the network's input, the best first
LEAST_SIDE = 168  # after a run was refused memory
CHUNKS = {"cpu": (1,), "cuda": (8, 4, 2, 1)}  # frames that the dense heads take at a time
SPARE = 0.92  # of what is free, what a run may take
FIT_SECONDS = 0.01  # to bring a view to its size
QUERIES, POINTS = 8, 512  # frames whose points are tracked for refinement, about, and how many of each
FOLLOW_BYTES = 650  # of each pixel of all views, while points are tracked, beside what the heads read
FOLLOW_SECONDS = {"cpu": 0.012, "cuda": 1.2e-5}  # a point through a view: one core; one H200, of 512 points at once
ADJUST_SECONDS = 0.3  # bundle adjustment, a view


def suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
    """The largest run over ``views`` that fits into ``available`` bytes, or the smallest there is.

    Raises:
        InputError: no views.
    """
    if not views:
        raise InputError("There is nothing to reconstruct: give at least one photo or video.")
    device = device if device in CHUNKS else "cpu"  # an Apple GPU shares its memory
    sizes = [view.size for view in views]
    limit = max(1, min(options.maximum_views or card.maximum_views, card.maximum_views))
    wanted = spread(len(views), limit)
    notes = []
    if len(wanted) < len(views):
        notes.append(f"Of {len(views)} views, {len(wanted)} are used, spread evenly from the first to the last.")

    def planned(indices: tuple[int, ...], side: int, chunk: int) -> Plan:
        size = common_size([sizes[i] for i in indices], options.fit, side)
        plan = Plan(
            views=indices,
            size=size,
            precision="bfloat16" if device == "cuda" else "float32",
            memory=_memory(card, len(indices), size, device, chunk, options),
            seconds=0.0,
            device=device,
            available=available,
            chunk=chunk,
        )
        return replace(plan, seconds=sum(predict_seconds(card, plan, options).values()))

    def fits(plan: Plan) -> bool:
        return available is None or plan.memory <= SPARE * available

    chunks = CHUNKS[device]
    best = planned(wanted, SIDES[0], chunks[0])
    plan = best
    for side, chunk in [(side, chunk) for side in SIDES for chunk in chunks]:
        if fits(plan):
            break
        plan = planned(wanted, side, chunk)
    if not fits(plan):
        few, many = 1, len(wanted)  # a run of `few` is taken, one of `many` is too large
        while many - few > 1:
            middle = (few + many) // 2
            if fits(planned(spread(len(views), middle), SIDES[-1], chunks[-1])):
                few = middle
            else:
                many = middle
        plan = planned(spread(len(views), few), SIDES[-1], chunks[-1])
    if plan is not best:
        notes.append(_reduced(best, plan, fits(plan)))
    return replace(plan, notes=tuple(notes))


def smaller(plan: Plan, sizes: Sequence[Size], options: Options) -> Plan:
    """What to try after a run was refused memory: two thirds of its side, or else half of its views.

    Args:
        plan: of that run.
        sizes: ``(width, height)`` of all views.
        options: of that run.
    """
    side = plan.size[0] * 2 // 3 // PATCH * PATCH
    views = plan.views
    if side < LEAST_SIDE:
        side, views = plan.size[0], tuple(plan.views[i] for i in spread(len(views), max(1, len(views) // 2)))
    size = common_size([sizes[i] for i in views], options.fit, side)
    less = f"{len(views)} views" if len(views) < len(plan.views) else f"pictures of {_pixels(size)} pixels"
    note = f"There was not enough memory, so the run began anew with {less}."
    return replace(plan, views=views, size=size, chunk=max(1, plan.chunk // 2), notes=(*plan.notes, note))


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


def _memory(card: Card, count: int, size: Size, device: str, chunk: int, options: Options) -> int:
    reconstructing = _cost(card, count, size, device, chunk).memory
    if not options.refine or count < 2:
        return reconstructing
    share = (card.parameters / curves.PUBLISHED) ** 0.5
    tokens = size[0] * size[1] // PATCH**2
    kept = tokens * curves.CURVES[device].kept + size[0] * size[1] * FOLLOW_BYTES
    return max(reconstructing, _cost(card, 0, size, device, chunk).memory + int(count * share * kept))


def _cost(card: Card, count: int, size: Size, device: str, chunk: int) -> curves.Cost:
    return curves.predict(count, size[1], size[0], device, chunk, card.parameters, cores())


def _reduced(best: Plan, plan: Plan, fits: bool) -> str:
    """What was done to make a run fit, in a sentence."""
    assert plan.available is not None
    steps = []
    if plan.size != best.size:
        steps.append(f"pictures have {_pixels(plan.size)} pixels in place of {_pixels(best.size)}")
    if len(plan.views) < len(best.views):
        used = "is used" if len(plan.views) == 1 else "are used, spread evenly"
        steps.append(f"only {len(plan.views)} of {len(best.views)} views {used}")
    if plan.chunk != best.chunk:
        steps.append(f"depth is made of {plan.chunk} view{'s' if plan.chunk > 1 else ''} at a time")
    need = f"This needs {in_words(best.memory)}, {in_words(plan.available)} are free: "
    told = need + (" and ".join([", ".join(steps[:-1]), steps[-1]]) if len(steps) > 1 else "".join(steps))
    return f"{told}." if fits else f"{told}, and even so it may fail."


def _pixels(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
