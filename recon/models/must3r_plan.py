"""What a run of MUSt3R takes, and how many keyframes its memory may hold so that it fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from recon.errors import InputError
from recon.models import must3r_fitting, pair_fitting
from recon.models.base import Card, Options, Plan, spread
from recon.models.memory import in_words
from recon.models.planning import SPARE, Size, planned_for
from recon.models.spill import BUDGET
from recon.models.stages import cores, geometry_seconds
from recon.scene import View

PATCH = 16
KEYFRAMES = 50  # that are enough, where nobody says how many
LEAST = 2
PUBLISHED = 423_430_144  # parameters of the network that the numbers are of
PROCESS = 4.5e8  # bytes held all along, beside the weights
TOKEN_VALUES = 2 * 768 * 12 + 1024  # numbers that are kept of a token of a keyframe: in the memory, and encoded
VALUE_BYTES = {"cpu": 4, "cuda": 2}
WORKING = 300_000  # bytes of a token of the picture that is looked at
WEIGHT_BYTES = {"cpu": 4.0, "cuda": 2.4}
FRAME_BYTES = 11  # of a pixel of a finished frame
# Operations of a token in the encoder and in the decoder, and of a token and one that it attends to there.
ENCODING, DECODING, ATTENDING = 2 * 303e6, 2 * 120e6, 4 * 768 * 12
SPEED = {"cpu": 6e10, "cuda": 1.5e14}  # operations a second: of one core, and a guess for a GPU
LAUNCHING = {"cpu": 0.01, "cuda": 0.02}  # seconds a picture at least


def is_ordered(views: Sequence[View], options: Options) -> bool:
    """Whether views are frames of a video, in their order."""
    times = [view.time for view in views if view.time is not None]
    rising = len(times) == len(views) > 1 and all(one < other for one, other in pairwise(times))
    return options.order == "video" or (options.order == "auto" and rising)


def input_size(size: Size, side: int, ordered: bool) -> Size:
    """``(width, height)`` of the network's input for a view of that size.

    Raises:
        InputError: a frame too elongated for it.
    """
    if not ordered:
        return must3r_fitting.nearest_size(*size, must3r_fitting.sizes_of(side))
    pair_fitting.check_elongation(*size, side, PATCH)
    halves = pair_fitting.kept_halves(*pair_fitting.scaled_size(*size, side), side, square_ok=True, patch=PATCH)
    return 2 * halves[0], 2 * halves[1]


def suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
    """A run over ``views`` with as many keyframes as fit into ``available`` bytes, at most those that are wanted.

    Raises:
        InputError: no views, or one too elongated for the network.
    """
    if not views:
        raise InputError("There is nothing to reconstruct: give at least one photo or video.")
    ordered = is_ordered(views, options)
    limit = max(1, min(options.maximum_views or card.maximum_views, card.maximum_views))
    wanted = spread(len(views), limit)
    sizes = {input_size(size, card.resolution, ordered) for size in {views[i].size for i in wanted}}
    plan = plan_for(card, max(sizes, key=math.prod), len(wanted), device, options, available)
    notes = list(plan.notes)
    if len(wanted) < len(views):
        notes.insert(0, f"Of {len(views)} views, {len(wanted)} are used, spread evenly from the first to the last.")
    return replace(plan, views=wanted, notes=tuple(notes))


def plan_for(card: Card, size: Size, count: int | None, device: str, options: Options, available: int | None) -> Plan:
    """The same for so many views, or an unknown number, of whose inputs the largest is of ``size``."""
    device = planned_for(device)
    wanted = options.keyframes or KEYFRAMES
    wanted = max(1, wanted if count is None else min(wanted, count))
    keyframes = wanted

    def memory(keyframes: int) -> int:
        return predict_memory(card, keyframes, size, device, count, options)

    while keyframes > LEAST and available is not None and memory(keyframes) > SPARE * available:
        keyframes = max(LEAST, keyframes * 4 // 5)
    notes = []
    if keyframes < wanted:
        assert available is not None
        told = (
            f"Remembering {wanted} views needs {in_words(memory(wanted))}, {in_words(available)} are free: "
            f"{keyframes} are remembered"
        )
        fits = memory(keyframes) <= SPARE * available
        notes.append(f"{told}." if fits else f"{told}, and even so it may fail.")
    plan = Plan(
        views=tuple(range(count or 0)),
        size=size,
        precision="bfloat16" if device == "cuda" else "float32",
        memory=memory(keyframes),
        seconds=0.0,
        notes=tuple(notes),
        device=device,
        available=available,
        keyframes=keyframes,
    )
    return replace(plan, seconds=sum(predict_seconds(card, plan, options).values()))


def predict_memory(card: Card, keyframes: int, size: Size, device: str, count: int | None, options: Options) -> int:
    """At the peak in bytes, weights included: of the process on the CPU, of the device on a GPU."""
    tokens, share = math.prod(size) // PATCH**2, (card.parameters / PUBLISHED) ** 0.5
    held = (keyframes + options.window) * tokens * share * TOKEN_VALUES * VALUE_BYTES[device]
    frames = BUDGET if count is None else min(BUDGET, count * math.prod(size) * FRAME_BYTES)
    on_host = frames if device == "cpu" else 0
    return int(PROCESS + card.parameters * WEIGHT_BYTES[device] + held + tokens * share * WORKING + on_host)


def predict_seconds(card: Card, plan: Plan, options: Options) -> dict[str, float]:
    """Of each stage of a run over a known number of views, in their order."""
    count, tokens, share = max(1, len(plan.views)), math.prod(plan.size) // PATCH**2, card.parameters / PUBLISHED
    speed = SPEED[plan.device] * (cores() if plan.device == "cpu" else 1)
    looking = share * tokens * (DECODING + ATTENDING * tokens * plan.keyframes) / speed + LAUNCHING[plan.device]
    encoding = share * tokens * ENCODING / speed + LAUNCHING[plan.device]
    again = options.rounds + options.rerender
    return {
        "Looking": count * (encoding + looking),
        **({"Looking again": again * count * (encoding + looking)} if again else {}),
        **geometry_seconds(count, options.verify is True, options.dense is True),
    }
