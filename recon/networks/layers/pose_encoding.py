"""A camera as nine numbers: translation (3), quaternion (4, xyzw), vertical and horizontal field of view (VGGT, 3.3).

Extrinsics are ``camera_from_world``, fields of view full angles in radians, the principal point the image's centre.
"""

from __future__ import annotations

import torch
from torch import Tensor


def encode_cameras(extrinsics: Tensor, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """``[...,3,4]`` and ``[...,3,3]`` in pixels of an image of that size to ``[...,9]``; no principal point."""
    size = intrinsics.new_tensor([height, width])
    focal = torch.stack([intrinsics[..., 1, 1], intrinsics[..., 0, 0]], -1)
    fields_of_view = 2 * torch.atan(size / 2 / focal)
    return torch.cat([extrinsics[..., 3], quaternion_from_rotation(extrinsics[..., :3]), fields_of_view], -1)


def decode_cameras(encoding: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """``[...,9]`` to extrinsics ``[...,3,4]`` and intrinsics ``[...,3,3]`` in pixels of an image of that size.

    A field of view of 0, which a network may give, makes an infinite focal length.
    """
    translation, quaternion, fields_of_view = encoding.split([3, 4, 2], -1)
    extrinsics = torch.cat([rotation_from_quaternion(quaternion), translation[..., None]], -1)
    size = encoding.new_tensor([height, width])
    focal_y, focal_x = (size / 2 / torch.tan(fields_of_view / 2)).unbind(-1)
    intrinsics = encoding.new_zeros(*encoding.shape[:-1], 3, 3)
    intrinsics[..., 0, 0], intrinsics[..., 1, 1] = focal_x, focal_y
    intrinsics[..., 0, 2], intrinsics[..., 1, 2], intrinsics[..., 2, 2] = width / 2, height / 2, 1
    return extrinsics, intrinsics


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """xyzw ``[...,4]``, of any length but 0, to ``[...,3,3]``."""
    x, y, z, w = quaternion.unbind(-1)
    s = 2 / (quaternion * quaternion).sum(-1)
    rows = [
        torch.stack([1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)], -1),
        torch.stack([s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)], -1),
        torch.stack([s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """``[...,3,3]`` to xyzw ``[...,4]`` with w >= 0.

    Each of the four entries can be had from the diagonal, and the others from it; the largest entry is taken, so that
    nothing is divided by little (Shepperd 1978).
    """
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = (row.unbind(-1) for row in rotation.unbind(-2))
    squares = torch.stack([1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22], -1)
    doubled = squares.clamp_min(0).sqrt()
    x2, y2, z2, w2 = (doubled**2).unbind(-1)
    xy, xz, yz = m10 + m01, m02 + m20, m12 + m21
    xw, yw, zw = m21 - m12, m02 - m20, m10 - m01
    candidates = torch.stack(
        [
            torch.stack([x2, xy, xz, xw], -1),
            torch.stack([xy, y2, yz, yw], -1),
            torch.stack([xz, yz, z2, zw], -1),
            torch.stack([xw, yw, zw, w2], -1),
        ],
        -2,
    )
    candidates = candidates / (2 * doubled[..., None].clamp_min(0.1))
    largest = doubled.argmax(-1)[..., None, None].expand(*doubled.shape[:-1], 1, 4)
    quaternion = candidates.gather(-2, largest).squeeze(-2)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
