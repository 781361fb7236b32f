"""Lights: lamps in rooms and light from windows, the sun under blue and cloudy skies, dusk, haze."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recon.training.scenes.random import Draw, colour_of_hsv
from recon.training.scenes.world import Lights


def _tinted(draw: Draw, scenes: int, hue: Tensor, saturation: float, strength: Tensor) -> Tensor:
    """Light ``[S,3]`` of about one hue, at most so saturated."""
    hue = (hue + 0.03 * draw.normal(scenes)) % 1
    return colour_of_hsv(hue, draw.uniform(scenes) * saturation, torch.ones_like(hue)) * strength[:, None]


def draw_lights(draw: Draw, walled: Tensor, centre: Tensor, half_size: Tensor, extent: Tensor) -> Lights:
    """Light for S scenes.

    Args:
        walled: ``[S] bool``, a room stands around the scene: its light is a lamp, or comes in from one side.
        centre: ``[S,3]`` of the room.
        half_size: ``[S,3]`` of the room, and about what is lit where there is none.
        extent: ``[S]`` metres in which haze could show.
    """
    scenes = len(extent)
    warm, blue = torch.full_like(extent, 0.09), torch.full_like(extent, 0.6)

    # Indoors: much light from everywhere, a lamp; a third of the rooms is lit from a side, as by windows.
    place = draw.uniform(scenes, 3, low=-0.7, high=0.7)
    side = F.normalize(draw.normal(scenes, 2), dim=-1) * 0.9
    by_window = draw.chance(0.35, scenes)[:, None]
    place = torch.where(by_window, torch.cat([side, draw.uniform(scenes, 1, low=-0.1, high=0.5)], -1), place)
    height = torch.where(by_window[:, 0], place[:, 2], draw.uniform(scenes, low=0.35, high=0.85))
    lamp = centre + torch.cat([place[:, :2], height[:, None]], -1) * half_size
    reach = half_size.norm(dim=-1) * draw.log_uniform(scenes, low=0.5, high=2.0)
    lamp_colour = _tinted(
        draw, scenes, torch.where(by_window[:, 0], blue, warm), 0.35, draw.log_uniform(scenes, low=0.25, high=1.4)
    )
    dim = draw.log_uniform(scenes, low=0.28, high=0.9)
    lamp_up = _tinted(draw, scenes, warm, 0.25, dim)
    lamp_down = lamp_up * draw.uniform(scenes, 1, low=0.35, high=0.9)

    # Outdoors: a cloudless or cloudy day, an overcast one, or dusk.
    day = draw.pick(torch.tensor([0.6, 0.87, 1.0], device=draw.device).expand(scenes, 3))
    clear, overcast, dusk = (day == kind for kind in range(3))
    sun_height = torch.where(dusk, draw.uniform(scenes, low=0.05, high=0.3), draw.uniform(scenes, low=0.25, high=2.2))
    sun = F.normalize(torch.cat([F.normalize(draw.normal(scenes, 2), dim=-1), sun_height[:, None]], -1), dim=-1)
    strength = torch.where(clear, draw.uniform(scenes, low=0.8, high=2.2), draw.uniform(scenes, low=0.0, high=0.15))
    strength = torch.where(dusk, draw.uniform(scenes, low=0.1, high=0.7), strength)
    sun_colour = _tinted(draw, scenes, warm, 0.25, strength) * torch.where(
        dusk[:, None], lamp_colour.new_tensor([1.0, 0.7, 0.45]), 1.0
    )
    around = torch.where(clear, draw.uniform(scenes, low=0.3, high=0.7), draw.uniform(scenes, low=0.5, high=0.9))
    around = torch.where(dusk, draw.uniform(scenes, low=0.2, high=0.5), around)
    sky_up = _tinted(draw, scenes, blue, 0.3, around)
    sky_down = sky_up * draw.uniform(scenes, 1, low=0.45, high=0.9)

    sky = draw.uniform(scenes, low=0.5, high=1.3) * torch.where(dusk, 0.5, 1.0)
    blueness = torch.where(overcast, draw.uniform(scenes, high=0.12), draw.uniform(scenes, low=0.35, high=0.85))
    zenith = colour_of_hsv(draw.uniform(scenes, low=0.55, high=0.63), blueness, sky)
    horizon = colour_of_hsv(
        torch.where(dusk, draw.uniform(scenes, low=0.03, high=0.12), draw.uniform(scenes, low=0.53, high=0.62)),
        torch.where(dusk, draw.uniform(scenes, high=0.5), blueness * draw.uniform(scenes, high=0.6)),
        sky * draw.uniform(scenes, low=0.9, high=1.3),
    )
    hazy = torch.where(walled, 0.03, 0.2)
    haze = draw.chance(hazy, scenes) * draw.uniform(scenes) ** 2 * 0.25 / extent.clamp_min(1)
    clouds = torch.where(overcast, draw.uniform(scenes), draw.uniform(scenes) * draw.chance(0.6, scenes))

    inside = walled[:, None]
    return Lights(
        ambient_up=torch.where(inside, lamp_up, sky_up),
        ambient_down=torch.where(inside, lamp_down, sky_down),
        key=torch.where(inside, lamp, sun),
        key_is_lamp=walled,
        key_reach=reach,
        key_colour=torch.where(inside, lamp_colour, sun_colour),
        fill=F.normalize(draw.normal(scenes, 3) + lamp.new_tensor([0.0, 0.0, 0.5]), dim=-1),
        fill_colour=_tinted(
            draw, scenes, draw.uniform(scenes), 0.2, draw.uniform(scenes) ** 2 * torch.where(walled, 0.4, 0.15)
        ),
        zenith=zenith,
        horizon=horizon,
        clouds=clouds,
        haze=haze,
    )
