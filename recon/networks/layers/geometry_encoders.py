"""Encoders of what is known beside the pictures (MapAnything: Keetha et al. 2025, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6  # of all LayerNorms


class DenseEncoder(nn.Module):
    """A map of the size of the picture to one token a patch.

    Args:
        channels: of the map.
        inner: channels after the first convolution and after each of two residual blocks.
        width: channels of a token.
        patch: side of a patch in pixels.
    """

    def __init__(self, channels: int, inner: Sequence[int], width: int, patch: int = 14) -> None:
        super().__init__()
        self.patch = patch
        self.conv_in = nn.Conv2d(channels * patch**2, inner[0], 3, padding=1)
        self.encoder = nn.Sequential(
            Residual(inner[0], inner[1]), Residual(inner[1], inner[2]), nn.Conv2d(inner[2], width, 1)
        )
        self.norm_layer = nn.LayerNorm(width, EPS)

    def forward(self, maps: Tensor) -> Tensor:
        """``[N,H,W,channels]`` to ``[N, h * w, width]``."""
        patches = functional.pixel_unshuffle(maps.movedim(-1, 1), self.patch)
        return self.norm_layer(self.encoder(self.conv_in(patches)).flatten(2).transpose(1, 2))


class Residual(nn.Module):
    """Two convolutions beside one of single pixels."""

    def __init__(self, channels: int, output: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, output, 3, padding=1)
        self.conv2 = nn.Conv2d(output, output, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, output, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """``[N,channels,h,w]`` to ``[N,output,h,w]``."""
        update = self.conv2(functional.gelu(self.conv1(maps)))
        return functional.gelu(update + self.shortcut(maps))


class GlobalEncoder(nn.Module):
    """A few numbers about a view to one token.

    Args:
        count: of the numbers.
        inner: channels between the linear layers.
        width: channels of the token.
    """

    def __init__(self, count: int, inner: Sequence[int], width: int) -> None:
        super().__init__()
        steps = nn.Sequential(nn.Linear(count, inner[0]), nn.GELU())
        for before, after in pairwise(inner):
            steps = nn.Sequential(steps, nn.Linear(before, after), nn.GELU())
        self.encoder = nn.Sequential(steps, nn.Linear(inner[-1], width))
        self.norm_layer = nn.LayerNorm(width, EPS)

    def forward(self, numbers: Tensor) -> Tensor:
        """``[N,count]`` to ``[N,width]``."""
        return self.norm_layer(self.encoder(numbers))
