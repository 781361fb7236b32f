"""The dense head that networks share: tokens of four layers to one map (DPT: Ranftl et al. 2021, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.convolution import ResidualUnit
from recon.networks.layers.sincos import sincos_table


class Dpt(nn.Module):
    """Tokens of four layers, coarse to fine, to a map of the size of the image or of a part of it.

    The names of the parts are those of the checkpoints.

    Args:
        width: channels of a token.
        channels: of the map that each layer becomes, the finest first.
        features: channels of all maps from there on.
        output: channels of the result; None for the features themselves, without the last convolutions.
        patch: side of a token's patch in pixels.
        down_ratio: the result has the size of the image divided by this.
        pos_embed: add fixed positions, which know the image's aspect, to the maps.
        eps: of the LayerNorm that the four layers share.
    """

    def __init__(
        self,
        width: int = 2048,
        channels: Sequence[int] = (256, 512, 1024, 1024),
        features: int = 256,
        output: int | None = None,
        patch: int = 14,
        down_ratio: int = 1,
        pos_embed: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.patch, self.down_ratio, self.pos_embed = patch, down_ratio, pos_embed
        self.norm = nn.LayerNorm(width, eps)
        self.projects = nn.ModuleList(nn.Conv2d(width, count, 1) for count in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, 4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, 2, 1),
            ]
        )
        self.scratch = Scratch(channels, features, output)

    def forward(self, layers: Sequence[Tensor], height: int, width: int) -> Tensor:
        """Patch tokens ``[N, h * w, width]`` of four layers, for an image of that size, to ``[N,C,H',W']``."""
        aspect = width / height
        rows = height // self.patch
        levels = []
        for tokens, project, resize in zip(layers, self.projects, self.resize_layers, strict=True):
            normed = self.norm(tokens.to(self.norm.weight.dtype)).to(project.weight.dtype)
            maps = project(normed.transpose(1, 2).unflatten(2, (rows, -1)))
            if self.pos_embed:
                maps = add_positions(maps, aspect)
            levels.append(resize(maps))
        maps = self.scratch.fuse(levels)
        maps = resized(maps, (height // self.down_ratio, width // self.down_ratio))
        if self.pos_embed:
            maps = add_positions(maps, aspect)
        return self.scratch.finish(maps)


class Scratch(nn.Module):
    """The part of the head that works on four maps of one width."""

    def __init__(self, channels: Sequence[int], features: int, output: int | None) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(count, features, 3, padding=1, bias=False) for count in channels
        )
        self.refinenet1 = Fusion(features)
        self.refinenet2 = Fusion(features)
        self.refinenet3 = Fusion(features)
        self.refinenet4 = Fusion(features, finest=False)
        if output is None:
            self.output_conv1 = nn.Conv2d(features, features, 3, padding=1)
            self.output_conv2: nn.Module = nn.Identity()
        else:
            self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
            self.output_conv2 = nn.Sequential(
                nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, output, 1)
            )

    def fuse(self, levels: Sequence[Tensor]) -> Tensor:
        """Four maps, each half as fine as the one before, to one that is twice as fine as the first."""
        level1, level2, level3, level4 = levels
        level1, level2 = self.layer1_rn(level1), self.layer2_rn(level2)
        level3, level4 = self.layer3_rn(level3), self.layer4_rn(level4)
        maps = self.refinenet4(level4, size_of(level3))
        maps = self.refinenet3(maps, size_of(level2), level3)
        maps = self.refinenet2(maps, size_of(level1), level2)
        height, width = size_of(level1)
        maps = self.refinenet1(maps, (2 * height, 2 * width), level1)
        return self.output_conv1(maps)

    def finish(self, maps: Tensor) -> Tensor:
        """The last convolutions, if there are any, each in the precision of its weights."""
        if isinstance(self.output_conv2, nn.Identity):
            return maps
        for layer in self.output_conv2:  # type: ignore[attr-defined]
            maps = layer(maps.to(layer.weight.dtype) if isinstance(layer, nn.Conv2d) else maps)
        return maps


class Fusion(nn.Module):
    """A finer map added to what comes from the coarser ones, refined and resized."""

    def __init__(self, features: int, finest: bool = True) -> None:
        super().__init__()
        if finest:
            self.resConfUnit1 = ResidualUnit(features, nn.ReLU(), add_activated=True)
        self.resConfUnit2 = ResidualUnit(features, nn.ReLU(), add_activated=True)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, maps: Tensor, size: tuple[int, int], finer: Tensor | None = None) -> Tensor:
        """``[N,C,H,W]``, and a finer level of the same size or None, to ``[N,C,*size]``."""
        if finer is not None:
            maps = maps + self.resConfUnit1(finer)
        # A convolution of single pixels commutes with the resize, and has a quarter of the pixels before it.
        return resized(self.out_conv(self.resConfUnit2(maps)), size)


def size_of(maps: Tensor) -> tuple[int, int]:
    """Height and width."""
    return maps.shape[-2], maps.shape[-1]


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corner pixels onto corner pixels."""
    return functional.interpolate(maps, size, mode="bilinear", align_corners=True)


def add_positions(maps: Tensor, aspect: float, scale: float = 0.1) -> Tensor:
    """Fixed positions added to ``[N,C,H,W]`` in place: the first half of the channels tell x, the second y.

    Seen from its middle, the image's half diagonal is 1, whatever the map's own aspect.
    """
    channels, height, width = maps.shape[1:]
    diagonal = math.hypot(aspect, 1)
    right, bottom = aspect / diagonal * (width - 1) / width, 1 / diagonal * (height - 1) / height
    x = scale * sincos_table(-right, right, width, channels // 2, 100.0, maps.device)
    y = scale * sincos_table(-bottom, bottom, height, channels // 2, 100.0, maps.device)
    maps[:, : channels // 2] += x.to(maps.dtype).T[:, None, :]
    maps[:, channels // 2 :] += y.to(maps.dtype).T[:, :, None]
    return maps
