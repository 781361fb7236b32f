"""Materials: what things are made of, by meaning, and the drawing of their textures and colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from recon.training.scenes.atlas import FAMILIES
from recon.training.scenes.random import Draw, between, colour_of_hsv
from recon.training.scenes.world import Materials

Range = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """Between which the attributes of a material lie (see Materials).

    Attributes:
        textures: how likely each family is, by name.
        tile: metres a tile; of the largest side of the solid where ``fitted``.
        fitted: the texture is stretched over the solid once or so, as a picture is.
        hue, saturation, value: of the tint; hue in turns, perhaps past 0 or 1.
        vivid: how likely the tint is any hue at all, well saturated.
        lean: towards which end (0 low, 1 evenly, above 1 low with few high) values of saturation are drawn, a power.
        turned: how far the texture may be turned, radians.
    """

    textures: dict[str, float] = field(default_factory=lambda: {"noise": 1.0})
    tile: Range = (0.3, 1.5)
    fitted: bool = False
    hue: Range = (0.0, 1.0)
    saturation: Range = (0.0, 0.5)
    value: Range = (0.1, 0.8)
    vivid: float = 0.0
    lean: float = 1.5
    turned: float = 0.0
    contrast: Range = (0.2, 0.8)
    dirt: Range = (0.0, 0.3)
    bump: Range = (0.0, 0.3)
    gloss: Range = (0.0, 0.1)
    shininess: Range = (8, 60)
    emission: Range = (0.0, 0.0)


WOODS = {"wood": 0.6, "planks": 0.25, "noise": 0.15}
PLAIN = {"noise": 0.6, "stains": 0.3, "marble": 0.1}
BROWN, GREEN, SKY = (0.04, 0.11), (0.17, 0.36), (0.52, 0.64)
WHITE: dict[str, Any] = {"hue": (0.05, 0.2), "saturation": (0.0, 0.12), "value": (0.6, 0.92)}

LOOKS: dict[str, Look] = {
    # Rooms.
    "paint": Look(PLAIN, (0.8, 4), hue=(0.05, 0.65), saturation=(0, 0.3), value=(0.45, 0.92), vivid=0.06, lean=2.5,
        contrast=(0, 0.18), dirt=(0, 0.15), bump=(0, 0.08)),
    "wallpaper": Look({"stripes": 0.3, "leaves": 0.25, "fabric": 0.25, "bricks": 0.2}, (0.5, 2), saturation=(0, 0.5),
        value=(0.3, 0.85), contrast=(0.1, 0.7), dirt=(0, 0.2)),
    "ceiling": Look(PLAIN, (0.6, 3), **WHITE, contrast=(0, 0.15), dirt=(0, 0.1)),
    "panels": Look({"tiles": 1.0}, (1.2, 2.4), **WHITE, contrast=(0.1, 0.4)),
    "trim": Look({"noise": 0.7, "wood": 0.3}, (0.3, 1), hue=BROWN, saturation=(0, 0.5), value=(0.15, 0.9), lean=3,
        contrast=(0, 0.25), gloss=(0, 0.3)),
    "parquet": Look({"planks": 0.85, "wood": 0.15}, (0.7, 1.6), hue=BROWN, saturation=(0.2, 0.65), value=(0.2, 0.7),
        lean=1, contrast=(0.4, 0.95), gloss=(0, 0.5), shininess=(10, 60), bump=(0, 0.2)),
    "floor tiles": Look({"tiles": 0.6, "checks": 0.2, "marble": 0.2}, (0.6, 2), hue=(0.03, 0.6), saturation=(0, 0.3),
        value=(0.2, 0.85), contrast=(0.2, 0.8), gloss=(0, 0.6), shininess=(20, 120)),
    "carpet": Look({"fabric": 0.5, "noise": 0.4, "gravel": 0.1}, (0.4, 1.2), saturation=(0, 0.5), value=(0.12, 0.6),
        contrast=(0.15, 0.6), dirt=(0, 0.3), bump=(0.1, 0.5)),
    "linoleum": Look({"noise": 0.5, "stains": 0.3, "marble": 0.2}, (0.8, 3), hue=(0.05, 0.62), saturation=(0, 0.25),
        value=(0.3, 0.75), contrast=(0.05, 0.4), gloss=(0, 0.45), shininess=(10, 60)),
    "rug": Look({"fabric": 0.3, "checks": 0.15, "stripes": 0.2, "leaves": 0.2, "poster": 0.15}, (0.4, 1.1),
        fitted=True, saturation=(0, 0.7), value=(0.15, 0.75), vivid=0.15, contrast=(0.4, 1), bump=(0, 0.4)),
    "wall tiles": Look({"tiles": 0.8, "checks": 0.2}, (0.4, 1), saturation=(0, 0.5), value=(0.4, 0.92), lean=3,
        vivid=0.15, contrast=(0.2, 0.7), gloss=(0.2, 0.8), shininess=(40, 160)),
    "daylight": Look({"noise": 0.3, "foliage": 0.2, "tiles": 0.3, "stains": 0.2}, (0.6, 1.5), fitted=True, hue=SKY,
        saturation=(0, 0.3), value=(0.6, 1), contrast=(0, 0.6), dirt=(0, 0.3), gloss=(0.1, 0.5), shininess=(60, 180),
        emission=(0.3, 1.6)),
    "light": Look({"noise": 1.0}, (0.3, 1), hue=(0.06, 0.16), saturation=(0, 0.3), value=(0.8, 1), contrast=(0, 0.1),
        emission=(0.6, 2.5)),
    # Furniture and things.
    "wood": Look(WOODS, (0.4, 1.6), hue=BROWN, saturation=(0.15, 0.7), value=(0.12, 0.75), lean=1, contrast=(0.2, 0.9),
        gloss=(0, 0.35), shininess=(10, 60)),
    "furniture": Look({"wood": 0.35, "noise": 0.45, "planks": 0.08, "stains": 0.12}, (0.4, 1.6), hue=(0.04, 0.14),
        saturation=(0, 0.6), value=(0.06, 0.9), vivid=0.08, contrast=(0, 0.6), gloss=(0, 0.4), shininess=(10, 80)),
    "fabric": Look({"fabric": 0.6, "noise": 0.2, "stripes": 0.1, "checks": 0.1}, (0.15, 0.8), saturation=(0, 0.7),
        value=(0.05, 0.8), vivid=0.15, contrast=(0.15, 0.7), bump=(0.1, 0.5)),
    "bedding": Look({"fabric": 0.4, "noise": 0.3, "stripes": 0.1, "leaves": 0.1, "checks": 0.1}, (0.3, 1.2),
        saturation=(0, 0.5), value=(0.35, 0.92), lean=2.5, vivid=0.1, contrast=(0.1, 0.7), bump=(0.1, 0.5)),
    "curtain": Look({"fabric": 0.4, "stripes": 0.4, "noise": 0.2}, (0.3, 0.9), saturation=(0, 0.5), value=(0.2, 0.9),
        contrast=(0.1, 0.6), bump=(0.2, 0.8)),
    "metal": Look({"noise": 0.7, "stains": 0.3}, (0.3, 1), hue=SKY, saturation=(0, 0.1), value=(0.15, 0.75),
        contrast=(0, 0.3), gloss=(0.3, 1), shininess=(20, 160)),
    "dark": Look({"noise": 0.8, "fabric": 0.2}, (0.2, 0.6), saturation=(0, 0.2), value=(0.015, 0.12), lean=2,
        contrast=(0, 0.4), gloss=(0, 0.4), shininess=(10, 80)),
    "plastic": Look({"noise": 0.7, "stains": 0.2, "checks": 0.1}, (0.2, 0.8), saturation=(0, 0.9), value=(0.1, 0.9),
        vivid=0.3, contrast=(0, 0.3), gloss=(0.1, 0.7), shininess=(20, 120)),
    "ceramic": Look({"noise": 0.6, "marble": 0.2, "leaves": 0.1, "stripes": 0.1}, (0.1, 0.3), saturation=(0, 0.6),
        value=(0.3, 0.92), lean=3, vivid=0.15, contrast=(0, 0.6), gloss=(0.3, 1), shininess=(40, 200)),
    "glass": Look({"noise": 0.7, "text": 0.3}, (0.1, 0.3), saturation=(0, 0.6), value=(0.05, 0.6), vivid=0.2,
        contrast=(0, 0.5), gloss=(0.5, 1), shininess=(80, 200)),
    "screen": Look({"noise": 0.6, "poster": 0.2, "text": 0.2}, (0.8, 1.1), fitted=True, hue=SKY, saturation=(0, 0.4),
        value=(0.01, 0.08), contrast=(0, 0.5), gloss=(0.4, 1), shininess=(60, 200)),
    "lit screen": Look({"text": 0.5, "poster": 0.4, "spines": 0.1}, (0.7, 1.1), fitted=True, hue=SKY, saturation=(0,
        0.3), value=(0.4, 1), contrast=(0.5, 1), gloss=(0.2, 0.8), shininess=(60, 200), emission=(0.2, 0.9)),
    "keys": Look({"tiles": 0.6, "checks": 0.2, "text": 0.2}, (0.06, 0.2), saturation=(0, 0.1), value=(0.04, 0.6),
        contrast=(0.4, 1), bump=(0.2, 0.8)),
    "paper": Look({"text": 0.75, "poster": 0.25}, (0.7, 1.1), fitted=True, **WHITE, vivid=0.08, contrast=(0.4, 1)),
    "poster": Look({"poster": 0.8, "text": 0.2}, (0.8, 1.2), fitted=True, saturation=(0, 0.5), value=(0.4, 1),
        vivid=0.1, contrast=(0.7, 1), gloss=(0, 0.5), shininess=(30, 120)),
    "books": Look({"spines": 1.0}, (0.3, 0.9), saturation=(0, 0.3), value=(0.5, 1), contrast=(0.8, 1), bump=(0, 0.6)),
    "cover": Look({"poster": 0.4, "text": 0.4, "noise": 0.2}, (0.8, 1.1), fitted=True, saturation=(0, 0.8),
        value=(0.15, 0.95), vivid=0.3, contrast=(0.3, 1), gloss=(0, 0.4)),
    "package": Look({"poster": 0.35, "text": 0.35, "noise": 0.15, "stripes": 0.15}, (0.5, 1.1), fitted=True,
        saturation=(0, 0.9), value=(0.2, 0.95), vivid=0.35, contrast=(0.3, 1), gloss=(0, 0.5)),
    "cardboard": Look({"noise": 0.6, "text": 0.2, "stains": 0.2}, (0.3, 1), hue=(0.06, 0.1), saturation=(0.3, 0.6),
        value=(0.3, 0.6), lean=1, contrast=(0.1, 0.6), dirt=(0, 0.4)),
    "toy": Look({"noise": 0.5, "checks": 0.15, "stripes": 0.2, "leaves": 0.15}, (0.05, 0.3), saturation=(0.2, 0.9),
        value=(0.15, 0.95), vivid=0.5, contrast=(0, 0.8), gloss=(0, 0.6), shininess=(20, 100)),
    "fruit": Look({"noise": 0.6, "stains": 0.4}, (0.05, 0.15), hue=(-0.03, 0.3), saturation=(0.5, 0.95), value=(0.3,
        0.9), lean=0.7, contrast=(0.1, 0.5), gloss=(0.1, 0.5), shininess=(10, 60)),
    "anything": Look(dict.fromkeys(FAMILIES, 1.0), (0.15, 1.5), saturation=(0, 0.8), value=(0.08, 0.95), vivid=0.15,
        turned=1.6, contrast=(0.1, 1), dirt=(0, 0.6), bump=(0, 0.7), gloss=(0, 0.5), shininess=(8, 120)),
    "statue": Look({"stains": 0.3, "marble": 0.3, "noise": 0.25, "gravel": 0.15}, (0.15, 0.8), hue=(0.04, 0.5),
        saturation=(0, 0.4), value=(0.1, 0.85), lean=2, turned=1.6, contrast=(0.2, 0.9), dirt=(0.1, 0.6), bump=(0.1,
        0.8), gloss=(0, 0.4)),
    # Nature.
    "leaf": Look({"foliage": 0.8, "leaves": 0.2}, (0.25, 0.8), hue=GREEN, saturation=(0.3, 0.85), value=(0.12, 0.6),
        lean=1, turned=3.1, contrast=(0.4, 1), gloss=(0, 0.4), bump=(0, 0.5)),
    "blossom": Look({"foliage": 0.6, "leaves": 0.4}, (0.2, 0.6), saturation=(0.3, 0.9), value=(0.3, 0.95), lean=1,
        turned=3.1, contrast=(0.4, 1)),
    "bark": Look({"stains": 0.3, "noise": 0.3, "wood": 0.25, "gravel": 0.15}, (0.2, 0.9), hue=(0.03, 0.12),
        saturation=(0.05, 0.45), value=(0.08, 0.45), lean=1, turned=0.3, contrast=(0.5, 1), dirt=(0.1, 0.6), bump=(0.3,
        1)),
    "grass": Look({"foliage": 0.5, "leaves": 0.2, "noise": 0.2, "gravel": 0.1}, (0.5, 2.5), hue=(0.15, 0.32),
        saturation=(0.3, 0.85), value=(0.15, 0.55), lean=1, turned=3.1, contrast=(0.3, 0.9), dirt=(0.1, 0.6),
        bump=(0.1, 0.7)),
    "soil": Look({"gravel": 0.5, "noise": 0.2, "leaves": 0.15, "stains": 0.15}, (0.4, 2), hue=(0.03, 0.13),
        saturation=(0.05, 0.55), value=(0.1, 0.6), lean=1, turned=3.1, contrast=(0.4, 1), dirt=(0.1, 0.6), bump=(0.2,
        0.9)),
    "stone": Look({"stains": 0.3, "gravel": 0.2, "noise": 0.25, "marble": 0.25}, (0.3, 1.5), hue=(0.04, 0.6),
        saturation=(0, 0.2), value=(0.15, 0.7), turned=1.6, contrast=(0.3, 1), dirt=(0.1, 0.6), bump=(0.2, 0.9)),
    # Streets.
    "asphalt": Look({"noise": 0.4, "gravel": 0.4, "stains": 0.2}, (0.8, 4), hue=(0.05, 0.65), saturation=(0, 0.1),
        value=(0.1, 0.45), turned=1.6, contrast=(0.2, 0.8), dirt=(0.1, 0.6), bump=(0, 0.5)),
    "paving": Look({"bricks": 0.4, "tiles": 0.4, "gravel": 0.2}, (0.6, 2.5), hue=(0.03, 0.12), saturation=(0, 0.25),
        value=(0.25, 0.7), turned=0.8, contrast=(0.3, 0.9), dirt=(0.1, 0.6), bump=(0, 0.6)),
    "facade": Look({"noise": 0.3, "stains": 0.25, "bricks": 0.35, "tiles": 0.1}, (0.8, 3), hue=(0.01, 0.15),
        saturation=(0, 0.65), value=(0.2, 0.9), vivid=0.04, contrast=(0.05, 0.8), dirt=(0, 0.25), bump=(0, 0.4)),
    "masonry": Look({"bricks": 0.35, "stains": 0.3, "noise": 0.15, "tiles": 0.2}, (1, 3.5), hue=(0.04, 0.13),
        saturation=(0.05, 0.35), value=(0.2, 0.8), lean=1, contrast=(0.2, 0.9), dirt=(0.2, 0.7), bump=(0.1, 0.7)),
    "relief": Look({"leaves": 0.25, "checks": 0.15, "stains": 0.2, "marble": 0.2, "poster": 0.2}, (0.4, 1.1),
        fitted=True, hue=(0.04, 0.13), saturation=(0, 0.35), value=(0.15, 0.8), contrast=(0.4, 1), dirt=(0.2, 0.6),
        bump=(0.4, 1)),
    "far facade": Look({"tiles": 0.6, "checks": 0.2, "bricks": 0.2}, (6, 16), hue=(0.01, 0.65), saturation=(0, 0.35),
        value=(0.2, 0.8), contrast=(0.3, 0.9), dirt=(0.1, 0.5)),
    "roof": Look({"tiles": 0.3, "bricks": 0.4, "stripes": 0.2, "noise": 0.1}, (0.8, 2.5), hue=(0, 0.07), saturation=(0,
        0.7), value=(0.08, 0.5), lean=1, contrast=(0.3, 0.9), dirt=(0.1, 0.5), bump=(0, 0.6)),
    "pane": Look({"tiles": 0.45, "noise": 0.35, "poster": 0.1, "stains": 0.1}, (0.5, 1.05), fitted=True, hue=SKY,
        saturation=(0, 0.3), value=(0.02, 0.3), lean=2, contrast=(0.2, 1), gloss=(0.3, 1), shininess=(40, 200)),
    "door": Look({"wood": 0.4, "planks": 0.3, "tiles": 0.15, "noise": 0.15}, (0.6, 1.5), saturation=(0, 0.7),
        value=(0.06, 0.8), vivid=0.15, contrast=(0.1, 0.8), gloss=(0, 0.4)),
    "car": Look({"noise": 1.0}, (0.5, 2), saturation=(0, 0.9), value=(0.03, 0.85), lean=3, vivid=0.25, contrast=(0,
        0.1), gloss=(0.5, 1), shininess=(60, 200)),
    "sign": Look({"text": 0.5, "stripes": 0.25, "poster": 0.25}, (0.6, 1.1), fitted=True, saturation=(0, 0.9),
        value=(0.3, 0.95), vivid=0.5, contrast=(0.5, 1), gloss=(0, 0.5)),
    "marking": Look({"noise": 0.6, "stains": 0.4}, (0.5, 2), **WHITE, contrast=(0.1, 0.5), dirt=(0.2, 0.7)),
    "clothes": Look({"fabric": 0.5, "noise": 0.3, "stripes": 0.2}, (0.2, 0.6), saturation=(0, 0.8), value=(0.03, 0.8),
        vivid=0.2, contrast=(0.1, 0.7)),
    "skin": Look({"noise": 1.0}, (0.1, 0.3), hue=(0.03, 0.08), saturation=(0.3, 0.6), value=(0.25, 0.8), lean=1,
        contrast=(0, 0.2)),
}  # fmt: skip

RANGES = (
    "tile",
    "hue",
    "saturation",
    "value",
    "contrast",
    "dirt",
    "bump",
    "gloss",
    "shininess",
    "emission",
)
OWNERS = 128


@lru_cache(maxsize=8)
def _tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of L looks: running chances ``[L,families]``, ranges ``[L,10,2]``, ``[L,4]`` fitted, vivid, lean, turned; and
    which families are cloudy ``[families]``.
    """
    looks = LOOKS.values()
    chances = torch.tensor([[look.textures.get(name, 0.0) for name in FAMILIES] for look in looks]).cumsum(-1)
    ranges = torch.tensor([[getattr(look, name) for name in RANGES] for look in looks], dtype=torch.float32)
    others = torch.tensor([[float(look.fitted), look.vivid, look.lean, look.turned] for look in looks])
    cloudy = torch.tensor([name in ("noise", "stains", "marble") for name in FAMILIES])
    return (chances / chances[:, -1:]).to(device), ranges.to(device), others.to(device), cloudy.to(device)


def draw_materials(draw: Draw, look: Tensor, own: Tensor, owner: Tensor, size: Tensor, per_family: int) -> Materials:
    """Materials of N slots in each of S scenes, ``look [S,N]`` of LOOKS.

    Slots of one look and one ``owner [S,N]`` are of the same material, but for those that have their ``own [S,N]``.
    ``size [S,N]`` is the longest side of the solid in metres, to which fitted textures are stretched.
    """
    chances, ranges, others, cloudy = _tables(look.device)
    scenes, count = look.shape
    common = draw.uniform(scenes, OWNERS, 20)
    row = (owner * 7 + look * 13) % OWNERS
    common = common.gather(1, row[..., None].expand(-1, -1, 20))
    u = torch.where(own[..., None], draw.uniform(scenes, count, 20), common)

    fitted, vivid, lean, turned = others[look].unbind(-1)
    values = ranges[look]
    values = values[..., 0] + u[..., :10] * (values[..., 1] - values[..., 0])
    tile, hue, _, value, contrast, dirt, bump, gloss, shininess, emission = values.unbind(-1)
    saturation = between(u[..., 2] ** lean, ranges[look][:, :, 2])
    any_colour = u[..., 10] < vivid
    hue = torch.where(any_colour, u[..., 11], hue) % 1
    saturation = torch.where(any_colour, 0.5 + 0.45 * u[..., 12], saturation)

    family = (u[..., 13, None] > chances[look]).sum(-1).clamp_max(len(FAMILIES) - 1)
    member = (u[..., 14] * per_family).long().clamp_max(per_family - 1)
    # Stains and clouds are fainter on most things than patterns that are meant to be seen.
    contrast = torch.where(cloudy[family], 0.45, 1.0) * contrast
    offset = torch.where(fitted[..., None] > 0, torch.full_like(u[..., 15:17], 0.5), u[..., 15:17])
    return Materials(
        texture=family * per_family + member,
        tile=torch.where(fitted > 0, tile * size, tile).clamp_min(0.01),
        angle=(2 * u[..., 17] - 1) * turned,
        offset=offset,
        tint=colour_of_hsv(hue, saturation, value),
        contrast=contrast,
        dirt=dirt,
        bump=bump,
        gloss=gloss,
        shininess=shininess,
        emission=emission,
    )
