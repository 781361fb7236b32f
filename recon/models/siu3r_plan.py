"""What a run of SIU3R takes in memory and time."""

from __future__ import annotations

from collections.abc import Sequence

from recon.errors import InputError
from recon.models.base import Card, Options, Plan, spread
from recon.models.memory import in_words
from recon.models.siu3r_fitting import SIDE
from recon.models.stages import cores
from recon.scene import View

FIT_SECONDS = 0.01  # to bring a view to its size
PROCESS, WORKING = 4.5e8, 6.0e8  # bytes held all along beside the weights, and while two views are seen
PASS_SECONDS = {"cpu": 13.0, "cuda": 0.2}  # of two views: one core; any GPU
JOIN_SECONDS = 3.0  # to place the views of a pass and to tell what is seen of its Gaussians: one core


def suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
    """How a run over ``views`` will be made; every pass takes the same memory, whatever their number.

    Raises:
        InputError: fewer than two views.
    """
    if not views:
        raise InputError("There is nothing to reconstruct: give at least one photo or video.")
    if len(views) < 2:
        raise InputError(f"{card.title} needs two photos of the same place: add another.")
    chosen = spread(len(views), max(2, min(options.maximum_views or card.maximum_views, card.maximum_views)))
    memory = int(PROCESS + 4 * card.parameters + WORKING)
    notes = []
    if len(chosen) < len(views):
        notes.append(f"Of {len(views)} views, {len(chosen)} are used, spread evenly from the first to the last.")
    if available is not None and memory > available:
        notes.append(f"This needs {in_words(memory)}, {in_words(available)} are free: it may fail.")
    return Plan(
        views=chosen,
        size=(SIDE, SIDE),
        precision="float32",
        memory=memory,
        seconds=sum(predict_seconds(len(chosen), device).values()),
        notes=tuple(notes),
        device=device,
        available=available,
    )


def predict_seconds(count: int, device: str) -> dict[str, float]:
    """Of each stage of a run over ``count`` views, which are seen two at a time."""
    passes = max(count - 1, 1)
    looking = PASS_SECONDS["cuda" if device == "cuda" else "cpu"] / (1 if device == "cuda" else cores())
    return {"Preparing": FIT_SECONDS * count, "Looking": passes * (looking + JOIN_SECONDS / cores())}
