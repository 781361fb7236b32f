"""3D Gaussians to pictures, in plain PyTorch, differentiable (Kerbl et al. 2023, section 4 and 6; EWA: Zwicker 2001).

A Gaussian becomes a small ellipse in the picture; ellipses are blended front to back. Anything that Gaussians carry is
blended alike: colours, depth, what class they are of.

The work is on pairs of a pixel and a Gaussian that reaches it, so its time and memory go with the area of all ellipses,
whatever the size of the picture. Gaussians come in order of depth, in chunks of about `PAIRS` pairs; each chunk begins
with the light that those before left to each pixel, and pixels without light take part in none. On CUDA gsplat does
it, where it is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from recon.spherical_harmonics import colours

if TYPE_CHECKING:
    from recon.scene import Gaussians

PAIRS = 4_000_000  # of a chunk, about 100 bytes each
DILATION = 0.3  # added to the variance of an ellipse, pixels squared: none falls between pixels
FAINTEST = 1 / 255  # alpha that is blended
DARKNESS = math.log(1e-4)  # logarithm of the share of light that ends the blending of a pixel
TILE = 16  # pixels, of `INRIA`


@dataclass(frozen=True)
class Rules:
    """Where two widespread rasterisers differ.

    Attributes:
        largest_alpha: of one Gaussian at one pixel.
        near: what is nearer is left out, in units of the world.
        margin: how far outside of the picture an ellipse's shape is still computed where it is, as a share of the
            picture's half size (`centred`) or of its size.
        centred: the principal point counts as the picture's centre, and the field of view is measured between the
            rays of opposite edges.
        deviations: an ellipse ends after so many of its largest deviation, rounded up to tiles of `TILE` pixels; None
            for where it is too faint.
        harmonics: at most so many are read.
    """

    largest_alpha: float
    near: float
    margin: float
    centred: bool = False
    deviations: float | None = None
    harmonics: int = 25


GSPLAT = Rules(largest_alpha=0.999, near=0.01, margin=0.15)
INRIA = Rules(largest_alpha=0.99, near=0.2, margin=0.3, centred=True, deviations=3.0, harmonics=16)


@dataclass(frozen=True)
class Splats:
    """N Gaussians as tensors, in the world.

    Attributes:
        means: ``[N,3]``.
        covariances: ``[N,3,3]``.
        opacities: ``[N]`` in 0..1.
    """

    means: Tensor
    covariances: Tensor
    opacities: Tensor


@dataclass(frozen=True)
class Rendered:
    """What V cameras see.

    Attributes:
        features: ``[V,H,W,C]``, over black.
        depth: ``[V,H,W]``, blended like a colour: not divided by ``alpha``.
        alpha: ``[V,H,W]``, what is covered.
    """

    features: Tensor
    depth: Tensor
    alpha: Tensor


def splats(gaussians: Gaussians, device: torch.device | str = "cpu") -> Splats:
    """A scene's Gaussians as tensors."""
    means, scales, rotations, opacities = (
        torch.as_tensor(part, device=device)
        for part in (gaussians.means, gaussians.scales, gaussians.rotations, gaussians.opacities)
    )
    return Splats(means, covariances(scales, rotations), opacities)


def covariances(scales: Tensor, rotations: Tensor) -> Tensor:
    """``[...,3,3]`` of scales ``[...,3]`` and unit quaternions wxyz ``[...,4]``."""
    w, x, y, z = rotations.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    axes = torch.stack(rows, -1).unflatten(-1, (3, 3)) * scales[..., None, :]
    return axes @ axes.mT


def render(
    splats: Splats,
    features: Tensor,
    intrinsics: Tensor,
    world_from_camera: Tensor,
    size: tuple[int, int],
    rules: Rules = GSPLAT,
) -> Rendered:
    """Pictures of what Gaussians carry.

    Args:
        splats: N of them.
        features: ``[N,C]``, or ``[V,N,C]`` where they look different to each camera.
        intrinsics: ``[V,3,3]`` in pixels.
        world_from_camera: ``[V,4,4]``, rigid.
        size: ``(width, height)`` of the pictures.
        rules: of which rasteriser.
    """
    given = features if features.ndim == 3 else features.expand(len(intrinsics), -1, -1)
    quick = rules == GSPLAT and splats.means.is_cuda and splats.means.dtype == torch.float32
    if quick and (rasterize := _gsplat()) is not None:
        return _render_fast(rasterize, splats, given, intrinsics, world_from_camera, size)
    views = [
        _blend(_project(splats, matrix, pose, size, rules), each, size, rules)
        for matrix, pose, each in zip(intrinsics, world_from_camera, given, strict=True)
    ]
    blended = torch.stack(views)
    return Rendered(blended[..., :-2], blended[..., -2], blended[..., -1])


def render_colours(
    splats: Splats,
    harmonics: Tensor,
    intrinsics: Tensor,
    world_from_camera: Tensor,
    size: tuple[int, int],
    rules: Rules = GSPLAT,
) -> Rendered:
    """As `render`, of colours in 0..1 given as spherical harmonics ``[N,3,K]``."""
    directions = functional.normalize(splats.means - world_from_camera[:, None, :3, 3], dim=-1)
    seen = colours(harmonics[..., : rules.harmonics], directions)
    rendered = render(splats, seen, intrinsics, world_from_camera, size, rules)
    return replace(rendered, features=rendered.features.clamp(0, 1))


# --- ellipses ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ellipses:
    """Those Gaussians that a camera can see, the nearest first.

    Attributes:
        index: ``[M]`` among all.
        centre: ``[M,2]`` in pixels.
        conic: ``[M,3]``, inverse covariance: xx, xy, yy.
        depth: ``[M]``.
        opacity: ``[M]``.
        box: ``[M,4]`` left, top, right, bottom of the pixels that it may reach, the last two excluded.
    """

    index: Tensor
    centre: Tensor
    conic: Tensor
    depth: Tensor
    opacity: Tensor
    box: Tensor


def _project(
    splats: Splats, intrinsics: Tensor, world_from_camera: Tensor, size: tuple[int, int], rules: Rules
) -> _Ellipses:
    """What a camera sees of them."""
    rotation = world_from_camera[:3, :3]
    points = (splats.means - world_from_camera[:3, 3]) @ rotation
    index = (points[:, 2] > rules.near).nonzero()[:, 0]
    index = index[points[index, 2].argsort(stable=True)]
    x, y, z = points[index].unbind(-1)
    focal, principal, low, high = _lens(intrinsics, size, rules)
    slope_x, slope_y = (torch.clamp(side / z, low[i], high[i]) for i, side in enumerate((x, y)))
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [focal[0] / z, zero, -focal[0] * slope_x / z, zero, focal[1] / z, -focal[1] * slope_y / z], -1
    ).unflatten(-1, (2, 3))
    into = jacobian @ rotation.T
    covariance = into @ splats.covariances[index] @ into.mT
    xx, xy, yy = covariance[:, 0, 0] + DILATION, covariance[:, 0, 1], covariance[:, 1, 1] + DILATION
    determinant = xx * yy - xy * xy
    conic = torch.stack([yy, -xy, xx], -1) / determinant[:, None]
    centre = torch.stack([focal[0] * x / z + principal[0], focal[1] * y / z + principal[1]], -1)
    opacity = splats.opacities[index]
    box = _boxes(centre.detach(), xx.detach(), xy.detach(), yy.detach(), opacity.detach(), size, rules)
    seen = ((box[:, 2:] > box[:, :2]).all(-1) & (determinant > 0) & (opacity >= FAINTEST)).nonzero()[:, 0]
    return _Ellipses(index[seen], centre[seen], conic[seen], z[seen], opacity[seen], box[seen])


def _lens(
    intrinsics: Tensor, size: tuple[int, int], rules: Rules
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """Of x and of y each: focal length and principal point in pixels, the least and the largest slope of a shape."""
    focal, principal, low, high = [], [], [], []
    for axis, pixels in enumerate(size):
        f, c = intrinsics[axis, axis], intrinsics[axis, 2]
        if rules.centred:
            half = ((pixels - c) / f).atan().add((c / f).atan()).div(2).tan()
            f, c = pixels / (2 * half), torch.as_tensor(pixels / 2, dtype=f.dtype, device=f.device)
            low.append(-half * (1 + rules.margin))
            high.append(half * (1 + rules.margin))
        else:
            low.append(-(c + rules.margin * pixels) / f)
            high.append((pixels - c + rules.margin * pixels) / f)
        focal.append(f)
        principal.append(c)
    return focal, principal, low, high


def _boxes(
    centre: Tensor, xx: Tensor, xy: Tensor, yy: Tensor, opacity: Tensor, size: tuple[int, int], rules: Rules
) -> Tensor:
    """``[M,4]``: pixels whose centres are within the contour where alpha is `FAINTEST`, and the rules' extent."""
    reach = (2 * (opacity / FAINTEST).clamp_min(1).log() + 1e-3).sqrt()[:, None] * torch.stack([xx, yy], -1).sqrt()
    limit = torch.tensor(size, device=centre.device)
    low, high = (centre - reach - 0.5).ceil(), (centre + reach - 0.5).floor() + 1
    if rules.deviations is not None:
        middle = (xx + yy) / 2
        largest = middle + (middle**2 - (xx * yy - xy * xy)).clamp_min(0.1).sqrt()
        radius = (rules.deviations * largest.sqrt()).ceil()[:, None]
        corner = centre - 0.5  # there, pixels' centres are whole numbers
        low = low.maximum(TILE * ((corner - radius) / TILE).trunc())
        high = high.minimum(TILE * ((corner + radius + TILE - 1) / TILE).trunc())
    low, high = (torch.minimum(edge.clamp_min(0), limit) for edge in (low, high))
    return torch.cat([low, high], -1).long()


# --- blending ------------------------------------------------------------------------------------------------------


def _blend(ellipses: _Ellipses, features: Tensor, size: tuple[int, int], rules: Rules) -> Tensor:
    """``[H,W,C + 2]`` of ``features [N,C]``: these, then depth and what is covered."""
    width, height = size
    carried = torch.cat(
        [features[ellipses.index], ellipses.depth[:, None], torch.ones_like(ellipses.depth)[:, None]], 1
    )
    canvas = carried.new_zeros(width * height, carried.shape[1])
    light = torch.zeros(width * height, dtype=torch.float64, device=canvas.device)  # logarithm of what is left
    for part in _chunks(ellipses.box):
        left = light.detach() > DARKNESS
        if not left.any():
            break
        pixel, member = _pairs(ellipses.box[part], width)
        lit = left[pixel]
        pixel, member = pixel[lit], member[lit] + part.start
        alpha = _alpha(ellipses, pixel, member, width).clamp_max(rules.largest_alpha)
        bright = (alpha >= FAINTEST).nonzero()[:, 0]
        pixel, order = pixel[bright].sort(stable=True)
        member, alpha = member[bright][order], alpha[bright][order]
        counts = torch.bincount(pixel, minlength=width * height)
        starts = counts.cumsum(0) - counts
        loss = torch.log1p(-alpha.double())
        lost = torch.cat([loss.new_zeros(1), loss.cumsum(0)])
        after = lost[1:] - lost[starts][pixel] + light[pixel]
        weight = torch.where(after >= DARKNESS, alpha * (after - loss).exp().to(alpha.dtype), 0)
        canvas = canvas + functional.embedding_bag(
            member, carried, starts, mode="sum", per_sample_weights=weight.to(carried.dtype)
        )
        light = light + lost[starts + counts] - lost[starts]
    return canvas.unflatten(0, (height, width))


def _alpha(ellipses: _Ellipses, pixel: Tensor, member: Tensor, width: int) -> Tensor:
    """What each of some Gaussians covers at a pixel, ``[P]``."""
    centre, conic = ellipses.centre[member], ellipses.conic[member]
    x = pixel % width + 0.5 - centre[:, 0]
    y = torch.div(pixel, width, rounding_mode="floor") + 0.5 - centre[:, 1]
    power = -0.5 * (conic[:, 0] * x * x + conic[:, 2] * y * y) - conic[:, 1] * x * y
    return torch.where(power <= 0, ellipses.opacity[member] * power.exp(), 0)


def _chunks(boxes: Tensor) -> Iterator[slice]:
    """Parts of the Gaussians, in order, each of about `PAIRS` pixels or of one Gaussian."""
    ends = _areas(boxes).cumsum(0)
    start, done = 0, 0
    while start < len(ends):
        stop = max(int(torch.searchsorted(ends, done + PAIRS, right=True)), start + 1)
        yield slice(start, stop)
        start, done = stop, int(ends[stop - 1])


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(-1)


def _pairs(boxes: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """All pixels of some boxes, row by row, and the box that each is in, ``[P]`` both."""
    areas = _areas(boxes)
    member = torch.repeat_interleave(torch.arange(len(boxes), device=boxes.device), areas)
    place = torch.arange(len(member), device=boxes.device) - (areas.cumsum(0) - areas)[member]
    across = (boxes[:, 2] - boxes[:, 0])[member]
    row = torch.div(place, across, rounding_mode="floor")
    return (boxes[member, 1] + row) * width + boxes[member, 0] + place - row * across, member


# --- gsplat --------------------------------------------------------------------------------------------------------


def _gsplat() -> Callable[..., tuple[Tensor, Tensor, object]] | None:
    """The library's rasteriser, if it is installed."""
    try:
        from gsplat import rasterization
    except ImportError:
        return None
    return rasterization


def _render_fast(
    rasterize: Callable[..., tuple[Tensor, Tensor, object]],
    splats: Splats,
    features: Tensor,
    intrinsics: Tensor,
    world_from_camera: Tensor,
    size: tuple[int, int],
) -> Rendered:
    """As `render`, by gsplat, whose rules are `GSPLAT`."""
    blended, alpha, _ = rasterize(
        means=splats.means,
        quats=None,
        scales=None,
        covars=splats.covariances,
        opacities=splats.opacities,
        colors=features.contiguous(),
        viewmats=torch.linalg.inv(world_from_camera),
        Ks=intrinsics,
        width=size[0],
        height=size[1],
        near_plane=GSPLAT.near,
        eps2d=DILATION,
        render_mode="RGB+D",
    )
    return Rendered(blended[..., :-1], blended[..., -1], alpha[..., 0])
