"""Render: pictures and depth of worlds. Plain torch: the same steps run one by one on the CPU and compiled on a GPU.

The rays of all views are cut into bundles of equal size, and these are traced a fixed number at a time, so that one
compiled version of each step serves every size of image and number of views.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from recon.training.scenes import intersect
from recon.training.scenes.atlas import Atlas
from recon.training.scenes.shade import shade, surface
from recon.training.scenes.tables import Tables, pack
from recon.training.scenes.world import Cameras, World

# Rays in a bundle (all of one view), and bundles at a time on a GPU and on the CPU.
BUNDLE = 2048
AT_ONCE = {True: 1024, False: 4}


def render(
    world: World, atlas: Atlas, cameras: Cameras, height: int, width: int, samples: int = 2, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Pictures of S scenes by V cameras each.

    Args:
        world: S scenes.
        atlas: the textures that its materials name.
        cameras: V of each scene.
        height: of the image, in pixels.
        width: of the image.
        samples: 1 looks at the pixels' centres; 2 at their corners as well, which neighbours share: a pixel is half
            its centre and half its four corners (what graphics cards call quincunx).
        seed: of the noise in soft shadows and between sizes of textures; the world and the depth do not depend on it.

    Returns:
        light ``[S,V,3,H,W]``, linear, 0 to 30; z-depth ``[S,V,H,W]`` of the pixel's centre, 0 where there is sky.
    """
    if samples not in (1, 2):
        raise ValueError(f"samples must be 1 or 2, not {samples}")
    device = cameras.centre.device
    places = _centres(height, width, device)
    if samples == 2:
        places = torch.cat([places, _corners(height, width, device)])
    packed = pack(world, cameras, width)
    noise = torch.full((), seed & 0x7FFFFFFF, dtype=torch.int32, device=device)
    parts = [
        _trace(atlas, noise, identity, here, packed.of(views)) for views, identity, here in _bundles(packed, places)
    ]
    shape = cameras.centre.shape[:2]
    count = height * width
    rays = _gathered([depth for *_, depth in parts], shape, len(places))
    colours = torch.stack([_gathered([part[a] for part in parts], shape, len(places)) for a in range(3)], 2)
    light = colours[..., :count].unflatten(-1, (height, width))
    if samples == 2:
        corners = colours[..., count:].unflatten(-1, (height + 1, width + 1))
        rows = corners[..., 1:, :] + corners[..., :-1, :]
        light = 0.5 * light + 0.125 * (rows[..., 1:] + rows[..., :-1])
    return light, rays[..., :count].unflatten(-1, (height, width))


def cast_depth(world: World, cameras: Cameras, height: int, width: int) -> Tensor:
    """``[S,V,H,W]``, the depth that ``render`` gives, alone."""
    packed = pack(world, cameras, width)
    places = _centres(height, width, cameras.centre.device)
    parts = []
    for views, identity, here in _bundles(packed, places):
        primary, shadow, _, materials, lights, view = packed.of(views)
        x, y = here.unbind(-1)
        keys = _step(intersect.nearest, x)(primary, x, y)
        parts.append(_step(surface, x)(keys, x, y, identity, primary, shadow, materials, lights, view)[0])
    depth = _gathered(parts, cameras.centre.shape[:2], len(places))
    return depth.unflatten(-1, (height, width))


def _trace(
    atlas: Atlas, noise: Tensor, identity: Tensor, places: Tensor, tables: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Red, green, blue and depth, each ``[I,R]``, of the rays at ``places [I,R,2]`` of I bundles."""
    primary, shadow, solids, materials, lights, views = tables
    x, y = places.unbind(-1)
    seeds = intersect.scramble(identity + noise * 0x3779B9)
    keys = _step(intersect.nearest, x)(primary, x, y)
    found = _step(surface, x)(keys, x, y, seeds, primary, shadow, materials, lights, views)
    in_shadow, around = _step(intersect.shadows, x)(shadow, solids, found[1:4], found[4:7], found[7:10])
    light = _step(shade, x)(atlas, keys, x, y, seeds, found, in_shadow, around, shadow, materials, lights, views)
    return (*light, found[0])


def _bundles(tables: Tables, places: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """All rays at ``places [P,2]`` of all views, ever as many bundles at a time.

    Yields:
        the view of each bundle ``[I]``, a number of each ray's own ``[I,R] int32``, and its place ``[I,R,2]``. The
        last bundles of a view, and the last of all, are filled up with rays that count for nothing.
    """
    device = places.device
    at_once = AT_ONCE[device.type == "cuda"]
    blocks = -(-len(places) // BUNDLE)
    padded = torch.cat([places, places.new_zeros(blocks * BUNDLE - len(places), 2)]).view(blocks, BUNDLE, 2)
    views = len(tables.views)
    within = torch.arange(BUNDLE, device=device, dtype=torch.int32)
    for start in range(0, views * blocks, at_once):
        bundle = torch.arange(start, start + at_once, device=device)
        view, block = (bundle // blocks).clamp_max(views - 1), bundle % blocks
        yield view, (bundle[:, None] * BUNDLE).to(torch.int32) + within, padded[block]


def _gathered(parts: list[Tensor], shape: torch.Size, count: int) -> Tensor:
    """``[S,V,count]`` of what bundles gave."""
    rays = torch.cat(parts)
    blocks = -(-count // BUNDLE)
    return rays[: shape.numel() * blocks].view(*shape, blocks * BUNDLE)[..., :count]


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """``[H*W,2]`` places from -1 to 1 across and down the image: x of a ray is this times the tangent."""
    return _grid(
        (torch.arange(height, device=device) + 0.5) * (2 / height) - 1,
        (torch.arange(width, device=device) + 0.5) * (2 / width) - 1,
    )


def _corners(height: int, width: int, device: torch.device) -> Tensor:
    """``[(H+1)*(W+1),2]`` the same of the pixels' corners."""
    return _grid(
        torch.arange(height + 1, device=device) * (2 / height) - 1,
        torch.arange(width + 1, device=device) * (2 / width) - 1,
    )


def _grid(down: Tensor, across: Tensor) -> Tensor:
    y, x = torch.meshgrid(down, across, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def _step(function: Callable[..., Any], like: Tensor) -> Callable[..., Any]:
    """The step as it is for the CPU, compiled for a GPU."""
    return compiled(function) if like.device.type == "cuda" else function


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A step as one compiled graph for the shapes that it meets, which are always the same."""
    return torch.compile(function, dynamic=False, fullgraph=True)
