"""Pairwise pointmaps as a network of two photos gives them, and samples of them that are small enough to align."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch

from recon.errors import InputError

Array: TypeAlias = "np.ndarray | torch.Tensor"

LARGEST_GRID, SMALLEST_GRID = 40, 10  # samples along each side of a photo
SAMPLES = 20_000  # of all maps together, between these grids
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class PairMaps:
    """What a network says of one pair: both photos' points in the camera of the first, in a unit of the pair's own.

    Arrays, or tensors wherever they are: only samples of them, and the depth at the end, are taken from there.

    Attributes:
        first: number of the photo whose camera is the frame.
        second: number of the other photo.
        first_points: ``[H,W,3]``, not finite where unknown.
        first_confidence: ``[H,W]``, from 1 (no idea) upwards.
        second_points: ``[H,W,3]`` of the second photo's size.
        second_confidence: ``[H,W]`` likewise.
    """

    first: int
    second: int
    first_points: Array
    first_confidence: Array
    second_points: Array
    second_confidence: Array


@dataclass(frozen=True)
class Known:
    """What is known of the cameras beforehand, by the number of the photo; nothing of it changes.

    Attributes:
        world_from_camera: rigid ``[4,4]``.
        focal: in pixels of the pointmaps, for both axes.
        principal_point: ``[2]`` in pixels, centres at +0.5; the middle of the photo where not given.
        shared_focal: all photos were taken with one focal length; a known one then is everyone's.
    """

    world_from_camera: Mapping[int, np.ndarray] = field(default_factory=dict)
    focal: Mapping[int, float] = field(default_factory=dict)
    principal_point: Mapping[int, np.ndarray] = field(default_factory=dict)
    shared_focal: bool = False


@dataclass(frozen=True)
class Samples:
    """The same grid of pixels of each photo, from all pairs. Side 2p is of pair p's first photo, 2p + 1 of its second.

    Attributes:
        first: ``[P] int``, the first view of each pair.
        second: ``[P] int``.
        pixels: ``[V,N,2]``, relative to the principal point.
        points: ``[2P,N,3]`` in the camera of the pair's first view and in its unit; 0 where unknown.
        weights: ``[2P,N]``, the logarithm of the confidence; 0 where unknown.
        size: ``[V,2]``, width and height.
    """

    first: np.ndarray
    second: np.ndarray
    pixels: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    size: np.ndarray

    @property
    def view(self) -> np.ndarray:
        """``[2P] int``, the view whose pixels each side tells of."""
        return np.stack([self.first, self.second], 1).ravel()

    @property
    def distance(self) -> np.ndarray:
        """``[2P,N]`` from the pair's camera, never 0."""
        distance = np.linalg.norm(self.points, axis=-1)
        return np.where(self.weights > 0, distance, 1.0)


def photo_sizes(pairs: Sequence[PairMaps]) -> dict[int, tuple[int, int]]:
    """``(height, width)`` by the number of the photo.

    Raises:
        InputError: there is no pair, or maps of one photo differ in size.
    """
    if not pairs:
        raise InputError("There is no pair to align; give at least two photos.")
    sizes: dict[int, tuple[int, int]] = {}
    for pair in pairs:
        for view, points in ((pair.first, pair.first_points), (pair.second, pair.second_points)):
            height, width = points.shape[:2]
            if sizes.setdefault(view, (height, width)) != (height, width):
                raise InputError(f"Pointmaps of photo {view} differ in size; predict all its pairs at one size.")
    return sizes


def sample(
    pairs: Sequence[PairMaps], sizes: Mapping[int, tuple[int, int]], views: Sequence[int], known: Known
) -> Samples:
    """Samples of pairs; the numbers of their views become places in ``views``."""
    place = {view: index for index, view in enumerate(views)}
    grid = int(np.clip(np.sqrt(SAMPLES / (2 * len(pairs))), SMALLEST_GRID, LARGEST_GRID))
    rows, columns, pixels = {}, {}, []
    for view in views:
        height, width = sizes[view]
        row, column = np.meshgrid(_spread(height, grid), _spread(width, grid), indexing="ij")
        rows[view], columns[view] = row.ravel(), column.ravel()
        centre = np.asarray(known.principal_point.get(view, (width / 2, height / 2)), np.float64)
        pixels.append(np.stack([columns[view], rows[view]], -1) + 0.5 - centre)
    points, confidence = [], []
    for pair in pairs:
        for view, all_points, all_confidence in (
            (pair.first, pair.first_points, pair.first_confidence),
            (pair.second, pair.second_points, pair.second_confidence),
        ):
            points.append(torch.as_tensor(all_points)[rows[view], columns[view]])
            confidence.append(torch.as_tensor(all_confidence)[rows[view], columns[view]])
    stacked = torch.stack(points).cpu().double().numpy()
    weights = confidence_weights(torch.stack(confidence).cpu().double()).numpy()
    good = np.isfinite(stacked).all(-1) & (stacked.any(-1))
    stacked[~good], weights[~good] = 0, 0
    first = np.array([place[pair.first] for pair in pairs])
    second = np.array([place[pair.second] for pair in pairs])
    return Samples(first, second, np.array(pixels), stacked, weights, np.array([sizes[view][::-1] for view in views]))


def confidence_weights(confidence: torch.Tensor) -> torch.Tensor:
    """The logarithm of confidences, which begin at 1; a little where there is none, 0 where it is not finite."""
    weights = confidence.log().clamp_min(LEAST_WEIGHT)
    return torch.where(weights.isfinite(), weights, 0)


def _spread(length: int, count: int) -> np.ndarray:
    """``count`` pixels in the middles of equal parts of a line."""
    return ((np.arange(count) + 0.5) * length / count).astype(int)
