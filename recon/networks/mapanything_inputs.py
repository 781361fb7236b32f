"""What MapAnything may be told beside the pictures, and how it is normalised (Keetha et al. 2025, section 3).

Conventions of the network: OpenCV axes, poses ``world_from_camera`` with quaternions xyzw, pixel centres at integers,
depth along the ray of the pixel, 0 where it is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recon.errors import InputError
from recon.networks.layers.pose_encoding import rotation_from_quaternion

SMALLEST = 1e-8


@dataclass
class Known:
    """What is known of V views beside their pictures; each part for some of them, or None for nobody.

    Maps are those of the n views that ``has_...`` marks alone, in the order of its entries.

    Attributes:
        rays: directions ``[n,H,W,3]`` of unit length in the camera.
        has_rays: ``[B,V] bool``.
        depth: ``[n,H,W]`` along the rays, 0 where it is not known.
        has_depth: ``[B,V] bool``.
        quaternions: ``[B,V,4]`` xyzw of any length but 0, ``world_from_camera``; those of views without a pose are
            not read.
        translations: ``[B,V,3]``, as the quaternions.
        has_pose: ``[B,V] bool``; where any view has one, the first has.
        metric_depth: ``[B,V] bool``, the depth is in metres; None for all.
        metric_pose: ``[B,V] bool``, the translation is in metres; None for all.
    """

    rays: Tensor | None = None
    has_rays: Tensor | None = None
    depth: Tensor | None = None
    has_depth: Tensor | None = None
    quaternions: Tensor | None = None
    translations: Tensor | None = None
    has_pose: Tensor | None = None
    metric_depth: Tensor | None = None
    metric_pose: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Known:
        """The same on a device, what is no mark in that precision."""

        def moved(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to(device, dtype if part.is_floating_point() else part.dtype)

        return Known(*(moved(getattr(self, part.name)) for part in fields(self)))


def rays_of(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Unit directions ``[...,H,W,3]`` of the pixels of cameras ``[...,3,3]``, whose skew is not read."""
    x = torch.arange(width, device=intrinsics.device, dtype=intrinsics.dtype)
    y = torch.arange(height, device=intrinsics.device, dtype=intrinsics.dtype)
    focal_x, focal_y, centre_x, centre_y = (
        intrinsics[..., row, column, None] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))
    )
    across = ((x - centre_x) / focal_x)[..., None, :].expand(*intrinsics.shape[:-2], height, width)
    down = ((y - centre_y) / focal_y)[..., :, None].expand(*intrinsics.shape[:-2], height, width)
    rays = torch.stack([across, down, torch.ones_like(across)], -1)
    return rays / rays.norm(dim=-1, keepdim=True)


def along_rays(depth: Tensor, rays: Tensor) -> Tensor:
    """Z-depth ``[...,H,W]`` to depth along the rays ``[...,H,W,3]``; 0 stays 0."""
    return (depth[..., None] * rays / rays[..., 2:]).norm(dim=-1)


def relative_poses(quaternions: Tensor, translations: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """Poses ``[B,V,4]`` and ``[B,V,3]`` as seen from the first view; the identity for views without one.

    Quaternions keep their sign and the ratio of their lengths to the first one's.

    Raises:
        InputError: a view has a pose, but the first has none.
    """
    if (given.any(1) & ~given[:, 0]).any():
        raise InputError("Poses must tell that of the first view too; put a view whose pose is known first.")
    identity = torch.tensor([0.0, 0, 0, 1], device=quaternions.device, dtype=quaternions.dtype)
    quaternions = torch.where(given[..., None], quaternions, identity)
    first = quaternions[:, :1]
    conjugate = first * torch.tensor([-1.0, -1, -1, 1], device=first.device, dtype=first.dtype)
    inverse = conjugate / (first * first).sum(-1, keepdim=True)
    moved = rotation_from_quaternion(inverse) @ (translations - translations[:, :1])[..., None]
    others = torch.where(given[..., None], product(inverse, quaternions), identity)[:, 1:]
    return torch.cat([identity.expand_as(first), others], 1), torch.where(given[..., None], moved[..., 0], 0)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton's, of quaternions xyzw ``[...,4]``."""
    (ax, ay, az, aw), (bx, by, bz, bw) = a.unbind(-1), b.unbind(-1)
    return torch.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        -1,
    )


def normalised_depth(depth: Tensor) -> tuple[Tensor, Tensor]:
    """``[n,H,W]`` to the logarithm of one plus its share of the mean ``[n,H,W]``, and that mean ``[n]``."""
    known = depth > 0
    mean = mean_of((depth * known).sum((1, 2)), known.sum((1, 2)))
    share = depth / mean[:, None, None]
    return share.sign() * share.abs().log1p(), mean


def normalised_translations(translations: Tensor) -> tuple[Tensor, Tensor]:
    """``[B,V,3]`` to shares of the mean length ``[B,V,3]``, and that mean over those that are not 0 ``[B]``."""
    lengths = translations.norm(dim=-1)
    mean = mean_of(lengths.sum(1), (lengths > 0).sum(1))
    return translations / mean[:, None, None], mean


def mean_of(total: Tensor, count: Tensor) -> Tensor:
    """A mean that something may be divided by, if it is of nothing too."""
    return (total / (count + SMALLEST)).clamp_min(SMALLEST)
