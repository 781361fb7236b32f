"""What a step is: its learning rate, and the shape of its batch. Pure functions, so that all processes agree."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from recon.training.config import DataSettings, ScheduleSettings


@dataclass(frozen=True)
class Shape:
    """Of a batch: how many scenes, views of each, rows and columns of pixels."""

    scenes: int
    views: int
    height: int
    width: int


def draw_shape(data: DataSettings, seed: int, step: int) -> Shape:
    """The shape of a step's batch: number of views and size drawn by their shares, ``data.batch`` views in all."""
    generator = random.Random(f"shape {seed} {step // data.replay}")
    height, width, _ = generator.choices(data.shapes, [share for *_, share in data.shapes])[0]
    views, _ = generator.choices(data.views, [share for _, share in data.views])[0]
    return Shape(data.batch // views, views, height, width)


def learning_rate(schedule: ScheduleSettings, rate: float, fraction: float, step: int) -> float:
    """Linear over ``schedule.warm_up`` steps, constant, then half a cosine down to ``schedule.floor`` of ``rate``.

    Args:
        schedule: says where the parts end.
        rate: the constant part's.
        fraction: of the schedule that is done, 0 to 1.
        step: since the optimiser began with empty moments.
    """
    warm = min(1.0, (step + 1) / max(1, schedule.warm_up))
    along = min(1.0, max(0.0, (fraction - schedule.constant) / max(1e-9, 1 - schedule.constant)))
    return rate * warm * (schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * along)))
