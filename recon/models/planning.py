"""How a run over many views is made to fit into the memory that is free: the same for every network that sees all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from recon.errors import InputError
from recon.models.base import Card, Options, Plan, spread
from recon.models.fitting import PATCH, SIDE
from recon.models.memory import in_words
from recon.networks.acceleration import half_precision
from recon.scene import View

Size = tuple[int, int]

SIDES = (SIDE, 448, 392, 336, 280, 224)  # long sides of the network's input, the best first
LEAST_SIDE = 168  # after a run was refused memory
CHUNKS = {"cpu": (1,), "cuda": (8, 4, 2, 1)}  # frames that the dense heads take at a time
SPARE = 0.92  # of what is free, what a run may take


@dataclass(frozen=True)
class Needs:
    """What the runs of a model take on a device.

    Attributes:
        size: ``(width, height)`` of the network's input, for pictures of these sizes, the long side of it given.
        memory: bytes, for so many views, that size, and so many frames in the dense heads at a time.
        seconds: of each stage of a planned run.
        sides: long sides of the network's input, the best first.
        chunks: by kind of device, what is taken at a time, the best first.
        told: what is said where less is taken at a time, for one and for several.
    """

    size: Callable[[Sequence[Size], int], Size]
    memory: Callable[[int, Size, int], int]
    seconds: Callable[[Plan], dict[str, float]]
    sides: Sequence[int] = SIDES
    chunks: Mapping[str, Sequence[int]] = field(default_factory=lambda: CHUNKS)
    told: tuple[str, str] = ("depth is made of 1 view at a time", "depth is made of {} views at a time")


def planned_for(device: str) -> str:
    """The kind of device whose chunks and curves are known: an Apple GPU shares its memory with the CPU."""
    return device if device in CHUNKS else "cpu"


def in_half(plan: Plan) -> Plan:
    """The same in the half precision that the network takes on this machine's GPU, where it is planned for one."""
    if plan.device != "cuda" or not torch.cuda.is_available():
        return plan
    return replace(plan, precision=str(half_precision(torch.device("cuda"))).removeprefix("torch."))


def suitable(
    card: Card, views: Sequence[View], device: str, options: Options, available: int | None, needs: Needs
) -> Plan:
    """The largest run over ``views`` that fits into ``available`` bytes, or the smallest there is.

    Raises:
        InputError: no views.
    """
    if not views:
        raise InputError("There is nothing to reconstruct: give at least one photo or video.")
    sizes = [view.size for view in views]
    limit = max(1, min(options.maximum_views or card.maximum_views, card.maximum_views))
    wanted = spread(len(views), limit)
    notes = []
    if len(wanted) < len(views):
        notes.append(f"Of {len(views)} views, {len(wanted)} are used, spread evenly from the first to the last.")

    def planned(indices: tuple[int, ...], side: int, chunk: int) -> Plan:
        size = needs.size([sizes[i] for i in indices], side)
        plan = Plan(
            views=indices,
            size=size,
            precision="bfloat16" if device == "cuda" else "float32",
            memory=needs.memory(len(indices), size, chunk),
            seconds=0.0,
            device=device,
            available=available,
            chunk=chunk,
        )
        return replace(plan, seconds=sum(needs.seconds(plan).values()))

    def fits(plan: Plan) -> bool:
        return available is None or plan.memory <= SPARE * available

    chunks = needs.chunks[device]
    best = planned(wanted, needs.sides[0], chunks[0])
    plan = best
    for side, chunk in [(side, chunk) for side in needs.sides for chunk in chunks]:
        if fits(plan):
            break
        plan = planned(wanted, side, chunk)
    if not fits(plan):
        few, many = 1, len(wanted)  # a run of `few` is taken, one of `many` is too large
        while many - few > 1:
            middle = (few + many) // 2
            if fits(planned(spread(len(views), middle), needs.sides[-1], chunks[-1])):
                few = middle
            else:
                many = middle
        plan = planned(spread(len(views), few), needs.sides[-1], chunks[-1])
    if plan is not best:
        notes.append(_reduced(best, plan, fits(plan), needs.told))
    return replace(plan, notes=tuple(notes))


def smaller(
    plan: Plan, sizes: Sequence[Size], size_of: Callable[[Sequence[Size], int], Size], patch: int = PATCH
) -> Plan:
    """What to try after a run was refused memory: two thirds of its side, or else half of its views.

    Args:
        plan: of that run.
        sizes: ``(width, height)`` of all views.
        size_of: see `Needs.size`.
        patch: the side is a multiple of this.
    """
    longest = max(plan.size)
    side = longest * 2 // 3 // patch * patch
    views = plan.views
    if side < LEAST_SIDE:
        side, views = longest, tuple(plan.views[i] for i in spread(len(views), max(1, len(views) // 2)))
    size = size_of([sizes[i] for i in views], side)
    less = f"{len(views)} views" if len(views) < len(plan.views) else f"pictures of {_pixels(size)} pixels"
    note = f"There was not enough memory, so the run began anew with {less}."
    return replace(plan, views=views, size=size, chunk=max(1, plan.chunk // 2), notes=(*plan.notes, note))


def _reduced(best: Plan, plan: Plan, fits: bool, told_of_chunks: tuple[str, str]) -> str:
    """What was done to make a run fit, in a sentence."""
    assert plan.available is not None
    steps = []
    if plan.size != best.size:
        steps.append(f"pictures have {_pixels(plan.size)} pixels in place of {_pixels(best.size)}")
    if len(plan.views) < len(best.views):
        used = "is used" if len(plan.views) == 1 else "are used, spread evenly"
        steps.append(f"only {len(plan.views)} of {len(best.views)} views {used}")
    if plan.chunk != best.chunk:
        steps.append(told_of_chunks[plan.chunk > 1].format(plan.chunk))
    need = f"This needs {in_words(best.memory)}, {in_words(plan.available)} are free: "
    told = need + (" and ".join([", ".join(steps[:-1]), steps[-1]]) if len(steps) > 1 else "".join(steps))
    return f"{told}." if fits else f"{told}, and even so it may fail."


def _pixels(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
