"""What two views share, by all means there are: features, guided by descriptors, and descriptors alone.

Features are precise, and a network's descriptors know what a thing looks like from elsewhere. So descriptors say where
features may match; where that leaves too few, dense matches stand in for features, and two-view geometry judges both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pycolmap

from recon import geometry
from recon.alignment.dense_matching import DenseMatches, Description, dense_matches
from recon.alignment.depth import sample
from recon.alignment.matching import Features, match, match_near, transform_pixels, united
from recon.alignment.twoview import Pair, verify_pair

DENSE_ERROR = 5.0  # of an inlier among dense matches, in working pixels
EVERY = 2  # of this many rows and columns of cells, one is matched
CONFIDENT = 0.1  # the probability of a dense match worth a try
PLAUSIBLE = 0.03  # of one that features may follow
STRANGERS = 0.05  # the mean probability below which two views hardly show the same thing


@dataclass(frozen=True)
class Seen:
    """One view, as far as matching is concerned.

    Attributes:
        features: in working pixels.
        description: how it looks to the model, or None where the model does not say.
        camera: in working pixels.
        world_from_camera: ``[4,4]``, the model's.
        depth: ``[H,W]``, the model's.
        depth_from_working: ``[3,3]``, working pixels to pixels of ``depth``.
    """

    features: Features
    description: Description | None
    camera: pycolmap.Camera
    world_from_camera: np.ndarray
    depth: np.ndarray
    depth_from_working: np.ndarray

    def depth_at(self, pixels: np.ndarray) -> np.ndarray:
        """``[N]`` at working pixels ``[N,2]``, nan where unknown."""
        return sample(self.depth, transform_pixels(self.depth_from_working, pixels))


@dataclass(frozen=True)
class Joined:
    """What two views share.

    Attributes:
        matches: ``[M,2] int``, features of both that may be the same; numbers beyond the features count in ``added``.
        pair: their geometry, if it could be verified, with matches of the same numbering.
        added: of each view ``[K,2]``, working pixels of places that match though no feature is there.
    """

    matches: np.ndarray
    pair: Pair | None
    added: tuple[np.ndarray, np.ndarray]


def join(first: int, second: int, seen: Sequence[Seen]) -> Joined:
    """Match two views, by the surest means that geometry can verify.

    Args:
        first: index of a view.
        second: index of a later view.
        seen: all views.
    """
    nothing = np.zeros((0, 2)), np.zeros((0, 2))
    here, there = seen[first], seen[second]
    matches, found = np.zeros((0, 2), int), None
    if here.description is not None and there.description is not None:
        matches = match(here.features, there.features, patches=(here.description.patches, there.description.patches))
        if here.description.cells is not None and there.description.cells is not None:
            found = dense_matches(here.description, there.description)
            # Unsure ones of repeated things would all mislead alike.
            sure = found.surer(PLAUSIBLE)
            near = match_near(here.features, there.features, here.description.cells.shape[1::-1], sure)
            matches = united(near, matches)
        pair = verified(first, second, here, there, matches)
        if pair is not None or (found is not None and strange(found, here.description)):
            return Joined(matches, pair, nothing)
    plain = match(here.features, there.features)  # descriptions may be mistaken
    pair = verified(first, second, here, there, plain)
    if pair is not None or found is None:
        return Joined(plain, pair, nothing)
    added = dense_pixels(here, there)
    pair = verified(first, second, with_pixels(here, added[0]), with_pixels(there, added[1]), None)
    offsets = np.array([len(here.features.pixels), len(there.features.pixels)])
    if pair is not None:
        pair = replace(pair, matches=pair.matches + offsets)
    everything = np.concatenate([plain, np.arange(len(added[0]))[:, None] + offsets])
    return Joined(everything, pair, added)


def verified(first: int, second: int, here: Seen, there: Seen, matches: np.ndarray | None) -> Pair | None:
    """The geometry of features that match; without ``matches``, of dense matches: all pixels in their order."""
    error = {}
    if matches is None:
        matches = np.repeat(np.arange(len(here.features.pixels))[:, None], 2, 1)
        error = {"error": DENSE_ERROR}
    pixels = here.features.pixels, there.features.pixels
    depths = here.depth_at(pixels[0]), there.depth_at(pixels[1])
    expected = geometry.invert(there.world_from_camera) @ here.world_from_camera
    found = verify_pair(
        0, 1, (here.features, there.features), matches, (here.camera, there.camera), depths, expected=expected, **error
    )
    return None if found is None else replace(found, first=first, second=second)


def strange(found: DenseMatches, description: Description) -> bool:
    """Whether the best matches of the first view's patches are hardly better than chance."""
    strongest = found.strongest(*description.patches.shape[1::-1])
    return len(strongest.first) == 0 or float(strongest.confidence.mean()) < STRANGERS


def dense_pixels(here: Seen, there: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Working pixels ``[K,2]`` in both views that match by cells, from either side.

    They start from the same cells whatever the other view is, so that tracks join there.
    """
    sides = []
    for start, end in ((here, there), (there, here)):
        if start.description is None or start.description.cells is None or end.description is None:
            return np.zeros((0, 2)), np.zeros((0, 2))
        found = dense_matches(start.description, end.description).surer(CONFIDENT)
        cell = (found.first * start.description.cells.shape[1::-1]).astype(int)
        fixed = (cell % EVERY == 0).all(1)
        sides.append((found.first[fixed] * start.features.size, found.second[fixed] * end.features.size))
    return np.concatenate([sides[0][0], sides[1][1]]), np.concatenate([sides[0][1], sides[1][0]])


def with_pixels(view: Seen, pixels: np.ndarray) -> Seen:
    """The view with ``pixels`` in place of its features."""
    return replace(view, features=Features(view.features.size, pixels, np.zeros((len(pixels), 0), np.float32)))


def merge(
    features: Sequence[Features], joined: Sequence[tuple[tuple[int, int], Joined]]
) -> tuple[list[Features], dict[tuple[int, int], np.ndarray], list[Pair]]:
    """Features of all views with the places that were added, matches and verified pairs in their numbering.

    A place that several pairs have added to one view becomes one feature, by which tracks join.
    """
    counts = [len(view.pixels) for view in features]
    places: list[list[np.ndarray]] = [[np.zeros((0, 2))] for _ in features]
    for pair, found in joined:
        for index, added in zip(pair, found.added, strict=True):
            places[index].append(added)
    extended, numbers = [], []
    for view, every in zip(features, map(np.concatenate, places), strict=True):
        unique, inverse = np.unique(every.round(6), axis=0, return_inverse=True)
        extended.append(replace(view, pixels=np.concatenate([view.pixels, unique])))
        numbers.append(np.concatenate([np.arange(len(view.pixels)), len(view.pixels) + inverse.reshape(-1)]))
    used = np.zeros(len(features), int)
    matches, pairs = {}, []
    for pair, found in joined:

        def renumbered(given: np.ndarray, pair: tuple[int, int] = pair) -> np.ndarray:
            columns = [
                numbers[index][np.where(column < counts[index], column, column + used[index])]
                for index, column in zip(pair, given.T, strict=True)
            ]
            return np.stack(columns, 1).astype(int)

        matches[pair] = renumbered(found.matches)
        if found.pair is not None:
            pairs.append(replace(found.pair, matches=renumbered(found.pair.matches)))
        used[list(pair)] += [len(added) for added in found.added]
    return extended, matches, pairs
