"""What moves in a video: pixels whose optical flow is not what the camera's own motion makes of their depth.

The idea is MonST3R's (Zhang et al. 2025), which thresholds the error after it has stretched each pair's to
0..1, so that something moves in every pair. Here the error is weighed against what flow, depth and cameras are worth:
an odds ratio between a pixel that rests and one that may go anywhere, averaged over all pairs of a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from recon.alignment.ego_flow import ego_flow
from recon.alignment.flow import FAINT, Followed, targets
from recon.upsampling import likeness, local_range

LEAST_DEVIATION, MOST_DEVIATION = 0.25, 0.01  # of flow: in pixels, and as a share of the picture's longer side
TRIP = 0.3  # pixels: a way there and back that errs so far halves the weight of what it says
ANYWHERE = 0.03  # standard deviation of the places a moving pixel may go to, as a share of the longer side
DISTRUST, TRUST = 0.2, 0.5  # shares of a picture that agree with the camera: a pair counts not at all, and fully
CALM, SURE = -1.0, 3.0  # bounds of one pair's vote
SEEN_THROUGH = 0.3  # standard deviation of log-depth behind a point that has gone
DOUBT = 0.03  # weight of the expectation that a pixel rests
REACH, STRIDE = 6, 2  # pixels: how far neighbours of one colour and depth agree on a vote, and between those taken
COARSER = 4  # times, from a neighbourhood to the next wider one
SAME_DEPTH = 0.1  # relative
SPECK = 0.001  # of the picture: smaller spots, and smaller holes, are none
STRONG = 0.5  # a vote that some pixel of a moving thing reaches
FAR = 1e5  # pixels: nothing goes farther
THREADS = 4


@dataclass(frozen=True)
class Still:
    """A picture and where its camera stands, as far as is known.

    Attributes:
        image: ``[H,W,3] uint8``.
        depth: z-depth ``[H,W]``, 0 where unknown.
        intrinsics: ``[3,3]``.
        world_from_camera: ``[4,4]``.
        blankness: ``[H,W]``, see `flow.blankness`.
    """

    image: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray
    blankness: np.ndarray


def moving_masks(
    stills: Sequence[Still], flows: Mapping[tuple[int, int], Followed], depth_deviation: float
) -> Iterator[np.ndarray]:
    """Masks ``[H,W] bool`` of what moves, of one picture after the other.

    Args:
        stills: in the order of the video.
        flows: from picture i to picture j by ``(i, j)``.
        depth_deviation: standard deviation of depth, relative to it.
    """

    def mask(i: int) -> np.ndarray:
        votes = np.zeros((2, *stills[i].depth.shape), np.float32)
        for j in others[i]:
            votes += vote(stills[i], stills[j], flows[i, j], depth_deviation)
        return settle(stills[i], *(votes / max(len(others[i]), 1)))

    others: list[list[int]] = [[] for _ in stills]
    for i, j in flows:
        others[i].append(j)
    pool = ThreadPoolExecutor(THREADS)
    try:
        yield from pool.map(mask, range(len(stills)))
    finally:
        pool.shutdown(cancel_futures=True)


def vote(still: Still, other: Still, followed: Followed, depth_deviation: float) -> np.ndarray:
    """``[2,H,W] float32``: what one pair says of each pixel, weighed, and the weights. Positive where it moves."""
    other_from_camera = np.linalg.inv(other.world_from_camera) @ still.world_from_camera
    ego, parallax, ahead = ego_flow(still.depth, still.intrinsics, other.intrinsics, other_from_camera)
    ego, parallax = (np.clip(each, -FAR, FAR) for each in (ego, parallax))
    side = max(still.depth.shape)
    trip = followed.error(still.blankness)
    error = np.square(followed.flow - ego).sum(-1)
    with np.errstate(over="ignore", invalid="ignore"):  # beside what is unknown
        doubt = (
            np.square(trip)
            + np.square(parallax).sum(-1) * np.float32(depth_deviation**2)
            + np.square(local_range(ego[..., 0], 1))
            + np.square(local_range(ego[..., 1], 1))
        )
    usable = np.isfinite(error) & np.isfinite(doubt)
    judged = usable & (doubt < MOST_DEVIATION * side)
    typical = np.median(error[judged]) if judged.any() else 0.0
    own = np.clip(typical / (2 * np.log(2)), LEAST_DEVIATION**2, (MOST_DEVIATION * side) ** 2)
    variance = own + doubt
    with np.errstate(invalid="ignore"):
        moved = np.where(usable, odds(error / variance, (ANYWHERE * side) ** 2 / variance), 0)
        weight = np.where(usable, 1 / (1 + np.square(trip) / TRIP**2), 0)
    gone, gone_weight = _gone(still, other, ego, ahead, depth_deviation)
    trust = _trust((moved < 0) & usable & (trip < FAINT), still.blankness < FAINT, ego)
    return trust * np.stack([moved * weight + gone * gone_weight, weight + gone_weight]).astype(np.float32)


def _trust(agreeing: np.ndarray, told: np.ndarray, ego: np.ndarray) -> float:
    """In a pair, from 0 to 1, by how much flow and camera agree in what both pictures show.

    Where hardly anything does, the flow was lost or the cameras are wrong, and it tells nothing of motion.

    Args:
        agreeing: ``[H,W] bool``, where they do.
        told: where there is something to follow.
        ego: flow that the camera makes.
    """
    height, width = agreeing.shape
    columns, rows = targets(ego)
    told = told & (columns >= 0) & (rows >= 0) & (columns <= width - 1) & (rows <= height - 1)
    share = agreeing[told].mean() if told.any() else 0.0
    return float(np.clip((share - DISTRUST) / (TRUST - DISTRUST), 0, 1))


def odds(squares: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Logarithm of the odds that a pixel moves, before anything else is known, within bounds.

    Args:
        squares: of errors in two dimensions, in variances of a pixel that rests.
        freedom: variance of one that moves, in the same unit.
    """
    widened = 1 + freedom
    return np.clip(squares * (1 - 1 / widened) / 2 - np.log(widened), CALM, SURE)


def _gone(
    still: Still, other: Still, ego: np.ndarray, ahead: np.ndarray, depth_deviation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Votes and weights ``[H,W]`` of points through which the other camera sees: they were there, and have gone.

    No flow is needed, which is often wrong where things move fast.
    """
    height, width = still.depth.shape
    columns, rows = targets(ego)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        own, log_depth = (
            np.log(np.where(each.depth > 0, each.depth, np.nan)).astype(np.float32) for each in (still, other)
        )
        inside = (columns >= 0) & (rows >= 0) & (columns <= width - 1) & (rows <= height - 1)
        columns, rows = (np.where(inside, each, 0) for each in (columns, rows))
        there, spread = (
            cv2.remap(values, columns, rows, cv2.INTER_NEAREST) for values in (log_depth, local_range(log_depth, 2))
        )
        gap = there - np.log(ahead)
        variance = 2 * depth_deviation**2 + spread**2 + local_range(own, 1) ** 2
        moved = odds(np.square(np.maximum(gap, 0)) / variance, SEEN_THROUGH**2 / variance)
    seen = inside & np.isfinite(moved) & (moved > 0)
    return np.where(seen, moved, 0), seen.astype(np.float32)


def settle(still: Still, total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``[H,W] bool``: votes as neighbours of one colour and depth agree on them, without specks.

    Args:
        still: the picture.
        total: of the weighed votes ``[H,W]``.
        weight: their weights.
    """
    score = agreed(still.image, still.depth, total, weight)
    found = without_specks((score > 0).astype(np.uint8))
    spots = cv2.connectedComponents(found, connectivity=4)[1]
    strong = np.unique(spots[score > STRONG])
    return np.isin(spots, strong[strong > 0])


def agreed(image: np.ndarray, depth: np.ndarray, total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean votes ``[H,W]`` among neighbours; where these know little, that of a wider neighbourhood; at last, rest."""
    height, width = total.shape
    expected: np.ndarray | float = CALM
    if min(height, width) > COARSER * 2 * REACH:
        size = width // COARSER, height // COARSER
        small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (image, depth, total, weight)]
        expected = cv2.resize(agreed(*small), (width, height), interpolation=cv2.INTER_LINEAR)
    return _smooth(image, depth, total + DOUBT * expected, weight + DOUBT)


def _smooth(image: np.ndarray, depth: np.ndarray, total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Means ``[H,W]`` of votes over neighbours that look alike and are about as far away."""
    height, width = total.shape

    def around(values: np.ndarray) -> np.ndarray:
        return cv2.copyMakeBorder(values, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)

    images, depths, totals, weights = (around(each) for each in (image, depth, total, weight))
    summed, shares = np.zeros((2, height, width), np.float32)
    offsets = range(0, 2 * REACH + 1, STRIDE)
    for y in offsets:
        for x in offsets:
            place = slice(y, y + height), slice(x, x + width)
            near = np.exp(-((y - REACH) ** 2 + (x - REACH) ** 2) / REACH**2)
            difference = (depths[place] - depth) / np.maximum(SAME_DEPTH * depth, 1e-6)
            share = near * likeness(images[place], image) / (1 + difference**2) ** 2
            summed += share * totals[place]
            shares += share * weights[place]
    return summed / shares


def without_specks(mask: np.ndarray) -> np.ndarray:
    """``[H,W] uint8`` without small spots and small holes."""
    least = SPECK * mask.size
    for value in (1, 0):
        _, spots, statistics, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=4)
        small = np.flatnonzero(statistics[:, cv2.CC_STAT_AREA] < least)
        mask = np.where(np.isin(spots, small[small > 0]), 1 - value, mask).astype(np.uint8)
    return mask
