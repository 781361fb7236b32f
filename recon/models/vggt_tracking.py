"""Points of one frame followed through all frames of a scene, by a network that follows those of its first view.

So the views are put in another order for each frame that points are picked in, and looked at again. What was seen last
is kept as long as the scene lives, unless it is large, so that the next points of the same frame are followed at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from recon.alignment.keyframes import swapped
from recon.errors import InputError
from recon.models import fitting
from recon.networks.vggt import VGGT, Features
from recon.scene import Scene, Tracks

Report = Callable[[float, str], None]

TOGETHER = 1 << 16  # points times frames that the tracker takes at a time, which bounds its memory
KEPT = 2_000_000_000  # bytes of features that may be kept between calls
LOOKING = 0.7  # of the work, about


@dataclass(frozen=True)
class _Seen:
    """What the network saw of a scene, a frame of which was its first view."""

    scene: weakref.ref[Scene]
    count: int  # of frames
    first: int
    features: Features


class Tracking:
    """What it takes to follow points with a network. In inference mode, not for several threads at once."""

    def __init__(self, network: VGGT, device: torch.device) -> None:
        self._network, self._device = network, device
        self._chunk = 1 if device.type == "cpu" else 8  # a CPU gains nothing by more, and could be stopped less often
        self._seen: _Seen | None = None

    def forget(self) -> None:
        """Drop what was kept."""
        self._seen = None

    def keep(self, scene: Scene, first: int, features: Features) -> None:
        """Remember what was seen of a scene from frame ``first``, while the scene lives, unless it is large."""
        if sum(part.nbytes for part in (*features.layers.values(), features.cameras)) > KEPT:
            return
        tracking = weakref.ref(self)

        def forget(_: weakref.ref[Scene]) -> None:
            if (kept := tracking()) is not None:
                kept.forget()

        self._seen = _Seen(weakref.ref(scene, forget), len(scene.frames), first, features)

    def follow(self, scene: Scene, pixels: np.ndarray, frame: int, report: Report) -> Tracks:
        """``pixels [N,2]`` of a frame through all frames (see `Model.track`).

        Raises:
            InputError: a point lies outside of the frame, or the frames are too small or not of this network's making.
        """
        if not ((pixels >= 0) & (pixels <= scene.frames[frame].size)).all():
            width, height = scene.frames[frame].size
            raise InputError(f"A point lies outside of the frame: give points within {width} x {height} pixels.")
        size = _input_size(scene)
        order = swapped(len(scene.frames), frame)
        inputs = [fitting.centred(scene.frames[i].image, size) for i in order]
        features = self._look(scene, frame, inputs, report)
        # the network's pixel centres lie at integers
        offsets = np.array([one.content[:2] for one in inputs], np.float32) - 0.5
        queries = torch.from_numpy(pixels + offsets[0]).to(self._device)
        tracked = self._network.track(
            features,
            queries[None],
            lambda done: report(LOOKING + (1 - LOOKING) * done, f"Followed {done:.0%}"),
            self._chunk,
            max(1, TOGETHER // len(order)),
        )
        sure = tracked.visibility if tracked.confidence is None else tracked.confidence
        places, visibility, confidence = (
            part[0].float().cpu().numpy() for part in (tracked.pixels[-1], tracked.visibility, sure)
        )
        lost = ~np.isfinite(places).all(-1)
        places = np.where(lost[..., None], -1.0, places - offsets[:, None])
        places[0] = pixels
        return Tracks(  # the order that put the frame first also leads back
            pixels=places[order].astype(np.float32),
            visibility=np.where(lost, 0, np.nan_to_num(visibility))[order].astype(np.float32),
            confidence=np.where(lost, 0, np.nan_to_num(confidence))[order].astype(np.float32),
            query=np.full(len(pixels), frame, np.int32),
        )

    def _look(self, scene: Scene, frame: int, inputs: Sequence[fitting.Fitted], report: Report) -> Features:
        """One pass over the views, the first of which has the points; or what the last pass over the same saw."""
        seen = self._seen
        if seen is not None and seen.scene() is scene and (seen.count, seen.first) == (len(inputs), frame):
            return seen.features
        self.forget()
        report(0.0, f"Looking from {scene.frames[frame].name}")
        features = self._network.encode(
            fitting.pictures(inputs, self._device),
            lambda fraction: report(LOOKING * fraction, f"Looked {fraction:.0%} from {scene.frames[frame].name}"),
        )
        self.keep(scene, frame, features)
        return features


def points_of(pixels: ArrayLike) -> np.ndarray:
    """``[N,2] float32``, at least one point.

    Raises:
        InputError: that is not what ``pixels`` are.
    """
    try:
        points = np.asarray(pixels, np.float32)
    except (TypeError, ValueError):
        points = np.empty(0, np.float32)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise InputError("There is nothing to follow: give points as a list of pairs (x, y), at least one.")
    return points


def _input_size(scene: Scene) -> tuple[int, int]:
    """``(width, height)`` of the network's input that the frames of a scene were cut from.

    Raises:
        InputError: they are not of this network's making.
    """
    size = scene.settings.get("size")
    if not size or any(frame.size[0] > size[0] or frame.size[1] > size[1] for frame in scene.frames):
        raise InputError("Points can be followed only in scenes that this model made: reconstruct the photos with it.")
    return int(size[0]), int(size[1])
