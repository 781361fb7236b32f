"""Atlas: all textures with their smaller copies in one tensor, and the lookup that filters them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from recon.training.scenes import textures
from recon.training.scenes.intersect import unit
from recon.training.scenes.random import Draw

FAMILIES: tuple[str, ...] = (
    *("noise", "leaves", "checks", "stripes", "bricks", "tiles", "planks", "wood"),
    *("marble", "poster", "text", "fabric", "gravel", "foliage", "spines", "stains"),
)


@dataclass
class Atlas:
    """T textures, ``FAMILIES.index(family) * per_family + k``; all of them tile.

    Attributes:
        texels: ``[T * M] int32``; a texel is red, green, blue (linear, 0 to 255) and height, from the lowest bits
            upwards; each texture's M texels are those of its full size, then of half the size, down to one.
        per_family: textures of a family.
        size: pixels of a texture's side, a power of two.
    """

    texels: Tensor
    per_family: int
    size: int

    def image(self, texture: int) -> Tensor:
        """``[4,size,size]`` red, green, blue and height of a texture, 0..1."""
        texels = self.texels.view(-1, _length(self.size))[texture, : self.size**2].view(self.size, self.size)
        return torch.stack(_channels(texels)) / 255


@dataclass
class Texel:
    """What lookups find, each like their places.

    Attributes:
        colour: red, green, blue, 0..1.
        luminance: of the colour.
        slope_across: how the height (0..1) changes along u, per texel of the full size, times 4.
        slope_up: the same along v.
    """

    colour: tuple[Tensor, Tensor, Tensor]
    luminance: Tensor
    slope_across: Tensor
    slope_up: Tensor


def make_atlas(generator: torch.Generator, per_family: int, size: int) -> Atlas:
    """Draws all textures on the generator's device; ``size`` is a power of two."""
    draw = Draw(generator)
    length = _length(size)
    texels = torch.empty(len(FAMILIES), per_family, length, dtype=torch.int32, device=generator.device)
    for number, family in enumerate(FAMILIES):
        # Drawn at twice the size: the edges in them must not be jagged.
        images = _evened(functional.avg_pool2d(textures.PAINTERS[family](draw, per_family, 2 * size), 2))
        start = 0
        while True:
            side = images.shape[-1]
            red, green, blue, height = (images.clamp(0, 1) * 255).round().to(torch.int32).unbind(1)
            packed = red | (green << 8) | (blue << 16) | (height << 24)
            texels[number, :, start : start + side * side] = packed.flatten(1)
            start += side * side
            if side == 1:
                break
            images = functional.avg_pool2d(images, 2)
    return Atlas(texels.view(-1), per_family, size)


def lookup(atlas: Atlas, texture: Tensor, u: Tensor, v: Tensor, footprint: Tensor, bits: Tensor) -> Texel:
    """The textures at places, filtered over pixels.

    The copy of the right size is interpolated bilinearly; between two sizes chance decides, which over many rays is
    the trilinear filter at half the lookups.

    Args:
        atlas: the textures.
        texture: ``[...] int32``.
        u: ``[...]`` in tiles, any number.
        v: the same.
        footprint: ``[...]`` tiles that a pixel covers.
        bits: ``[...] int32``, random.
    """
    levels = atlas.size.bit_length() - 1
    level = torch.log2((footprint * atlas.size).clamp(0.5, 2.0**levels)) + unit(bits) - 0.25
    # (a NaN must not become an address)
    side = torch.exp2(-level.floor().nan_to_num(0).clamp(0, levels)) * atlas.size
    whole = side.to(torch.int32)
    x, y = (u - u.floor()) * side - 0.5, (v - v.floor()) * side - 0.5
    left, top = x.floor(), y.floor()
    x, y = x - left, y - top
    left, top = left.to(torch.int32), top.to(torch.int32)
    start = texture * _length(atlas.size) + (4 * (atlas.size * atlas.size - whole * whole)) // 3
    columns = [left & (whole - 1), (left + 1) & (whole - 1)]
    rows = [start + (top & (whole - 1)) * whole, start + ((top + 1) & (whole - 1)) * whole]
    corners = [_channels(atlas.texels[(row + column).long()]) for row in rows for column in columns]
    weights = [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y]
    red, green, blue = (
        (
            corners[0][c] * weights[0]
            + corners[1][c] * weights[1]
            + corners[2][c] * weights[2]
            + corners[3][c] * weights[3]
        )
        * (1 / 255)
        for c in range(3)
    )
    height = [corner[3] for corner in corners]
    scale = side * (4 / 255 / atlas.size)
    across = ((height[1] - height[0]) * (1 - y) + (height[3] - height[2]) * y) * scale
    up = ((height[2] - height[0]) * (1 - x) + (height[3] - height[1]) * x) * scale
    return Texel((red, green, blue), 0.2126 * red + 0.7152 * green + 0.0722 * blue, across, up)


def _evened(images: Tensor) -> Tensor:
    """The same, from painted values (as a screen shows them) to linear light of a mean luminance of about a half, so
    that a material's tint is its colour. Light spots are rolled off rather than cut.
    """
    colour, height = images[:, :3].clamp(0, 1) ** 2.2, images[:, 3:]
    gain = torch.ones_like(colour[:, :1, :1, :1])
    for _ in range(8):
        mean = (1 - torch.exp(-gain * colour)).mean((1, 2, 3), keepdim=True)
        gain = (gain * (0.48 / mean.clamp_min(0.02)) ** 1.3).clamp(0.2, 12)
    return torch.cat([1 - torch.exp(-gain * colour), height], 1)


def _channels(texels: Tensor) -> list[Tensor]:
    return [((texels >> shift) & 0xFF).to(torch.float32) for shift in (0, 8, 16, 24)]


def _length(size: int) -> int:
    return (4 * size * size - 1) // 3
