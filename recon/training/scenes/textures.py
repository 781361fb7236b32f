"""Textures: the painters of the atlas's families, each a few lines of statistics of what real surfaces look like.

A painter takes a ``Draw``, how many and their size, and gives ``[count,4,size,size]``: red, green, blue and height in
about 0..1. What it paints tiles without a seam: coordinates wrap around, and noise is made of whole waves.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from recon.training.scenes.painting import (
    Canvas,
    chosen,
    coloured,
    draw_palette,
    mix,
    natural_noise,
    per_cell,
    per_picture,
    places,
    power_law,
    soft_step,
    whole_per_picture,
)
from recon.training.scenes.random import Draw, colour_of_hsv


def noise(draw: Draw, count: int, size: int) -> Tensor:
    """Natural spectra: an amplitude of 1/f to a power of about one, in shades between a few related colours."""
    colours = draw_palette(draw, count, 3)
    waves = natural_noise(draw, count, 3, size, per_picture(draw, count, 0.7, 1.6)[:, None])
    first = soft_step(waves[:, 0], 0.6 * per_picture(draw, count, 0.5, 2))
    second = soft_step(waves[:, 1] - 0.7, per_picture(draw, count, 0.1, 1))
    image = mix(mix(colours[:, 0], colours[:, 1], first), colours[:, 2], second)
    return _with_height(image * (1 + 0.12 * waves[:, 2:3]))


def leaves(draw: Draw, count: int, size: int) -> Tensor:
    """Dead leaves: shapes of all sizes (numbers fall with the cube of the size) that hide each other."""
    canvas = Canvas(draw, count, size, draw_palette(draw, count, 1)[:, 0])
    waves = natural_noise(draw, count, 1, size, 1.0)[:, 0]
    palette = draw_palette(draw, count, 12, variety=0.5)
    for radius in power_law(draw, count, 380, 0.026, 0.35):
        ratio = draw.log_uniform(count, low=0.35, high=1)
        colour = chosen(draw, palette)
        canvas.paint(radius, ratio, colour, draw.uniform(count, low=0, high=0.14), waves, draw.chance(0.4, count))
    return canvas.image()


def checks(draw: Draw, count: int, size: int) -> Tensor:
    """A board of two colours, each field a little of its own, worn."""
    x, y = places(size, draw.device)
    fields = 2 * whole_per_picture(draw, count, 2, 7)
    column, row = (x * fields).floor(), (y * fields).floor()
    shade = per_cell(draw, count, column, row)
    colours = draw_palette(draw, count, 2, contrast=0.3)
    image = mix(colours[:, 0], colours[:, 1], ((column + row) % 2))
    return _worn(draw, image * (1 + 0.25 * (shade - 0.5))[:, None], size)


def stripes(draw: Draw, count: int, size: int) -> Tensor:
    """Bands of random widths and few colours, wavy or straight, thin ones between."""
    x, _ = places(size, draw.device)
    wave = (
        natural_noise(draw, count, 1, size, 1.8)[:, 0]
        * per_picture(draw, count, 0, 0.03)
        * (per_picture(draw, count) > 0.5)
    )
    bands = 32
    place = (((x + wave) % 1) * bands).floor() % bands
    # A band takes its left neighbour's colour more often than not, so that widths differ.
    own = draw.uniform(count, bands) < per_picture(draw, count, 0.15, 0.7)[:, 0]
    start = torch.where(own, torch.arange(bands, device=draw.device), 0).cummax(1).values
    number = start.gather(1, place.flatten(1).long()).view(place.shape)
    which = per_cell(draw, count, number, torch.zeros_like(number))
    palette = draw_palette(draw, count, 4, variety=0.25)
    index = (which * 4).long().clamp(0, 3)
    return _worn(draw, coloured(palette, index), size)


def bricks(draw: Draw, count: int, size: int) -> Tensor:
    """A wall in running bond: stones of one colour that differ, in mortar."""
    rows = 2 * whole_per_picture(draw, count, 3, 7)
    return _masonry(draw, count, size, rows, (rows * 0.5).floor().clamp_min(2), 0.5, 0.35, 0.035)


def tiles(draw: Draw, count: int, size: int) -> Tensor:
    """Square tiles with thin joints, some with a pattern."""
    rows = whole_per_picture(draw, count, 2, 6)
    image = _masonry(draw, count, size, rows, rows, 0.0, 0.12, 0.018)
    x, y = places(size, draw.device)
    a, b = (x * rows) % 1 - 0.5, (y * rows) % 1 - 0.5
    radius = per_picture(draw, count, 0.15, 0.5)
    ring = (torch.where(per_picture(draw, count) > 0.5, a.abs() + b.abs(), (a * a + b * b).sqrt()) - radius).abs()
    drawn = (ring < 0.06) & (per_picture(draw, count) > 0.5)
    image[:, :3] = torch.where(drawn[:, None], draw_palette(draw, count, 1)[:, 0], image[:, :3])
    return image


def planks(draw: Draw, count: int, size: int) -> Tensor:
    """Long boards with grain."""
    rows = 2 * whole_per_picture(draw, count, 2, 5)
    image = _masonry(draw, count, size, rows, torch.ones_like(rows), 0.37, 0.3, 0.012, wooden=True)
    grain = _grain(draw, count, size)
    image[:, :3] = image[:, :3] * (1 + 0.22 * grain[:, None])
    image[:, 3] = (image[:, 3] + 0.06 * grain).clamp(0, 1)
    return image


def wood(draw: Draw, count: int, size: int) -> Tensor:
    """Long fibres and the rings that a cut lays bare."""
    _, y = places(size, draw.device)
    bend = natural_noise(draw, count, 2, size, 2.0, stretch=3)
    rings = whole_per_picture(draw, count, 2, 9)
    phase = (y + 0.06 * bend[:, 0]) * rings
    ring = ((phase % 1) ** 2) * (1 - soft_step((phase % 1) - 0.92, 0.03))
    colours = draw_palette(draw, count, 2, contrast=0.2, wooden=True)
    image = mix(colours[:, 0], colours[:, 1], 0.8 * ring + 0.1 * bend[:, 1])
    return _with_height(image * (1 + 0.18 * _grain(draw, count, size)[:, None]))


def marble(draw: Draw, count: int, size: int) -> Tensor:
    """Veins where folded noise crosses zero, on clouds."""
    waves = natural_noise(draw, count, 3, size, 1.5)
    width = per_picture(draw, count, 0.03, 0.15)
    veins = torch.exp(-(waves[:, 0] / width).abs()) + 0.5 * torch.exp(-(waves[:, 1] / (0.4 * width)).abs())
    colours = draw_palette(draw, count, 3)
    image = mix(colours[:, 0], colours[:, 1], soft_step(waves[:, 2], 1.0))
    return _with_height(mix(image, colours[:, 2], veins.clamp(0, 1) * per_picture(draw, count, 0.3, 0.9)))


def poster(draw: Draw, count: int, size: int) -> Tensor:
    """Print: large fields within fields, and a picture of many shapes in some of them."""
    canvas = Canvas(draw, count, size, draw_palette(draw, count, 1)[:, 0])
    waves = natural_noise(draw, count, 1, size, 1.2)[:, 0]
    palette = draw_palette(draw, count, 6, variety=0.5, contrast=0.35)
    sizes = [draw.uniform(count, low=low, high=high) for low, high in ((0.2, 0.45), (0.12, 0.35), (0.06, 0.2))]
    for number in range(26):
        radius = sizes[min(number // 5, 2)] * draw.uniform(count, low=0.4, high=1)
        is_square = draw.chance(0.65, count)
        shade = draw.uniform(count, low=0, high=0.3) * draw.chance(0.5, count)
        straight = torch.zeros(count, device=draw.device)
        canvas.paint(radius, draw.log_uniform(count, low=0.2, high=1), chosen(draw, palette), shade, waves,
                     is_square, straight)  # fmt: skip
    picture = leaves(draw, count, size)[:, :3]
    x, y = places(size, draw.device)
    left, top = per_picture(draw, count, 0, 0.4), per_picture(draw, count, 0, 0.4)
    inside = (x > left) & (x < left + 0.55) & (y > top) & (y < top + 0.5) & (per_picture(draw, count) < 0.6)
    return _with_height(torch.where(inside[:, None], picture, canvas.image()[:, :3]))


def text(draw: Draw, count: int, size: int) -> Tensor:
    """Lines of marks like letters, of several sizes, in words and paragraphs, on paper."""
    x, y = places(size, draw.device)
    paper, ink = draw_palette(draw, count, 2, contrast=0.5).unbind(1)
    paper, ink = torch.maximum(paper, ink), torch.minimum(paper, ink)
    swap = (draw.uniform(count) < 0.2)[:, None, None, None]
    paper, ink = torch.where(swap, ink, paper), torch.where(swap, paper, ink)
    covered = torch.zeros(count, size, size, device=draw.device)
    for lines, low, high in ((6, 0.04, 0.3), (22, 0.3, 0.98)):
        columns = torch.full_like(per_picture(draw, count), float(lines)) * 1.4 // 1
        column, row = (x * columns).floor(), (y * lines).floor()
        inside_x, inside_y = (x * columns) % 1 * 4, ((y * lines) % 1 - 0.2) / 0.6 * 5
        is_letter = (per_cell(draw, count, column, row) > 0.2) & (inside_x < 3.4) & (inside_y > 0) & (inside_y < 5)
        # Strokes of a cell's few points, a letter of their own: half of them taken.
        stroke = per_cell(draw, count, column * 4 + inside_x.floor(), row * 5 + inside_y.floor().clamp(0, 4)) > 0.45
        ends = x < 0.55 + 0.42 * per_cell(draw, count, torch.zeros_like(row), row)
        block = (y > low) & (y < high) & (x > 0.05) & ends & (per_cell(draw, count, row * 0, row + 40) > 0.15)
        covered = torch.where(is_letter & stroke & block, 1.0, covered)
    return _worn(draw, mix(paper, ink, covered), size, 0.04)


def fabric(draw: Draw, count: int, size: int) -> Tensor:
    """Threads over and under each other, fine, with a coarse pattern and wear."""
    x, y = places(size, draw.device)
    threads = 4 * whole_per_picture(draw, count, 6, 16)
    warp, weft = torch.sin(math.tau * threads * x), torch.sin(math.tau * threads * y)
    over = ((x * threads).floor() + (y * threads).floor()) % 2
    height = 0.5 + 0.5 * torch.where(over > 0.5, warp, weft).abs()
    colours = draw_palette(draw, count, 3)
    blocks = whole_per_picture(draw, count, 2, 9)
    plaid = 0.5 * ((x * blocks) % 1 < per_picture(draw, count, 0.1, 0.6)) + 0.5 * ((y * blocks) % 1 < 0.35)
    plaid = plaid * (per_picture(draw, count) < 0.5)
    shade = natural_noise(draw, count, 1, size, 0.9)
    image = mix(mix(colours[:, 0], colours[:, 1], plaid), colours[:, 2], 0.35 * over)
    return torch.cat([image * (0.55 + 0.5 * height)[:, None] * (1 + 0.12 * shade), height[:, None]], 1)


def gravel(draw: Draw, count: int, size: int) -> Tensor:
    """Small stones, each lit from one side, of greys and browns: asphalt to pebbles."""
    base = draw_palette(draw, count, 8, variety=0.12)
    canvas = Canvas(draw, count, size, 0.4 * base[:, 0])
    waves = natural_noise(draw, count, 1, size, 0.4)[:, 0]
    scale = draw.log_uniform(count, low=0.6, high=1.3)
    for radius in power_law(draw, count, 360, 0.035, 0.1):
        canvas.paint(radius * scale, draw.uniform(count, low=0.6, high=1), chosen(draw, base),
                     draw.uniform(count, low=0, high=0.2), waves, draw.chance(0.15, count), domed=True)  # fmt: skip
    image = canvas.image()
    fine = natural_noise(draw, count, 1, size, 0.25)
    return torch.cat([image[:, :3] * (1 + 0.15 * fine), image[:, 3:]], 1)


def foliage(draw: Draw, count: int, size: int) -> Tensor:
    """Leaves over leaves down into the dark, green to brown, with a midrib."""
    hue = draw.uniform(count, 1, low=0.17, high=0.3) + draw.uniform(count, 8, low=-0.05, high=0.05)
    saturation = draw.uniform(count, 8, low=0.1, high=0.45)
    greens = colour_of_hsv(
        hue - draw.chance(0.2, count, 1) * 0.1, saturation, draw.uniform(count, 8, low=0.4, high=0.8)
    )
    canvas = Canvas(draw, count, size, 0.15 * greens[:, 0, :, None, None])
    waves = natural_noise(draw, count, 1, size, 1.0)[:, 0]
    scale = draw.log_uniform(count, low=0.6, high=1.6)
    total = 300
    for number, radius in enumerate(power_law(draw, count, total, 0.045, 0.13)):
        colour = chosen(draw, greens[..., None, None]) * (0.35 + 0.65 * number / total)
        ratio = draw.uniform(count, low=0.3, high=0.6)
        canvas.paint(radius * scale, ratio, colour, draw.uniform(count, low=0, high=0.15), waves,
                     draw.chance(0.0, count), domed=True, midrib=True)  # fmt: skip
    return canvas.image()


def spines(draw: Draw, count: int, size: int) -> Tensor:
    """Books in rows: upright backs of many widths, heights and colours, with titles and bands, on dark shelves."""
    x, y = places(size, draw.device)
    shelves = whole_per_picture(draw, count, 1, 3)
    shelf, up = (y * shelves).floor(), (y * shelves) % 1
    slots = 36
    start = torch.where(draw.uniform(count, slots) < 0.6, torch.arange(slots, device=draw.device), 0).cummax(1).values
    place = (x * slots).floor().expand(count, size, size)
    number = start.gather(1, place.flatten(1).long()).view(place.shape)
    edge = (x * slots) % 1 + place - number
    tall = 0.05 + 0.3 * per_cell(draw, count, number, shelf) ** 2
    palette = draw_palette(draw, count, 16, variety=0.6, contrast=0.3)
    index = (per_cell(draw, count, number, shelf) * 16).long().clamp(0, 15)
    image = coloured(palette, index)
    band = (up - 0.25 - 0.5 * per_cell(draw, count, number, shelf)).abs() < 0.04
    letter = per_cell(draw, count, (x * 3 * slots).floor(), (y * 90).floor()) > 0.45
    title = letter & (up > 0.45) & (up < 0.8) & (edge > 0.3) & (edge < 0.75)
    light = per_cell(draw, count, number, shelf)[:, None].expand_as(image)
    image = torch.where((band | title)[:, None], light, image)
    image = image * (0.65 + 0.35 * (edge * 4).clamp(0, 1))[:, None]
    return _worn(draw, torch.where(((up < tall) | (up > 0.96))[:, None], 0.05 * image, image), size, 0.05)


def stains(draw: Draw, count: int, size: int) -> Tensor:
    """Patches, drips and specks on an even ground, nearly grey."""
    waves = natural_noise(draw, count, 3, size, per_picture(draw, count, 1.1, 1.8)[:, None])
    patches = soft_step(waves[:, 0] - 0.4, per_picture(draw, count, 0.05, 0.5))
    drips = natural_noise(draw, count, 1, size, 1.4, stretch=-4)[:, 0]
    specks = soft_step(natural_noise(draw, count, 1, size, 0.3)[:, 0] - 2.2, 0.2)
    value = 0.68 - 0.4 * patches + 0.12 * waves[:, 1] + 0.1 * drips - 0.3 * specks
    hue = 1 + 0.06 * draw.uniform(count, 3, 1, 1, low=-1)
    return _with_height(value[:, None] * hue)


PAINTERS: dict[str, Callable[[Draw, int, int], Tensor]] = {
    painter.__name__: painter
    for painter in (
        *(noise, leaves, checks, stripes, bricks, tiles, planks, wood),
        *(marble, poster, text, fabric, gravel, foliage, spines, stains),
    )
}


def _masonry(
    draw: Draw, count: int, size: int, rows: Tensor, columns: Tensor, shift: float, variety: float, joint: float,
    wooden: bool = False,
) -> Tensor:  # fmt: skip
    """Stones of one colour, each with a shade, in joints that lie deeper."""
    x, y = places(size, draw.device)
    row = (y * rows).floor()
    along = x * columns + row * shift
    column = along.floor() % columns
    inside_x, inside_y = along % 1, (y * rows) % 1
    to_edge = torch.minimum(
        torch.minimum(inside_x, 1 - inside_x) / columns, torch.minimum(inside_y, 1 - inside_y) / rows
    )
    rough = 1 + 0.25 * natural_noise(draw, count, 1, size, 0.6)[:, 0]
    inside = soft_step(to_edge * rough * rows - joint * 2, 0.02)
    shade = per_cell(draw, count, column, row)
    colours = draw_palette(draw, count, 3, wooden=wooden)
    stone = mix(colours[:, 0], colours[:, 1], variety * shade) * (1 + variety * (shade - 0.5))[:, None]
    stone = stone * (1 + 0.1 * natural_noise(draw, count, 1, size, 0.7))
    mortar = (colours[:, 2] if not wooden else 0.2 * colours[:, 0]) * (
        1 + 0.06 * natural_noise(draw, count, 1, size, 0.3)
    )
    return torch.cat([mix(mortar, stone, inside), (0.3 + 0.4 * inside + 0.03 * rough)[:, None]], 1)


def _grain(draw: Draw, count: int, size: int) -> Tensor:
    """Fibres along x, mean 0 and deviation about 1."""
    return natural_noise(draw, count, 1, size, 0.6, stretch=16)[:, 0]


def _worn(draw: Draw, image: Tensor, size: int, strength: float = 0.08) -> Tensor:
    return _with_height(image * (1 + strength * natural_noise(draw, len(image), 1, size, 0.9)))


def _with_height(image: Tensor) -> Tensor:
    """The same with its own lightness as height."""
    return torch.cat([image, image.mean(1, keepdim=True).clamp(0, 1)], 1)
