"""Batch: pictures of scenes with true depth and cameras, as every loss and every network in training takes them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class Batch:
    """S scenes of V views each, on one device.

    Depth is z-depth, 0 where there is nothing or nothing is known. The principal point is the image's centre; pixel
    centres lie at +0.5.

    Attributes:
        images: ``[S,V,3,H,W]`` in 0..1, as a camera would have stored them.
        depth: ``[S,V,H,W]``.
        world_from_camera: ``[S,V,4,4]`` rigid, OpenCV axes.
        tangents: ``[S,V,2]`` of half the horizontal and vertical field of view.
        usable: ``[S,V] bool``, False for a camera that sees next to nothing (its pose cannot be learned from).
    """

    images: Tensor
    depth: Tensor
    world_from_camera: Tensor
    tangents: Tensor
    usable: Tensor

    @property
    def valid(self) -> Tensor:
        """``[S,V,H,W] bool``: where depth is known."""
        return self.depth > 0

    def points(self) -> Tensor:
        """``[S,V,H,W,3]`` in the world; the camera's centre where depth is 0."""
        rotation, centre = self.world_from_camera[..., :3, :3], self.world_from_camera[..., :3, 3]
        in_camera = rays(self.tangents, *self.depth.shape[-2:]) * self.depth[..., None]
        return torch.einsum("svab,svhwb->svhwa", rotation, in_camera) + centre[:, :, None, None]

    def normalised(self) -> Batch:
        """The same in the world of the first camera, with the mean distance of all points from it as the unit."""
        # Not torch.linalg.inv, which on a GPU waits for all that is under way, to see whether it failed.
        first, first_from_world = self.world_from_camera[:, :1], self.world_from_camera[:, :1].clone()
        first_from_world[..., :3, :3] = first[..., :3, :3].mT
        first_from_world[..., :3, 3:] = -first[..., :3, :3].mT @ first[..., :3, 3:]
        batch = self.with_(world_from_camera=first_from_world @ self.world_from_camera)
        valid = self.valid
        distance = batch.points().norm(dim=-1) * valid
        unit = (distance.flatten(1).sum(1) / valid.flatten(1).sum(1).clamp_min(1)).clamp_min(1e-3)
        world_from_camera = batch.world_from_camera.clone()
        world_from_camera[..., :3, 3] /= unit[:, None, None]
        return batch.with_(depth=self.depth / unit[:, None, None, None], world_from_camera=world_from_camera)

    def with_(self, **changes: Tensor) -> Batch:
        """The same with some attributes replaced."""
        return Batch(**{field.name: changes.get(field.name, getattr(self, field.name)) for field in fields(self)})

    def in_a_row(self) -> Batch:
        """All views as if they were of one scene, ``[1, S V, ...]``; each keeps the world of its own scene."""
        return Batch(*(getattr(self, field.name).flatten(0, 1)[None] for field in fields(self)))

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))

    def select(self, scenes: slice | Tensor, views: slice | Tensor = slice(None)) -> Batch:
        """Some of the scenes, and of each the same some of the views."""
        return Batch(*(getattr(self, field.name)[scenes][:, views] for field in fields(self)))


def rays(tangents: Tensor, height: int, width: int) -> Tensor:
    """Directions ``[...,H,W,3]`` with z = 1 through the pixel centres, for ``tangents [...,2]`` of half the fields."""
    x = (torch.arange(width, device=tangents.device) + 0.5) * (2 / width) - 1
    y = (torch.arange(height, device=tangents.device) + 0.5) * (2 / height) - 1
    x = (x * tangents[..., :1])[..., None, :].expand(*tangents.shape[:-1], height, width)
    y = (y * tangents[..., 1:])[..., :, None].expand(*tangents.shape[:-1], height, width)
    return torch.stack([x, y, torch.ones_like(x)], -1)
