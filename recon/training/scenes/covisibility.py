"""Co-visibility: which cameras see the same, and which of many cameras make a good set of views."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recon.training.batch import rays
from recon.training.scenes.random import Draw
from recon.training.scenes.world import Cameras

_DEPTH_TOLERANCE = 0.12
_LEAST_OVERLAP = 0.04
_LEAST_RELIEF = 0.03
_STRIDE = 3


@dataclass
class Choice:
    """V of C cameras in each of S scenes, in an order in which any first few overlap.

    Attributes:
        views: ``[S,V] long``.
        good: ``[S,V] bool``, False for a camera that sees too little, stands in something, or shares next to nothing
            with those before it.
    """

    views: Tensor
    good: Tensor


def covisibility(cameras: Cameras, depth: Tensor) -> Tensor:
    """``[S,C,C]``: the share of what camera i sees that camera j sees too, from ``depth [S,C,H,W]``."""
    scenes, count, height, width = depth.shape
    points = (rays(cameras.tangents, height, width) * depth[..., None])[:, :, ::_STRIDE, ::_STRIDE].flatten(2, 3)
    points = points @ cameras.rotation.transpose(-1, -2) + cameras.centre[:, :, None]
    known = (depth > 0)[:, :, ::_STRIDE, ::_STRIDE].flatten(2)
    offset = points[:, :, None] - cameras.centre[:, None, :, None]
    in_other = torch.einsum("sjba,sijnb->sijna", cameras.rotation, offset)
    z = in_other[..., 2]
    at = in_other[..., :2] / z.clamp_min(1e-4)[..., None] / cameras.tangents[:, None, :, None]
    inside = (z > 1e-3) & (at.abs() < 1).all(-1)
    column = ((at[..., 0] + 1) / 2 * width).long().clamp(0, width - 1)
    row = ((at[..., 1] + 1) / 2 * height).long().clamp(0, height - 1)
    other = depth.flatten(2)[:, None].expand(scenes, count, count, height * width).gather(3, row * width + column)
    seen = inside & ((other - z).abs() < _DEPTH_TOLERANCE * z) & known[:, :, None]
    return seen.sum(-1) / known.sum(-1).clamp_min(1)[:, :, None]


def presentable(cameras: Cameras, depth: Tensor) -> Tensor:
    """``[S,C] bool``: cameras that see things, not only what is right before them nor only bare ground.

    ``depth [S,C,H,W]`` is what they see.
    """
    hit = depth > 0
    median = torch.where(hit, depth, torch.nan).flatten(2).nanmedian(-1).values.nan_to_num(0)
    usual = median.median(1, keepdim=True).values
    distance = torch.where(hit, depth, torch.inf).flatten(2)
    near = (distance < 0.25 * usual[..., None]).float().mean(-1)
    free = (distance.amin(-1) > 0.04 * usual) & (near < 0.3)
    # Height over the camera: without it, in the picture's spread, there is but a plane to see.
    down = cameras.rotation[..., 2, :]
    height = (rays(cameras.tangents, *depth.shape[-2:]) * down[:, :, None, None]).sum(-1) * depth
    count = hit.sum((-1, -2)).clamp_min(1)
    mean = height.sum((-1, -2)) / count
    relief = ((height - mean[..., None, None]).square() * hit).sum((-1, -2)) / count
    raised = relief.sqrt() > _LEAST_RELIEF * median
    return (hit.float().mean((-1, -2)) > 0.3) & free & raised & (median > 0.2 * usual) & (median > 0.05)


def choose_views(cameras: Cameras, depth: Tensor, count: int, generator: torch.Generator) -> Choice:
    """``count`` views a scene out of candidates in the order of a motion, given what they see (``depth [S,C,H,W]``).

    One after the other is added to those chosen: half of the scenes as a walk or film would, with a stride along the
    motion from its beginning; half in any order from anywhere. Every one should share more than a threshold with one of
    those before it and less than a cap, both drawn for each scene: from near-duplicates to wide baselines.
    """
    scenes, candidates = depth.shape[:2]
    draw = Draw(generator)
    good = presentable(cameras, depth)
    shared = covisibility(cameras, depth)
    shared = torch.minimum(shared, shared.transpose(1, 2)) * 0.5 + (shared + shared.transpose(1, 2)) * 0.25
    threshold = draw.log_uniform(scenes, 1, low=0.08, high=0.65)
    cap = draw.uniform(scenes, 1, low=0.45, high=1.05)
    ordered = draw.chance(0.5, scenes, 1)
    stride = draw.log_uniform(scenes, 1, low=0.3, high=max(1.0, candidates / count * 1.3))
    start = torch.where(draw.chance(0.7, scenes, 1), 0.0, draw.uniform(scenes, 1) * candidates / 2)
    place = torch.arange(candidates, device=depth.device)

    chosen = torch.zeros(scenes, candidates, dtype=torch.bool, device=depth.device)
    order, accepted = [], []
    best = torch.ones(scenes, candidates, device=depth.device)
    for step in range(count):
        late = (place - start - step * stride).abs() / candidates
        wish = torch.where(ordered, 2 - 2 * late, draw.uniform(scenes, candidates))
        linked = best > threshold
        score = 4.0 * good + 2.0 * linked + 1.0 * (~ordered & (best < cap)) + best * ~linked + wish
        view = score.masked_fill(chosen, -torch.inf).argmax(1, keepdim=True)
        order.append(view)
        accepted.append((good & (best > _LEAST_OVERLAP)).gather(1, view))
        chosen = chosen.scatter(1, view, True)
        best = torch.where(chosen[:, None], shared, 0.0).amax(2)
    return Choice(torch.cat(order, 1), torch.cat(accepted, 1))
