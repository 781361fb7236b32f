"""Points of the first view followed through all others (CoTracker: Karaev et al. 2023; VGGT: Wang et al. 2025, 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.sincos import sincos_table
from recon.networks.layers.track_transformer import TrackTransformer
from recon.networks.layers.transformer import Mlp

GATHERED = 2**27  # numbers of the feature windows that are looked at at a time


@dataclass
class Tracking:
    """Where N points of view 0 are in each of V views.

    Attributes:
        pixels: after each iteration ``[B,V,N,2]`` (x, y), the last the best; in view 0 always what was asked.
        visibility: ``[B,V,N]``, 0 to 1.
        confidence: ``[B,V,N]``, 0 to 1; None if the network has no such output.
    """

    pixels: list[Tensor]
    visibility: Tensor
    confidence: Tensor | None


def joined(parts: Sequence[Tracking]) -> Tracking:
    """Points that were followed one part after the other, as one."""
    confidences = [part.confidence for part in parts if part.confidence is not None]
    return Tracking(
        [torch.cat(pixels, 2) for pixels in zip(*(part.pixels for part in parts), strict=True)],
        torch.cat([part.visibility for part in parts], 2),
        torch.cat(confidences, 2) if confidences else None,
    )


class Tracker(nn.Module):
    """Iterative tracking over maps of features: compare around the last estimate, let a transformer change it.

    Args:
        latent_dim: channels of the maps.
        stride: pixels of the image to one of the maps.
        corr_levels: maps that are compared, each half as fine as the one before.
        corr_radius: of the window that is compared on each of them.
        hidden_size: channels of the transformer.
        depth: rounds of the transformer.
        heads: of its blocks.
        virtual_tracks: of the transformer.
        max_scale: pixels; what motions are divided by.
        predict_conf: whether there is a confidence beside the visibility.
    """

    def __init__(
        self,
        latent_dim: int = 128,
        stride: int = 2,
        corr_levels: int = 7,
        corr_radius: int = 4,
        hidden_size: int = 384,
        depth: int = 6,
        heads: int = 8,
        virtual_tracks: int = 64,
        max_scale: int = 518,
        predict_conf: bool = True,
    ) -> None:
        super().__init__()
        self.latent, self.stride, self.max_scale = latent_dim, stride, max_scale
        self.levels, self.radius = corr_levels, corr_radius
        token = 3 * latent_dim + 4
        self.fmap_norm = nn.LayerNorm(latent_dim)
        self.corr_mlp = Mlp(corr_levels * (2 * corr_radius + 1) ** 2, hidden_size, output=latent_dim)
        self.query_ref_token = nn.Parameter(0.02 * torch.randn(1, 2, token))
        self.updateformer = TrackTransformer(token, hidden_size, latent_dim + 2, depth, heads, virtual_tracks)
        self.ffeat_norm = nn.GroupNorm(1, latent_dim)
        self.ffeat_updater = nn.Sequential(nn.Linear(latent_dim, latent_dim), nn.GELU())
        self.vis_predictor = nn.Sequential(nn.Linear(latent_dim, 1))
        self.conf_predictor = nn.Sequential(nn.Linear(latent_dim, 1)) if predict_conf else None

    @property
    def smallest_side(self) -> int:
        """Of a map, so that its coarsest level has a pixel."""
        return 2 ** (self.levels - 1)

    def forward(
        self, maps: Tensor, queries: Tensor, iterations: int, progress: Callable[[float], None] | None = None
    ) -> Tracking:
        """Maps ``[B,V,C,h,w]`` and pixels ``[B,N,2]`` of view 0 to the points' ways.

        ``progress`` is called with the share done after each iteration, and may raise to stop.
        """
        views, (height, width) = maps.shape[1], maps.shape[-2:]
        maps = self.fmap_norm(maps.movedim(2, -1)).movedim(-1, 2)
        pyramid = self.pyramid(maps)
        origin = queries[:, None] / self.stride
        places = origin.expand(-1, views, -1, -1)
        features = sample(maps[:, 0], origin[:, 0])[:, None].expand(-1, views, -1, -1)
        first, others = self.query_ref_token[:, :, None].split(1, 1)
        roles = torch.cat([first, others.expand(-1, views - 1, -1, -1)], 1)
        position = sample_positions(origin, height, width, self.query_ref_token.shape[-1]).to(roles.dtype)
        pixels = []
        for iteration in range(iterations):
            compared = self.corr_mlp(self.compare(pyramid, places, features))
            motion = places - origin
            scaled = motion / self.max_scale
            codes = motion_codes(motion, self.latent // 2)
            tokens = torch.cat([codes, scaled, scaled, compared, features], -1) + position + roles
            change = self.updateformer(tokens)
            moved, changed = change.split([2, self.latent], -1)
            changed = self.ffeat_norm(changed.flatten(0, 2)).view_as(changed)
            features = features + self.ffeat_updater(changed)
            places = torch.cat([origin, (places + moved)[:, 1:]], 1)
            pixels.append(places * self.stride)
            if progress is not None:
                progress((iteration + 1) / iterations)
        confidence = None if self.conf_predictor is None else self.conf_predictor(features).sigmoid().squeeze(-1)
        return Tracking(pixels, self.vis_predictor(features).sigmoid().squeeze(-1), confidence)

    def pyramid(self, maps: Tensor) -> list[Tensor]:
        """``[B,V,C,h,w]`` to all levels, the finest first, each ``[B V,h,w,C]``."""
        level = maps.flatten(0, 1)
        levels = [level]
        for _ in range(self.levels - 1):
            level = functional.avg_pool2d(level, 2, 2)
            levels.append(level)
        return [level.permute(0, 2, 3, 1).contiguous() for level in levels]

    def compare(self, pyramid: list[Tensor], places: Tensor, features: Tensor) -> Tensor:
        """Products of ``features [B,V,N,C]`` with windows of all levels about ``places``: ``[B,V,N,levels*K*K]``."""
        shape = places.shape[:2]
        places, features = places.flatten(0, 1), features.flatten(0, 1)
        window = (2 * self.radius + 2) ** 2 * features.shape[1] * features.shape[2]
        step = max(1, GATHERED // window)
        compared = []
        for start in range(0, len(places), step):
            part = slice(start, start + step)
            windows = [
                window_products(level[part], places[part] / 2**i, features[part], self.radius)
                for i, level in enumerate(pyramid)
            ]
            compared.append(torch.cat(windows, -1))
        return torch.cat(compared).unflatten(0, shape)


def window_products(maps: Tensor, places: Tensor, features: Tensor, radius: int) -> Tensor:
    """Scalar products of ``features [V,N,C]`` with ``maps [V,h,w,C]`` in windows about ``places [V,N,2]``.

    All pixels of a window have the same fraction, so the products are taken at whole pixels, one more on each axis,
    and interpolated: no volume of all products is made. Outside of the maps the products are 0, but an axis of one
    pixel has no outside: so the checkpoints were trained.

    Returns:
        ``[V,N,(2 * radius + 1)**2]``, over ``sqrt(C)``; x is the slower index, as the checkpoints have it.
    """
    views, height, width, channels = maps.shape
    corner = places.floor()
    offsets = torch.arange(-radius, radius + 2, device=places.device)
    x, y = (corner[..., None] + offsets).unbind(-2)
    inside_x, inside_y = (x >= 0) & (x < width) | (width == 1), (y >= 0) & (y < height) | (height == 1)
    x, y = x.clamp(0, width - 1).long(), y.clamp(0, height - 1).long()
    view = torch.arange(views, device=places.device)[:, None, None, None]
    index = (view * height + y[..., None, :]) * width + x[..., :, None]
    gathered = functional.embedding(index, maps.view(-1, channels))
    products = torch.einsum("vnxyc,vnc->vnxy", gathered, features) / channels**0.5
    products = products * (inside_x[..., :, None] & inside_y[..., None, :])
    right, down = ((places - corner)[..., None, None]).unbind(2)
    products = products[:, :, :-1] * (1 - right) + products[:, :, 1:] * right
    products = products[..., :-1] * (1 - down) + products[..., 1:] * down
    return products.flatten(2)


def sample(maps: Tensor, places: Tensor) -> Tensor:
    """``[B,C,h,w]`` at ``places [B,N,2]``, bilinear, the border's values outside: ``[B,N,C]``."""
    height, width = maps.shape[-2:]
    x, y = places.unbind(-1)
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)
    sampled = functional.grid_sample(maps, grid[:, :, None], padding_mode="border", align_corners=True)
    return sampled[..., 0].mT


def sample_positions(places: Tensor, height: int, width: int, channels: int) -> Tensor:
    """Fixed positions of the pixels of a map of that size, bilinear at ``places [...,2]``: ``[...,channels]``."""
    axes = []
    for place, count in zip(places.unbind(-1), (width, height), strict=True):
        table = sincos_table(0, count - 1, count, channels // 2, 10000.0, places.device)
        place = place.clamp(0, count - 1)
        below = place.floor()
        fraction = (place - below)[..., None]
        below = below.long()
        above = (below + 1).clamp_max(count - 1)
        axes.append(table[below] * (1 - fraction) + table[above] * fraction)
    return torch.cat(axes, -1)


def motion_codes(motion: Tensor, channels: int) -> Tensor:
    """Sines and cosines by turns of ``motion [...,2]``: ``channels`` for x, then as many for y.

    The frequencies climb by even steps (not by factors) to almost 1000, so that rounding of the motion shows early.
    """
    steps = torch.arange(0, channels, 2, device=motion.device, dtype=motion.dtype)
    angles = motion[..., None] * (steps * (1000.0 / channels))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-3)
