"""Painting: what the painters of textures share: shapes on a canvas, noise of natural spectra, palettes, cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.training.scenes.random import Draw, colour_of_hsv


class Canvas:
    """Pictures onto which shapes are painted one over the other."""

    def __init__(self, draw: Draw, count: int, size: int, ground: Tensor):
        self.draw = draw
        self.x, self.y = places(size, draw.device)
        self.colour = ground.expand(count, 3, size, size).clone()
        self.height = torch.zeros(count, size, size, device=draw.device)

    def paint(
        self, radius: Tensor, ratio: Tensor, colour: Tensor, shade: Tensor, waves: Tensor, is_square: Tensor,
        angle: Tensor | None = None, domed: bool = False, midrib: bool = False,
    ) -> None:  # fmt: skip
        """One oval or rectangle a picture: ``[count]`` each, colour ``[count,3,1,1]``, at a random place and turn."""
        count = len(radius)
        angle = self.draw.uniform(count, high=math.tau) if angle is None else angle
        across, down = self.draw.uniform(2, count, 1, 1)
        dx, dy = (self.x - across + 0.5) % 1 - 0.5, (self.y - down + 0.5) % 1 - 0.5
        cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
        a = (dx * cosine + dy * sine) / radius[:, None, None]
        b = (dy * cosine - dx * sine) / (radius * ratio)[:, None, None]
        round_one = a * a + b * b
        reach = torch.where(is_square[:, None, None], torch.maximum(a.abs(), b.abs()) ** 2, round_one)
        inside = reach < 1
        tone = 1 + shade[:, None, None] * waves
        if domed:
            tone = tone * (0.72 + 0.38 * (1 - round_one).clamp(0, 1).sqrt() + 0.2 * a.clamp(-1, 1))
        if midrib:
            tone = tone * (1 + 0.35 * (b.abs() < 0.1)) * (1 + 0.12 * (b > 0))
        self.colour = torch.where(inside[:, None], colour * tone[:, None], self.colour)
        level = 0.35 + 0.5 * (1 - round_one).clamp(0, 1).sqrt() if domed else 0.4 + 0.3 * tone
        self.height = torch.where(inside, level, self.height)

    def image(self) -> Tensor:
        """``[count,4,size,size]``."""
        return torch.cat([self.colour, self.height[:, None]], 1)


def natural_noise(draw: Draw, count: int, fields: int, size: int, power: float | Tensor, stretch: float = 1) -> Tensor:
    """``[count,fields,size,size]`` noise whose amplitude falls with the frequency to a power, deviation 1.

    Args:
        draw: where chance comes from.
        count: how many pictures.
        fields: of each.
        size: pixels.
        power: of the frequency, one for all or ``[count,1,1,1]``.
        stretch: how much longer than wide structures are along x (negative: along y).
    """
    rows = torch.fft.fftfreq(size, 1 / size, device=draw.device)[:, None]
    columns = torch.fft.rfftfreq(size, 1 / size, device=draw.device)[None]
    rows, columns = (rows, columns * stretch) if stretch > 0 else (rows * -stretch, columns)
    frequency = (rows.square() + columns.square()).sqrt().clamp_min(1)
    amplitude = torch.exp(-torch.log(frequency) * power)
    amplitude = amplitude * ((rows != 0) | (columns != 0))
    spectrum = torch.fft.rfft2(draw.normal(count, fields, size, size)) * amplitude
    field = torch.fft.irfft2(spectrum, s=(size, size))
    return field / field.std((-2, -1), keepdim=True).clamp_min(1e-6)


def draw_palette(
    draw: Draw, count: int, colours: int, variety: float = 0.08, contrast: float = 0.16, wooden: bool = False
) -> Tensor:
    """``[count,colours,3,1,1]``: hues that differ by ``variety`` of the circle, values by ``contrast``."""
    # Most things made are between red and yellow, some are blue, few are anything.
    kind, tone = draw.uniform(count, 1), draw.normal(count, 1)
    hue = torch.where(
        kind < 0.5, 0.09 + 0.05 * tone, torch.where(kind < 0.7, 0.58 + 0.06 * tone, draw.uniform(count, 1))
    )
    hue = hue + variety * draw.normal(count, colours)
    saturation = 0.55 * draw.uniform(count, 1) ** 1.7 * draw.uniform(count, colours, low=0.5, high=1.2)
    if wooden:
        hue = 0.08 + 0.02 * draw.normal(count, colours)
        saturation = draw.uniform(count, 1, low=0.25, high=0.65).expand(count, colours)
    value = draw.uniform(count, 1, low=0.4, high=0.8) + contrast * draw.normal(count, colours)
    return colour_of_hsv(hue, saturation.clamp(0, 1), value.clamp(0.06, 0.97))[..., None, None]


def chosen(draw: Draw, palette: Tensor) -> Tensor:
    """``[count,3,1,1]``: one of each palette ``[count,n,3,1,1]``."""
    count, colours = palette.shape[:2]
    index = (draw.uniform(count) * colours).long().clamp_max(colours - 1)
    return palette[torch.arange(count, device=draw.device), index]


def coloured(palette: Tensor, index: Tensor) -> Tensor:
    """``[count,3,size,size]`` of a palette ``[count,n,3,1,1]`` and the number of each pixel's colour."""
    picture = torch.arange(len(palette), device=palette.device)[:, None, None]
    return palette[picture, index][..., 0, 0].permute(0, 3, 1, 2)


def power_law(draw: Draw, count: int, shapes: int, low: float, high: float) -> Tensor:
    """``[shapes,count]`` radii whose density falls with the cube."""
    chance = draw.uniform(shapes, count)
    return 1 / ((1 - chance) / low**2 + chance / high**2).sqrt()


def places(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x ``[1,1,size]`` and y ``[1,size,1]`` of the pixels, 0..1."""
    place = (torch.arange(size, device=device) + 0.5) / size
    return place[None, None, :], place[None, :, None]


def per_cell(draw: Draw, count: int, column: Tensor, row: Tensor) -> Tensor:
    """A number 0..1 of each cell's own, the same for the same cell."""
    side = 128
    table = draw.uniform(count, side * side)
    index = (row.remainder(side) * side + column.remainder(side)).long()
    index = index.expand(count, *torch.broadcast_shapes(column.shape, row.shape)[1:])
    return table.gather(1, index.flatten(1)).view(index.shape)


def per_picture(draw: Draw, count: int, low: float = 0, high: float = 1) -> Tensor:
    """``[count,1,1]``, a number of each picture's own."""
    return draw.uniform(count, 1, 1, low=low, high=high)


def whole_per_picture(draw: Draw, count: int, low: int, high: int) -> Tensor:
    """``[count,1,1]``, a whole number of each picture's own, both ends included."""
    return per_picture(draw, count, low, high + 1).floor().clamp(low, high)


def soft_step(value: Tensor, width: Tensor | float) -> Tensor:
    """From 0 to 1 where a value crosses 0, within about ``width`` to both sides."""
    return torch.sigmoid(value * 2 / (width + 1e-3))


def mix(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Colours ``[count,3,1,1]`` or pictures, mixed by ``[count,size,size]``."""
    return first + (second - first) * share.unsqueeze(1)
