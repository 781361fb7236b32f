"""Confidence from agreement: the share of other views that see a surface where a view says there is one.

As the published post-processing of MapAnything has it: only views whose frusta meet are asked, a view that sees
something else at a pixel disagrees, and a pixel nobody else sees has no confidence.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

NEAREST = 0.04  # z-depth from which on a point counts as seen
ABSOLUTE, RELATIVE = 0.02, 0.02  # tolerance in depth: so much, plus so much of the depth


def multiview_confidence(
    depth: Tensor,
    intrinsics: Tensor,
    world_from_camera: Tensor,
    clear: Tensor,
    absolute: float = ABSOLUTE,
    relative: float = RELATIVE,
) -> Tensor:
    """Shares ``[V,H,W]`` of the views that agree: all that `agreement` gives."""
    return torch.stack(list(agreement(depth, intrinsics, world_from_camera, clear, absolute, relative)))


def agreement(
    depth: Tensor,
    intrinsics: Tensor,
    world_from_camera: Tensor,
    clear: Tensor,
    absolute: float = ABSOLUTE,
    relative: float = RELATIVE,
) -> Iterator[Tensor]:
    """Shares ``[H,W]`` of the views that agree, of one view after the other; 1 throughout one that meets no other.

    Args:
        depth: ``[V,H,W]`` z-depth, 0 where it is not known.
        intrinsics: ``[V,3,3]``, pixel centres at integers.
        world_from_camera: ``[V,4,4]``.
        clear: ``[V,H,W] bool``: pixels whose depth means something.
        absolute: a view agrees if its depth differs by less than this plus ``relative`` of the depth.
        relative: see ``absolute``.
    """
    meet = frusta_meet(*frusta(depth, intrinsics, world_from_camera))
    camera_from_world = torch.linalg.inv(world_from_camera)
    for view, others in enumerate(meet):
        agree = depth.new_zeros(depth.shape[1:])
        disagree = depth.new_zeros(depth.shape[1:])
        points = lifted(depth[view], intrinsics[view])
        for other in others.nonzero().flatten().tolist():
            other_from_view = camera_from_world[other] @ world_from_camera[view]
            moved = points @ other_from_view[:3, :3].T + other_from_view[:3, 3]
            z, seen, looked_up = looked_up_depth(moved, intrinsics[other], depth[other])
            valid = seen & (depth[view] > 0) & clear[view]
            same = (z - looked_up).abs() < absolute + relative * z
            agree += valid & same
            disagree += valid & ~same
        yield agree / (agree + disagree + 1e-10) if others.any() else torch.ones_like(agree)


def lifted(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Z-depth ``[H,W]`` to points ``[H,W,3]`` in the camera ``[3,3]``."""
    y, x = torch.meshgrid(
        torch.arange(depth.shape[0], device=depth.device, dtype=depth.dtype),
        torch.arange(depth.shape[1], device=depth.device, dtype=depth.dtype),
        indexing="ij",
    )
    across = (x - intrinsics[0, 2]) / intrinsics[0, 0]
    down = (y - intrinsics[1, 2]) / intrinsics[1, 1]
    return torch.stack([across * depth, down * depth, depth], -1)


def looked_up_depth(points: Tensor, intrinsics: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a camera's own depth ``[H,W]`` says where it sees points ``[H,W,3]`` that are given in its axes.

    Returns:
        their z-depth, whether they are seen ``bool``, and the depth at the nearest pixel.
    """
    height, width = depth.shape
    z = points[..., 2]
    x = points[..., 0] / z * intrinsics[0, 0] + intrinsics[0, 2]
    y = points[..., 1] / z * intrinsics[1, 1] + intrinsics[1, 2]
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z > NEAREST)
    column = torch.where(seen, x, 0).round().long().clamp_max(width - 1)
    row = torch.where(seen, y, 0).round().long().clamp_max(height - 1)
    return z, seen, depth[row, column]


def frusta(depth: Tensor, intrinsics: Tensor, world_from_camera: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Between the nearest and the farthest depth of V views, in the world.

    Each is as wide on the one side of the axis as on the other.

    Returns:
        corners ``[V,8,3]``, normals of the faces ``[V,5,3]`` and directions of the edges ``[V,6,3]``.
    """
    known = depth > 0
    nearest = torch.where(known, depth, torch.inf).amin((1, 2))
    farthest = torch.where(known, depth, 0).amax((1, 2))
    nearest = torch.minimum(nearest, farthest)  # of a view without any depth, its centre
    x = intrinsics[:, 0, 2] / intrinsics[:, 0, 0]
    y = intrinsics[:, 1, 2] / intrinsics[:, 1, 1]
    sides = torch.stack([torch.stack([a * x, b * y, torch.ones_like(x)], -1) for a in (-1, 1) for b in (-1, 1)], 1)
    sides = sides @ world_from_camera[:, :3, :3].transpose(-1, -2)  # left-top, left-bottom, right-top, right-bottom
    centres = world_from_camera[:, None, :3, 3]
    corners = torch.cat([centres + sides * end[:, None, None] for end in (nearest, farthest)], 1)
    axes = world_from_camera[:, :3, :3].transpose(-1, -2)
    pairs = [(0, 1), (2, 3), (0, 2), (1, 3)]
    faces = torch.stack([axes[:, 2], *(torch.linalg.cross(sides[:, a], sides[:, b]) for a, b in pairs)], 1)
    return corners, faces, torch.cat([axes[:, :2], sides], 1)


def frusta_meet(corners: Tensor, faces: Tensor, edges: Tensor) -> Tensor:
    """Which of V frusta share a point with which others, ``[V,V] bool``; none with itself.

    Two convex bodies are apart if they are so along a normal of a face, or along one of two edges (Gottschalk 1996).
    """
    rows = []
    for view in range(len(corners)):
        crossed = torch.linalg.cross(edges[view][None, :, None], edges[:, None], dim=-1).flatten(1, 2)
        directions = torch.cat([faces[view].expand(len(corners), -1, -1), faces, crossed], 1)
        own = (corners[view] @ directions.transpose(-1, -2)).transpose(-1, -2)
        theirs = directions @ corners.transpose(-1, -2)
        apart = (own.amax(-1) < theirs.amin(-1)) | (theirs.amax(-1) < own.amin(-1))
        rows.append(~apart.any(-1))
    return torch.stack(rows) & ~torch.eye(len(corners), dtype=torch.bool, device=corners.device)
