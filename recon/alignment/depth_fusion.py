"""Depth of every pixel from all pairwise pointmaps that tell of it, once cameras and scales are known: closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from recon import geometry
from recon.alignment.pair_maps import Array, confidence_weights

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
    first = torch.as_tensor(witnesses[0].points)
    height, width = first.shape[:2]

    def here(values: Array | Sequence[float]) -> torch.Tensor:
        return torch.as_tensor(values).to(first.device, torch.float32)

    slopes = here((geometry.pixel_grid(height, width) - principal_point) / focal).movedim(-1, 0)
    rays = torch.cat([slopes, torch.ones_like(slopes[:1])])
    feet = (rays / rays.square().sum(0)).reshape(3, -1)
    depth, weights = rays.new_empty((2, len(witnesses), height, width))
    for index, witness in enumerate(witnesses):
        x, y, z = here(witness.points).unbind(-1)
        stance = witness.stance
        by_x, by_y, by_z = (here(stance.view_from_frame.T * stance.scale) @ feet).reshape(rays.shape)
        offset = here(stance.view_from_frame @ stance.centre)
        depth[index] = (x * by_x).addcmul_(y, by_y).addcmul_(z, by_z).sub_((offset @ feet).reshape(height, width))
        weights[index] = confidence_weights(here(witness.confidence))
    good = (depth > 0) & (depth < torch.inf) & (weights > 0)
    accuracy = here([1 / witness.stance.deviation**2 for witness in witnesses])[:, None, None]
    weights = torch.where(good, weights, 0) * accuracy
    fused = torch.nan_to_num(torch.where(good, depth, torch.nan).nanmedian(0).values)
    depth = torch.where(good, depth, 0)
    for _ in range(ROUNDS):
        error = (depth / fused.clamp_min(1e-12)).sub_(1).mul_(accuracy.sqrt() / WIDTH)
        robust = weights / error.square_().add_(1).square_()
        total = robust.sum(0)
        fused = torch.where(total > 0, (robust * depth).sum(0) / total.clamp_min(1e-30), fused)
    return fused.cpu().numpy()
