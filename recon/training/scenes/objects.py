"""Objects: templates of things made of a few solids, and the building of many of them at once.

A template's lengths are linear in a few dimensions that are drawn anew for each thing: ``H - 0.1`` is a tenth of a
metre below the top, ``0.5 * W`` half way out. The whole catalogue is then one
table of weights, and any number of different things are built by one product.

In a template's frame z is up and the ground is 0, x runs along the width, and +y is the front. W and D are half the
width and half the depth of the footprint, H is the height; the other dimensions mean what the template likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count as counter
from math import cos, sin
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.training.scenes.materials import LOOKS
from recon.training.scenes.random import Draw, between, rotation_about_z, rotation_of_angles

KINDS = ("boxes", "ellipsoids", "frusta", "cards")
LETTERS = "WDHPQRU"
_bundles = counter()
GROWS = 2.0


@dataclass(frozen=True)
class Form:
    """A length as a linear function of a thing's dimensions: weights of (1, W, D, H, P, Q, R, U).

    Forms add up with each other and with metres, and are multiplied by numbers.
    """

    weights: tuple[float, ...]

    def __add__(self, other: Length) -> Form:
        pairs = zip(self.weights, form(other).weights, strict=True)
        return Form(tuple(mine + others for mine, others in pairs))

    def __mul__(self, factor: float) -> Form:
        return Form(tuple(weight * factor for weight in self.weights))

    def __neg__(self) -> Form:
        return self * -1

    def __sub__(self, other: Length) -> Form:
        return self + -form(other)

    def __rsub__(self, other: Length) -> Form:
        return form(other) - self

    def __truediv__(self, divisor: float) -> Form:
        return self * (1 / divisor)

    __radd__ = __add__
    __rmul__ = __mul__


Length = float | Form
Place = Sequence[Length]
ONE, W, D, H, P, Q, R, U = (Form(tuple(float(k == one) for k in range(8))) for one in range(8))
ZERO = 0 * ONE


def form(length: Length) -> Form:
    """A length as a form; a number is metres."""
    return length if isinstance(length, Form) else Form((float(length), *[0.0] * 7))


@dataclass(frozen=True)
class Part:
    """One solid of a template.

    Attributes:
        kind: index into KINDS.
        base: where it stands: the middle of its underside (see ``anchor``).
        half: half its size along its own axes.
        look: name of what it is made of, in LOOKS.
        angles: radians by which it is turned about x, then y, then z.
        sway: how far each angle may differ, to both sides.
        spread: how far it may stand from its base, to both sides.
        shrink: the least factor on its size; 1 for a size that is fixed.
        keep: how likely it is there.
        shape: between which ``Solids.shape`` lies.
        anchor: 1 stands on its base, 0 has its centre there, -1 hangs from it; GROWS: its own z axis begins there.
        own: draws its looks for itself, not as its group's other parts of the same look.
        pivot, pivot_spread, pivot_turn, pivot_keep, bundle: of the bundle that it is part of (see ``bundle``).
    """

    kind: int
    base: Place
    half: Place
    look: str
    angles: tuple[float, float, float] = (0, 0, 0)
    sway: tuple[float, float, float] = (0, 0, 0)
    spread: Place = (0, 0, 0)
    shrink: float = 1
    keep: float = 1
    shape: tuple[float, float] = (1, 1)
    anchor: float = 1
    own: bool = False
    pivot: Place = (0, 0, 0)
    pivot_spread: Place = (0, 0, 0)
    pivot_turn: float = 0
    pivot_keep: float = 1
    bundle: int = -1


@dataclass(frozen=True)
class Template:
    """A thing: between which its dimensions lie, by letter, and its parts. ``alike`` is how likely all the things of
    this template in a scene are the same one again.
    """

    name: str
    dimensions: dict[str, tuple[float, float]]
    parts: list[Part]
    alike: float = 0.7


def box(base: Place, half: Place, look: str, **more) -> Part:
    """A box."""
    return Part(0, base, half, look, **more)


def ellipsoid(base: Place, half: Place, look: str, **more) -> Part:
    """An ellipsoid."""
    return Part(1, base, half, look, **more)


def frustum(base: Place, half: Place, look: str, shape: tuple[float, float] = (1, 1), **more) -> Part:
    """A round thing of a bottom radius, its top's share of that, and half a height."""
    return Part(2, base, half, look, shape=shape, **more)


def card(base: Place, half: Place, look: str, shape: tuple[float, float] = (1, 1), **more) -> Part:
    """A sheet of half a width and half a length in its own xy plane; an angle of 1.57 about x stands it up."""
    return Part(3, base, (*half, 0.002), look, shape=shape, **more)


def bundle(
    parts: list[Part], at: Place = (0, 0, 0), spread: Place = (0, 0, 0), turn: float = 0, keep: float = 1
) -> list[Part]:
    """Parts that stand at ``at`` and stray from there together by up to ``spread``, turn about it together by up to
    ``turn`` radians, and are there together or not at all. Bundles do not nest.
    """
    number = next(_bundles)
    return [
        replace(part, pivot=at, pivot_spread=spread, pivot_turn=turn, pivot_keep=keep, bundle=number) for part in parts
    ]


def moved(parts: list[Part], by: Place, turn: float = 0) -> list[Part]:
    """Parts turned about the origin's z axis and then shifted."""
    c, s = cos(turn), sin(turn)

    def turned(place: Place) -> Place:
        x, y, z = (form(length) for length in place)
        return (c * x - s * y, s * x + c * y, z)

    def shifted(place: Place) -> Place:
        return [form(a) + form(b) for a, b in zip(turned(place), by, strict=True)]

    def stray(place: Place) -> Place:
        x, y, z = (form(length) for length in place)
        return (abs(c) * x + abs(s) * y, abs(s) * x + abs(c) * y, z)

    result = []
    for part in parts:
        places: dict[str, Any]
        if part.bundle >= 0:
            # The parts of a bundle stand about its pivot.
            places = {"pivot": shifted(part.pivot), "pivot_spread": stray(part.pivot_spread)}
            places["base"] = turned(part.base)
        else:
            places = {"base": shifted(part.base), "spread": stray(part.spread)}
        angles = (part.angles[0], part.angles[1], part.angles[2] + turn)
        result.append(replace(part, angles=angles, **places))
    return result


@dataclass
class Catalogue:
    """Templates as tables: T of them, of up to M parts each, with lengths as forms of K dimensions. See Part."""

    dimensions: Tensor
    alike: Tensor
    kind: Tensor
    lengths: Tensor
    angles: Tensor
    sway: Tensor
    shrink: Tensor
    keep: Tensor
    shape: Tensor
    anchor: Tensor
    look: Tensor
    own: Tensor
    turn: Tensor
    first: Tensor


def tabulate(templates: Sequence[Template], device: torch.device) -> Catalogue:
    """The tables of templates; a part that is not there has kind -1."""
    count, most = len(templates), max(len(template.parts) for template in templates)
    looks = list(LOOKS)
    table = {
        "dimensions": np.zeros((count, 8, 2)),
        "alike": np.zeros(count),
        "kind": np.full((count, most), -1),
        "lengths": np.zeros((count, most, 5, 3, 8)),
        "angles": np.zeros((count, most, 3)),
        "sway": np.zeros((count, most, 3)),
        "shrink": np.ones((count, most)),
        "keep": np.zeros((count, most, 2)),
        "shape": np.ones((count, most, 2)),
        "anchor": np.zeros((count, most)),
        "look": np.zeros((count, most), np.int64),
        "own": np.zeros((count, most), bool),
        "turn": np.zeros((count, most)),
        "first": np.zeros((count, most), np.int64),
    }
    table["dimensions"][:, 0] = 1
    for t, template in enumerate(templates):
        table["alike"][t] = template.alike
        for letter, bounds in template.dimensions.items():
            table["dimensions"][t, 1 + LETTERS.index(letter)] = bounds
        bundles: dict[int, int] = {}
        for m, part in enumerate(template.parts):
            places = (part.base, part.half, part.spread, part.pivot, part.pivot_spread)
            table["lengths"][t, m] = [[form(length).weights for length in place] for place in places]
            table["keep"][t, m] = part.keep, part.pivot_keep
            table["first"][t, m] = bundles.setdefault(part.bundle, m) if part.bundle >= 0 else m
            table["look"][t, m] = looks.index(part.look)
            table["turn"][t, m] = part.pivot_turn
            for name in ("kind", "angles", "sway", "shrink", "shape", "anchor", "own"):
                table[name][t, m] = getattr(part, name)
    tensors = {name: torch.from_numpy(array).to(device) for name, array in table.items()}
    return Catalogue(**{name: x.float() if x.is_floating_point() else x for name, x in tensors.items()})


@lru_cache(maxsize=8)
def catalogue(device: torch.device) -> Catalogue:
    """The tables of all templates, on a device."""
    from recon.training.scenes.templates import TEMPLATES

    return tabulate(TEMPLATES, device)


@dataclass
class Parts:
    """Solids of all kinds, not yet in slots: P in each of S scenes, ``kind -1`` where there is none.

    ``look`` is what each is made of, ``owner`` a number below ``OWNERS`` that parts with shared looks have in common.
    """

    kind: Tensor
    centre: Tensor
    rotation: Tensor
    half_size: Tensor
    shape: Tensor
    look: Tensor
    own: Tensor
    owner: Tensor


@dataclass
class Groups:
    """G things in each of S scenes: which template, which dimensions, and whose looks they have.

    Attributes:
        template: ``[S,G]``, -1 for none.
        dimensions: ``[S,G,8]`` in metres; 0 is 1, then W, D, H and so on.
        model: ``[S,G]``: things of the same model are alike.
    """

    template: Tensor
    dimensions: Tensor
    model: Tensor


def draw_groups(draw: Draw, template: Tensor) -> Groups:
    """Dimensions for the things of ``template [S,G]``."""
    table = catalogue(draw.device)
    scenes, groups = template.shape
    count = table.alike.shape[0]
    known = template.clamp_min(0)
    alike = draw.chance(table.alike[known], scenes, groups)
    model = torch.where(alike, known, count + torch.arange(groups, device=draw.device))
    drawn = draw.uniform(scenes, count + groups, 8).gather(1, model[..., None].expand(-1, -1, 8))
    return Groups(template, between(drawn, table.dimensions[known]), model)


def build(draw: Draw, groups: Groups, centre: Tensor, rotation: Tensor) -> Parts:
    """The parts of things that stand at ``centre [S,G,3]``, turned by ``rotation [S,G,3,3]``."""
    table = catalogue(draw.device)
    template = groups.template.clamp_min(0)
    scenes, count = template.shape
    most = table.kind.shape[1]
    shape = (scenes, count, most)
    first = table.first[template]
    kind = table.kind[template]

    def shared(x: Tensor) -> Tensor:
        return x.gather(2, first.reshape(*shape, *[1] * (x.dim() - 3)).expand_as(x))

    lengths = (table.lengths[template].flatten(3, 4) * groups.dimensions[:, :, None, None]).sum(-1).unflatten(3, (5, 3))
    base, half, spread, pivot, pivot_spread = lengths.unbind(3)

    chances = draw.uniform(*shape, 2)
    here = (chances[..., 0] < table.keep[template][..., 0]) & (shared(chances[..., 1]) < table.keep[template][..., 1])
    kind = torch.where(here & (groups.template >= 0)[..., None], kind, -1)

    factor = 1 - draw.uniform(*shape, 3) * (1 - table.shrink[template][..., None])
    flat = (kind == 0) | (kind == 3)
    factor = torch.where(flat[..., None], factor, factor[..., [0, 0, 2]])
    half = (half * factor).clamp_min(0.002)

    angles = table.angles[template] + draw.uniform(*shape, 3, low=-1) * table.sway[template]
    turn = shared(draw.uniform(*shape, low=-1)) * table.turn[template]
    own_rotation = rotation_of_angles(angles)
    down = own_rotation[..., 2, :].abs()
    upright = (down * half).sum(-1)
    round_ = (down * half).square().sum(-1).sqrt()
    rise = torch.where(kind == 1, round_, upright)

    place = base + draw.uniform(*shape, 3, low=-1) * spread
    anchor = table.anchor[template][..., None]
    lifted = torch.cat([torch.zeros_like(place[..., :2]), rise[..., None] * anchor], -1)
    place = place + torch.where(anchor == GROWS, own_rotation[..., 2] * half[..., 2:], lifted)
    turned = rotation_about_z(turn)
    place = (turned @ place[..., None])[..., 0] + pivot + shared(draw.uniform(*shape, 3, low=-1)) * pivot_spread

    world_rotation = rotation[:, :, None]
    world = (world_rotation @ place[..., None])[..., 0] + centre[:, :, None]
    return Parts(
        kind=kind.flatten(1),
        centre=world.flatten(1, 2),
        rotation=(world_rotation @ turned @ own_rotation).flatten(1, 2),
        half_size=half.flatten(1, 2),
        shape=between(draw.uniform(*shape), table.shape[template]).flatten(1),
        look=table.look[template].flatten(1),
        own=table.own[template].flatten(1),
        owner=groups.model[..., None].expand(shape).flatten(1),
    )
