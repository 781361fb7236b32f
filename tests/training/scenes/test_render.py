"""Rendering: depth against marching through the solids, and light that behaves like light."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recon.training.batch import rays
from recon.training.scenes import intersect
from recon.training.scenes.atlas import Atlas, make_atlas
from recon.training.scenes.render import cast_depth, compiled, render
from recon.training.scenes.world import Cameras, Solids, World
from tests.training.scenes.hand_made import camera, empty_world, put, turn

HEIGHT, WIDTH = 18, 24


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return make_atlas(torch.Generator().manual_seed(0), 1, 16)


def points_of(depth: Tensor, cameras: Cameras) -> Tensor:
    """``[H,W,3]`` in the world, of the first view."""
    in_camera = rays(cameras.tangents, *depth.shape[-2:]) * depth[..., None]
    world = torch.einsum("svab,svhwb->svhwa", cameras.rotation, in_camera) + cameras.centre[:, :, None, None]
    return world[0, 0]


def marched_depth(solids: Solids, kind: str, cameras: Cameras, furthest: float) -> Tensor:
    """``[H,W]``: along every pixel's ray, the first of many steps that is inside the solid in slot 0."""
    steps = torch.linspace(0, furthest, 6001)[1:]
    directions = rays(cameras.tangents, HEIGHT, WIDTH)[0, 0] @ cameras.rotation[0, 0].T
    places = cameras.centre[0, 0] + directions[..., None, :] * steps[:, None]
    x, y, z = (((places - solids.centre[0, 0]) @ solids.rotation[0, 0]) / solids.half_size[0, 0]).unbind(-1)
    if kind == "boxes":
        inside = (x.abs() < 1) & (y.abs() < 1) & (z.abs() < 1)
    elif kind == "ellipsoids":
        inside = x * x + y * y + z * z < 1
    elif kind == "cards":
        crosses = torch.cat([z[..., 1:] * z[..., :-1] <= 0, torch.zeros_like(z[..., :1], dtype=torch.bool)], -1)
        inside = (x.abs() < 1) & (y.abs() < 1) & crosses
    else:
        radius = 1 + (solids.shape[0, 0] - 1) * (z + 1) / 2
        inside = (x * x + y * y < radius * radius) & (z.abs() < 1)
    return torch.where(inside.any(-1), steps[inside.byte().argmax(-1)], 0.0)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("boxes", 1), ("ellipsoids", 1), ("frusta", 1), ("frusta", 0), ("frusta", 0.6), ("frusta", 1.7), ("cards", 1)],
)
@pytest.mark.parametrize("seed", range(3))
def test_depth_is_where_a_solid_begins(kind: str, shape: float, seed: int) -> None:
    world = empty_world()
    solids = getattr(world, kind)
    put(solids, 0, [0.2, 2.0, 0.1], [0.9, 0.5, 0.7], turn(seed), shape)
    cameras = camera([0.1, 0.0, 0.3], [0.1, 2.0, 0.0], (0.7, 0.5))
    depth = cast_depth(world, cameras, HEIGHT, WIDTH)[0, 0]
    expected = marched_depth(solids, kind, cameras, 6.0)
    # (a ray that just touches may be missed by one of them)
    assert ((depth > 0) != (expected > 0)).float().mean() < 0.01
    both = (depth > 0) & (expected > 0)
    assert both.float().mean() > 0.04
    assert ((depth - expected)[both].abs() < 0.004).float().mean() > 0.98


def test_the_depth_of_a_wall_is_along_the_axis_and_of_a_ball_from_its_formula() -> None:
    world = empty_world()
    put(world.boxes, 0, [0.0, 3.0, 0.0], [9.0, 0.5, 9.0])
    put(world.ellipsoids, 0, [0.0, 1.5, 0.0], [0.4, 0.4, 0.4])
    cameras = camera([0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    depth = cast_depth(world, cameras, HEIGHT, WIDTH)[0, 0].double()
    direction = rays(cameras.tangents, HEIGHT, WIDTH)[0, 0].double()
    square, along = direction.square().sum(-1), 1.5
    root = along**2 - square * (along**2 - 0.4**2)
    ball = (along - root.clamp_min(0).sqrt()) / square
    torch.testing.assert_close(depth, torch.where(root > 0, ball, 2.5), rtol=1e-5, atol=1e-5)


def test_pixels_centres_and_cameras_agree() -> None:
    world = empty_world()
    put(world.rooms, 0, [0.3, -0.2, 1.2], [2.0, 3.0, 1.2])
    cameras = camera([0.5, -1.0, 1.5], [-0.7, 2.0, 0.6], (0.9, 0.5))
    points = points_of(cast_depth(world, cameras, HEIGHT, WIDTH), cameras)
    local = (points - world.rooms.centre[0, 0]) / world.rooms.half_size[0, 0]
    torch.testing.assert_close(local.abs().amax(-1), torch.ones(HEIGHT, WIDTH), rtol=1e-5, atol=1e-5)


def test_what_is_nearer_hides_what_is_behind_in_any_slot() -> None:
    for first, last in ((0, 55), (55, 0)):
        world = empty_world()
        put(world.boxes, first, [0.0, 2.0, 0.0], [5.0, 0.1, 5.0])
        put(world.boxes, last, [0.0, 4.0, 0.0], [9.0, 0.1, 9.0])
        put(world.rooms, 0, [0.0, 0.0, 0.0], [20.0, 20.0, 20.0])
        depth = cast_depth(world, camera([0.0, 0.0, 0.0], [0.0, 1.0, 0.0]), HEIGHT, WIDTH)
        torch.testing.assert_close(depth, torch.full_like(depth, 1.9))


def test_an_empty_world_is_sky(atlas: Atlas) -> None:
    light, depth = render(empty_world(), atlas, camera([0.0, 0.0, 1.0], [0.0, 1.0, 1.3]), HEIGHT, WIDTH)
    assert (depth == 0).all()
    assert (light[0, 0, 2] > light[0, 0, 0]).all()


def test_a_card_is_there_by_its_share() -> None:
    for share in (0.3, 0.6, -0.4, 1.0):
        world = empty_world()
        put(world.cards, 3, [0.0, 1.0, 0.0], [2.0, 2.0, 0.1], camera([0.0] * 3, [0.0, 1.0, 0.0]).rotation[0, 0], share)
        depth = cast_depth(world, camera([0.0, 0.0, 0.0], [0.0, 1.0, 0.0]), 96, 96)
        assert (depth > 0).float().mean().item() == pytest.approx(abs(share), abs=0.1)


def test_shadows_fall_where_the_sun_is_hidden(atlas: Atlas) -> None:
    def ground(with_roof: bool) -> Tensor:
        world = empty_world()
        put(world.boxes, 0, [0.0, 0.0, -0.5], [50.0, 50.0, 0.5])
        if with_roof:
            put(world.boxes, 1, [0.0, 3.0, 5.0], [2.0, 2.0, 0.1])
        cameras = camera([0.0, 0.0, 2.0], [0.0, 3.0, 0.0])
        light, depth = render(world, atlas, cameras, HEIGHT, WIDTH, samples=1)
        place = points_of(depth, cameras)
        under = ((place - torch.tensor([0.0, 3.0, 0.0]))[..., :2].abs() < 1.8).all(-1)
        beside = ((place - torch.tensor([0.0, 3.0, 0.0]))[..., :2].abs() > 2.3).any(-1)
        return torch.stack([light[0, 0, 0][under].mean(), light[0, 0, 0][beside].mean()])

    bare, roofed = ground(False), ground(True)
    assert roofed[0] < 0.6 * bare[0]
    assert roofed[1] > 0.95 * bare[1]


def test_a_lamp_fades_with_distance_and_lights_what_faces_it(atlas: Atlas) -> None:
    world = empty_world()
    world.lights.key_is_lamp[:] = True
    world.lights.key[:] = torch.tensor([0.0, 0.0, 1.0])
    put(world.boxes, 0, [0.0, 0.0, -0.5], [50.0, 50.0, 0.5])
    light, depth = render(world, atlas, camera([0.0, -1.0, 3.0], [0.0, 4.0, 0.0]), HEIGHT, WIDTH)
    place = points_of(depth, camera([0.0, -1.0, 3.0], [0.0, 4.0, 0.0]))
    distance = place.norm(dim=-1)
    near, far = distance < 1.5, (distance > 6) & (depth[0, 0] > 0)
    assert light[0, 0, 0][near].mean() > 1.5 * light[0, 0, 0][far].mean()


def test_corners_smooth_edges_and_nothing_else(atlas: Atlas) -> None:
    world = empty_world()
    put(world.boxes, 0, [0.0, 2.0, 0.0], [0.5, 0.5, 0.5], turn(1))
    cameras = camera([0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    plain, depth = render(world, atlas, cameras, HEIGHT, WIDTH, samples=1)
    smooth, same_depth = render(world, atlas, cameras, HEIGHT, WIDTH, samples=2)
    assert torch.equal(depth, same_depth)
    torch.testing.assert_close(plain.mean(), smooth.mean(), rtol=0.02, atol=0)
    difference = (plain - smooth).abs().amax(2)[0, 0]
    assert difference.max() > 0.1
    assert difference[:3].max() < 0.02


def test_scenes_views_and_bundles_do_not_mix(atlas: Atlas) -> None:
    world = empty_world(2)
    put(world.boxes, 0, [0.0, 2.0, 0.0], [0.5, 0.5, 0.5], scene=0)
    put(world.ellipsoids, 5, [0.0, 3.0, 0.0], [0.9, 0.5, 0.7], scene=1)
    one, other = camera([0.0, 0.0, 0.0], [0.0, 1.0, 0.0]), camera([0.5, 0.0, 0.4], [0.0, 2.0, 0.0])
    both = Cameras(
        *(
            torch.cat([getattr(one, name), getattr(other, name)], 1).expand(2, *[-1] * extra)
            for name, extra in (("rotation", 3), ("centre", 2), ("tangents", 2))
        )
    )
    height, width = 45, 60
    together = cast_depth(world, both, height, width)
    light, depth = render(world, atlas, both, height, width)
    assert torch.equal(together, depth)
    for scene in range(2):
        alone = World(*(_of_scene(getattr(world, name), scene) for name in World.__dataclass_fields__))
        for number, cameras in enumerate((one, other)):
            assert torch.equal(cast_depth(alone, cameras, height, width)[0, 0], together[scene, number])
    again, _ = render(world, atlas, both, height, width)
    assert torch.equal(light, again)


def _of_scene(part: object, scene: int) -> object:
    if isinstance(part, Tensor):
        return part[scene : scene + 1]
    return type(part)(*(_of_scene(getattr(part, name), scene) for name in part.__dataclass_fields__))  # type: ignore


def test_light_is_finite_where_geometry_is_not(atlas: Atlas) -> None:
    world = empty_world()
    put(world.rooms, 0, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    for kind in ("boxes", "ellipsoids", "frusta", "cards"):
        put(getattr(world, kind), 0, [0.0, 0.0, 0.0], [0.5, 0.5, 0.5])  # the camera stands in them,
        put(getattr(world, kind), 1, [0.0, 1.0, 0.0], [0.5, 0.5, 1e-6])  # they are flat,
        put(getattr(world, kind), 2, [0.0, 0.7, 0.0], [0.0, 0.5, 0.5])  # or not there.
        getattr(world, kind).materials.gloss[:] = 1.0
        getattr(world, kind).materials.bump[:] = 1.0
        getattr(world, kind).materials.tile[:] = 0.0
    world.lights.key_is_lamp[:] = True
    world.lights.key[:] = 0.0
    world.lights.key_colour[:] = 1e6
    for centre, target in (([0.0, 0.0, 0.0], [0.0, 1.0, 0.0]), ([0.5, 0.0, 0.5], [0.5, 1.0, 0.5])):
        cameras = camera(centre, target)
        light, depth = render(world, atlas, cameras, HEIGHT, WIDTH)
        assert light.isfinite().all()
        assert depth.isfinite().all()
        assert light.min() >= 0
        assert light.max() <= 30


def test_only_one_or_two_samples(atlas: Atlas) -> None:
    with pytest.raises(ValueError, match="1 or 2"):
        render(empty_world(), atlas, camera([0.0, 0.0, 0.0], [0.0, 1.0, 0.0]), HEIGHT, WIDTH, samples=3)


@pytest.mark.slow
def test_the_compiled_cast_is_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(2, intersect.SLOT_COUNT, intersect.COLUMNS, generator=generator)
    x, y = torch.rand(2, 2, 64, generator=generator)
    once = intersect.nearest(table, x, y)
    assert (compiled(intersect.nearest)(table, x, y) == once).float().mean() > 0.99
