"""A small batch with everything known in closed form: a textured floor-to-ceiling wall with a box before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.training.batch import Batch, rays
from recon.training.estimate import CameraEstimate, Estimate

WALL, BOX_FRONT, BOX_HALF = 4.0, 2.5, 0.45


def toy_batch(scenes: int = 2, views: int = 3, height: int = 64, width: int = 96, seed: int = 0) -> Batch:
    """Cameras side by side, turned a little; the box hides part of the wall, elsewhere in each view. Not normalised,
    but the first camera is the world."""
    generator = torch.Generator().manual_seed(seed)
    tangents = torch.tensor([0.6, 0.6 * height / width]).expand(scenes, views, 2).clone()
    world_from_camera = torch.eye(4).repeat(scenes, views, 1, 1)
    for scene in range(scenes):
        for view in range(1, views):
            angle = 0.12 * float(torch.rand((), generator=generator)) * view / views
            sine, cosine = math.sin(angle), math.cos(angle)
            world_from_camera[scene, view, :3, :3] = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
            shift = torch.tensor([-0.35 * view, 0.05 * view, -0.1])
            world_from_camera[scene, view, :3, 3] = shift + 0.05 * torch.randn(3, generator=generator)
    depth, images = look(world_from_camera, tangents, height, width)
    return Batch(images, depth, world_from_camera, tangents, torch.ones(scenes, views, dtype=torch.bool))


def look(world_from_camera: Tensor, tangents: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Depth and pictures of the wall at z = `WALL` and of the box's front at z = `BOX_FRONT`."""
    ray = torch.einsum("svab,svhwb->svhwa", world_from_camera[..., :3, :3], rays(tangents, height, width))
    centre = world_from_camera[..., None, None, :3, 3]
    to_box = (BOX_FRONT - centre[..., 2]) / ray[..., 2]
    hit = centre + to_box[..., None] * ray
    on_box = (hit[..., :2].abs() < BOX_HALF).all(-1)
    depth = torch.where(on_box, to_box, (WALL - centre[..., 2]) / ray[..., 2])
    point = centre + depth[..., None] * ray
    waves = [(3, 1, 0), (-1, 4, 1), (5, 3, 2), (2, -5, 3), (9, 4, 4), (-7, 8, 5)]
    colours = [
        sum(torch.sin(a * point[..., 0] + b * point[..., 1] + c * (k + 1) + point[..., 2]) for a, b, c in waves)
        for k in range(3)
    ]
    return depth, 0.5 + torch.stack(colours, 2) / 14


def truth_of(batch: Batch, channels: int = 32) -> Estimate:
    """What a perfect network would say; descriptors are random functions of the place on the surface."""
    camera = CameraEstimate(
        batch.world_from_camera[..., :3, :3].clone(),
        batch.world_from_camera[..., :3, 3].clone(),
        batch.tangents.clone(),
    )
    return Estimate(
        depth=batch.depth.clone(),
        depth_confidence=torch.full_like(batch.depth, 2.0),
        points=batch.points(),
        points_confidence=torch.full_like(batch.depth, 2.0),
        cameras=(camera, camera),
        descriptors=place_descriptors(batch, 16, channels, 3.0),
        fine_descriptors=place_descriptors(batch, 4, 2 * channels, 10.0),
    )


def place_descriptors(batch: Batch, stride: int, channels: int, frequency: float) -> Tensor:
    """``[S,V,H/stride,W/stride,channels]``: random Fourier features of the point in each cell's middle."""
    generator = torch.Generator().manual_seed(1)
    points = batch.points()[:, :, stride // 2 :: stride, stride // 2 :: stride]
    phase = points @ torch.randn(3, channels, generator=generator) * frequency
    offset = 2 * math.pi * torch.rand(channels, generator=generator)
    return torch.nn.functional.normalize((phase + offset).cos(), dim=-1)


def learnable(estimate: Estimate) -> Estimate:
    """The same with leaves that collect gradients."""
    cameras = tuple(
        CameraEstimate(*(part.clone().requires_grad_() for part in (one.rotation, one.translation, one.tangents)))
        for one in estimate.cameras
    )
    maps = {
        name: getattr(estimate, name).clone().requires_grad_()
        for name in ("depth", "depth_confidence", "points", "points_confidence", "descriptors", "fine_descriptors")
    }
    return Estimate(cameras=cameras, **maps)
