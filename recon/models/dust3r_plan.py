"""What a run of a network of pairs takes in memory and time, and how it is made to fit into the memory that is free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from recon.alignment.pair_graph import Pair, pairs_of
from recon.alignment.pair_store import WHOLE
from recon.models import pair_fitting, planning
from recon.models.base import Card, Options, Plan
from recon.models.pair_fitting import SMALL
from recon.models.planning import Needs, Size
from recon.models.stages import cores, geometry_seconds
from recon.scene import View

SIDES = (512, 448, 384, 320, 256)  # long sides of the network's input, the best first
CHUNKS = {"cpu": (1,), "cuda": (16, 8, 4, 2, 1)}  # pairs that are decoded at a time
TOLD = ("1 pair is decoded at a time", "{} pairs are decoded at a time")
FIT_SECONDS = 0.01  # to bring a view to its size
PUBLISHED = 571_171_208  # parameters of the network that the curves are of
PATCH = 16
MAP_BYTES = 16  # of a pixel of a whole map: a point and its confidence


@dataclass(frozen=True)
class Curve:
    """How a kind of device does.

    Attributes:
        process: bytes held all along beside the weights.
        weight: bytes of each parameter.
        prepared: bytes of each pixel of a view, kept for all its pairs.
        working: bytes of each pixel of both photos of a pair while it is decoded.
        encoding: seconds of each pixel of a view.
        decoding: seconds of each pixel of both photos of a pair.
        fusing: seconds of each pixel of a view, its depth being made of whole maps.
    """

    process: float
    weight: float
    prepared: float
    working: float
    encoding: float
    decoding: float
    fusing: float


CURVES = {
    "cpu": Curve(4.5e8, 4.0, 270, 900, 4.7e-5, 3.7e-5, 3e-7),
    "cuda": Curve(3.5e8, 2.2, 140, 520, 5e-9, 1.1e-8, 1e-8),
}
"""Counted from the network's own sizes, not measured: at 5e10 and at 2.5e14 operations a second."""
ALIGN_SECONDS, MANY = 0.003, 300  # a pair, on one core; pairs at which each takes twice as long


def suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
    """See `planning.suitable`.

    Raises:
        InputError: no views, a graph that they cannot have, or a photo too elongated for the network.
    """
    device = planning.planned_for(device)
    video = is_video(views)

    def memory(count: int, size: Size, chunk: int) -> int:
        return predict_memory(card, count, size, device, chunk, len(pairs_to_decode(count, video, options)))

    def seconds(plan: Plan) -> dict[str, float]:
        return predict_seconds(card, plan, views, options)

    sides = [card.resolution, *(side for side in SIDES if SMALL < side < card.resolution)]
    needs = Needs(largest, memory, seconds, sides, CHUNKS, TOLD)
    return planning.suitable(card, views, device, options, available, needs)


def smaller(plan: Plan, views: Sequence[View]) -> Plan:
    """See `planning.smaller`."""
    return planning.smaller(plan, [view.size for view in views], largest, PATCH)


def pairs_to_decode(count: int, video: bool, options: Options) -> list[Pair]:
    """The pairs of a run over so many views; one alone is its own pair.

    Raises:
        InputError: a graph that they cannot have.
    """
    return pairs_of(options.graph, count, video) if count > 1 else [(0, 0)]


def is_video(views: Sequence[View]) -> bool:
    """Whether the views are frames of one video, in order."""
    times = [view.time for view in views if view.time is not None]
    together = len({(view.path, view.original_size) for view in views}) == 1
    return len(times) == len(views) and times == sorted(times) and together


def largest(sizes: Sequence[Size], side: int) -> Size:
    """``(width, height)`` of the largest of the network's inputs for photos of these sizes, of that long side."""
    return max({input_size(size, side) for size in set(sizes)}, key=math.prod)


@lru_cache(1024)
def input_size(size: Size, side: int) -> Size:
    """``(width, height)`` of the network's input for a photo.

    Raises:
        InputError: a photo too elongated for it.
    """
    pair_fitting.check_elongation(*size, side, PATCH)
    resized = pair_fitting.scaled_size(*size, side)
    half_width, half_height = pair_fitting.kept_halves(*resized, side, square_ok=False, patch=PATCH)
    return 2 * half_width, 2 * half_height


def predict_memory(card: Card, count: int, size: Size, device: str, chunk: int, pairs: int) -> int:
    """At the peak in bytes, weights included: of the process on the CPU, of the device on a GPU."""
    curve, share, pixels = CURVES[device], (card.parameters / PUBLISHED) ** 0.5, math.prod(size)
    whole = min(WHOLE, 2 * pairs / count) * MAP_BYTES + MAP_BYTES / 4  # maps, and the highest confidence
    kept = count * pixels * (share * curve.prepared + whole)
    working = min(chunk, pairs) * 2 * pixels * share * curve.working
    return int(curve.process + card.parameters * curve.weight + kept + working)


def predict_seconds(card: Card, plan: Plan, views: Sequence[View], options: Options) -> dict[str, float]:
    """Of each stage of a run, in their order."""
    curve, count = CURVES[plan.device], len(plan.views)
    share = card.parameters / PUBLISHED / (cores() if plan.device == "cpu" else 1)
    pixels = count * math.prod(plan.size)
    pairs = len(pairs_to_decode(count, is_video(views), options))
    return {
        "Preparing": FIT_SECONDS * count,
        "Looking": share * curve.encoding * pixels,
        "Pairing": share * curve.decoding * 2 * pixels / count * pairs,
        "Aligning": aligning_seconds(pairs) + curve.fusing * pixels,
        **geometry_seconds(count, options.verify is True, options.dense is True),
    }


def aligning_seconds(pairs: int) -> float:
    """Of the global alignment of so many pairs, depth left out."""
    return ALIGN_SECONDS * pairs * (1 + pairs / MANY)
