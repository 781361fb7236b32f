"""What photos share: SIFT features and their matches.

Everything here is in *working pixels*: those of the photo resized so that its long side is `LONG_SIDE`, centres at
+0.5. Thresholds then mean the same angle on every photo of one lens.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from recon.alignment.dense_matching import DenseMatches
from recon.scene import View

LONG_SIDE = 1024
EXHAUSTIVE = 20  # up to so many views, all pairs are matched
LIKELY_PATCHES = 0.15  # of a picture
REACH = 1.0  # cells around the end of a dense match, in which features are compared
PER_CELL = 6  # features
LEAST_ALIKE = 0.6  # the scalar product of features that may be the same
BLOCK = 512  # rows of a table of likeness, so that it stays in the processor's cache


@dataclass
class Features:
    """The features of one view.

    Attributes:
        size: ``(width, height)`` of the view in working pixels.
        pixels: ``[N,2] float64``.
        descriptors: ``[N,128] float32``, unit length (RootSIFT, Arandjelovic and Zisserman 2012).
    """

    size: tuple[float, float]
    pixels: np.ndarray
    descriptors: np.ndarray


def working_size(view: View) -> tuple[float, float]:
    """``(width, height)`` of a view in working pixels."""
    width, height = view.size
    scale = LONG_SIDE / max(width, height)
    return width * scale, height * scale


def transform_pixels(a_from_b: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Apply an affine ``[3,3]`` to pixels ``[N,2]``."""
    return pixels @ a_from_b[:2, :2].T + a_from_b[:2, 2]


def extract(view: View, limit: int = 4096) -> Features:
    """SIFT features of a view, the strongest ``limit`` of them; none where the picture is blank or masked."""
    grey = cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY)
    size = working_size(view)
    if max(view.size) > LONG_SIDE:
        grey = cv2.resize(grey, (max(1, round(size[0])), max(1, round(size[1]))), interpolation=cv2.INTER_AREA)
    detector = cv2.SIFT.create(nfeatures=limit, contrastThreshold=0.015, edgeThreshold=12, enable_precise_upscale=True)
    keypoints, descriptors = detector.detectAndCompute(grey, None)
    if not keypoints:
        return Features(size, np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    pixels = np.array([keypoint.pt for keypoint in keypoints], np.float64) + 0.5
    pixels *= np.array(size) / np.array([grey.shape[1], grey.shape[0]])
    if view.mask is not None:
        columns, rows = (pixels * np.array(view.size) / np.array(size)).astype(int).T
        inside = view.mask[np.minimum(rows, view.size[1] - 1), np.minimum(columns, view.size[0] - 1)]
        pixels, descriptors = pixels[inside], descriptors[inside]
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-12))
    return Features(size, pixels[:limit], descriptors[:limit].astype(np.float32))


def candidate_pairs(count: int) -> list[tuple[int, int]]:
    """Pairs of views to match: all of a few; of many, neighbours and ever fewer of those farther apart."""
    if count <= EXHAUSTIVE:
        return list(combinations(range(count), 2))
    gaps = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]
    near = {(i, i + gap) for gap in gaps for i in range(count - gap)}
    every = max(2, count // 8)
    return sorted(near | set(combinations(range(0, count, every), 2)))


def match(
    first: Features, second: Features, ratio: float = 0.85, patches: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Mutual nearest neighbours that pass Lowe's ratio test: ``[M,2] int``.

    Args:
        first: features of one view.
        second: features of another.
        ratio: of the distances to the nearest and the second nearest, at most.
        patches: of both views, ``[h,w,C]`` unit descriptors on a grid over the whole picture, or None. Where given, a
            feature is only compared with those in the `LIKELY_PATCHES` that its own patch is most like, so that what
            looks the same elsewhere does not compete.
    """
    if min(len(first.pixels), len(second.pixels)) < 2:
        return np.zeros((0, 2), int)
    patch_first, patch_second, likely = _likely_patches(first, second, patches)
    forward = np.zeros(len(first.pixels), int)
    good = np.zeros(len(first.pixels), bool)
    for patch, candidates in enumerate(likely):
        columns = np.flatnonzero(candidates[patch_second])
        if len(columns) == 0:
            continue
        others = second.descriptors[columns]
        members = np.flatnonzero(patch_first == patch)
        for rows in np.split(members, range(BLOCK, len(members), BLOCK)):
            likeness = first.descriptors[rows] @ others.T
            best = likeness.argmax(1)
            here = np.arange(len(rows))
            distance = 1 - likeness[here, best]
            likeness[here, best] = -1
            forward[rows] = columns[best]
            good[rows] = distance < ratio**2 * (1 - likeness.max(1))
    rows = np.flatnonzero(good)
    if len(rows) == 0:
        return np.zeros((0, 2), int)
    likeness = second.descriptors[forward[rows]] @ first.descriptors.T
    if patches is not None:
        likeness[~likely.T[patch_second[forward[rows]]][:, patch_first]] = -1
    rows = rows[likeness.argmax(1) == rows]
    return np.stack([rows, forward[rows]], 1)


def match_near(
    first: Features, second: Features, cells: tuple[int, int], found: DenseMatches, ratio: float = 0.9
) -> np.ndarray:
    """Features that dense matches lead to each other: ``[M,2] int``, none of them twice.

    A feature of the first view moves with the cell it is in; of the features near its end, the likest is taken, if it
    is clearly liker than others there.

    Args:
        first: features of one view.
        second: features of another.
        cells: columns and rows of the grid over the first view from whose cells ``found`` starts.
        found: matches from the first view to the second.
        ratio: of the distances to the nearest and the second nearest, at most.
    """
    if min(len(first.pixels), len(second.pixels), len(found.first)) == 0:
        return np.zeros((0, 2), int)
    grid = np.array(cells)
    match_of = np.full(grid.prod(), -1)
    match_of[(found.first * grid).astype(int) @ [1, grid[0]]] = np.arange(len(found.first))
    own = match_of[np.clip(first.pixels / first.size * grid, 0, grid - 1).astype(int) @ [1, grid[0]]]
    rows = np.flatnonzero(own >= 0)
    own = own[rows]
    ends = found.second[own] * second.size + first.pixels[rows] - found.first[own] * first.size
    # Features of the second view by cell of a grid as wide as the search; at most `PER_CELL` of each are looked at.
    reach = REACH * first.size[0] / grid[0]
    columns = int(second.size[0] / reach) + 3
    cell = (second.pixels / reach + 1).astype(int) @ [1, columns]
    order = np.argsort(cell, kind="stable")
    lists = np.full((columns * (int(second.size[1] / reach) + 3), PER_CELL), -1)
    _, starts, member = np.unique(cell[order], return_index=True, return_inverse=True)
    rank = np.arange(len(order)) - starts[member]
    lists[cell[order][rank < PER_CELL], rank[rank < PER_CELL]] = order[rank < PER_CELL]
    inside = ((ends >= 0) & (ends < second.size)).all(1)
    rows, ends = rows[inside], ends[inside]
    near = (ends / reach + 1).astype(int) @ [1, columns]
    steps = [down * columns + right for down in (-1, 0, 1) for right in (-1, 0, 1)]
    best, likeness = np.zeros(len(rows), int), np.full(len(rows), -1.0)
    for part in np.split(np.arange(len(rows)), range(BLOCK, len(rows), BLOCK)):
        candidates = lists[near[part][:, None] + steps].reshape(len(part), 9 * PER_CELL)
        away = np.linalg.norm(second.pixels[candidates] - ends[part][:, None], axis=2)
        alike = np.einsum("nc,nkc->nk", first.descriptors[rows[part]], second.descriptors[candidates])
        alike = np.where((candidates >= 0) & (away < reach), alike, -1)
        here = np.arange(len(part))
        winner = alike.argmax(1)
        best[part], highest = candidates[here, winner], alike[here, winner]
        alike[here, winner] = -1
        clear = 1 - highest < ratio**2 * (1 - alike.max(1))
        likeness[part] = np.where(clear & (highest > LEAST_ALIKE), highest, -1)
    order = np.lexsort([-likeness, best])
    order = order[np.diff(best[order], prepend=-1) != 0]
    order = order[likeness[order] > 0]
    return np.stack([rows[order], best[order]], 1)


def united(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Matches ``[M,2]`` of both sets; where they contradict each other, those of the first."""
    new = ~np.isin(second[:, 0], first[:, 0]) & ~np.isin(second[:, 1], first[:, 1])
    return np.concatenate([first, second[new]])


def _likely_patches(
    first: Features, second: Features, patches: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The patch of each feature of both views ``[N] int``, and which patches to compare ``[P,Q] bool``."""
    if patches is None:
        return np.zeros(len(first.pixels), int), np.zeros(len(second.pixels), int), np.ones((1, 1), bool)
    indices = []
    for features, grid in zip((first, second), patches, strict=True):
        rows, columns = grid.shape[:2]
        place = (features.pixels / np.array(features.size) * [columns, rows]).astype(int)
        indices.append(np.clip(place[:, 1], 0, rows - 1) * columns + np.clip(place[:, 0], 0, columns - 1))
    likeness = patches[0].reshape(-1, patches[0].shape[-1]) @ patches[1].reshape(-1, patches[1].shape[-1]).T
    keep = max(1, round(LIKELY_PATCHES * likeness.shape[1]))
    least = np.partition(likeness, -keep, axis=1)[:, -keep, None]
    return indices[0], indices[1], likeness >= least
