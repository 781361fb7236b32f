"""What a plain transformer's tokens lack for dense work: maps of four scales (ViT-Adapter: Chen et al. 2023).

Convolutions of the picture give tokens of three scales; these read, by deformable attention, what chosen blocks of the
transformer say of the same picture. The transformer itself is never changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.deformable import DeformableAttention, Size, cell_centres

EPS = 1e-6  # of the LayerNorms
FACTORS = (4.0, 2.0, 1.0, 0.5)  # from the transformer's map to each of the four


def batch_norm(width: int) -> nn.BatchNorm2d:
    """With its count, which checkpoints hold, on the CPU: a network built on the meta device has no values else."""
    norm = nn.BatchNorm2d(width)
    norm.num_batches_tracked = torch.tensor(0, device="cpu")
    return norm


def convolution(channels: int, output: int, stride: int) -> list[nn.Module]:
    """Convolution, norm and ReLU."""
    return [nn.Conv2d(channels, output, 3, stride, 1, bias=False), batch_norm(output), nn.ReLU()]


class SpatialPrior(nn.Module):
    """Convolutions of the picture itself.

    Args:
        channels: of the finest map within.
        width: of the four maps that come out.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *convolution(3, channels, 2),
            *convolution(channels, channels, 1),
            *convolution(channels, channels, 1),
            nn.MaxPool2d(3, 2, 1),
        )
        self.conv2 = nn.Sequential(*convolution(channels, 2 * channels, 2))
        self.conv3 = nn.Sequential(*convolution(2 * channels, 4 * channels, 2))
        self.conv4 = nn.Sequential(*convolution(4 * channels, 4 * channels, 2))
        self.fc1 = nn.Conv2d(channels, width, 1)
        self.fc2 = nn.Conv2d(2 * channels, width, 1)
        self.fc3 = nn.Conv2d(4 * channels, width, 1)
        self.fc4 = nn.Conv2d(4 * channels, width, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``[N,3,H,W]`` to four maps ``[N,width,H/s,W/s]``, s = 4, 8, 16, 32."""
        first = self.stem(images)
        second = self.conv2(first)
        third = self.conv3(second)
        fourth = self.conv4(third)
        return [self.fc1(first), self.fc2(second), self.fc3(third), self.fc4(fourth)]


class DepthwiseConvolution(nn.Module):
    """One convolution of single channels for the maps of all scales."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, tokens: Tensor, sizes: Sequence[Size]) -> Tensor:
        """``[N,T,width]``, cells of maps of these sizes one map after the other, to the same."""
        parts = tokens.split([height * width for height, width in sizes], 1)
        maps = [
            self.dwconv(part.transpose(1, 2).unflatten(2, size)).flatten(2)
            for part, size in zip(parts, sizes, strict=True)
        ]
        return torch.cat(maps, 2).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with a convolution and a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = DepthwiseConvolution(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, sizes: Sequence[Size]) -> Tensor:
        """``[N,T,width]``, cells of maps of these sizes, to the same."""
        return self.fc2(functional.gelu(self.dwconv(self.fc1(tokens), sizes)))


class Extractor(nn.Module):
    """Tokens of the three scales read the transformer's map."""

    def __init__(self, width: int, heads: int, points: int, ratio: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(width, EPS)
        self.feat_norm = nn.LayerNorm(width, EPS)
        self.attn = DeformableAttention(width, heads, 1, points)
        self.ffn = FeedForward(width, int(width * ratio))
        self.ffn_norm = nn.LayerNorm(width, EPS)

    def forward(self, tokens: Tensor, sizes: tuple[Size, ...], memory: Tensor, size: Size) -> Tensor:
        """``tokens [N,T,width]``, cells of maps of ``sizes``, knowing ``memory [N,h*w,width]`` of that ``size``."""
        places = cell_centres(sizes, tokens.device)
        tokens = tokens + self.attn(self.query_norm(tokens), self.feat_norm(memory), [size], places)
        return tokens + self.ffn(self.ffn_norm(tokens), sizes)


class Interaction(nn.Module):
    """One reading of the transformer, or the last one with two more of the same."""

    def __init__(self, width: int, heads: int, points: int, ratio: float, extra: int) -> None:
        super().__init__()
        self.extractor = Extractor(width, heads, points, ratio)
        self.extra_extractors = nn.ModuleList(Extractor(width, heads, points, ratio) for _ in range(extra))

    def forward(self, tokens: Tensor, sizes: tuple[Size, ...], memory: Tensor, size: Size) -> Tensor:
        """As `Extractor.forward`."""
        for extractor in (self.extractor, *self.extra_extractors):
            tokens = extractor(tokens, sizes, memory, size)
        return tokens


class VisionAdapter(nn.Module):
    """A picture and four blocks of a transformer to maps of four scales. Names are those of the checkpoints.

    Args:
        width: channels of the transformer's tokens, and of all that comes out.
        channels: of the convolutions' finest map.
        heads: of the deformable attention.
        points: of each head.
        ratio: channels within the feed-forward, as a share of ``width``.
    """

    def __init__(self, width: int, channels: int, heads: int, points: int, ratio: float) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.zeros(3, width))
        self.spm = SpatialPrior(channels, width)
        self.interactions = nn.ModuleList(
            Interaction(width, heads, points, ratio, extra) for extra in (0, 0, 0, 2)
        )  # fmt: skip
        self.up = nn.ConvTranspose2d(width, width, 2, 2)
        self.norm1, self.norm2, self.norm3, self.norm4 = (batch_norm(width) for _ in range(4))

    def forward(self, images: Tensor, blocks: Sequence[Tensor]) -> list[Tensor]:
        """``[N,3,H,W]`` and four blocks' tokens ``[N,H/16 * W/16,width]`` to maps ``[N,width,H/s,W/s]``, s = 4..32."""
        first, *maps = self.spm(images)
        sizes = tuple((part.shape[-2], part.shape[-1]) for part in maps)
        size = sizes[1]
        tokens = torch.cat(
            [part.flatten(2).transpose(1, 2) + level for part, level in zip(maps, self.level_embed, strict=True)], 1
        )
        for interaction, memory in zip(self.interactions, blocks, strict=True):
            tokens = interaction(tokens, sizes, memory, size)
        parts = tokens.split([height * width for height, width in sizes], 1)
        maps = [part.transpose(1, 2).unflatten(2, each) for part, each in zip(parts, sizes, strict=True)]
        maps = [self.up(maps[0]) + first, *maps]
        norms = (self.norm1, self.norm2, self.norm3, self.norm4)
        return [
            norm(part + scaled(memory.transpose(1, 2).unflatten(2, size), factor))
            for norm, part, memory, factor in zip(norms, maps, blocks, FACTORS, strict=True)
        ]


def scaled(maps: Tensor, factor: float) -> Tensor:
    """Bilinear at so many times the size, outer edges onto outer edges."""
    if factor == 1:
        return maps
    return functional.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
