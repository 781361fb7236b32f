"""Cameras from what MapAnything says: intrinsics from rays, matrices from quaternions."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.networks.layers.pose_encoding import rotation_from_quaternion

SAMPLES = 50  # rows and columns that the fit looks at, or a few more


def intrinsics_from_rays(rays: Tensor) -> Tensor:
    """Pinhole cameras ``[...,3,3]`` without skew whose pixels look along ``[...,H,W,3]``; pixel centres at integers.

    Least squares over a grid of pixels, of columns by x/z and of rows by y/z.
    """
    height, width = rays.shape[-3:-1]
    down, across = max(1, height // SAMPLES), max(1, width // SAMPLES)
    grid = rays[..., ::down, ::across, :]
    slopes = grid[..., :2] / grid[..., 2:]
    y, x = torch.meshgrid(
        torch.arange(0, height, down, device=rays.device, dtype=rays.dtype),
        torch.arange(0, width, across, device=rays.device, dtype=rays.dtype),
        indexing="ij",
    )
    pixels, slopes = torch.stack([x, y], -1).flatten(0, 1), slopes.flatten(-3, -2)
    middle, centre = pixels.mean(-2), slopes.mean(-2, keepdim=True)
    spread = slopes - centre
    focal = (spread * (pixels - middle)).sum(-2) / spread.square().sum(-2)
    intrinsics = rays.new_zeros(*rays.shape[:-3], 3, 3)
    intrinsics[..., (0, 1), (0, 1)] = focal
    intrinsics[..., :2, 2] = middle - focal * centre[..., 0, :]
    intrinsics[..., 2, 2] = 1
    return intrinsics


def pose_matrices(quaternions: Tensor, translations: Tensor) -> Tensor:
    """Quaternions xyzw ``[...,4]`` and translations ``[...,3]`` to ``[...,4,4]``."""
    top = torch.cat([rotation_from_quaternion(quaternions), translations[..., None]], -1)
    bottom = top.new_tensor([0, 0, 0, 1]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)
