"""Cameras that the user gave with the photos, remembered beside those that a model found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recon.scene import Frame, View


@dataclass(frozen=True)
class Given:
    """Cameras of a user, in that user's own world; `recon.alignment.given` lays them on those of the scene.

    Attributes:
        frames: indices of the frames that have one.
        world_from_camera: ``[N,4,4] float64``.
        metric: True where their world is in metres.
    """

    frames: tuple[int, ...]
    world_from_camera: np.ndarray
    metric: bool


def given_cameras(frames: Sequence[Frame], views: Sequence[View]) -> Given | None:
    """What the ``views`` of a scene's ``frames`` say of their poses; None where they say nothing."""
    posed = [
        (index, np.asarray(pose, np.float64), views[frame.view].metric)
        for index, frame in enumerate(frames)
        if frame.view < len(views) and (pose := views[frame.view].world_from_camera) is not None
    ]
    if not posed:
        return None
    indices, poses, metric = zip(*posed, strict=True)
    return Given(indices, np.stack(poses), all(metric))
