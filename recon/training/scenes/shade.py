"""Shade: what a ray sees where it ends: the surface there, and the light that comes from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.training.scenes import intersect, tables
from recon.training.scenes.atlas import FAMILIES, Atlas, lookup
from recon.training.scenes.intersect import MISS, SLOT_BITS, dot, scramble, unit

# How far away the sun stands for the rays that look for it, in metres, and how large the lights are (radii at which
# shadows grow soft: of a lamp in metres, of the sun at that distance).
SUN = 100.0
LAMP_RADIUS, SUN_RADIUS = 0.03, 0.3


def surface(
    keys: Tensor, x: Tensor, y: Tensor, seeds: Tensor, primary: Tensor, shadow: Tensor, materials: Tensor,
    lights: Tensor, views: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The place where each ray ends.

    Args:
        keys: ``[I,R]`` of ``intersect.nearest``.
        x: ``[I,R]`` of the rays.
        y: ``[I,R]``.
        seeds: ``[I,R] int32``, random bits of each ray.
        primary: ``[I,N,16]`` and the other tables of the bundles (see ``tables.Tables``).
        shadow: ``[I,N,16]``.
        materials: ``[I,N,19]``.
        lights: ``[I,28]``.
        views: ``[I,13]``.

    Returns:
        Twelve ``[I,R]``: z-depth (0 where there is nothing), the point (3), the unit normal on the viewer's side (3),
        the way to a random place on the key light (3), and the place on the surface in metres (2).
    """
    slot = keys & SLOT_BITS
    met = (keys & ~SLOT_BITS).view(torch.float32)
    is_hit = met < 0.5 * MISS
    at = _rows(primary, slot)
    direction = [at[..., 3 * a] * x + at[..., 3 * a + 1] * y + at[..., 3 * a + 2] for a in range(3)]
    origin = [at[..., intersect.ORIGIN + a] for a in range(3)]
    depth = met
    kind = _rows(materials, slot)[..., tables.KIND]
    for number, (name, distance) in enumerate(intersect.KINDS.items()):
        # The gaps of cards were seen to before: here a ray that met one must meet it again.
        parameters = torch.ones_like(at) if name == "cards" else at
        exact = distance(origin, direction, parameters)
        agrees = (exact - met).abs() < 1e-3 * met + 1e-3
        depth = torch.where((kind == number) & agrees, exact, depth)
    q = [o + depth * d for o, d in zip(origin, direction, strict=True)]
    of = _rows(materials, slot)
    half = [of[..., tables.HALF + a] for a in range(3)]
    local, u, v = _chart(kind, q, half, at[..., intersect.SHAPE], of[..., tables.TILE])
    matrix = _rows(shadow, slot)
    normal = [dot([matrix[..., 3 * a + b] for a in range(3)], local) for b in range(3)]
    ray = _ray(views, x, y)
    towards = dot(normal, ray)
    length = torch.rsqrt(dot(normal, normal) + 1e-20)
    scale = torch.where(is_hit, torch.where(towards > 0, -length, length), 0.0)
    normal = [n * scale for n in normal]
    depth = torch.where(is_hit, depth, 0.0)
    # (a little off the surface, or it would stand in its own light)
    lift = 1e-3 + 2e-4 * depth
    point = [_at(views, tables.CENTRE + a) + depth * ray[a] for a in range(3)]
    lifted = [point[a] + lift * normal[a] for a in range(3)]
    is_lamp = _at(lights, tables.KEY_IS_LAMP) > 0.5
    radius = torch.where(is_lamp, LAMP_RADIUS, SUN_RADIUS)
    bits = scramble(seeds)
    to_light = []
    for a in range(3):
        key = _at(lights, tables.KEY + a)
        jitter = radius * (unit(scramble(bits + a)) * 2 - 1)
        to_light.append(torch.where(is_lamp, key - lifted[a], key * SUN) + jitter)
    return (depth, *lifted, *normal, *to_light, u, v)


def shade(
    atlas: Atlas, keys: Tensor, x: Tensor, y: Tensor, seeds: Tensor, found: tuple[Tensor, ...], in_shadow: Tensor,
    around: Tensor, shadow: Tensor, materials: Tensor, lights: Tensor, views: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The light, three of ``[I,R]``, that comes along rays: ``found`` is what ``surface`` says, ``in_shadow`` and
    ``around`` what ``intersect.shadows`` says, and the rest as for ``surface``.
    """
    depth, px, py, pz, nx, ny, nz, lx, ly, lz, u, v = found
    slot = keys & SLOT_BITS
    of = _rows(materials, slot)
    ray = _ray(views, x, y)
    distance = depth * dot(ray, ray).sqrt()
    ray = _unit(ray)
    viewed = -dot(ray, [nx, ny, nz])

    # The texture, turned and shifted, at the scale at which a pixel sees it.
    tile = of[..., tables.TILE]
    cosine, sine = of[..., tables.COSINE], of[..., tables.SINE]
    across = (cosine * u - sine * v) / tile + of[..., tables.OFFSET]
    up = (sine * u + cosine * v) / tile + of[..., tables.OFFSET + 1]
    footprint = distance * _at(views, tables.PIXEL) * torch.rsqrt(viewed.clamp(0.04, 1)) / tile
    texture = of[..., tables.TEXTURE].to(torch.int32)
    bits = scramble(seeds + 77)
    texel = lookup(atlas, texture, across, up, footprint, bits)
    stain = (FAMILIES.index("stains") * atlas.per_family + texture % atlas.per_family).to(torch.int32)
    dirt = lookup(atlas, stain, across * 0.23 + 0.37, up * 0.23 + 0.11, footprint * 0.23, bits << 3).luminance
    grain = lookup(atlas, texture % atlas.per_family, across * 5.3, up * 5.3, footprint * 5.3, bits << 6).luminance
    contrast = of[..., tables.CONTRAST]
    wear = (1 + of[..., tables.DIRT] * 1.5 * (dirt - 0.5)) * (1 + (0.1 + 0.25 * contrast) * (grain - 0.5))
    albedo = [
        (of[..., tables.TINT + a] * (1 - contrast + contrast * texel.colour[a]) * wear).clamp(0.005, 1)
        for a in range(3)
    ]

    normal = _bumped([nx, ny, nz], of[..., tables.BUMP], texel.slope_across, texel.slope_up, cosine, sine)
    facing = dot(normal, [-r for r in ray]).clamp_min(0.02)

    # Light from all around, less where other solids or the room's edges stand close.
    openness = _openness(shadow, materials, [px, py, pz], [nx, ny, nz]) / (1 + 1.3 * around)
    up_share = 0.5 + 0.5 * normal[2]
    ambient = [
        _mix(_at(lights, tables.AMBIENT_DOWN + a), _at(lights, tables.AMBIENT_UP + a), up_share) * openness
        for a in range(3)
    ]

    # The key light, with its shadow; the fill light, without.
    is_lamp = _at(lights, tables.KEY_IS_LAMP) > 0.5
    square = lx * lx + ly * ly + lz * lz
    reach = _at(lights, tables.KEY_REACH).clamp_min(0.1)
    reached = torch.where(is_lamp, 1 / (1 + square / (reach * reach)), 1.0)
    key = _unit([lx, ly, lz])
    lit = torch.where(in_shadow, 0.0, reached)
    diffuse = dot(normal, key).clamp_min(0) * lit
    middle = _unit([k - r for k, r in zip(key, ray, strict=True)])
    shininess, gloss = of[..., tables.SHININESS], of[..., tables.GLOSS]
    highlight = torch.exp2(shininess * torch.log2(dot(normal, middle).clamp(1e-3, 1)))
    highlight = gloss * highlight * lit * (0.2 + 0.02 * shininess) * (diffuse > 0)
    fill = dot(normal, [_at(lights, tables.FILL + a) for a in range(3)]).clamp_min(0) * (0.4 + 0.6 * openness)

    # The surroundings in the gloss: what the light from all around would be there, with shapes from the atlas.
    mirrored = [r + 2 * facing * n for r, n in zip(ray, normal, strict=True)]
    bearing = torch.atan2(mirrored[1], mirrored[0] + 1e-9) * (1 / math.tau)
    shapes = (FAMILIES.index("poster") * atlas.per_family + _scene_number(lights) % atlas.per_family).to(torch.int32)
    blur = 0.5 * torch.rsqrt(shininess)
    seen = lookup(atlas, shapes, bearing, 0.5 * mirrored[2].clamp(-1, 1), blur, bits << 9).luminance
    seen = 0.3 + 1.8 * seen * seen
    away = 1 - facing.clamp(0, 1)
    fresnel = gloss * (0.05 + 0.6 * (away * away) * (away * away) + 0.06 * torch.log2(shininess) * 0.2)
    mirrored_up = 0.5 + 0.5 * mirrored[2].clamp(-1, 1)

    haze = 1 - torch.exp(-(_at(lights, tables.HAZE) * distance).clamp(0, 60))
    sky = _sky(atlas, lights, ray, bits)
    light = []
    for a in range(3):
        glow = ambient[a] + _at(lights, tables.KEY_COLOUR + a) * diffuse + _at(lights, tables.FILL_COLOUR + a) * fill
        colour = albedo[a] * (glow + of[..., tables.EMISSION]) + _at(lights, tables.KEY_COLOUR + a) * highlight
        surroundings = _mix(_at(lights, tables.AMBIENT_DOWN + a), _at(lights, tables.AMBIENT_UP + a), mirrored_up)
        colour = _mix(colour, surroundings * seen * openness, fresnel.clamp(0, 0.9))
        colour = _mix(colour, _at(lights, tables.HORIZON + a), haze)
        colour = torch.where(depth > 0, colour, sky[a])
        light.append(torch.nan_to_num(colour, 0.0, 30.0, 0.0).clamp(0, 30))
    return light[0], light[1], light[2]


def _chart(
    kind: Tensor, q: list[Tensor], half: list[Tensor], shape: Tensor, tile: Tensor
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The normal in the space of the slot (any length and side), and the place on the surface in metres."""
    x, y, z = q
    kinds = list(intersect.KINDS)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    # Of a cube's faces, the one that is nearest.
    is_z = (z.abs() >= x.abs()) & (z.abs() >= y.abs())
    is_x = ~is_z & (x.abs() >= y.abs())
    cube = [torch.where(is_x, one, zero), torch.where(is_x | is_z, zero, one), torch.where(is_z, one, zero)]
    metres = [a * b for a, b in zip(q, half, strict=True)]
    u = torch.where(is_x, torch.where(x > 0, metres[1], -metres[1]), torch.where(y > 0, -metres[0], metres[0]))
    u, v = torch.where(is_z, metres[0], u), torch.where(is_z, metres[1], -metres[2])
    # A round side: a whole number of tiles fits around.
    slope = (shape - 1) * 0.5
    radius = (1 + slope * (z + 1)).clamp_min(1e-3)
    is_ellipsoid = kind == kinds.index("ellipsoids")
    is_side = (kind == kinds.index("frusta")) & ((x * x + y * y).sqrt() - radius).abs().le((1 - z.abs()).abs())
    girth = math.pi * (half[0] + half[1])
    angle = torch.atan2(y, x + 1e-9) * (1 / math.tau)
    around = angle * (girth / tile).round().clamp_min(1) * tile
    tall = torch.where(is_ellipsoid, torch.asin(z.clamp(-1, 1)) * half[2], metres[2])
    u, v = torch.where(is_ellipsoid | is_side, around, u), torch.where(is_ellipsoid | is_side, -tall, v)
    is_card = kind == kinds.index("cards")
    is_cap = (kind == kinds.index("frusta")) & ~is_side
    u, v = torch.where(is_card | is_cap, metres[0], u), torch.where(is_card | is_cap, metres[1], v)
    flat = is_card | is_cap
    normal = [
        torch.where(is_ellipsoid | is_side, x, torch.where(flat, zero, cube[0])),
        torch.where(is_ellipsoid | is_side, y, torch.where(flat, zero, cube[1])),
        torch.where(is_ellipsoid, z, torch.where(is_side, -slope * radius, torch.where(flat, one, cube[2]))),
    ]
    return normal, u, v


def _openness(shadow: Tensor, materials: Tensor, point: list[Tensor], normal: list[Tensor]) -> Tensor:
    """How open it is around points, for the walls, floor and ceiling near them; 1 where there is no room."""
    openness = torch.ones_like(point[0])
    for a in range(3):
        row = [shadow[:, 0, 3 * a + b, None] for b in range(3)]
        half = materials[:, 0, tables.HALF + a, None]
        place = dot(row, point) + shadow[:, 0, intersect.ORIGIN + a, None]
        across = (1 - (dot(row, normal) * half).square()).clamp(0, 1)
        near = torch.exp(-((1 - place.abs()) * half).clamp(0, 30) * 4)
        openness = openness * torch.where(half > 0, 1 - 0.45 * near * across, 1.0)
    return openness


def _bumped(
    normal: list[Tensor], bump: Tensor, slope_across: Tensor, slope_up: Tensor, cosine: Tensor, sine: Tensor
) -> list[Tensor]:
    """The normal turned against the texture's slope, in any tangents: textures lie at any angle."""
    steep = normal[2].abs() > 0.9
    zero, one = torch.zeros_like(bump), torch.ones_like(bump)
    axis = [torch.where(steep, one, zero), zero, torch.where(steep, zero, one)]
    tangent = _unit(_cross(axis, normal))
    other = _cross(normal, tangent)
    along = -bump * (cosine * slope_across + sine * slope_up)
    beside = -bump * (cosine * slope_up - sine * slope_across)
    return _unit([n + along * t + beside * o for n, t, o in zip(normal, tangent, other, strict=True)])


def _sky(atlas: Atlas, lights: Tensor, ray: list[Tensor], bits: Tensor) -> list[Tensor]:
    """The sky's light along unit rays: from horizon to zenith, with clouds on a plane far above."""
    height = ray[2].clamp(0, 1)
    plane = 0.35 / (height + 0.12)
    texture = (_scene_number(lights) % atlas.per_family).to(torch.int32)
    across, up = ray[0] * plane, ray[1] * plane
    cover = 0.65 * lookup(atlas, texture, across, up, 0.004 * plane, bits).luminance
    cover = cover + 0.35 * lookup(atlas, texture, across * 3.1, up * 3.1, 0.012 * plane, bits << 3).luminance
    clouds = _at(lights, tables.CLOUDS)
    cover = ((cover - 0.75 + 0.45 * clouds) * 4).clamp(0, 1) * clouds.clamp(0, 1) * (height * 12).clamp(0, 1)
    blend = (2 - height) * height
    white = lights[:, tables.HORIZON : tables.HORIZON + 3].mean(1, keepdim=True) * 1.2
    sky = []
    for a in range(3):
        clear = _mix(_at(lights, tables.HORIZON + a), _at(lights, tables.ZENITH + a), blend)
        sky.append(_mix(clear, white, cover))
    return sky


def _scene_number(lights: Tensor) -> Tensor:
    """``[I,1] int32``, a number of each scene's own, made of its lights."""
    bits = (lights[:, tables.KEY, None] + lights[:, tables.FILL, None] * 3).view(torch.int32)
    return (scramble(bits) >> 9) & 0xFFFF


def _rows(table: Tensor, slot: Tensor) -> Tensor:
    """``[I,R,K]`` of ``table [I,N,K]``, the row of each ray's slot (0 for a ray that met nothing)."""
    bundle = torch.arange(table.shape[0], device=table.device)[:, None]
    return table[bundle, torch.where(slot < table.shape[1], slot, 0).long()]


def _at(table: Tensor, column: int) -> Tensor:
    return table[:, column, None]


def _ray(views: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
    """The way in the world along (x, y) to depth 1."""
    turn = [[_at(views, tables.TURN + 3 * a + b) for b in range(3)] for a in range(3)]
    return [row[0] * x + row[1] * y + row[2] for row in turn]


def _mix(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return first + (second - first) * share


def _cross(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _unit(vector: list[Tensor]) -> list[Tensor]:
    scale = torch.rsqrt(dot(vector, vector) + 1e-12)
    return [component * scale for component in vector]
