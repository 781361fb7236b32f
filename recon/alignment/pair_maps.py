"""Pairwise pointmaps as a network of two photos gives them, what may be known beforehand, and samples to align by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch

Array: TypeAlias = "np.ndarray | torch.Tensor"

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


def confidence_weights(confidence: torch.Tensor) -> torch.Tensor:
    """The logarithm of confidences, which begin at 1; a little where there is none, 0 where it is not finite."""
    weights = confidence.log().clamp_min(LEAST_WEIGHT)
    return torch.where(weights.isfinite(), weights, 0)
