"""Plane sweep around a prior: how well views agree, for every pixel and every hypothesis of its depth.

Hypotheses scale the prior's inverse depth, pixel by pixel, so that the swept surfaces have the prior's own slant and
edges (compare Scharstein et al. 2017, Surface Orientation Priors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from recon import geometry

NOISE = 0.008  # standard deviation of a grey level in 0..1: windows with less contrast say nothing
WINDOWS = (3, 9)  # pixels: sides of the windows of the correlation
OUTSIDE = -8.0  # the grey level beyond a picture's border, unlike any in it


@dataclass(frozen=True)
class Shot:
    """A view at the resolution of a sweep.

    Attributes:
        image: ``[h,w,3] uint8``.
        intrinsics: ``[3,3]`` in pixels of ``image``.
        camera_from_world: ``[4,4]``.
    """

    image: np.ndarray
    intrinsics: np.ndarray
    camera_from_world: np.ndarray

    @cached_property
    def grey(self) -> np.ndarray:
        """``[h,w] float32`` in -0.5..0.5."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255 - np.float32(0.5)

    @property
    def centre(self) -> np.ndarray:
        """``[3]``, the optical centre in the world."""
        return -self.camera_from_world[:3, :3].T @ self.camera_from_world[:3, 3]

    def rays(self) -> np.ndarray:
        """``[h,w,3]``: directions with z = 1 through the pixels, in the camera."""
        return geometry.unproject(np.ones(self.image.shape[:2], np.float32), self.intrinsics)

    def thinned(self, stride: int) -> Shot:
        """The pixels in the middle of squares of ``stride`` pixels, where they are."""
        middle = stride // 2
        offset = middle + 0.5 - stride / 2  # pixel i was pixel i * stride + middle, and centres lie at +0.5
        self_from_thinned = np.array([[stride, 0, offset], [0, stride, offset], [0, 0, 1]])
        intrinsics = np.linalg.inv(self_from_thinned) @ self.intrinsics
        return Shot(self.image[middle::stride, middle::stride], intrinsics, self.camera_from_world)

    def likeness(self, axis: int, sigma: float) -> np.ndarray:
        """How alike neighbours along ``axis`` look, 1 to 0: ``[h-1,w]`` or ``[h,w-1]``; ``sigma`` in grey levels."""
        difference = np.abs(np.diff(self.image.astype(np.float32), axis=axis)).sum(-1)
        return np.exp(-difference / np.float32(sigma))


class Warp:
    """Where the pixels of one view lie in another, as a function of their inverse depth.

    Homogeneous pixels of the source are ``infinite + epipole * inverse depth``.
    """

    def __init__(self, reference: Shot, source: Shot) -> None:
        height, width = reference.image.shape[:2]
        source_from_reference = source.camera_from_world @ np.linalg.inv(reference.camera_from_world)
        rotation = source.intrinsics @ source_from_reference[:3, :3] @ np.linalg.inv(reference.intrinsics)
        x = np.arange(width, dtype=np.float32) + np.float32(0.5)
        y = (np.arange(height, dtype=np.float32) + np.float32(0.5))[:, None]
        a = rotation.astype(np.float32)
        self.infinite = tuple(a[row, 0] * x + a[row, 1] * y + a[row, 2] for row in range(3))
        self.epipole = tuple(float(e) for e in source.intrinsics @ source_from_reference[:3, 3])

    def __call__(self, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``x, y [h,w]`` in OpenCV's count (0 at the first pixel's centre), and z-depth over that of the reference."""
        ratio = np.maximum(self.infinite[2] + self.epipole[2] * inverse, np.float32(1e-4))
        x = (self.infinite[0] + self.epipole[0] * inverse) / ratio - np.float32(0.5)
        y = (self.infinite[1] + self.epipole[1] * inverse) / ratio - np.float32(0.5)
        return x, y, ratio


class Windows:
    """Zero-mean normalised cross-correlation of windows around all pixels with those of other pictures.

    The mean over several window sides: a small one keeps thin things, a large one knows where it is.
    """

    def __init__(self, grey: np.ndarray) -> None:
        self.grey = grey
        self.means = [cv2.blur(grey, (side, side)) for side in WINDOWS]
        squares = grey * grey
        self.certainties = [
            1 / np.sqrt(np.maximum(cv2.blur(squares, (side, side)) - mean * mean, 0) + np.float32(NOISE**2))
            for side, mean in zip(WINDOWS, self.means, strict=True)
        ]

    def correlate(self, other: np.ndarray) -> np.ndarray:
        """``[h,w]`` in -1..1, near 0 where either window is plain."""
        squares, products = other * other, other * self.grey
        total = np.zeros_like(other)
        for side, mean, certainty in zip(WINDOWS, self.means, self.certainties, strict=True):
            other_mean = cv2.blur(other, (side, side))
            covariance = (cv2.blur(products, (side, side)) - mean * other_mean) * certainty
            variance = cv2.blur(squares, (side, side)) - other_mean * other_mean
            total += covariance / np.sqrt(np.maximum(variance, 0) + np.float32(NOISE**2))
        return total / len(WINDOWS)


def correlation_volume(
    reference: Shot, sources: Sequence[Shot], inverse: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """How well the sources agree with the reference: ``[D,h,w]`` in -1..1, 0 where none sees the place.

    Against occlusion, the better half of the sources that see a place speak for it.

    Args:
        reference: the view whose depth is wanted.
        sources: other views, at least one.
        inverse: ``[h,w] float32``, the prior's inverse depth.
        factors: ``[D]``, the hypotheses are ``inverse`` times these.
    """
    windows = Windows(reference.grey)
    warps = [Warp(reference, source) for source in sources]
    best = (len(sources) + 1) // 2
    volume = np.empty((len(factors), *inverse.shape), np.float32)
    scores = np.empty((len(sources), *inverse.shape), np.float32)
    for hypothesis, factor in enumerate(factors):
        scaled = inverse * np.float32(factor)
        for score, source, warp in zip(scores, sources, warps, strict=True):
            x, y, _ = warp(scaled)
            seen = cv2.remap(source.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=OUTSIDE)
            score[:] = windows.correlate(seen)
            score[seen < -1] = 0
        _raise_best(scores, best)
        volume[hypothesis] = scores[:best].mean(0)
    return volume


def _raise_best(values: np.ndarray, best: int) -> None:
    """Bring the largest ``best`` of ``[S,...]`` to the front, in place: for few, faster than `numpy.partition`."""
    spare = np.empty_like(values[0])
    for first in range(min(best, len(values) - 1)):
        for index in range(len(values) - 1, first, -1):
            upper, lower = values[index - 1], values[index]
            np.minimum(upper, lower, out=spare)
            np.maximum(upper, lower, out=upper)
            lower[:] = spare


def semi_global(cost: np.ndarray, small: float, jump: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Semi-global matching (Hirschmüller 2008, equation 13) along rows and columns, both ways.

    Args:
        cost: ``[h,w,D] float32``.
        small: the penalty for a step of one hypothesis between neighbours.
        jump: penalties for larger steps: ``[h-1,w]`` between a pixel and the one below, ``[h,w-1]`` and the one right.

    Returns:
        ``[h,w,D]``, the mean of the costs of the four paths.
    """
    total = np.zeros_like(cost)
    for axis in (0, 1):
        along = np.ascontiguousarray(np.moveaxis(cost, axis, 0))
        penalty = np.ascontiguousarray(np.moveaxis(jump[axis], axis, 0))[..., None]
        summed = np.moveaxis(total, axis, 0)
        for backwards in (False, True):
            lines = range(len(along) - 1, -1, -1) if backwards else range(len(along))
            path: np.ndarray | None = None
            for line in lines:
                if path is None:
                    path = along[line].copy()
                else:
                    lowest = path.min(1, keepdims=True)
                    step = np.minimum(path, lowest + penalty[line if backwards else line - 1])
                    np.minimum(step[:, 1:], path[:, :-1] + np.float32(small), out=step[:, 1:])
                    np.minimum(step[:, :-1], path[:, 1:] + np.float32(small), out=step[:, :-1])
                    step -= lowest
                    step += along[line]
                    path = step
                summed[line] += path
    total *= 0.25
    return total
