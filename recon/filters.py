"""Scene -> per-pixel keep masks: confidence, depth edges, black and white backgrounds, sky, moving things, chosen
frames and segments.

The viewer and the exports both ask here, so a file holds what the viewer shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from recon.errors import InputError
from recon.scene import Frame, Scene

BLACK, WHITE = 16, 240
GRAZING = np.tan(np.radians(4))
LEAST_JUMP, MOST_JUMP = 0.03, 0.3

Moving = Literal["show", "hide", "only"]


@dataclass(frozen=True)
class Filters:
    """What is shown of a scene.

    Attributes:
        confidence: hide this percentage of the scene's known pixels, the least confident ones.
        edges: hide depth discontinuities (`depth_edges`), where points hang in the air between two surfaces.
        black: hide black backgrounds: pixels whose channels are all under 16.
        white: hide white backgrounds: pixels whose channels are all over 240.
        sky: hide the sky (`sky`).
        moving: "hide" things that move (``Frame.moving``), or show "only" them.
        frames: indices into ``scene.frames`` of those to show; None shows all.
        segments: ids of the segments to show, -1 for what is in none; None shows all.

    Raises:
        InputError: a percentage outside of 0 to 100, a negative index, or another word for what moves.
    """

    confidence: float = 20.0
    edges: bool = True
    black: bool = False
    white: bool = False
    sky: bool = False
    moving: Moving = "show"
    frames: frozenset[int] | None = None
    segments: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 100:
            raise InputError(f"The confidence filter takes a percentage from 0 to 100, not {self.confidence:g}.")
        if self.moving not in get_args(Moving):
            raise InputError(f"Moving things are {', '.join(get_args(Moving))}, not '{self.moving}'.")
        if self.frames is not None:
            object.__setattr__(self, "frames", frozenset(self.frames))
            if any(index < 0 for index in self.frames):
                raise InputError(f"Frames are counted from 0; there is no frame {min(self.frames)}.")

    def shows(self, index: int) -> bool:
        """Whether the frame of this index is chosen."""
        return self.frames is None or index in self.frames


def keep(scene: Scene, filters: Filters = Filters()) -> list[np.ndarray]:
    """Masks ``[H,W] bool``, one a frame, True where a point is shown; all False for hidden frames.

    Raises:
        InputError: ``filters.frames`` names a frame that the scene does not have.
    """
    last = max(filters.frames or [-1])
    if last >= len(scene.frames):
        raise InputError(f"There is no frame {last}: the scene has {len(scene.frames)}, counted from 0.")
    level = confidence_levels(scene, [filters.confidence])[0]
    return [
        static_keep(frame, filters) & (frame.confidence >= level)
        if filters.shows(index)
        else np.zeros(frame.depth.shape, bool)
        for index, frame in enumerate(scene.frames)
    ]


def static_keep(frame: Frame, filters: Filters) -> np.ndarray:
    """``[H,W] bool``: what all filters but ``confidence`` and ``frames`` leave of the frame's known pixels."""
    kept = _countable(frame)
    if filters.edges:
        kept &= ~depth_edges(frame)
    if filters.black:
        kept &= frame.image.max(-1) >= BLACK
    if filters.white:
        kept &= frame.image.min(-1) <= WHITE
    if filters.sky:
        kept &= ~sky(frame)
    if filters.moving != "show":
        moving = np.zeros_like(kept) if frame.moving is None else frame.moving
        kept &= moving if filters.moving == "only" else ~moving
    if filters.segments is not None:
        chosen = sorted(filters.segments)
        kept &= -1 in filters.segments if frame.segments is None else np.isin(frame.segments, chosen)
    return kept


def confidence_levels(scene: Scene, percentiles: Sequence[float]) -> np.ndarray:
    """Thresholds ``[P] float32``: a point passes the percentile p where its confidence >= the level.

    Each level is one of the scene's own values and at most p percent of all known pixels lie below it, so that equal
    values are shown or hidden together and even the percentile 100 leaves the most confident pixels. A scene without
    known pixels has the level -inf.
    """
    values = [frame.confidence[_countable(frame)] for frame in scene.frames]
    confidence = np.concatenate([*values, np.empty(0, np.float32)]).astype(np.float32, copy=False)
    if not len(confidence):
        return np.full(len(percentiles), -np.inf, np.float32)
    ranks = [min(int(percentile * len(confidence) / 100), len(confidence) - 1) for percentile in percentiles]
    return np.partition(confidence, np.unique(ranks))[ranks]


def depth_edges(frame: Frame) -> np.ndarray:
    """``[H,W] bool``: True on both sides of a depth discontinuity.

    That is where the depths of two neighbours differ by more than they would on a surface seen at 4 degrees (but no
    less than 3 % and no more than 30 %). Judging by the angle keeps floors and walls that are seen at a slant.
    """
    known = frame.known()
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.log(frame.depth)
    edges = np.zeros(known.shape, bool)
    for axis, focal in ((0, frame.camera.intrinsics[1, 1]), (1, frame.camera.intrinsics[0, 0])):
        former, latter = (slice(None),) * axis + (slice(-1),), (slice(None),) * axis + (slice(1, None),)
        limit = np.clip(1 / (focal * GRAZING), LEAST_JUMP, MOST_JUMP)
        with np.errstate(invalid="ignore"):
            jump = np.abs(logarithm[latter] - logarithm[former]) > limit
        jump &= known[former] & known[latter]
        edges[former] |= jump
        edges[latter] |= jump
    return edges


def sky(frame: Frame) -> np.ndarray:
    """``[H,W] bool``: what is likely sky, by colour and place.

    Candidates are smooth pixels (gradient under 12 grey levels a pixel) that are blue or bright grey. Sky is every
    connected region of them that touches the picture's upper edge, covers at least 1 % of the picture and, where its
    depth is known, lies mostly beyond the picture's median depth; thin gaps in it are closed. A white ceiling far away
    looks the same to this rule.
    """
    red, green, blue = (channel.astype(np.int16) for channel in cv2.split(cv2.blur(frame.image, (3, 3))))
    brightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    is_blue = (blue >= 90) & (blue >= green) & (blue >= red + 12)
    is_bright = (darkest >= 170) & (brightest - darkest <= 40)
    grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    along_x, along_y = (cv2.Sobel(grey, cv2.CV_16S, *order, ksize=3) for order in ((1, 0), (0, 1)))
    smooth = np.maximum(np.abs(along_x), np.abs(along_y)) < 12 * 8  # the Sobel kernel weighs 8
    candidates = ((is_blue | is_bright) & smooth).astype(np.uint8)
    opened = cv2.morphologyEx(candidates, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # cuts bridges into the scene
    count, regions = cv2.connectedComponents(opened, connectivity=4)
    areas = np.bincount(regions.ravel(), minlength=count)
    known = frame.known()
    far = np.median(frame.depth[known]) if known.any() else 0
    found = np.zeros(known.shape, np.uint8)
    for number in np.unique(regions[0]):
        if number == 0 or areas[number] < 0.01 * regions.size:  # 0 is all that is no candidate
            continue
        region = regions == number
        depths = frame.depth[region & known]
        if not len(depths) or np.median(depths) > far:
            found[region] = 1
    return cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)).astype(bool)


def _countable(frame: Frame) -> np.ndarray:
    return frame.known() & ~np.isnan(frame.confidence)
