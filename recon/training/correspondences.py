"""Correspondences: where pixels of one view are seen in another, by true depth and true cameras."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recon.training.batch import Batch

OCCLUSION = 0.04
"""A point is hidden where the other view's depth differs from its own by more than this share."""

NEAR = 1e-3
"""Points closer to the camera's plane than this are not projected."""


@dataclass
class Correspondences:
    """N pixels of every view, looked for in its partner.

    Attributes:
        partner: ``[S,V] long``, the view of the same scene in which they are looked for.
        source: ``[S,V,N] long``, the pixels, as ``row * W + column``.
        position: ``[S,V,N,2]`` (x, y) in pixels of the partner; within the image's frame even where not visible.
        visible: ``[S,V,N] bool``: the partner sees the same point of a surface there.
    """

    partner: Tensor
    source: Tensor
    position: Tensor
    visible: Tensor


def cyclic_partners(scenes: int, views: int, device: torch.device | str) -> Tensor:
    """``[S,V] long``: a different view for each view, each chosen once; near ones in some scenes, far ones in others.

    In scene s the partner of view v is v + 1 + s modulo (V - 1), around the circle. There must be two views at least.
    """
    view = torch.arange(views, device=device)
    step = 1 + torch.arange(scenes, device=device) % (views - 1)
    return (view + step[:, None]) % views


@torch.no_grad()
def find_correspondences(batch: Batch, partner: Tensor, source: Tensor) -> Correspondences:
    """Look for pixels ``source [S,V,N]`` of every view in the view ``partner [S,V]``."""
    height, width = batch.depth.shape[-2:]
    depth = batch.depth.flatten(2).gather(2, source)
    points = to_world(
        unproject(pixel_centres(source, width), depth, batch.tangents, height, width), batch.world_from_camera
    )

    world_from_partner = of_partner(batch.world_from_camera, partner)
    in_partner = to_camera(points, world_from_partner)
    position, distance = project(in_partner, of_partner(batch.tangents, partner), height, width)

    inside = (position > 0).all(-1) & (position[..., 0] < width) & (position[..., 1] < height) & (distance > NEAR)
    position = torch.stack([position[..., 0].clamp(0, width), position[..., 1].clamp(0, height)], -1)
    column, row = position[..., 0].long().clamp_max(width - 1), position[..., 1].long().clamp_max(height - 1)
    seen = look_up(batch.depth.flatten(2), partner, row * width + column)
    visible = inside & (depth > 0) & ((seen - distance).abs() < OCCLUSION * distance)
    return Correspondences(partner, source, position, visible)


def pixel_centres(index: Tensor, width: int) -> Tensor:
    """(x, y) ``[...,2]`` of pixels given as ``row * width + column``."""
    return torch.stack([index % width, index // width], -1) + 0.5


def unproject(pixel: Tensor, depth: Tensor, tangents: Tensor, height: int, width: int) -> Tensor:
    """Points ``[S,V,N,3]`` in the camera from ``pixel [S,V,N,2]`` (x, y), ``depth [S,V,N]``, ``tangents [S,V,2]``."""
    size = pixel.new_tensor([width, height])
    ray = (pixel * (2 / size) - 1) * tangents[:, :, None]
    return torch.cat([ray, torch.ones_like(ray[..., :1])], -1) * depth[..., None]


def project(in_camera: Tensor, tangents: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """``[S,V,N,3]`` to pixels ``[S,V,N,2]`` (x, y) and z-depth ``[S,V,N]``; pixels mean nothing where z < `NEAR`."""
    z = in_camera[..., 2]
    size = in_camera.new_tensor([width, height])
    across = in_camera[..., :2] / (z.clamp_min(NEAR)[..., None] * tangents[:, :, None])
    return (across + 1) * (size / 2), z


def to_world(in_camera: Tensor, world_from_camera: Tensor) -> Tensor:
    """Points ``[S,V,N,3]`` of cameras ``[S,V,4,4]`` to the world."""
    rotation, centre = world_from_camera[:, :, None, :3, :3], world_from_camera[:, :, None, :3, 3]
    return (rotation * in_camera[..., None, :]).sum(-1) + centre


def to_camera(points: Tensor, world_from_camera: Tensor) -> Tensor:
    """Points ``[S,V,N,3]`` of the world to cameras ``[S,V,4,4]``."""
    rotation, centre = world_from_camera[:, :, None, :3, :3], world_from_camera[:, :, None, :3, 3]
    return (rotation * (points - centre)[..., :, None]).sum(-2)


def of_partner(values: Tensor, partner: Tensor) -> Tensor:
    """``values [S,V,...]`` of each view's partner ``[S,V]``."""
    scene = torch.arange(len(partner), device=partner.device)[:, None]
    return values[scene, partner]


def look_up(values: Tensor, partner: Tensor, index: Tensor) -> Tensor:
    """``[S,V,N,...]``: of ``values [S,V,M,...]``, those at ``index [S,V,N]`` in each view's ``partner [S,V]``."""
    scenes, views, length = values.shape[:3]
    scene = torch.arange(scenes, device=index.device)[:, None]
    rows = (scene * views + partner)[..., None] * length + index
    return values.flatten(0, 2).index_select(0, rows.flatten()).unflatten(0, index.shape)
