"""Layout: whole worlds, many at once. A style of place is drawn for each, then what stands on each of its spots, and
all the parts of these things are sorted into the world's slots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from recon.training.scenes.indoor_styles import INDOOR_STYLES, TABLE_STYLES
from recon.training.scenes.lights import draw_lights
from recon.training.scenes.materials import LOOKS, draw_materials
from recon.training.scenes.objects import Groups, Parts, build, draw_groups
from recon.training.scenes.outdoor_styles import CLUTTER_STYLES, OUTDOOR_STYLES
from recon.training.scenes.random import Draw, between, rotation_about_z, rotation_of_angles
from recon.training.scenes.spots import Spot
from recon.training.scenes.templates import TEMPLATES
from recon.training.scenes.world import SLOTS, Materials, Solids, World

STYLES = [*INDOOR_STYLES, *TABLE_STYLES, *OUTDOOR_STYLES, *CLUTTER_STYLES]
FOCUSES = 8
_KINDS = tuple(name for name in SLOTS if name != "rooms")


@dataclass
class _Plan:
    """The styles as tables: of Y styles, of G spots each. See Style and Spot."""

    shares: Tensor
    kind: Tensor
    room: Tensor
    table: Tensor
    walled: Tensor
    floor: Tensor
    cameras: Tensor
    corridor: Tensor
    extent: Tensor
    tumble: Tensor
    depth: Tensor
    first_focus: Tensor
    focuses: Tensor
    options: Tensor
    sides: Tensor
    ranges: Tensor
    snap: Tensor
    turn: Tensor
    widens: Tensor
    hangs: Tensor
    on_table: Tensor
    fills: Tensor


@lru_cache(maxsize=8)
def _plan(device: torch.device) -> _Plan:
    names = [template.name for template in TEMPLATES] + [""]
    most = max(len(style.spots) for style in STYLES)
    nothing = Spot({"": 1.0})
    rows = [[*style.spots, *[nothing] * (most - len(style.spots))] for style in STYLES]

    def of_styles(name: str) -> Tensor:
        return torch.tensor([getattr(style, name) for style in STYLES], device=device)

    def of_spots(name: str) -> Tensor:
        return torch.tensor([[getattr(spot, name) for spot in row] for row in rows], device=device)

    options = torch.zeros(len(STYLES), most, len(names))
    sides = torch.zeros(len(STYLES), most, 4)
    for y, row in enumerate(rows):
        for g, spot in enumerate(row):
            for name, weight in spot.options.items():
                options[y, g, names.index(name)] = weight
            for side in spot.sides:
                sides[y, g, side] += 1

    def running(weights: Tensor) -> Tensor:
        return (weights.cumsum(-1) / weights.sum(-1, keepdim=True)).to(device)

    ranges = torch.stack([of_spots(name) for name in ("along", "back", "clear", "height")], 2)
    names_of_styles = [f.name for f in fields(_Plan)][1:13]
    names_of_spots = ("snap", "turn", "widens", "hangs", "on_table", "fills")
    return _Plan(
        shares=running(of_styles("share").cpu()),
        **{name: of_styles(name) for name in names_of_styles},
        options=running(options),
        sides=running(sides),
        ranges=ranges.float(),
        **{name: of_spots(name) for name in names_of_spots},
    )


def make_world(scenes: int, generator: torch.Generator, per_family: int) -> World:
    """Draw scenes: rooms, things on tables, streets and squares and gardens, clutter.

    What may be relied on: the origin lies on the floor, the road or the table that the scene is about (clutter may
    float around it); things stand on something, but for clutter; ``focus`` lies at the front of things, about half
    way up; the interior box lies inside the room where there is one, and along the road or across the square where
    there is none. It is not free of things: a camera in it may stand in a cupboard.

    Args:
        generator: on whose device the world is made; the world is a function of its state.
        per_family: textures of each family in the atlas that will be used.
    """
    draw = Draw(generator)
    plan = _plan(draw.device)
    style = draw.pick(plan.shares.expand(scenes, -1))
    room = between(draw.uniform(scenes, 3), plan.room[style])
    table = between(draw.uniform(scenes, 2), plan.table[style])
    walled = draw.chance(plan.walled[style], scenes)
    yaw = draw.uniform(scenes, high=6.2832)
    floor = plan.floor[style]

    template = draw.pick(plan.options[style])
    template = torch.where(template == len(TEMPLATES), -1, template)
    groups = draw_groups(draw, template)
    centre, rotation = _place(draw, plan, style, room, table, floor, yaw, groups)
    parts = build(draw, groups, centre, rotation)

    half = torch.cat([room[:, :2], 0.5 * room[:, 2:]], -1)
    upright = torch.zeros_like(half)
    upright[:, 2] = floor + half[:, 2]
    rooms = Parts(
        kind=torch.where(walled, 0, -1)[:, None],
        centre=upright[:, None],
        rotation=rotation_about_z(yaw)[:, None],
        half_size=half[:, None],
        shape=torch.ones(scenes, 1, device=draw.device),
        look=_walls(draw, plan.kind[style])[:, None],
        own=torch.ones(scenes, 1, dtype=torch.bool, device=draw.device),
        owner=torch.zeros(scenes, 1, dtype=torch.long, device=draw.device),
    )
    solids = _in_slots(draw, rooms, parts, _order(plan.depth[style], groups, parts), per_family)

    has_table = table.amax(-1) > 0
    stage = torch.where(has_table[:, None], table, room[:, :2])
    extent = stage.amax(-1) * plan.extent[style]
    low_high = plan.cameras[style] + floor[:, None]
    top = torch.where(walled, floor + room[:, 2] - 0.15, low_high[:, 1])
    low_high = torch.stack([low_high[:, 0], torch.minimum(low_high[:, 1], top)], -1)
    interior_half = torch.cat([room[:, :2] * plan.corridor[style], 0.5 * (low_high[:, 1:] - low_high[:, :1])], -1)
    interior_centre = torch.zeros_like(half)
    interior_centre[:, 2] = low_high.mean(-1)
    return World(
        **solids,
        lights=draw_lights(draw, walled, upright, half, extent),
        kind=plan.kind[style],
        focus=_focus(plan, style, groups, centre, rotation),
        extent=extent,
        interior_centre=interior_centre,
        interior_half=interior_half,
        interior_yaw=yaw,
    )


def _place(
    draw: Draw, plan: _Plan, style: Tensor, room: Tensor, table: Tensor, floor: Tensor, yaw: Tensor, groups: Groups
) -> tuple[Tensor, Tensor]:
    """Where each thing stands ``[S,G,3]`` and how it is turned ``[S,G,3,3]``; some dimensions follow the place."""
    scenes, count = groups.template.shape
    on_table = plan.on_table[style]
    stage = torch.where(on_table[..., None], table[:, None], room[:, None, :2])
    ground = torch.where(on_table, 0.0, floor[:, None])
    side = draw.pick(plan.sides[style])
    across = (side % 2 == 1)[..., None]
    facing = torch.where(across, stage.flip(-1), stage)

    ceiling = room[:, None, 2].expand(-1, count)
    filled = torch.cat([stage, ceiling[..., None]], -1)
    widens = plan.widens[style]
    dimensions = groups.dimensions
    width = torch.where(widens > 0, widens * facing[..., 0], dimensions[..., 1])
    sizes = torch.where(plan.fills[style][..., None], filled, torch.cat([width[..., None], dimensions[..., 2:4]], -1))
    groups.dimensions = dimensions = torch.cat([dimensions[..., :1], sizes, dimensions[..., 4:]], -1)

    along, back, clear, height = between(draw.uniform(scenes, count, 4), plan.ranges[style]).unbind(-1)
    snap = plan.snap[style]
    half_width, half_depth = dimensions[..., 1], dimensions[..., 2]
    room_along = torch.where(snap >= 0, (facing[..., 0] - half_width).clamp_min(0), facing[..., 0])
    room_back = torch.where(snap == 0, (facing[..., 1] - half_depth).clamp_min(0), facing[..., 1] - snap * half_depth)
    place = torch.stack([along * room_along, -(back * room_back + clear)], -1)

    tumble = plan.tumble[style][:, None]
    rise = torch.where(plan.hangs[style], ceiling - height, height)
    rise = rise + draw.uniform(scenes, count) * tumble * 0.7 * ceiling
    turn = side * 1.5708
    place = (rotation_about_z(turn)[..., :2, :2] @ place[..., None])[..., 0]
    centre = torch.cat([place, (ground + rise)[..., None]], -1)
    to_world = rotation_about_z(yaw)
    centre = centre @ to_world.transpose(1, 2)

    turn = turn + yaw[:, None] + draw.uniform(scenes, count, low=-1) * plan.turn[style]
    lying = rotation_of_angles(draw.normal(scenes, count, 3) * tumble[..., None])
    return centre, rotation_about_z(turn) @ lying


def _walls(draw: Draw, kind: Tensor) -> Tensor:
    """What the rooms' walls are of, ``[S]``."""
    looks = list(LOOKS)
    names = ("paint", "wallpaper", "facade", "wall tiles", "anything")
    shares = torch.tensor([[0.82, 0.9, 0.97, 1.0, 1.0], [0.35, 0.45, 0.55, 0.6, 1.0]], device=draw.device)
    options = torch.tensor([looks.index(name) for name in names], device=draw.device)
    return options[draw.pick(shares[(kind == 3).long()])]


def _order(depth: Tensor, groups: Groups, parts: Parts) -> Tensor:
    """How early each part comes ``[S,P]``, the larger the earlier, all different."""
    count = groups.template.shape[1]
    most = parts.kind.shape[1] // count
    group, part = (torch.arange(n, device=depth.device) for n in (count, most))
    late = (part + depth[:, None, None] * group[:, None]).flatten(1)
    return 2**24 - late * (count + 1) - group.repeat_interleave(most)


def _in_slots(draw: Draw, rooms: Parts, parts: Parts, order: Tensor, per_family: int) -> dict[str, Solids]:
    """The parts by kind, each in a slot of its own; what does not fit, of what comes last, is left out."""
    chosen = {"rooms": rooms}
    for number, name in enumerate(_KINDS):
        score, index = torch.topk(torch.where(parts.kind == number, order, 0), SLOTS[name], dim=1)
        taken = {}
        for field in fields(Parts):
            values = getattr(parts, field.name)
            shape = index.shape + values.shape[2:]
            taken[field.name] = values.gather(1, index.reshape(*index.shape, *[1] * (values.dim() - 2)).expand(shape))
        taken["kind"] = torch.where(score > 0, 0, -1)
        chosen[name] = Parts(**taken)

    def together(name: str) -> Tensor:
        return torch.cat([getattr(slots, name) for slots in chosen.values()], 1)

    here = together("kind") >= 0
    half_size = together("half_size") * here[..., None]
    look, owner = together("look") * here, together("owner") * here
    materials = draw_materials(draw, look, together("own"), owner, 2 * half_size.amax(-1), per_family)
    centre = together("centre") * here[..., None]
    level = torch.eye(3, device=draw.device)
    rotation = torch.where(here[..., None, None], together("rotation"), level)

    sizes = list(SLOTS.values())
    by_name = {field.name: getattr(materials, field.name).split(sizes, 1) for field in fields(Materials)}
    geometry = {"centre": centre, "rotation": rotation, "half_size": half_size, "shape": together("shape")}
    by_slots = {key: values.split(sizes, 1) for key, values in geometry.items()}
    return {
        name: Solids(
            **{key: values[k] for key, values in by_slots.items()},
            materials=Materials(**{key: values[k] for key, values in by_name.items()}),
        )
        for k, name in enumerate(SLOTS)
    }


def _focus(plan: _Plan, style: Tensor, groups: Groups, centre: Tensor, rotation: Tensor) -> Tensor:
    """``[S,F,3]``: the fronts of the first things of each scene, about half way up."""
    front = torch.zeros_like(centre)
    front[..., 1] = 0.8 * groups.dimensions[..., 2]
    front[..., 2] = 0.5 * groups.dimensions[..., 3]
    place = centre + (rotation @ front[..., None])[..., 0]
    order = torch.arange(FOCUSES, device=centre.device) % plan.focuses[style][:, None]
    order = order + plan.first_focus[style][:, None]
    order = torch.where(groups.template.gather(1, order) >= 0, order, order[:, :1])
    return place.gather(1, order[..., None].expand(-1, -1, 3))
