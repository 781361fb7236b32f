"""Worlds are finite, of proper solids, the same for a seed, and things in them stand on something."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from recon.training.scenes.atlas import FAMILIES
from recon.training.scenes.layout import STYLES, make_world
from recon.training.scenes.materials import LOOKS
from recon.training.scenes.objects import KINDS, D, H, Template, W, box, build, bundle, draw_groups, moved, tabulate
from recon.training.scenes.random import Draw
from recon.training.scenes.templates import TEMPLATES
from recon.training.scenes.world import SLOTS, World

PER_FAMILY = 3
NAMES = [template.name for template in TEMPLATES]


def worlds(seed: int = 0, scenes: int = 200) -> World:
    return make_world(scenes, torch.Generator().manual_seed(seed), PER_FAMILY)


@pytest.fixture(scope="module")
def world() -> World:
    return worlds()


def tensors(part) -> list[torch.Tensor]:
    if isinstance(part, torch.Tensor):
        return [part]
    return [tensor for field in fields(part) for tensor in tensors(getattr(part, field.name))]


def test_a_world_is_finite_and_of_proper_solids(world):
    assert all(tensor.isfinite().all() for tensor in tensors(world))
    for name, count in SLOTS.items():
        solids = getattr(world, name)
        assert solids.centre.shape == (200, count, 3)
        size = torch.linalg.matrix_norm(solids.rotation.mT @ solids.rotation - torch.eye(3))
        assert size.max() < 1e-4
        assert torch.linalg.det(solids.rotation).min() > 0.99
        here = solids.half_size.amax(-1) > 0
        assert (solids.half_size[here] > 0).all()
        materials = solids.materials
        assert materials.texture.min() >= 0
        assert materials.texture.max() < len(FAMILIES) * PER_FAMILY
        assert materials.tint.min() >= 0
        assert materials.tint.max() <= 1
        assert materials.tile.min() > 0


def test_a_seed_makes_one_world_and_another_seed_another(world):
    for mine, again in zip(tensors(world), tensors(worlds()), strict=True):
        assert torch.equal(mine, again)
    assert not torch.equal(world.boxes.centre, worlds(1).boxes.centre)


def test_all_kinds_of_scenes_come_and_their_slots_are_used(world):
    assert all((world.kind == kind).sum() > 15 for kind in range(4))
    for name, least in {"boxes": 0.5, "ellipsoids": 0.25, "frusta": 0.35, "cards": 0.25}.items():
        assert (getattr(world, name).half_size.amax(-1) > 0).float().mean() > least, name
    # A room is as full as a lived-in one.
    boxes = (world.boxes.half_size.amax(-1) > 0).sum(-1)
    assert boxes[world.kind == 0].float().mean() > 45


def test_things_in_rooms_stand_on_something_or_hang(world):
    """From under nearly every box, one comes straight down on another solid, or it touches a wall or the ceiling."""
    rooms = world.kind == 0
    solids = [getattr(world, name) for name in ("boxes", "ellipsoids", "frusta")]
    centre, half, rotation = (
        torch.cat([getattr(solid, name)[rooms] for solid in solids], 1) for name in ("centre", "half_size", "rotation")
    )
    reach = (rotation.abs() @ half[..., None])[..., 0]
    low, high = centre - reach, centre + reach
    here = half.amax(-1) > 0
    beneath = (low[:, :, None, :2] < high[:, None, :, :2]) & (high[:, :, None, :2] > low[:, None, :, :2])
    gap = low[:, :, None, 2] - high[:, None, :, 2]
    over = low[:, :, None, 2] - low[:, None, :, 2]
    held = beneath.all(-1) & (gap < 0.05) & (over > -0.5) & here[:, None] & ~torch.eye(half.shape[1], dtype=torch.bool)
    room = world.rooms
    turned = (room.rotation[rooms].mT @ centre[..., None])[..., 0]
    wall = (room.half_size[rooms, :, :2] - turned[..., :2].abs()).amin(-1) < 0.3
    ceiling = 2 * room.half_size[rooms, :, 2] - high[..., 2] < 0.1
    assert (held.any(-1) | wall | ceiling)[here].float().mean() > 0.97
    assert (low[..., 2] > -0.15)[here].float().mean() > 0.99


def test_cameras_may_stand_in_the_room_and_look_at_things(world):
    rooms = (world.rooms.half_size.amax(-1) > 0)[:, 0] & (world.kind == 0)
    inner, room = world.interior_half[rooms], world.rooms.half_size[rooms, 0]
    assert (inner[:, :2] < room[:, :2]).all()
    top = world.interior_centre[rooms, 2] + inner[:, 2]
    assert (top < world.rooms.centre[rooms, 0, 2] + room[:, 2]).all()
    assert (world.interior_half > 0).all()
    assert (world.focus[world.kind == 0].norm(dim=-1) < 12).all()
    assert ((world.extent > 0.1) & (world.extent < 40)).all()


def test_what_hangs_or_stands_at_a_wall_looks_into_the_room():
    """Bright windows lie just inside of the room's walls."""
    world = worlds(3)
    rooms = world.kind == 0
    boxes, room = world.boxes, world.rooms
    bright = (boxes.materials.emission[rooms] > 0.4) & (boxes.half_size[rooms].amin(-1) < 0.013)
    inside = (room.rotation[rooms].mT @ boxes.centre[rooms][..., None])[..., 0].abs()
    to_wall = (room.half_size[rooms, :, :2] - inside[..., :2]).amin(-1)
    assert bright.sum() > 20
    assert (to_wall[bright] > -0.01).all()


def test_forms_are_lengths_in_the_dimensions_of_a_thing():
    template = Template(
        "post", {"W": (2, 2), "D": (1, 1), "H": (3, 3)}, [box((0.5 * W, D - 0.25, H - 1), (0.1, W / 4, 0.2), "wood")]
    )
    table = tabulate([template], torch.device("cpu"))
    dimensions = torch.tensor([1.0, 2, 1, 3, 0, 0, 0, 0])
    base, half = (table.lengths[0, 0, k] @ dimensions for k in range(2))
    torch.testing.assert_close(base, torch.tensor([1.0, 0.75, 2.0]))
    torch.testing.assert_close(half, torch.tensor([0.1, 0.5, 0.2]))


def test_parts_of_a_bundle_stray_together():
    parts = moved(
        bundle([box((0, 0, 0), (1, 1, 1), "wood"), box((0, 1, 0), (1, 1, 1), "wood")], spread=(5, 5, 0)),
        (9, 0, 0),
        1.5708,
    )
    table = tabulate([Template("pair", {}, parts)], torch.device("cpu"))
    assert table.first[0].tolist() == [0, 0]
    torch.testing.assert_close(table.lengths[0, :, 3, :, 0], torch.tensor([[9.0, 0, 0], [9.0, 0, 0]]))
    torch.testing.assert_close(table.lengths[0, 1, 0, :, 0], torch.tensor([-1.0, 0, 0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["desk", "tall shelf", "house", "tree", "kitchen"])
def test_a_template_is_built_upon_the_ground(name):
    draw = Draw(torch.Generator().manual_seed(0))
    groups = draw_groups(draw, torch.full((20, 1), NAMES.index(name)))
    parts = build(draw, groups, torch.zeros(20, 1, 3), torch.eye(3).expand(20, 1, 3, 3))
    here = parts.kind >= 0
    reach = (parts.rotation.abs() @ parts.half_size[..., None])[..., 0]
    low = torch.where(here, (parts.centre - reach)[..., 2], 9.0)
    assert here.sum(-1).min() >= 5
    assert (low.amin(-1).abs() < 0.2).all()
    top = torch.where(here, (parts.centre + reach)[..., 2], -9.0).amax(-1)
    assert (top > 0.8 * groups.dimensions[:, 0, 3]).all()


def test_names_in_styles_and_templates_are_known():
    assert len(set(NAMES)) == len(NAMES)
    used = {name for style in STYLES for spot in style.spots for name in spot.options} - {""}
    assert used <= set(NAMES)
    looks = {part.look for template in TEMPLATES for part in template.parts}
    assert looks <= set(LOOKS)
    assert {family for look in LOOKS.values() for family in look.textures} <= set(FAMILIES)
    assert tuple(SLOTS)[1:] == KINDS
