"""Cameras: how people move around with them. Each scene gets one motion and many candidates along it.

Which of the candidates become the views of a batch is decided in `recon.training.scenes.covisibility`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from recon.training.scenes.random import Draw, rotation_about_z
from recon.training.scenes.world import Cameras, World

MOTIONS = ("orbit", "forward", "sideways", "free", "turn", "film")
_SHARES = (0.28, 0.17, 0.17, 0.12, 0.08, 0.18)


def candidate_cameras(world: World, count: int, aspect: float, generator: torch.Generator) -> Cameras:
    """``count`` cameras in each scene, in the order of the motion, and one field of view a scene but for zooms.

    The field of view of the long side is about 63 degrees for 60 % of the scenes (phones) and anything from 28 to 104
    for the rest. Some cameras stand in things or look at nothing: they are candidates only.

    Args:
        aspect: width over height of the pictures.
    """
    draw = Draw(generator)
    target, base = _place(world, draw)
    eye, look_at = _move(world, target, base, count, draw)
    eye = _inside(world, eye, draw)
    roll = draw.normal(len(eye), count) * torch.where(draw.chance(0.12, len(eye), 1), 0.35, 0.05)
    return Cameras(_facing(look_at - eye, roll), eye, _tangents(len(eye), count, aspect, draw))


def _place(world: World, draw: Draw) -> tuple[Tensor, Tensor]:
    """What to look at and from where, ``[S,3]`` each, by the kind of scene."""
    scenes = len(world.focus)
    extent = world.extent[:, None]
    focus = _focus(world, draw)
    target = torch.where(draw.chance(0.3, scenes, 1), world.focus.mean(1), focus)
    target = target + 0.1 * extent * draw.normal(scenes, 3) * torch.where(world.kind[:, None] == 0, 0.5, 1.0)

    # Around things: so many extents away, so high above them.
    azimuth = draw.uniform(scenes, high=2 * math.pi)
    low = torch.where(world.kind == 3, -0.35, 0.08)
    elevation = low + (1.05 - low) * draw.uniform(scenes) ** 1.5
    level = elevation.cos()
    way = torch.stack([level * azimuth.cos(), level * azimuth.sin(), elevation.sin()], -1)
    distance = torch.where(world.kind == 2, 0.25, 1.0)[:, None] * draw.log_uniform(scenes, 1, low=0.8, high=3.0)
    around = target + way * distance * extent
    # A street's fronts are seen from a man's height.
    around[:, 2] = torch.where(world.kind == 2, draw.uniform(scenes, low=1.2, high=3.5), around[:, 2])

    # Within: of three places in the interior the one farthest from what is looked at.
    places = _interior(world, draw.uniform(scenes, 3, 3, low=-0.95, high=0.95))
    farthest = (places - target[:, None]).norm(dim=-1).argmax(1)
    within = places[torch.arange(scenes, device=draw.device), farthest]
    inhabited = (world.kind == 0) | ((world.kind == 2) & draw.chance(0.75, scenes))
    base = _clamped(world, torch.where(inhabited[:, None], within, around)[:, None], 0.97)[:, 0]
    return target, base


def _move(world: World, target: Tensor, base: Tensor, count: int, draw: Draw) -> tuple[Tensor, Tensor]:
    """Where the cameras are and what they look at, ``[S,C,3]`` each, along one motion a scene."""
    scenes = len(base)

    def several(*motions: Tensor) -> Tensor:
        """The scene's own motion of all of `MOTIONS`."""
        stacked = torch.stack([motion.expand(scenes, count, 3) for motion in motions])
        return stacked.gather(0, motion[None, :, None, None].expand(1, scenes, count, 3))[0]

    edges = torch.arange(len(MOTIONS), device=draw.device)
    shares = sum(share * (edges >= index) for index, share in enumerate(_SHARES))
    orbits_only = torch.where(edges >= 5, 1.0, 0.75)
    tabletop = (world.kind == 1)[:, None] & draw.chance(0.5, scenes, 1)
    motion = draw.pick(torch.where(tabletop, orbits_only, shares))

    forward = target - base
    distance = forward.norm(dim=-1)[:, None, None].clamp_min(1e-2)
    ahead = (forward / distance[:, 0])[:, None]
    side = F.normalize(torch.stack([-forward[:, 1], forward[:, 0], 0.02 * distance[:, 0, 0]], -1), dim=-1)[:, None]
    # Time runs from -1 to 1 with uneven steps; half of the motions run backwards.
    step = torch.arange(count, device=draw.device) + draw.uniform(scenes, count)
    time = (step / count * 2 - 1) * torch.where(draw.chance(0.5, scenes, 1), 1.0, -1.0)
    time = time[..., None]
    reach = distance * draw.log_uniform(scenes, 1, 1, low=0.03, high=1.4)
    # Streets are walked along for longer than the first house is away.
    reach = torch.where((world.kind == 2)[:, None, None], reach * draw.log_uniform(scenes, 1, 1, low=1, high=6), reach)
    unsteady = reach * 0.1 * draw.normal(scenes, count, 3)

    half_range = draw.log_uniform(scenes, 1, low=0.08, high=math.pi)
    turn = rotation_about_z(time[..., 0] * half_range)
    farther = 1 + 0.25 * draw.uniform(scenes, 1, 1) * draw.normal(scenes, count, 1).clamp(-2, 2)
    lift = draw.uniform(scenes, 1, 1) * draw.normal(scenes, count, 1) * distance * 0.2
    orbit = target[:, None] + (turn @ -forward[:, None, :, None])[..., 0] * farther
    orbit = torch.cat([orbit[..., :2], orbit[..., 2:] + lift], -1)
    walk = base[:, None] + ahead * reach * (time + 1) * 0.5 + unsteady
    sideways = base[:, None] + side * reach * time + unsteady
    flat = torch.ones(3, device=draw.device)
    flat = torch.where(torch.arange(3, device=draw.device) == 2, 0.4, flat)
    free = base[:, None] + draw.normal(scenes, count, 3) * distance * 0.5 * flat
    standing = base[:, None] + draw.normal(scenes, count, 3) * reach * 0.25
    film = base[:, None] + (_wander(time, draw) * flat + ahead * time * draw.uniform(scenes, 1, 1)) * reach
    eye = several(orbit, walk, sideways, free, standing, film + 0.15 * unsteady)

    sloppy = 0.02 + 0.2 * draw.uniform(scenes, 1, 1) ** 3
    aim = distance * sloppy * draw.normal(scenes, count, 3)
    fixed = target[:, None] + aim
    parallel = eye + forward[:, None] + aim
    elsewhere = target[:, None] + draw.normal(scenes, count, 3) * distance * 0.6 * flat
    # To turn on the spot is to see another part of the place with every view.
    swept = rotation_about_z(time[..., 0] * draw.log_uniform(scenes, 1, low=0.15, high=math.pi))
    swept = eye + (swept @ forward[:, None, :, None])[..., 0] + aim
    # A film goes from one thing to the next.
    other = _focus(world, draw)[:, None]
    share = torch.sigmoid(4 * time + draw.normal(scenes, 1, 1))
    shown = torch.where(draw.chance(0.6, scenes, 1, 1), target[:, None] * (1 - share) + other * share, target[:, None])
    shown = shown + distance * sloppy * _wander(time, draw) + 0.15 * aim
    shown = torch.where(draw.chance(0.25, scenes, 1, 1), swept, shown)
    either = torch.where(draw.chance(0.5, scenes, 1, 1), fixed, parallel)
    turning = torch.where(draw.chance(0.6, scenes, 1, 1), swept, elsewhere)
    return eye, several(fixed, parallel, either, elsewhere, turning, shown)


def _wander(time: Tensor, draw: Draw) -> Tensor:
    """A smooth path ``[S,C,3]`` of about unit reach at times ``[S,C,1]`` from -1 to 1."""
    path = torch.zeros_like(time)
    for frequency in (0.5, 1.0, 2.0, 4.0):
        phase = draw.uniform(len(time), 1, 3, high=2 * math.pi)
        path = path + draw.normal(len(time), 1, 3) / (1 + frequency) * torch.sin(frequency * math.pi * time + phase)
    return path


def _focus(world: World, draw: Draw) -> Tensor:
    """One ``[S,3]`` of the places worth looking at."""
    scenes, groups = world.focus.shape[:2]
    chosen = (draw.uniform(scenes) * groups).long().clamp_max(groups - 1)
    return world.focus[torch.arange(scenes, device=draw.device), chosen]


def _interior(world: World, local: Tensor) -> Tensor:
    """World ``[S,N,3]`` of places in the interior box, given in -1..1 along its axes."""
    rotation = rotation_about_z(world.interior_yaw)
    return (local * world.interior_half[:, None]) @ rotation.transpose(1, 2) + world.interior_centre[:, None]


def _clamped(world: World, eye: Tensor, limit: Tensor | float) -> Tensor:
    """``[S,N,3]`` moved into the interior box, or into its inner part."""
    rotation = rotation_about_z(world.interior_yaw)
    local = (eye - world.interior_centre[:, None]) @ rotation / world.interior_half[:, None].clamp_min(1e-6)
    return _interior(world, torch.maximum(torch.minimum(local, torch.ones_like(local) * limit), -limit + 0 * local))


def _inside(world: World, eye: Tensor, draw: Draw) -> Tensor:
    """The same, not all that meet a wall stopping at the same distance from it."""
    limit = 1 - 0.15 * draw.uniform(*eye.shape) ** 2
    return _clamped(world, eye, limit)


def _facing(forward: Tensor, roll: Tensor) -> Tensor:
    """Rotations world_from_camera ``[S,C,3,3]`` that look along ``forward [S,C,3]``, turned by ``roll [S,C]``."""
    forward = F.normalize(forward, dim=-1)
    # Not quite z: so that a camera that looks straight down has a right-hand side, too.
    up = torch.arange(3, device=forward.device) == 2
    up = up.to(forward.dtype) + 1e-3
    right = F.normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    cosine, sine = roll.cos()[..., None], roll.sin()[..., None]
    return torch.stack([cosine * right + sine * down, cosine * down - sine * right, forward], -1)


def _tangents(scenes: int, count: int, aspect: float, draw: Draw) -> Tensor:
    """``[S,C,2]``; pixels are not quite square, as photos are squeezed a little to fit a grid of patches."""
    usual = 63 + 9 * draw.normal(scenes, 1)
    degrees = torch.where(draw.chance(0.6, scenes, 1), usual, draw.uniform(scenes, 1, low=28, high=104))
    tangent = torch.tan(torch.deg2rad(degrees.clamp(24, 108)) / 2)
    breathing = draw.chance(0.25, scenes, 1) * 0.05
    zooming = draw.chance(0.07, scenes, 1) * 0.3
    tangent = tangent * torch.exp(draw.normal(scenes, count) * breathing + draw.normal(scenes, count) * zooming)
    long = tangent.clamp(0.2, 1.4)
    squeeze = torch.exp(0.015 * draw.normal(scenes, 1))
    short = long * squeeze / max(aspect, 1 / aspect)
    return torch.stack([long, short] if aspect >= 1 else [short, long], -1)
