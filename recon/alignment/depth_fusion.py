"""Depth of every pixel from all pairwise pointmaps that tell of it, once cameras and scales are known: closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from recon.alignment.pair_maps import LEAST_WEIGHT, Array

BAND = 32  # rows at a time on the processor, so that they stay in its cache
UNKNOWN = 1e30  # in place of a depth, so large that its square is infinite
WIDTH = 3.0  # of the loss, in standard deviations
ROUNDS = 2  # of the robust mean, from the median on


@dataclass(frozen=True)
class Stance:
    """How a map stands to its view's camera.

    Attributes:
        view_from_frame: rotation ``[3,3]`` from the map's camera to the view's.
        centre: ``[3]``, of the view's camera in the map's, in the world's unit.
        scale: the world's units in one of the pair's.
        deviation: standard deviation of the map's points, relative to their distance.
    """

    view_from_frame: np.ndarray
    centre: np.ndarray
    scale: float
    deviation: float


@dataclass(frozen=True)
class Witness:
    """One pointmap of a view, in the camera of its pair's first view and in the pair's unit.

    Attributes:
        points: ``[H,W,3]``.
        confidence: ``[H,W]``.
        stance: how they stand to the view's camera.
    """

    points: Array
    confidence: Array
    stance: Stance


def fuse(witnesses: Sequence[Witness], focal: float, principal_point: np.ndarray) -> np.ndarray:
    """Z-depth ``[H,W] float32``, 0 where unknown.

    Each map gives the depth at which the pixel's ray passes its point most closely; the robust mean of these is taken,
    weighed by confidence and accuracy. It runs where the maps are, on the processor or on the GPU.

    Args:
        witnesses: at least one, all of one size.
        focal: in pixels.
        principal_point: ``[2]`` in pixels, centres at +0.5.
    """
    device = torch.as_tensor(witnesses[0].points).device
    height, width = witnesses[0].points.shape[:2]
    across = (torch.arange(width, device=device) + (0.5 - principal_point[0])) / focal
    down = (torch.arange(height, device=device) + (0.5 - principal_point[1])) / focal
    size = BAND if device.type == "cpu" else height
    bands = [slice(start, start + size) for start in range(0, height, size)]
    return torch.cat([_fuse_band(witnesses, across, down[band], band) for band in bands]).cpu().numpy()


def _fuse_band(witnesses: Sequence[Witness], across: Tensor, down: Tensor, band: slice) -> Tensor:
    """Depth ``[h,W]`` of some rows, given the slopes x/z of the columns and y/z of those rows."""

    def here(values: Array) -> Tensor:
        return torch.as_tensor(values[band]).to(across.device, torch.float32)

    def along_rays(vector: Sequence[float]) -> Tensor:
        """Products of the rays (x/z, y/z, 1) with a vector."""
        return (across * vector[0]) + (down * vector[1] + vector[2])[:, None]

    depth, weights = across.new_empty((2, len(witnesses), len(down), len(across)))
    nearness = 1 / (across.square() + (down.square() + 1)[:, None])
    for witness, depths, trusts in zip(witnesses, depth, weights, strict=True):
        stance = witness.stance
        x, y, z = here(witness.points).unbind(-1)
        by_x, by_y, by_z = map(along_rays, (stance.view_from_frame.T * stance.scale).tolist())
        torch.mul(x, by_x, out=depths).addcmul_(y, by_y).addcmul_(z, by_z)
        depths.sub_(along_rays((stance.view_from_frame @ stance.centre).tolist())).mul_(nearness)
        torch.log(here(witness.confidence), out=trusts).clamp_min_(LEAST_WEIGHT).div_(stance.deviation**2)
    good = (depth > 0) & (depth < UNKNOWN) & (weights < torch.inf)
    depth = torch.where(good, depth, UNKNOWN)
    weights = torch.where(good, weights, 0)
    fused = _median(list(depth), good.sum(0))
    sharpness = across.new_tensor([1 / (WIDTH * witness.stance.deviation) for witness in witnesses])[:, None, None]
    for _ in range(ROUNDS):
        error = (depth / fused.clamp_min(1e-12)).sub_(1).mul_(sharpness)
        robust = weights / error.square_().add_(1).square_()
        total = robust.sum(0)
        fused = torch.where(total > 0, robust.mul_(depth).sum(0) / total.clamp_min(1e-30), fused)
    return fused


def _median(values: list[Tensor], count: Tensor) -> Tensor:
    """The lower median of those ``count`` of ``values`` that are smallest, at each place; 0 where there are none.

    By a sorting network (Batcher 1968), which is minima and maxima of whole maps.
    """
    for i, j in exchanges(len(values)):
        values[i], values[j] = torch.minimum(values[i], values[j]), torch.maximum(values[i], values[j])
    median = torch.zeros_like(values[0])
    for place in range((len(values) + 1) // 2):
        median = torch.where(count > 2 * place, values[place], median)
    return median


@lru_cache
def exchanges(count: int) -> tuple[tuple[int, int], ...]:
    """Places to put in order, one pair after the other, that sort any ``count`` values (Knuth 1998, 5.2.2, M)."""
    pairs = []
    merged = 1
    while merged < count:
        apart = merged
        while apart:
            for start in range(apart % merged, count - apart, 2 * apart):
                for i in range(start, min(start + apart, count - apart)):
                    if i // (2 * merged) == (i + apart) // (2 * merged):
                        pairs.append((i, i + apart))
            apart //= 2
        merged *= 2
    return tuple(pairs)
