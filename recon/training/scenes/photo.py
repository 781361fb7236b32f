"""Photography: from the light that reaches a lens to the picture that a camera stores.

`draw_look` decides by chance what camera and what hand took each picture, `develop` does the work without any chance,
so that it compiles; `photograph` is both. In the order of the light's way: glare and bloom, lens and motion blur,
exposure, noise, tone curve, colours, sharpening, JPEG.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from recon.training.scenes.random import Draw
from recon.training.scenes.render import compiled

_KERNEL = 9
_BRIGHTEST = 60.0
_AT_ONCE = 48


@dataclass
class Look:
    """How each of N pictures is taken; one number a picture where no shape is given.

    Attributes:
        black: light that is taken for none.
        exposure: ``[N,3]`` factor of the light beyond that, with the white balance in it.
        blur: ``[N,3,9,9]`` kernels of lens, focus and motion, one a channel.
        bloom: share of the light beyond white that spreads around it.
        veil: share of the mean light that lies over everything.
        fringe: ``[N,3]`` pixels by which a channel is magnified at the picture's corner.
        vignette: share of light lost in the corners.
        shot: variance of the noise over the light.
        read: deviation of the noise in the dark.
        noise: ``[N,3,H,W]`` of unit deviation.
        blotches: ``[N,3,H/8,W/8]`` of unit deviation, coarse noise in the colours.
        blotch: deviation of it over the root of the light.
        clipped: share of the tone curve that clips.
        filmic: share of it that bends to white by 1 - exp(-x); the rest is x (1 + x / 16) / (1 + x), Reinhard et al.
            2002, eq. 4.
        gamma: exponent from light to stored value.
        contrast: around the middle grey.
        brightness: added.
        saturation: 0 is grey.
        sharpen: strength of the unsharp mask.
        step: quantisation of JPEG's lowest frequency, in 0..1.
    """

    black: Tensor
    exposure: Tensor
    blur: Tensor
    bloom: Tensor
    veil: Tensor
    fringe: Tensor
    vignette: Tensor
    shot: Tensor
    read: Tensor
    noise: Tensor
    blotches: Tensor
    blotch: Tensor
    clipped: Tensor
    filmic: Tensor
    gamma: Tensor
    contrast: Tensor
    brightness: Tensor
    saturation: Tensor
    sharpen: Tensor
    step: Tensor


@torch.no_grad()
def photograph(light: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures ``[S,V,3,H,W]`` in 0..1 of linear light of the same shape; height and width are multiples of 8."""
    look, light_of = draw_look(light, generator), light.flatten(0, 1)
    if light.device.type != "cuda":
        return develop(light_of, look).view(light.shape)
    # Ever as many at a time, the last ones filled up: one compiled version does for any number of scenes and views.
    pictures = len(light_of)
    parts = []
    for start in range(0, pictures, _AT_ONCE):
        rows = torch.arange(start, start + _AT_ONCE, device=light.device).clamp_max(pictures - 1)
        some = Look(*(getattr(look, each.name)[rows] for each in fields(Look)))
        parts.append(compiled(develop)(light_of[rows], some))
    return torch.cat(parts)[:pictures].view(light.shape)


@torch.no_grad()
def draw_look(light: Tensor, generator: torch.Generator) -> Look:
    """Cameras and hands for the views of scenes ``[S,V,3,H,W]``: one of each a scene, with moods from view to view."""
    scenes, views, _, height, width = light.shape
    draw = Draw(generator)
    one, each, pictures = (scenes, 1), (scenes, views), scenes * views

    def share(probability: float, values: Tensor, otherwise: float = 0.0) -> Tensor:
        return torch.where(draw.chance(probability, *one), values, otherwise)

    def flat(values: Tensor) -> Tensor:
        return values.expand(scenes, views, *values.shape[2:]).flatten(0, 1)

    dark = draw.chance(0.15, *one)
    black, exposure = _exposure(light, dark, draw)
    noise = torch.where(dark, draw.log_uniform(*one, low=8e-4, high=0.018), draw.log_uniform(*one, low=1e-5, high=1e-3))
    curve = draw.uniform(*one)
    ends = 1 - torch.arange(3, device=draw.device)
    contrast = draw.uniform(*one, low=0.95, high=1.45)
    contrast = torch.where(draw.chance(0.35, *one), contrast + 0.5, contrast)
    return Look(
        black=flat(black),
        exposure=flat(exposure),
        blur=flat(_blur_kernels(scenes, views, draw)),
        bloom=flat(share(0.4, 0.5 * draw.uniform(*one) ** 2)),
        veil=flat(share(0.15, 0.4 * draw.uniform(*one) ** 2) * draw.uniform(*each)),
        fringe=flat(share(0.4, 0.35 * draw.normal(*one))[..., None] * ends),
        vignette=flat(draw.uniform(*one, low=-0.4, high=0.55).clamp_min(0)),
        shot=flat(noise),
        read=flat(noise * draw.log_uniform(*one, low=0.1, high=1.0)),
        noise=draw.normal(pictures, 3, height, width),
        blotches=draw.normal(pictures, 3, height // 8, width // 8),
        blotch=flat(dark * draw.uniform(*one) ** 2 * 0.04),
        clipped=flat((curve < 0.5).float() + (curve - 0.8).clamp_min(0) * 2.5),
        filmic=flat(((curve >= 0.5) & (curve < 0.8)).float()),
        gamma=flat(torch.exp(0.15 * draw.normal(*one)) / 2.2),
        contrast=flat(contrast),
        brightness=flat(0.04 * draw.normal(*one) + 0.02 * draw.normal(*each)),
        saturation=flat(share(0.91, draw.uniform(*one, low=0.7, high=1.6))),
        sharpen=flat(share(0.6, draw.uniform(*one, low=0.2, high=1.8))),
        step=flat(share(0.5, 4e-3 + 0.1 * draw.uniform(*one) ** 3, 2e-3)),
    )


def _exposure(light: Tensor, dark: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Black ``[S,V]`` and exposure ``[S,V,3]``: what a camera decides on, more or less anew for every view."""
    scenes, views = light.shape[:2]
    sample = light[..., 4::8, 4::8].nan_to_num(0, _BRIGHTEST, 0).clamp(0, _BRIGHTEST).mean(2).flatten(2)
    sample = sample.sort(-1).values
    black = sample[..., int(0.02 * sample.shape[-1])] * draw.uniform(scenes, 1, low=0.3, high=0.95)
    sample = (sample - black[..., None]).clamp_min(0)
    # The mean of roots, not of the light: a window or a lamp in the picture must not turn all the rest black.
    middle = 4.5 * sample.sqrt().mean(-1).square()
    bright = 1.2 * sample[..., int(0.96 * sample.shape[-1])]
    for_bright = draw.uniform(scenes, 1) * 0.7
    metered = (middle.clamp_min(5e-3).log() * (1 - for_bright) + bright.clamp_min(5e-3).log() * for_bright).exp()
    anew = draw.uniform(scenes, 1)
    metered = metered**anew * metered.mean(1, keepdim=True) ** (1 - anew)
    stops = draw.normal(scenes, 1) * 0.35 - dark * draw.uniform(scenes, 1, high=0.6) + draw.normal(scenes, views) * 0.12
    warmth = draw.normal(scenes, 1) * 0.12 + draw.normal(scenes, views) * 0.03
    tint = (draw.normal(scenes, 1) * 0.05).expand_as(warmth)
    balance = torch.stack([warmth, tint, -warmth], -1)
    return black, torch.exp(stops[..., None] + balance) / metered[..., None]


def _blur_kernels(scenes: int, views: int, draw: Draw) -> Tensor:
    """``[S,V,3,9,9]``: a soft-edged capsule each, whose radius is the defocus and whose axis is the motion."""
    one, each = (scenes, 1), (scenes, views)
    shaky = draw.chance(0.3, *one) & draw.chance(0.6, *each)
    length = torch.where(shaky, draw.log_uniform(*each, low=0.7, high=7.0), 0.0)
    angle = draw.uniform(*each, high=2 * math.pi)
    radius = torch.where(draw.chance(0.12, *one), draw.uniform(*each, high=2.0), 0.0)
    crisp = draw.uniform(*one, low=0.25, high=0.42)
    soft = torch.where(draw.chance(0.35, *one), draw.uniform(*one, low=0.45, high=0.9), crisp)
    # Red and blue focus a little before and behind green.
    by_channel = torch.exp(draw.normal(scenes, 1, 3) * draw.chance(0.3, *one)[..., None] * 0.25)
    sigma = (soft[..., None] * by_channel).clamp_min(0.25)

    reach = torch.arange(_KERNEL, device=draw.device, dtype=torch.float32) - _KERNEL // 2
    y, x = reach[:, None], reach[None, :]
    cosine, sine, half = angle.cos()[..., None, None], angle.sin()[..., None, None], length[..., None, None] / 2
    beyond = ((x * cosine + y * sine).abs() - half).clamp_min(0)
    distance = (torch.hypot(beyond, y * cosine - x * sine) - radius[..., None, None]).clamp_min(0)
    kernel = torch.exp(-0.5 * (distance[:, :, None] / sigma[..., None, None]) ** 2)
    return kernel / kernel.sum((-1, -2), keepdim=True)


def develop(light: Tensor, look: Look) -> Tensor:
    """Pictures ``[N,3,H,W]`` in 0..1 of linear light of the same shape; nothing here is left to chance."""
    x = light.nan_to_num(0, _BRIGHTEST, 0).clamp_max(_BRIGHTEST) - _column(look.black)
    x = x.clamp_min(0) * look.exposure[..., None, None]
    x = _glare(x, look)
    x = _lens(x, look)
    x = _sensor(x, look)
    x = _tone(x, look)
    return jpeg(_sharpened(x, look).clamp(0, 1), look.step).clamp(0, 1)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _glare(x: Tensor, look: Look) -> Tensor:
    """What is brighter than white spreads, near and far; and the mean light lies over everything as a veil."""
    coarse = F.avg_pool2d((x - 0.8).clamp(0, 8), 8)
    near, far = _smooth(coarse, 1.0), _smooth(coarse, 5.0)
    bloom = F.interpolate(near * 0.6 + far * 0.4, scale_factor=8.0, mode="bilinear", align_corners=False)
    veil = x.clamp_max(4).mean((2, 3), keepdim=True)
    return x + _column(look.bloom) * bloom + _column(look.veil) * (veil - 0.5 * x)


def _smooth(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of small pictures by one matrix a side; light that would leave the picture stays in it."""
    for axis in (-1, -2):
        at = torch.arange(x.shape[axis], device=x.device, dtype=x.dtype)
        weights = torch.softmax(-0.5 * ((at[:, None] - at[None, :]) / sigma) ** 2, -1)
        x = (x.transpose(axis, -1) @ weights.T).transpose(axis, -1)
    return x


def _lens(x: Tensor, look: Look) -> Tensor:
    """Vignette, blur, and a magnification that differs between the channels."""
    count, channels, height, width = x.shape
    across = torch.linspace(-1, 1, width, device=x.device) / math.sqrt(2)
    down = torch.linspace(-1, 1, height, device=x.device)[:, None] / math.sqrt(2)
    x = x * (1 - _column(look.vignette) * (across**2 + down**2))
    margin = _KERNEL // 2
    padded = F.pad(x, (margin, margin, margin, margin), mode="replicate").flatten(0, 1)[None]
    x = F.conv2d(padded, look.blur.flatten(0, 1)[:, None], groups=count * channels)[0].view(x.shape)
    # A magnification of less than a pixel is its first-order change: the slope along the way from the centre.
    near = F.pad(x, (1, 1, 1, 1), mode="replicate")
    slope_x = (near[..., 1:-1, 2:] - near[..., 1:-1, :-2]) / 2
    slope_y = (near[..., 2:, 1:-1] - near[..., :-2, 1:-1]) / 2
    return (x - look.fringe[..., None, None] * (slope_x * across + slope_y * down)).clamp_min(0)


def _sensor(x: Tensor, look: Look) -> Tensor:
    """Shot noise grows with the root of the light, read noise is always there; colours are noisy in blotches."""
    shot = _column(look.shot) * x.clamp_max(2)
    x = x + look.noise * torch.sqrt(shot + _column(look.read) ** 2)
    blotches = F.interpolate(look.blotches, scale_factor=8.0, mode="bilinear", align_corners=False)
    return x + _column(look.blotch) * torch.sqrt(x.clamp(0, 1) + 0.01) * (blotches - blotches.mean(1, keepdim=True))


def _tone(x: Tensor, look: Look) -> Tensor:
    """Curve, gamma, contrast and saturation."""
    x = x.clamp_min(1e-5)
    clipped, filmic = _column(look.clipped), _column(look.filmic)
    reinhard = x * (1 + x / 16) / (1 + x) * 1.4
    x = clipped * x.clamp_max(1) + filmic * (1 - torch.exp(-1.4 * x)) + (1 - clipped - filmic) * reinhard.clamp_max(1)
    x = x.clamp_min(1e-5) ** _column(look.gamma)
    x = (x - 0.5) * _column(look.contrast) + 0.5 + _column(look.brightness)
    grey = x.mean(1, keepdim=True)
    return grey + (x - grey) * _column(look.saturation)


def _sharpened(x: Tensor, look: Look) -> Tensor:
    """Unsharp mask, halos included."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    soft = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16
    return x + (x - soft) * _column(look.sharpen)


def jpeg(x: Tensor, step: Tensor) -> Tensor:
    """JPEG's loss: ``[N,3,H,W]`` in 0..1 quantised in blocks of 8 by 8 frequencies of luma and chroma.

    ``step [N]`` is the quantisation of luma's lowest frequency; it grows with the frequency, and chroma's is twice as
    coarse, its upper half of frequencies far coarser (as colours are stored at half the resolution).
    """
    count, _, height, width = x.shape
    at = torch.arange(8, device=x.device, dtype=x.dtype)
    cosines = torch.cos((2 * at + 1) * at[:, None] * (math.pi / 16)) / 2
    cosines = torch.where(at[:, None] == 0, cosines / math.sqrt(2), cosines)
    transform = torch.kron(cosines, cosines)
    growth = 1 + 0.6 * (at[:, None] + at)
    half = torch.where(torch.maximum(at[:, None], at.expand(8, 8)) >= 4, 4.0, 1.0)
    growth = torch.stack([growth, 2 * growth * half, 2 * growth * half]).flatten(1)
    step = growth[..., None] * step[:, None, None, None]

    red, green, blue = x.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    ycc = torch.stack([luma, (blue - luma) * 0.564, (red - luma) * 0.713], 1)
    blocks = F.pixel_unshuffle(ycc, 8).view(count, 3, 64, -1)
    blocks = transform.T @ (torch.round(transform @ blocks / step) * step)
    luma, cb, cr = F.pixel_shuffle(blocks.reshape(count, 192, height // 8, width // 8), 8).unbind(1)
    return torch.stack([luma + 1.402 * cr, luma - 0.344 * cb - 0.714 * cr, luma + 1.772 * cb], 1)
