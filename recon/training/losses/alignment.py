"""Losses that compare shapes: after the best scale, and of a network with itself."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.training.losses.dense import points_error


def best_scale(points: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """``[N]``: the factor s of least ``sum(weight * |s * points - truth|**2)``, in closed form.

    ``s = sum(w p.t) / sum(w p.p)``; 0 where the weights are 0.

    Args:
        points: ``[N,M,3]``.
        truth: ``[N,M,3]``.
        weight: ``[N,M]``, at least 0.
    """
    across = (weight * (points * truth).sum(-1)).sum(-1)
    along = (weight * points.square().sum(-1)).sum(-1)
    return across / along.clamp_min(1e-12)


def two_way_alignment(points: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean relative distance of point sets ``[N,M,3]`` after the best scale of one to the other, and of that to this.

    ``(|s p - t| / |t| + |s' t - p| / |p|) / 2`` with s and s' of `best_scale`, far points weighing as their inverse
    square there. A factor on either changes nothing. After the scale-invariant losses of MoGe (Wang et al. 2025,
    section 3.2), closed instead of robust; comparing both ways, neither shrinking to a point nor growing pays.

    Args:
        points: the estimate.
        truth: what it should be, up to a scale.
        mask: ``[N,M] bool``.
    """
    total = points.new_zeros(())
    for moved, fixed in ((points, truth), (truth, points)):
        length = fixed.detach().norm(dim=-1)
        known = mask & (length > 1e-4)
        inverse = torch.where(known, 1 / length.clamp_min(1e-4), 0)
        scale = best_scale(moved, fixed, inverse.square())
        offset = (scale[:, None, None] * moved - fixed) * inverse[..., None]
        distance = (offset.square().sum(-1) + 1e-8).sqrt()
        total = total + torch.where(known, distance, 0).sum() / known.sum().clamp_min(1) / 2
    return total


def consistency(depth_points: Tensor, points: Tensor, mask: Tensor) -> Tensor:
    """Mean distance, after `signed_log`, of points from depth and camera to points told directly; both learn.

    The two ways of VGGT (Wang et al. 2025, section 3.3) to the same point are to agree; asks for no truth.

    Args:
        depth_points: ``[...,3]`` in the world, unprojected with the estimated cameras.
        points: ``[...,3]`` in the world.
        mask: ``[...] bool``.
    """
    error = points_error(depth_points, points)
    return torch.where(mask, error, 0).sum() / mask.sum().clamp_min(1)
