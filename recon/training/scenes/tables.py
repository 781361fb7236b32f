"""Tables: a world and its cameras packed into a few matrices of numbers per slot, per scene and per view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recon.training.scenes.intersect import RANGES
from recon.training.scenes.world import Cameras, Lights, Solids, World

# A space in which a slot that holds nothing lies out of the way of every ray: see intersect.
NOWHERE = 3.0

# Columns of a slot's material.
TEXTURE, TILE, COSINE, SINE, OFFSET, TINT, CONTRAST, DIRT, BUMP, GLOSS, SHININESS, EMISSION, HALF, KIND = (
    *(0, 1, 2, 3, 4, 6, 9, 10, 11, 12, 13, 14, 15, 18),
)

# Columns of a scene's lights.
AMBIENT_UP, AMBIENT_DOWN, KEY, KEY_IS_LAMP, KEY_REACH, KEY_COLOUR, FILL, FILL_COLOUR, ZENITH, HORIZON, CLOUDS, HAZE = (
    *(0, 3, 6, 9, 10, 11, 14, 17, 20, 23, 26, 27),
)

# Columns of a view.
CENTRE, TURN, PIXEL = 0, 3, 12


@dataclass
class Tables:
    """N slots in all, in the order of ``SLOTS``, of each of V views (of S scenes, scene by scene).

    Attributes:
        primary: ``[V,N,16]`` for ``intersect.nearest``.
        shadow: ``[S,N,16]`` for ``intersect.shadows``: unit_from_world.
        solids: ``[S,N,4]`` centre and area.
        materials: ``[S,N,19]``.
        lights: ``[S,28]``.
        views: ``[V,13]`` centre, rotation times the tangents (the ray of (x, y, 1), with x and y from -1 to 1), size
            of a pixel at depth 1.
        scene: ``[V] long``.
    """

    primary: Tensor
    shadow: Tensor
    solids: Tensor
    materials: Tensor
    lights: Tensor
    views: Tensor
    scene: Tensor

    def of(self, views: Tensor) -> tuple[Tensor, ...]:
        """What the rays of some views need, in the order above up to ``views``."""
        scene = self.scene[views]
        shared = (self.shadow, self.solids, self.materials, self.lights)
        return (self.primary[views], *(table[scene] for table in shared), self.views[views])


def pack(world: World, cameras: Cameras, width: int) -> Tables:
    """All tables of S scenes with V views each, at images ``width`` pixels wide."""
    solids: list[tuple[str, Solids]] = [(kind, getattr(world, kind)) for kind in RANGES]
    unit_from_world = torch.cat([_unit_from_world(each) for _, each in solids], 1)
    scenes, slots = unit_from_world.shape[:2]
    views = cameras.centre.shape[1]
    turn = cameras.rotation * torch.cat([cameras.tangents, torch.ones_like(cameras.tangents[..., :1])], -1)[:, :, None]
    direction = _product(unit_from_world[:, None, :, :, :3], turn[:, :, None])
    origin = _product(unit_from_world[:, None, :, :, :3], cameras.centre[:, :, None, :, None])
    origin = origin[..., 0] + unit_from_world[:, None, :, :, 3]
    shapes = torch.cat([_shape(kind, each) for kind, each in solids], 1)
    primary = torch.cat(
        [direction.flatten(3), origin, shapes[:, None].expand(scenes, views, slots, shapes.shape[-1])], -1
    )
    shadow = torch.cat([unit_from_world[..., :3].flatten(2), unit_from_world[..., 3], shapes], -1)
    pixel = (cameras.tangents[..., :1] * (2 / width)).expand(scenes, views, 1)
    return Tables(
        primary.flatten(0, 1).contiguous(),
        shadow.contiguous(),
        torch.cat([torch.cat([each.centre, _area(each)[..., None]], -1) for _, each in solids], 1),
        torch.cat([_material(number, each) for number, (_, each) in enumerate(solids)], 1),
        _light(world.lights),
        torch.cat([cameras.centre, turn.flatten(2), pixel], -1).flatten(0, 1),
        torch.arange(scenes, device=pixel.device).repeat_interleave(views),
    )


def _unit_from_world(solids: Solids) -> Tensor:
    """``[S,N,3,4]`` into the space where the half sizes are 1."""
    is_there = (solids.half_size > 0).all(-1)[..., None, None]
    half = torch.where(is_there[..., 0], solids.half_size, 1.0)
    matrix = solids.rotation.transpose(-1, -2) / half[..., :, None]
    shift = -_product(matrix, solids.centre[..., :, None])
    nowhere = torch.full_like(shift, NOWHERE)
    return torch.cat([torch.where(is_there, matrix, 0.0), torch.where(is_there, shift, nowhere)], -1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of small matrices at full precision, whatever training lets matrix products be rounded to."""
    return (a[..., None] * b[..., None, :, :]).sum(-2)


def _shape(kind: str, solids: Solids) -> Tensor:
    """``[S,N,4]`` shape; cells across and up a card, its place among its like."""
    cells = torch.zeros_like(solids.half_size)
    if kind == "cards":
        # As many cells as make leaves of about a ninth of the card's short side, or a mesh of about a fourteenth.
        short = solids.half_size[..., :2].amin(-1, keepdim=True).clamp_min(1e-6)
        fineness = torch.where(solids.shape < 0, 14.0, 9.0)[..., None]
        across = (fineness * solids.half_size[..., :2] / short).round().clamp(1, 400)
        place = torch.arange(across.shape[1], device=across.device, dtype=across.dtype) * 7919 + 17
        cells = torch.cat([across, place[None, :, None].expand(*across.shape[:2], 1)], -1)
    return torch.cat([solids.shape[..., None], cells], -1)


def _area(solids: Solids) -> Tensor:
    """``[S,N]`` about what a solid covers seen from a random side; 0 where it is too large to be seen as from afar."""
    x, y, z = solids.half_size.unbind(-1)
    area = (4 / 3) * (x * y + y * z + z * x)
    return torch.where((solids.half_size.amax(-1) < 4) & (solids.half_size.amin(-1) > 0), area, 0.0)


def _material(kind: int, solids: Solids) -> Tensor:
    """``[S,N,19]`` in the order of the columns above."""
    of = solids.materials
    single = [of.texture.to(of.tile), of.tile.clamp_min(1e-3), of.angle.cos(), of.angle.sin()]
    rest = [of.contrast, of.dirt, of.bump, of.gloss, of.shininess.clamp(1, 1000), of.emission]
    return torch.cat(
        [
            torch.stack(single, -1),
            of.offset,
            of.tint,
            torch.stack(rest, -1),
            solids.half_size,
            torch.full_like(of.tile, float(kind))[..., None],
        ],
        -1,
    )


def _light(lights: Lights) -> Tensor:
    """``[S,28]`` in the order of the columns above."""
    return torch.cat(
        [
            *(lights.ambient_up, lights.ambient_down, lights.key, lights.key_is_lamp[:, None].to(lights.key)),
            *(lights.key_reach[:, None], lights.key_colour, lights.fill, lights.fill_colour),
            *(lights.zenith, lights.horizon, lights.clouds[:, None], lights.haze[:, None]),
        ],
        -1,
    )
