"""What is kept of pairwise pointmaps while they come: samples of all, whole maps only of those that say most.

Thirty photos, each with each other, have 870 pairs, whose maps take 5.5 GB. Cameras need samples of them and no more;
depth is not better for more than a few whole maps of each photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from recon.alignment.pair_maps import Array, Known, PairMaps, Samples, confidence_weights
from recon.errors import InputError

LARGEST_GRID, SMALLEST_GRID = 40, 10  # samples along each side of a photo
SAMPLES = 20_000  # of all maps together, between these grids
WHOLE = 12  # maps of a photo
LEAST_CONFIDENCE = 1.1  # mean of either map of a pair that shows one place twice; 1 is none at all
FEWEST = 8  # samples of a map that must be known

Size = tuple[int, int]  # height and width


@dataclass(frozen=True)
class SampledPair:
    """What is kept of each pair that is more than a guess.

    Attributes:
        first: number of the photo whose camera is the frame.
        second: number of the other photo.
        points: ``[2,N,3]`` of both photos' samples, 0 where unknown.
        weights: ``[2,N]``, the logarithm of the confidence; 0 where unknown.
    """

    first: int
    second: int
    points: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class WholeMap:
    """A map of a photo as the network gave it.

    Attributes:
        side: 2p of the first photo of the p-th pair in the store, 2p + 1 of its second.
        points: ``[H,W,3]``.
        confidence: ``[H,W]``.
        worth: mean logarithm of the confidence.
    """

    side: int
    points: Array
    confidence: Array
    worth: float


class PairStore:
    """Pairs as they come.

    Args:
        expected: how many there will be, in one direction or both; the more, the fewer samples of each.
        whole: maps to keep of each photo.

    Attributes:
        pairs: those worth the name, in the order in which they came.
        sizes: ``(height, width)`` by the number of the photo, of all that came.
        highest: ``[H,W]`` by the number of the photo, the highest confidence in any pair worth the name.
        maps: whole maps by the number of the photo, those that say most.
    """

    def __init__(self, expected: int, whole: int = WHOLE) -> None:
        self.grid = int(np.clip(np.sqrt(SAMPLES / (2 * max(expected, 1))), SMALLEST_GRID, LARGEST_GRID))
        self.whole = whole
        self.pairs: list[SampledPair] = []
        self.sizes: dict[int, Size] = {}
        self.highest: dict[int, torch.Tensor] = {}
        self.maps: dict[int, list[WholeMap]] = {}

    @staticmethod
    def of(pairs: Sequence[PairMaps]) -> PairStore:
        """A store of these pairs.

        Raises:
            InputError: there is no pair, or maps of one photo differ in size.
        """
        if not pairs:
            raise InputError("There is no pair to align; give at least two photos.")
        store = PairStore(len(pairs))
        for pair in pairs:
            store.add([pair])
        return store

    def add(self, batch: Sequence[PairMaps]) -> None:
        """Take pairs in; all first photos are of one size, and all second ones. Waits for the device once.

        Raises:
            InputError: maps of one photo differ in size.
        """
        for pair in batch:
            for view, points in ((pair.first, pair.first_points), (pair.second, pair.second_points)):
                size = cast(Size, tuple(points.shape[:2]))
                if self.sizes.setdefault(view, size) != size:
                    raise InputError(f"Pointmaps of photo {view} differ in size; predict all its pairs at one size.")
        firsts = self._sampled([(pair.first_points, pair.first_confidence) for pair in batch])
        seconds = self._sampled([(pair.second_points, pair.second_confidence) for pair in batch])
        sampled = torch.stack([firsts, seconds], 1).cpu().double()
        for pair, points, confidence in zip(batch, sampled[..., :3].numpy(), sampled[..., 3], strict=True):
            weights = confidence_weights(confidence).numpy()
            known = np.isfinite(points).all(-1) & points.any(-1)
            if pair.first != pair.second and _worth(confidence.numpy(), known):
                points[~known], weights[~known] = 0, 0
                self._keep(pair, SampledPair(pair.first, pair.second, points, weights))

    def samples(self, views: Sequence[int], known: Known, members: Sequence[int] | None = None) -> Samples:
        """Samples of the pairs whose places in ``pairs`` are ``members``, None for all among ``views``.

        The numbers of their views become places in ``views``.
        """
        place = {view: index for index, view in enumerate(views)}
        if members is None:
            members = self.among(views)
        chosen = [self.pairs[member] for member in members]
        pixels = []
        for view in views:
            rows, columns = self.places(view)
            pixels.append(np.stack([columns, rows], -1) + 0.5 - self.centre(view, known))
        return Samples(
            np.array([place[pair.first] for pair in chosen]),
            np.array([place[pair.second] for pair in chosen]),
            np.array(pixels),
            np.concatenate([pair.points for pair in chosen]),
            np.concatenate([pair.weights for pair in chosen]),
            np.array([self.sizes[view][::-1] for view in views]),
        )

    def among(self, views: Sequence[int]) -> list[int]:
        """Places in ``pairs`` of those of which both photos are among ``views``."""
        return [place for place, pair in enumerate(self.pairs) if {pair.first, pair.second} <= set(views)]

    def centre(self, view: int, known: Known) -> np.ndarray:
        """``[2]``, the principal point of a photo: the middle where it is not known."""
        return np.asarray(known.principal_point.get(view, np.array(self.sizes[view][::-1]) / 2), np.float64)

    def places(self, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Row and column ``[N]`` of each sample in a photo."""
        rows, columns = _grid(*self.sizes[view], self.grid)
        return rows, columns

    def _sampled(self, maps: Sequence[tuple[Array, Array]]) -> torch.Tensor:
        """``[B,N,4]`` of points and confidence ``[H,W,3]`` and ``[H,W]``, all of one size, where they are."""
        device = torch.as_tensor(maps[0][0]).device
        height, width = maps[0][1].shape[:2]
        rows, columns = (torch.from_numpy(each).to(device) for each in _grid(height, width, self.grid))
        points = torch.stack([torch.as_tensor(each)[rows, columns] for each, _ in maps])
        confidence = torch.stack([torch.as_tensor(each)[rows, columns] for _, each in maps])
        return torch.cat([points, confidence[..., None].to(points.dtype)], -1)

    def _keep(self, pair: PairMaps, sampled: SampledPair) -> None:
        number = 2 * len(self.pairs)
        self.pairs.append(sampled)
        for side, view, points, confidence, weights in (
            (number, pair.first, pair.first_points, pair.first_confidence, sampled.weights[0]),
            (number + 1, pair.second, pair.second_points, pair.second_confidence, sampled.weights[1]),
        ):
            here = torch.nan_to_num(torch.as_tensor(confidence).float(), 0.0, 0.0, 0.0)
            self.highest[view] = torch.maximum(self.highest[view], here) if view in self.highest else here
            maps = self.maps.setdefault(view, [])
            worth = float(weights.mean())
            if len(maps) == self.whole:
                least = min(range(len(maps)), key=lambda place: maps[place].worth)
                if maps[least].worth >= worth:
                    continue
                del maps[least]
            maps.append(WholeMap(side, _alone(points), _alone(confidence), worth))


def _alone(values: Array) -> Array:
    """The same, without the rest of the batch that it is a part of."""
    if isinstance(values, torch.Tensor) and values.untyped_storage().nbytes() > values.nbytes:
        return values.clone()
    return values


def _worth(confidence: np.ndarray, known: np.ndarray) -> bool:
    """Whether both maps of a pair ``[2,N]`` are more than a guess."""
    for each, where in zip(confidence, known, strict=True):
        if where.sum() < FEWEST or not LEAST_CONFIDENCE <= np.nanmean(each[where]) < np.inf:
            return False
    return True


def _grid(height: int, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of ``count`` by ``count`` pixels in the middles of equal parts of a photo."""
    rows, columns = (((np.arange(count) + 0.5) * length / count).astype(int) for length in (height, width))
    return np.repeat(rows, count), np.tile(columns, count)
