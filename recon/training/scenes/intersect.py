"""Intersect: the distance of many rays to all slots of a kind, as one expression and one reduction.

Every slot turns space into its own in which a box is the cube from -1 to 1, an ellipsoid the unit sphere and so on;
distances along a ray stay what they are, for the direction is turned and stretched with everything else. Nothing of the
size rays times slots is kept once this is compiled: each reduction over slots swallows the expression before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recon.training.scenes.world import SLOTS

Vector = Sequence[Tensor]

MISS = 1e9
NEAREST = 1e-3

# Columns of a table of slots: nine of the direction's matrix, three of the origin, then the shape.
DIRECTION, ORIGIN, SHAPE, CELLS, COLUMNS = 0, 9, 12, 13, 16

# The lower bits of a distance that give way to the number of the slot: see nearest.
SLOT_BITS = 0xFF
RANGES: dict[str, tuple[int, int]] = {}
for _name, _count in SLOTS.items():
    _start = max((end for _, end in RANGES.values()), default=0)
    RANGES[_name] = (_start, _start + _count)
SLOT_COUNT = sum(SLOTS.values())


def slabs(origin: Vector, direction: Vector) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the cube from -1 to 1."""
    (x, first), (y, second), (z, third) = map(_slab, origin, direction)
    return _larger(_larger(x - first, y - second), z - third), _smaller(_smaller(x + first, y + second), z + third)


def box(origin: Vector, direction: Vector, parameters: Tensor) -> Tensor:
    """Distance to the cube from outside."""
    near, far = slabs(origin, direction)
    return torch.where((near <= far) & (near > NEAREST), near, MISS)


def room(origin: Vector, direction: Vector, parameters: Tensor) -> Tensor:
    """Distance to the cube's far side: from outside, the near one is not there."""
    near, far = slabs(origin, direction)
    return torch.where((near <= far) & (far > NEAREST), far, MISS)


def ellipsoid(origin: Vector, direction: Vector, parameters: Tensor) -> Tensor:
    """Distance to the unit sphere from outside."""
    square = dot(direction, direction)
    half = dot(origin, direction)
    under_root = half * half - square * (dot(origin, origin) - 1)
    near = (-half - under_root.clamp_min(0).sqrt()) / square
    return torch.where((under_root > 0) & (near > NEAREST), near, MISS)


def frustum(origin: Vector, direction: Vector, parameters: Tensor) -> Tensor:
    """Distance to the solid of radius 1 at z = -1 and ``shape`` at z = 1: inside a double cone, between planes."""
    x, y, z = origin
    dx, dy, dz = direction
    slope = (parameters[..., SHAPE] - 1) * 0.5
    radius, steepness = 1 + slope * (z + 1), slope * dz
    square = dx * dx + dy * dy - steepness * steepness
    half = x * dx + y * dy - radius * steepness
    under_root = half * half - square * (x * x + y * y - radius * radius)
    inverse, root = 1 / square, under_root.clamp_min(0).sqrt()
    first, second = (-half - root) * inverse, (-half + root) * inverse
    # A ray less steep than the side is inside between its crossings, in this order. A steeper one crosses the cone's
    # other half too, beyond its tip, and (now in the other order) is outside between; on our half the radius grows.
    within, grows, crosses = square > 0, steepness > 0, under_root > 0
    near = torch.where(within | (crosses & grows), first, -MISS)
    far = torch.where(within | (crosses & ~grows), second, MISS)
    middle, reach = _slab(z, dz)
    near, far = _larger(near, middle - reach), _smaller(far, middle + reach)
    return torch.where((crosses | ~within) & (near <= far) & (near > NEAREST), near, MISS)


def card(origin: Vector, direction: Vector, parameters: Tensor) -> Tensor:
    """Distance to the sheet from -1 to 1 at z = 0, where it is not a gap."""
    t = -origin[2] / direction[2]
    u, v = origin[0] + t * direction[0], origin[1] + t * direction[1]
    there = (u.abs() < 1) & (v.abs() < 1) & (t > NEAREST) & (t < MISS)
    return torch.where(there & _is_sheet(u, v, parameters), t, MISS)


def _is_sheet(u: Tensor, v: Tensor, parameters: Tensor) -> Tensor:
    """One leaf, or one opening of a mesh, in each cell of a sheet: shape is the share that is there, of a mesh -share.

    An oval of axes 1:2 with a random turn and place covers the share that a cell with a leaf must have.
    """
    shape = parameters[..., SHAPE]
    share = shape.abs()
    across, up = (u * 0.5 + 0.5) * parameters[..., CELLS], (v * 0.5 + 0.5) * parameters[..., CELLS + 1]
    column, row = across.floor(), up.floor()
    x, y = across - column - 0.5, up - row - 0.5
    # (no more than a card's few thousand cells: whatever float is far outside is not there anyway)
    column, row = column.clamp(0, 4095).to(torch.int32), row.clamp(0, 4095).to(torch.int32)
    bits = scramble(column * 4096 + row + parameters[..., CELLS + 2].to(torch.int32))
    leaves = 0.5 + 0.5 * share
    area = share / leaves
    cosine = unit(bits) * 2 - 1
    sine = (1 - cosine * cosine).clamp_min(0).sqrt()
    a, b = x + 0.3 * (unit(bits << 8) - 0.5), y + 0.3 * (unit(bits << 12) - 0.5)
    along, beside = a * cosine + b * sine, b * cosine - a * sine
    oval = along * along + 4 * beside * beside < 0.64 * area / (1.0001 - share * share)
    leaf = oval & (unit(bits << 4) < leaves)
    mesh = torch.maximum(x.abs(), y.abs()) > 0.5 * (1 - share).clamp_min(0).sqrt()
    return torch.where(shape < 0, mesh, leaf) | (share >= 1)


KINDS: dict[str, Callable[[Vector, Vector, Tensor], Tensor]] = {
    "rooms": room,
    "boxes": box,
    "ellipsoids": ellipsoid,
    "frusta": frustum,
    "cards": card,
}


def nearest(table: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Which slot each ray meets first.

    Args:
        table: ``[I,N,16]`` of bundles of rays that start in one point: see ``DIRECTION`` and the others.
        x: ``[I,R]``; a ray's direction is ``matrix @ (x, y, 1)`` in the space of the slot.
        y: ``[I,R]``.

    Returns:
        ``[I,R] int32``: the distance's bits, the lowest eight of them replaced by the slot's number. Positive floats
        sort like their bits, so that one minimum finds both.
    """
    x, y = x[:, :, None], y[:, :, None]
    best = torch.full_like(x[..., 0], MISS).view(torch.int32)
    for kind, distance in KINDS.items():
        start, end = RANGES[kind]
        slots = table[:, None, start:end]
        direction = [slots[..., 3 * a] * x + slots[..., 3 * a + 1] * y + slots[..., 3 * a + 2] for a in range(3)]
        origin = [slots[..., ORIGIN + a] for a in range(3)]
        number = torch.arange(start, end, dtype=torch.int32, device=table.device)
        key = (distance(origin, direction, slots).view(torch.int32) & ~SLOT_BITS) | number
        best = torch.minimum(best, key.amin(-1))
    return best


def shadows(table: Tensor, solids: Tensor, points: Vector, normals: Vector, steps: Vector) -> tuple[Tensor, Tensor]:
    """Whether something stands on the way from points along steps (0 to 1), and how much stands around them.

    Args:
        table: ``[I,N,16]`` as for ``nearest``, with unit_from_world as matrix and origin.
        solids: ``[I,N,4]`` centres and areas as seen from afar (0 for what darkens nothing around it).
        points: three of ``[I,R]``, the world's x, y and z.
        normals: the same of unit normals there.
        steps: the same of ways to the light.

    Returns:
        ``[I,R] bool`` shadow; ``[I,R]`` the sum of the form factors of the solids, as of discs that face the point.
    """
    p, n, s = (tuple(value[:, :, None] for value in vector) for vector in (points, normals, steps))
    shadow = torch.zeros_like(points[0], dtype=torch.bool)
    around = torch.zeros_like(points[0])
    for kind, distance in KINDS.items():
        if kind == "rooms":
            continue
        start, end = RANGES[kind]
        slots, solid = table[:, None, start:end], solids[:, None, start:end]
        rows = [tuple(slots[..., 3 * a + b] for b in range(3)) for a in range(3)]
        direction = [dot(row, s) for row in rows]
        origin = [dot(row, p) + slots[..., ORIGIN + a] for a, row in enumerate(rows)]
        shadow = shadow | (distance(origin, direction, slots) < 1).any(-1)
        away = [solid[..., a] - p[a] for a in range(3)]
        square = dot(away, away) + 1e-6
        facing = dot(n, away).clamp_min(0) * torch.rsqrt(square)
        around = around + (facing * solid[..., 3] / (3.1416 * square + solid[..., 3] + 1e-6)).sum(-1)
    return shadow, around


def scramble(value: Tensor) -> Tensor:
    """Integers ``int32`` to integers that look random (a hash of the murmur kind: multiply, shift, exclusive or)."""
    value = (value ^ ((value >> 16) & 0xFFFF)) * 0x45D9F3B
    value = (value ^ ((value >> 15) & 0x1FFFF)) * 0x2C1B3C6D
    return value ^ ((value >> 13) & 0x7FFFF)


def unit(bits: Tensor) -> Tensor:
    """The upper 23 bits of ``int32`` as a number from 0 to 1 (exclusive)."""
    return ((bits >> 9) & 0x7FFFFF).to(torch.float32) * (1 / 0x800000)


def _slab(start: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """The middle, and half the length, of a ray's way through the space from -1 to 1."""
    inverse = 1 / (step + 1e-20)
    return -start * inverse, inverse.abs()


def _larger(a: Tensor, b: Tensor) -> Tensor:
    # (torch.maximum asks about NaN as well, which costs: this is the innermost loop)
    return torch.where(a > b, a, b)


def _smaller(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(a < b, a, b)


def dot(a: Vector, b: Vector) -> Tensor:
    """The scalar product of vectors given as three tensors each."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
