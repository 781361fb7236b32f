"""Cameras that MUSt3R's pointmaps imply (Cabon et al. 2025, section 3.3): a focal length and a pose of each picture.

Numbers of the network's own convention: pixels count from 0 at their centres, and the principal point lies at half of
the picture's size.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from recon.networks.must3r import Pointmaps

ROUNDS = 10  # of reweighting
NEAREST = 1e-8  # of a residual in pixels, so that none counts for ever


def focal_lengths(points_in_camera: Tensor) -> Tensor:
    """Focal lengths ``[V]`` in pixels, one for both axes, of points ``[V,H,W,3]`` of all pixels in their camera.

    Weiszfeld's iteration (1937), from the least squares solution, as in DUSt3R (Wang et al. 2024, section 3.3).
    """
    height, width = points_in_camera.shape[1:3]
    y, x = torch.meshgrid(
        torch.arange(height, device=points_in_camera.device) - height / 2,
        torch.arange(width, device=points_in_camera.device) - width / 2,
        indexing="ij",
    )
    pixels = torch.stack([x, y], -1).to(points_in_camera.dtype).flatten(0, 1)
    slopes = (points_in_camera[..., :2] / points_in_camera[..., 2:]).nan_to_num(0, 0, 0).flatten(1, 2)
    products, squares = (slopes * pixels).sum(-1), slopes.square().sum(-1)
    focal = products.mean(1) / squares.mean(1)
    for _ in range(ROUNDS):
        weights = 1 / (pixels - focal[:, None, None] * slopes).norm(dim=-1).clamp_min(NEAREST)
        focal = (weights * products).mean(1) / (weights * squares).mean(1)
    return focal.clamp_min(0)


def poses(points: Tensor, points_in_camera: Tensor, confidence: Tensor) -> Tensor:
    """Rigid ``world_from_camera [V,4,4]`` that best take the points of all pixels in a camera to those in the world.

    Least squares over points ``[V,H,W,3]``, weighted by how far the confidence ``[V,H,W]`` is above 1 (Umeyama 1991,
    without a scale).
    """
    known = points.isfinite().all(-1, keepdim=True) & points_in_camera.isfinite().all(-1, keepdim=True)
    target, source = (torch.where(known, each, 0).flatten(1, 2) for each in (points, points_in_camera))
    weights = torch.where(known, confidence[..., None] - 1, 0).flatten(1, 2)
    weights = weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    target_mean, source_mean = ((weights * each).sum(1) for each in (target, source))
    covariance = ((target - target_mean[:, None]) * weights).mT @ (source - source_mean[:, None])
    u, _, vt = torch.linalg.svd(covariance)
    sign = torch.ones_like(target_mean)
    sign[:, 2] = torch.linalg.det(u @ vt).sign()
    matrices = torch.eye(4, dtype=points.dtype, device=points.device).repeat(len(points), 1, 1)
    matrices[:, :3, :3] = u * sign[:, None] @ vt
    matrices[:, :3, 3] = target_mean - (matrices[:, :3, :3] @ source_mean[..., None])[..., 0]
    return matrices


class OwnCameras:
    """Each picture with a focal length of its own."""

    def clear(self) -> None:
        """Forget all pictures."""

    def place(self, maps: Pointmaps, first: bool = False) -> tuple[Pointmaps, Tensor, float]:
        """Pointmaps of one picture, ``world_from_camera [4,4]``, and the focal length in pixels."""
        (pose,) = poses(maps.points, maps.points_in_camera, maps.confidence)
        return maps, pose, float(focal_lengths(maps.points_in_camera)[0])

    place_again = place


class SharedFocal:
    """Pictures of one camera, whose focal length is the mean of what they all say, the sure ones more.

    The first picture is the world. Of the others the depth is corrected by what their own focal length differs from the
    mean of those before, which makes it fit to the points in the world better than it came. Pictures of another size
    are of another camera.

    Args:
        fixed: else the focal length may change, and is each picture's own.
    """

    def __init__(self, fixed: bool = True) -> None:
        self.fixed = fixed
        self._sums: dict[torch.Size, tuple[float, float]] = {}  # by size: of weighted focal lengths, and of weights

    def focal(self, maps: Pointmaps) -> float | None:
        """Of all pictures of that size so far."""
        total, weight = self._sums.get(maps.confidence.shape[1:], (0.0, 0.0))
        return total / weight if weight > 0 else None

    def clear(self) -> None:
        """Forget all pictures."""
        self._sums.clear()

    def place(self, maps: Pointmaps, first: bool = False) -> tuple[Pointmaps, Tensor, float]:
        """As `OwnCameras.place`; the maps that are returned have the corrected depth."""
        own = float(focal_lengths(maps.points_in_camera)[0])
        pose = torch.eye(4, dtype=maps.points.dtype, device=maps.points.device)
        if not first:
            maps, pose = self._posed(maps, own)
        weight = float(maps.confidence.mean()) - 1
        if math.isfinite(own * weight) and own > 0:
            size = maps.confidence.shape[1:]
            total, before = self._sums.get(size, (0.0, 0.0))
            self._sums[size] = total + weight * own, before + weight
        return maps, pose, self._reported(maps, own)

    def place_again(self, maps: Pointmaps) -> tuple[Pointmaps, Tensor, float]:
        """The same of a picture that has been counted already; the first one too may lie beside the world."""
        own = float(focal_lengths(maps.points_in_camera)[0])
        maps, pose = self._posed(maps, own)
        return maps, pose, self._reported(maps, own)

    def _reported(self, maps: Pointmaps, own: float) -> float:
        shared = self.focal(maps)
        return own if shared is None or not self.fixed else shared

    def _posed(self, maps: Pointmaps, own: float) -> tuple[Pointmaps, Tensor]:
        shared = self.focal(maps)
        if self.fixed and shared is not None and own > 0:
            factors = torch.tensor([1.0, 1.0, shared / own]).to(maps.points_in_camera)
            maps = replace(maps, points_in_camera=maps.points_in_camera * factors)
        (pose,) = poses(maps.points, maps.points_in_camera, maps.confidence)
        return maps, pose
