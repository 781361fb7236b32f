"""What a run of MonST3R takes: DUSt3R's needs for one window of the video, and optical flow beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from recon.alignment.pair_graph import Pair, pairs_of
from recon.alignment.windows import windows
from recon.models import planning
from recon.models.base import Card, Options, Plan
from recon.models.dust3r_plan import (
    CHUNKS,
    CURVES,
    FIT_SECONDS,
    PUBLISHED,
    SIDES,
    TOLD,
    aligning_seconds,
    largest,
    predict_memory,
)
from recon.models.pair_fitting import SMALL
from recon.models.planning import Needs, Size
from recon.models.stages import cores, geometry_seconds
from recon.scene import View

GRAPH = "swinstride-5-noncyclic"  # if it is left to us
FLOW_BYTES = 12  # of each pixel and ordered pair, on the CPU: displacements, and how far the way back errs
FRAME_BYTES = 16  # of each pixel of a finished frame
FLOW_SECONDS = 1.5e-6  # of each pixel and ordered pair on one core: flow there and back, and what it says of motion


def suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
    """See `planning.suitable`.

    Raises:
        InputError: no views, a graph that they cannot have, or a photo too elongated for the network.
    """
    device = planning.planned_for(device)

    def memory(count: int, size: Size, chunk: int) -> int:
        window = len(windows(count)[0])
        pairs = len(pairs_to_decode(window, options))
        own = predict_memory(card, window, size, device, chunk, pairs)
        beside = math.prod(size) * (FLOW_BYTES * pairs + FRAME_BYTES * count)
        return own + beside if device == "cpu" else own

    def seconds(plan: Plan) -> dict[str, float]:
        return predict_seconds(card, plan, options)

    sides = [card.resolution, *(side for side in SIDES if SMALL < side < card.resolution)]
    return planning.suitable(
        card, views, device, options, available, Needs(largest, memory, seconds, sides, CHUNKS, TOLD)
    )


def pairs_to_decode(count: int, options: Options) -> list[Pair]:
    """The pairs of so many frames of a video; one alone is its own pair.

    Raises:
        InputError: a graph that they cannot have.
    """
    graph = GRAPH if options.graph == "auto" else options.graph
    return pairs_of(graph, count, ordered=True) if count > 1 else [(0, 0)]


def predict_seconds(card: Card, plan: Plan, options: Options) -> dict[str, float]:
    """Of each stage of a run, in their order; "Looking", "Pairing" and "Aligning" of each window, with its number."""
    curve, count = CURVES[plan.device], len(plan.views)
    share = card.parameters / PUBLISHED / (cores() if plan.device == "cpu" else 1)
    pixels = math.prod(plan.size)
    seconds = {"Preparing": FIT_SECONDS * count}
    for number, window in enumerate(windows(count)):
        pairs = len(pairs_to_decode(len(window), options))
        seconds[f"Looking {number}"] = share * curve.encoding * pixels * len(window)
        seconds[f"Pairing {number}"] = share * curve.decoding * 2 * pixels * pairs
        flow = FLOW_SECONDS / cores() * pixels * pairs
        seconds[f"Aligning {number}"] = 2 * aligning_seconds(pairs) + curve.fusing * pixels * len(window) + flow
    return seconds | geometry_seconds(count, options.verify is True, options.dense is True)


def described(plan: Plan) -> Plan:
    """The plan with a note on windows, where the video is longer than one."""
    count, parts = len(plan.views), len(windows(len(plan.views)))
    if parts == 1:
        return plan
    note = f"The {count} frames are aligned in {parts} windows, which are joined by the frames that they share."
    return replace(plan, notes=(*plan.notes, note))
