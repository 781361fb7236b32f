"""The dense head that networks share: tokens of four layers to one map (DPT: Ranftl et al. 2021, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers import fused
from recon.networks.layers.convolution import ResidualUnit
from recon.networks.layers.fused_maps import convolved, read_out, resized
from recon.networks.layers.sincos import sincos_table
from recon.networks.layers.tables import table


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
        rows, columns = height // self.patch, width // self.patch
        levels = []
        for tokens, project, resize in zip(layers, self.projects, self.resize_layers, strict=True):
            assert isinstance(project, nn.Conv2d)
            weight = project.weight
            normed = fused.norm(tokens.to(self.norm.weight.dtype), self.norm, weight.dtype)
            maps = normed.transpose(1, 2).unflatten(2, (rows, columns))
            added = [positions(aspect, rows, columns, len(weight), weight.dtype, weight.device)] * self.pos_embed
            maps = convolved(project, maps, *added)
            levels.append(convolved(resize, maps) if isinstance(resize, (nn.Conv2d, nn.ConvTranspose2d)) else maps)
        maps = self.scratch.fuse(levels)
        size, channels = (height // self.down_ratio, width // self.down_ratio), maps.shape[1]
        codes = position_codes(aspect, *size, channels, maps.device) if self.pos_embed else None
        return self.scratch.finish(resized(maps, size, self.scratch.output_conv1.bias, codes))


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
        """Four maps, each half as fine as the one before, to one that is twice as fine as the first.

        The bias of ``output_conv1`` is left to be added.
        """
        convolutions = (self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn)
        level1, level2, level3, level4 = (
            convolved(convolution, level, relu=True) for convolution, level in zip(convolutions, levels, strict=True)
        )
        maps = self.refinenet4(level4, size_of(level3))
        maps = self.refinenet3(maps, size_of(level2), level3)
        maps = self.refinenet2(maps, size_of(level1), level2)
        height, width = size_of(level1)
        maps = self.refinenet1(maps, (2 * height, 2 * width), level1)
        return functional.conv2d(maps, self.output_conv1.weight, padding=1)

    def finish(self, maps: Tensor) -> Tensor:
        """The last convolutions, if there are any, each in the precision of its weights."""
        return read_out(maps, self.output_conv2) if isinstance(self.output_conv2, nn.Sequential) else maps


class Fusion(nn.Module):
    """A finer map added to what comes from the coarser ones, refined and resized."""

    def __init__(self, features: int, finest: bool = True) -> None:
        super().__init__()
        if finest:
            self.resConfUnit1 = ResidualUnit(features, nn.ReLU(), add_activated=True)
        self.resConfUnit2 = ResidualUnit(features, nn.ReLU(), add_activated=True)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, maps: Tensor, size: tuple[int, int], finer: Tensor | None = None) -> Tensor:
        """To ``[N,C,*size]``.

        Args:
            maps: ``[N,C,H,W]``; without a finer level, what a ReLU gave.
            size: height and width to get.
            finer: level of the size of ``maps`` that a ReLU gave, or None.
        """
        if finer is not None:
            maps = refined(self.resConfUnit1, finer, maps, relu=True)
        maps = functional.conv2d(refined(self.resConfUnit2, maps), self.out_conv.weight)
        # A convolution of single pixels commutes with the resize, and has a quarter of the pixels before it.
        return resized(maps, size, self.out_conv.bias)


def refined(unit: ResidualUnit, activated: Tensor, *added: Tensor, relu: bool = False) -> Tensor:
    """``unit`` of maps whose ReLU is given, plus a map if there is one, then a ReLU if wanted.

    Between the units of a head nothing but the ReLU of the maps is ever read.
    """
    hidden = convolved(unit.conv1, activated, relu=True)
    return convolved(unit.conv2, hidden, activated, *added, relu=relu)


def size_of(maps: Tensor) -> tuple[int, int]:
    """Height and width."""
    return maps.shape[-2], maps.shape[-1]


@table(32)
def positions(
    aspect: float, height: int, width: int, channels: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Fixed positions ``[1,C,H,W]``: `position_codes` of every pixel."""
    x, y = position_codes(aspect, height, width, channels, device)
    codes = [x.expand(height, -1, -1), y[:, None].expand(-1, width, -1)]
    return torch.cat(codes, -1).to(dtype).permute(2, 0, 1)[None]


def position_codes(
    aspect: float, height: int, width: int, channels: int, device: torch.device, scale: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Codes of the columns ``[W, C / 2]``, for the first half of the channels, and of the rows ``[H, C / 2]``.

    Seen from its middle, the image's half diagonal is 1, whatever the map's own aspect.
    """
    diagonal = math.hypot(aspect, 1)
    right, bottom = aspect / diagonal * (width - 1) / width, 1 / diagonal * (height - 1) / height
    x = sincos_table(-right, right, width, channels // 2, 100.0, device, scale)
    return x, sincos_table(-bottom, bottom, height, channels // 2, 100.0, device, scale)
