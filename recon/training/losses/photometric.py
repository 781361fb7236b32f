"""Photometric reprojection: depth and cameras are right if other views, warped by them, look like this one.

After Monodepth2 (Godard et al. 2019, sections 3.1 and 3.2). Learns from photos without ground truth.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from recon.training.correspondences import NEAR, of_partner, pixel_centres, project, to_camera, to_world, unproject

SSIM_SHARE = 0.85
SSIM_CONSTANTS = (0.01**2, 0.03**2)


def structural_dissimilarity(first: Tensor, second: Tensor) -> Tensor:
    """``(1 - SSIM) / 2`` in 0..1, ``[N,C,H,W]`` of two images in 0..1, over windows of 3x3 (Wang et al. 2004)."""
    first, second = (functional.pad(image, (1, 1, 1, 1), mode="reflect") for image in (first, second))

    def mean(image: Tensor) -> Tensor:
        return functional.avg_pool2d(image, 3, 1)

    mean_first, mean_second = mean(first), mean(second)
    variance_first = mean(first * first) - mean_first.square()
    variance_second = mean(second * second) - mean_second.square()
    covariance = mean(first * second) - mean_first * mean_second
    c1, c2 = SSIM_CONSTANTS
    likeness = (2 * mean_first * mean_second + c1) * (2 * covariance + c2)
    likeness = likeness / ((mean_first.square() + mean_second.square() + c1) * (variance_first + variance_second + c2))
    return ((1 - likeness) / 2).clamp(0, 1)


def photometric_error(first: Tensor, second: Tensor) -> Tensor:
    """``[N,H,W]``: 0.85 of `structural_dissimilarity` and 0.15 of the absolute difference, averaged over colours."""
    difference = (first - second).abs()
    return (SSIM_SHARE * structural_dissimilarity(first, second) + (1 - SSIM_SHARE) * difference).mean(1)


def warp(
    images: Tensor, depth: Tensor, world_from_camera: Tensor, tangents: Tensor, partner: Tensor
) -> tuple[Tensor, Tensor]:
    """Each view as its partner's picture shows it, ``[S,V,3,H,W]``, and where that can be told, ``[S,V,H,W] bool``.

    Args:
        images: ``[S,V,3,H,W]``.
        depth: ``[S,V,H,W]``, above 0.
        world_from_camera: ``[S,V,4,4]``.
        tangents: ``[S,V,2]`` of half the fields of view.
        partner: ``[S,V] long``.
    """
    height, width = depth.shape[-2:]
    index = torch.arange(height * width, device=depth.device)
    pixel = pixel_centres(index, width).expand(*depth.shape[:2], -1, -1)
    points = to_world(unproject(pixel, depth.flatten(2), tangents, height, width), world_from_camera)
    in_partner = to_camera(points, of_partner(world_from_camera, partner))
    position, distance = project(in_partner, of_partner(tangents, partner), height, width)
    position = position.unflatten(2, (height, width)) * (2 / position.new_tensor([width, height])) - 1
    seen = (position.abs() < 1).all(-1) & (distance > NEAR).unflatten(2, (height, width))
    sources = of_partner(images, partner).flatten(0, 1)
    sampled = functional.grid_sample(
        sources, position.clamp(-2, 2).flatten(0, 1), padding_mode="border", align_corners=False
    )
    return sampled.unflatten(0, depth.shape[:2]), seen


def photometric(images: Tensor, depth: Tensor, world_from_camera: Tensor, tangents: Tensor, sources: int = 2) -> Tensor:
    """Mean over the pixels of all views of the least `photometric_error` of up to ``sources`` other views warped.

    The least of several forgives occlusion; pixels which another view matches better unwarped are left out, for they
    do not move (auto-mask). Shapes as `warp`; there must be two views at least.
    """
    scenes, views = depth.shape[:2]
    view = torch.arange(views, device=depth.device)
    targets = images.flatten(0, 1)
    least, still = [], []
    for step in range(1, min(sources, views - 1) + 1):
        partner = ((view + step) % views).expand(scenes, views)
        warped, seen = warp(images, depth, world_from_camera, tangents, partner)
        error = photometric_error(warped.flatten(0, 1), targets)
        least.append(torch.where(seen.flatten(0, 1), error, torch.inf))
        still.append(photometric_error(of_partner(images, partner).flatten(0, 1), targets))
    best, unmoved = torch.stack(least).amin(0), torch.stack(still).amin(0)
    counts = best < unmoved
    return torch.where(counts, best, 0).sum() / counts.sum().clamp_min(1)


def edge_aware_smoothness(depth: Tensor, images: Tensor) -> Tensor:
    """Mean change of the inverse depth between neighbours, over its own mean, less where the picture changes.

    Equation 3 of Monodepth2 (Godard et al. 2019).

    Args:
        depth: ``[N,H,W]``, above 0.
        images: ``[N,3,H,W]``.
    """
    inverse = 1 / depth.clamp_min(1e-4)
    inverse = inverse / inverse.mean((-1, -2), keepdim=True)
    total = inverse.new_zeros(())
    for axis in (-1, -2):
        change = inverse.diff(dim=axis).abs()
        total = total + (change * (-images.diff(dim=axis).abs().mean(1)).exp()).mean()
    return total
