"""The depth of one view as other views see it: the plane sweep around a prior, decided by semi-global matching."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon.alignment.sweep import Shot, Warp, correlation_volume, semi_global

STEP, JUMP, JUMP_AT_EDGE = 0.05, 1.0, 0.25  # penalties of semi-global matching: for one hypothesis, for more
ATTRACTION = 0.07  # the penalty of the farthest hypotheses, so that where nothing tells the prior stays
EDGE_COLOUR = 30.0  # grey levels, summed over the channels, between neighbours: an edge of the photo


@dataclass(frozen=True)
class Level:
    """How finely frames are compared.

    Attributes:
        area: pixels of a frame's grid, where it has so many.
        reach: how far the sweep goes to either side of the prior, at most: in log-depth,
        pixels: and in pixels of the view where it moves most.
        fewest, most: hypotheses.
    """

    area: int
    reach: float
    pixels: float
    fewest: int
    most: int


COARSE = Level(area=192 * 256, reach=0.6, pixels=math.inf, fewest=12, most=80)
FINE = Level(area=384 * 512, reach=0.1, pixels=4, fewest=9, most=9)


@dataclass(frozen=True)
class Stereo:
    """The depth of a view as others see it.

    Attributes:
        shot: the view.
        inverse: ``[h,w]`` inverse depth, positive.
        score: ``[h,w]`` correlation there, 0 where there was no best hypothesis.
        movement: ``[h,w]`` pixels that a unit of log-depth moves the place by, in the source where it moves most.
    """

    shot: Shot
    inverse: np.ndarray
    score: np.ndarray
    movement: np.ndarray


def match(shot: Shot, prior: np.ndarray, sources: Sequence[Shot], level: Level) -> Stereo:
    """The depth of a view by plane sweep around its prior, smoothed by semi-global matching, to parts of a step.

    Args:
        shot: the view.
        prior: ``[h,w] float32``, its inverse depth, positive.
        sources: other views; without any the prior comes back, with scores of 0.
        level: how far and how finely to sweep.
    """
    movement = np.zeros_like(prior)
    for source in sources:
        warp = Warp(shot, source)
        (x, y, _), (far_x, far_y, _) = warp(prior), warp(prior * np.float32(math.exp(-0.1)))
        movement = np.maximum(movement, np.minimum(10 * np.hypot(x - far_x, y - far_y), max(prior.shape)))
    usual = float(np.median(movement))
    if usual == 0:
        return Stereo(shot, prior, np.zeros_like(prior), movement)
    reach = min(level.reach, level.pixels / usual)
    count = int(np.clip(2 * reach * usual, level.fewest, level.most))
    offsets = np.linspace(-reach, reach, count, dtype=np.float32)
    volume = correlation_volume(shot, sources, prior, np.exp(offsets))
    jump = [JUMP_AT_EDGE + (JUMP - JUMP_AT_EDGE) * shot.likeness(axis, EDGE_COLOUR) for axis in (0, 1)]
    cost = np.ascontiguousarray(np.moveaxis(1 - volume, 0, -1)) + np.float32(ATTRACTION / reach) * np.abs(offsets)
    cost = semi_global(cost, STEP, (jump[0], jump[1]))
    best = cost.argmin(-1)
    inner = np.clip(best, 1, count - 2)
    before, here, after = (np.take_along_axis(cost, inner[..., None] + step, -1)[..., 0] for step in (-1, 0, 1))
    # The lowest point of the parabola through three costs.
    part = np.clip((before - after) / np.maximum(2 * (before - 2 * here + after), 1e-6), -0.5, 0.5)
    correction = (inner + part - (count - 1) / 2) * (2 * reach / (count - 1))
    score = np.where(best == inner, np.take_along_axis(volume, best[None], 0)[0], 0)
    return Stereo(shot, (prior * np.exp(correction)).astype(np.float32), score, movement)
