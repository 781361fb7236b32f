"""What segments are, and in which colours they are shown."""

from __future__ import annotations

import colorsys
from typing import Literal, get_args

import numpy as np

from recon.scene import Labels

Painting = Literal["semantic", "instance", "panoptic"]
"""By class; things apart and stuff grey; by class, but things of one class in shades of its colour."""

NOTHING, STUFF = (70, 74, 82), (130, 134, 142)  # greys of what is in no segment, and of stuff where things are apart
FIRST_HUE, GOLDEN = 0.07, 0.618034


def classes(ids: np.ndarray, labels: Labels) -> np.ndarray:
    """``[...] int32``: index of the class in ``labels.names`` of segments ``ids [...]``, -1 where there is none."""
    return _look_up(ids, labels, np.array([segment.label for segment in labels.segments], np.int32), -1)


def painted(ids: np.ndarray, labels: Labels, by: Painting) -> np.ndarray:
    """``[...,3] uint8``: the colours of segments ``ids [...]``.

    Raises:
        ValueError: another word for ``by``.
    """
    if by not in get_args(Painting):
        raise ValueError(f"segments are painted by {', '.join(get_args(Painting))}, not by {by}")
    return _look_up(ids, labels, colours(labels, by), NOTHING)


def colours(labels: Labels, by: Painting) -> np.ndarray:
    """``[S,3] uint8``, one a segment."""
    chosen = np.empty((len(labels.segments), 3), np.uint8)
    seen: dict[int, int] = {}
    things = 0
    for row, segment in enumerate(labels.segments):
        earlier = seen[segment.label] = seen.get(segment.label, -1) + 1
        things += segment.thing
        if by == "instance":
            chosen[row] = _vivid(things - 1) if segment.thing else STUFF
        else:
            chosen[row] = labels.colours[segment.label]
            if by == "panoptic" and segment.thing:
                chosen[row] = _shade(chosen[row], earlier)
    return chosen


def _look_up(ids: np.ndarray, labels: Labels, values: np.ndarray, nothing: object) -> np.ndarray:
    """For each of ``ids`` the row of ``values`` that belongs to its segment, or ``nothing``."""
    known = np.array([segment.id for segment in labels.segments], np.int64)
    order = np.argsort(known)
    table = np.concatenate([values[order], np.full((1, *values.shape[1:]), nothing, values.dtype)])
    rows = np.searchsorted(known[order], ids)
    found = np.append(known[order], np.iinfo(np.int64).max)[rows] == ids
    return table[np.where(found, rows, len(known))]


def _vivid(number: int) -> np.ndarray:
    """Hues in golden steps, so that neighbours differ."""
    return np.array(colorsys.hsv_to_rgb((FIRST_HUE + number * GOLDEN) % 1, 0.65, 0.95)) * 255


def _shade(colour: np.ndarray, number: int) -> np.ndarray:
    """The same colour for the first, others lighter and darker in turn."""
    if number == 0:
        return colour
    share = 0.55 * (1 - 0.6 ** ((number + 1) // 2))
    towards = np.array([255, 255, 255]) if number % 2 else np.zeros(3)
    return colour + (towards - colour) * share
