"""Losses of depth maps and pointmaps, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from recon.training.batch import rays

LEAST_DEPTH = 1e-4
LARGEST_STEP = 1.0
"""Differences of log-depth errors between neighbours count no more than this: a wrong edge is wrong once."""

EDGE = 0.06
"""No normal is asked for where the true depth changes by more than this share across the stencil."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` (of the same shape) holds; 0 where it holds nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp_min(1)


def log_depth(depth: Tensor) -> Tensor:
    """Logarithm of z-depth, of at least `LEAST_DEPTH`."""
    return depth.clamp_min(LEAST_DEPTH).log()


def signed_log(points: Tensor) -> Tensor:
    """Points ``[...,3]`` with their length replaced by ``log(1 + length)``: near and far count alike (MASt3R/VGGT)."""
    length = points.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return points * (length.log1p() / length)


def confidence_weighted(error: Tensor, confidence: Tensor, mask: Tensor, alpha: float = 0.2) -> Tensor:
    """Mean of ``confidence * error - alpha * log(confidence)`` (DUSt3R, Wang et al. 2024, equation 4).

    Its best confidence is ``alpha / error``.

    Args:
        error: at least 0.
        confidence: above 0.
        mask: where it counts.
        alpha: how much a high confidence is worth.
    """
    return masked_mean(error * confidence - alpha * confidence.log(), mask)


def depth_error(depth: Tensor, truth: Tensor) -> Tensor:
    """``|log depth - log truth|``, of any shape."""
    return (log_depth(depth) - log_depth(truth)).abs()


def points_error(points: Tensor, truth: Tensor) -> Tensor:
    """Distance ``[...]`` of pointmaps ``[...,3]`` after `signed_log`; smooth below 1e-4."""
    return ((signed_log(points) - signed_log(truth)).square().sum(-1) + 1e-8).sqrt()


def multi_scale_gradient(depth: Tensor, truth: Tensor, mask: Tensor, scales: int = 3) -> Tensor:
    """Mean ``|d e / dx| + |d e / dy|`` of the error e of the log-depth, summed over scales 1, 2, 4 ...

    MegaDepth (Li and Snavely 2018, equation 4) and MiDaS (Ranftl et al. 2020, equation 11).

    Args:
        depth: ``[...,H,W]``.
        truth: ``[...,H,W]``.
        mask: ``[...,H,W] bool``.
        scales: every second pixel is left out from one to the next.
    """
    error = log_depth(depth) - log_depth(truth)
    total = error.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        coarse, known = error[..., ::step, ::step], mask[..., ::step, ::step]
        for axis in (-1, -2):
            length = coarse.shape[axis] - 1
            change = coarse.narrow(axis, 1, length) - coarse.narrow(axis, 0, length)
            both = known.narrow(axis, 1, length) & known.narrow(axis, 0, length)
            total = total + masked_mean(change.abs().clamp_max(LARGEST_STEP), both)
    return total


def normals(depth: Tensor, tangents: Tensor, reach: int = 2) -> Tensor:
    """Unit normals ``[S,V,h,w,3]`` in the camera, of every ``reach``-th pixel that has neighbours at that distance.

    The cross product of the differences between the points right and left, below and above; it faces the camera.

    Args:
        depth: ``[S,V,H,W]``.
        tangents: ``[S,V,2]`` of half the fields of view.
        reach: pixels to each neighbour.
    """
    points = (rays(tangents, *depth.shape[-2:]) * depth[..., None])[:, :, ::reach, ::reach]
    across = points[:, :, 1:-1, 2:] - points[:, :, 1:-1, :-2]
    down = points[:, :, 2:, 1:-1] - points[:, :, :-2, 1:-1]
    return functional.normalize(torch.linalg.cross(down, across), dim=-1, eps=1e-12)


def smooth_surface(truth: Tensor, reach: int = 2) -> Tensor:
    """``[S,V,h,w] bool``: where `normals` of the true depth are of one surface, not across an edge or the unknown."""
    coarse = truth[:, :, ::reach, ::reach]
    centre = coarse[:, :, 1:-1, 1:-1]
    around = torch.stack(
        [coarse[:, :, 1:-1, 2:], coarse[:, :, 1:-1, :-2], coarse[:, :, 2:, 1:-1], coarse[:, :, :-2, 1:-1]]
    )
    known = (centre > 0) & (around > 0).all(0)
    straight = ((around[0] + around[1] - 2 * centre).abs() < EDGE / 4 * centre) & (
        (around[2] + around[3] - 2 * centre).abs() < EDGE / 4 * centre
    )
    return known & straight & ((around - centre).abs().amax(0) < EDGE * centre)


def normal_consistency(depth: Tensor, truth: Tensor, tangents: Tensor, reach: int = 2) -> Tensor:
    """Mean ``1 - cos`` of the angle between the normals of two depth maps ``[S,V,H,W]``, on the truth's smooth parts.

    After Yin et al. 2019 (virtual normals) and MoGe (Wang et al. 2025, section 3.3). A factor on the depth changes
    nothing.
    """
    cosine = (normals(depth, tangents, reach) * normals(truth, tangents, reach)).sum(-1)
    return masked_mean(1 - cosine, smooth_surface(truth, reach))
