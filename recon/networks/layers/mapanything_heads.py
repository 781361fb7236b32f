"""The heads of MapAnything (Keetha et al. 2025, section 3): dense maps, poses, and the scale of the scene."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.dpt import size_of
from recon.networks.layers.fused_maps import convolved, read_out, resized
from recon.networks.layers.pointmap_heads import Refinement

SMALLEST = 1e-8


class Levels(nn.Module):
    """Tokens of four layers to one map of eight pixels a patch and side (DPT: Ranftl et al. 2021, section 3).

    Args:
        widths: channels of the tokens of each layer.
        channels: of the map that each becomes, the finest first.
        features: channels of all maps from there on.
    """

    def __init__(self, widths: Sequence[int], channels: Sequence[int], features: int) -> None:
        super().__init__()
        first, second, _, last = channels
        resizes: list[list[nn.Module]] = [
            [nn.ConvTranspose2d(first, first, 4, 4)],
            [nn.ConvTranspose2d(second, second, 2, 2)],
            [],
            [nn.Conv2d(last, last, 3, 2, 1)],
        ]
        self.input_process = nn.ModuleList(
            nn.Sequential(
                nn.Sequential(nn.Conv2d(width, count, 1), *resize), nn.Conv2d(count, features, 3, padding=1, bias=False)
            )
            for width, count, resize in zip(widths, channels, resizes, strict=True)
        )
        self.scratch = nn.ModuleDict({f"refinenet{level}": Refinement(features, level < 4) for level in range(1, 5)})

    def forward(self, layers: Sequence[Tensor], rows: int) -> Tensor:
        """Patch tokens ``[N, h * w, width]`` of four layers, h of them a column, to ``[N, features, 8 h, 8 w]``."""
        levels = []
        for tokens, process in zip(layers, self.input_process, strict=True):
            convolutions = [part for part in process.modules() if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))]
            level = tokens.to(convolutions[0].weight.dtype).transpose(1, 2).unflatten(2, (rows, -1))
            for convolution in convolutions:
                level = convolved(convolution, level)
            levels.append(level)
        maps = self.scratch["refinenet4"](levels[3])
        height, width = size_of(levels[2])
        maps = self.scratch["refinenet3"](maps[..., :height, :width], levels[2])  # an odd side was rounded up
        maps = self.scratch["refinenet2"](maps, levels[1])
        return self.scratch["refinenet1"](maps, levels[0])


class Regressor(nn.Module):
    """Features to values for every pixel."""

    def __init__(self, features: int, output: int) -> None:
        super().__init__()
        half = features // 2
        self.conv1 = nn.Conv2d(features, half, 3, padding=1)
        self.conv2 = nn.Sequential(nn.Conv2d(half, half, 3, padding=1), nn.ReLU(), nn.Conv2d(half, output, 1))

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """``[N,features,h,w]`` to ``[N,output,*size]``."""
        hidden = functional.conv2d(maps, self.conv1.weight, padding=1)
        return read_out(resized(hidden, size, self.conv1.bias), self.conv2)


class PoseHead(nn.Module):
    """The patches of a view to its pose.

    Args:
        width: channels of a token.
        inner: channels of all that follows.
        blocks: how many residual ones.
    """

    def __init__(self, width: int, inner: int, blocks: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(width, inner, 1)
        self.res_conv = nn.ModuleList(PixelBlock(inner) for _ in range(blocks))
        self.more_mlps = nn.Sequential(nn.Linear(inner, inner), nn.ReLU(), nn.Linear(inner, inner), nn.ReLU())
        self.fc_t = nn.Linear(inner, 3)
        self.fc_rot = nn.Linear(inner, 4)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """``[N, h * w, width]`` to translations ``[N,3]`` and quaternions ``[N,4]``, of any length."""
        maps = self.proj(tokens.transpose(1, 2)[..., None])
        for block in self.res_conv:
            maps = block(maps)
        pooled = self.more_mlps(maps.mean((2, 3)))
        return self.fc_t(pooled), self.fc_rot(pooled)


class PixelBlock(nn.Module):
    """Three convolutions of single pixels, each followed by a ReLU, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res_conv1, self.res_conv2, self.res_conv3 = (nn.Conv2d(channels, channels, 1) for _ in range(3))

    def forward(self, maps: Tensor) -> Tensor:
        """``[N,channels,h,w]`` to the same."""
        update = maps
        for layer in (self.res_conv1, self.res_conv2, self.res_conv3):
            update = torch.relu(layer(update))
        return maps + update


class ScaleHead(nn.Module):
    """The scale token to the metres of a unit."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inner)
        self.mlp = nn.Sequential(*(nn.Sequential(nn.Linear(inner, inner), nn.ReLU()) for _ in range(2)))
        self.output_proj = nn.Linear(inner, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B,width]`` to ``[B]``, above 0."""
        return self.output_proj(self.mlp(self.proj(tokens)))[..., 0].exp().clamp_min(SMALLEST)
