"""The dense head of the DUSt3R family: tokens of a view to one map (DPT: Ranftl et al. 2021, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.convolution import ResidualUnit
from recon.networks.layers.fused_maps import convolved, read_out, resized


class DptMap(nn.Module):
    """Tokens of four levels, from the encoder's to the last decoder block's, fused.

    The names of the parts are those of the checkpoints.

    Args:
        encoder_width: channels of the encoder's tokens, the finest level.
        width: channels of the decoder's.
        channels: of the map that each level becomes, the finest first.
        features: channels of all maps from there on.
        last: channels before the last convolution.
        output: channels of the result.
    """

    def __init__(
        self,
        encoder_width: int,
        width: int,
        channels: Sequence[int],
        features: int,
        last: int,
        output: int,
    ) -> None:
        super().__init__()
        first, second, third, fourth = channels
        self.scratch = Scratch(channels, features)
        self.head = nn.Sequential(
            nn.Conv2d(features, features // 2, 3, padding=1),
            nn.Identity(),  # where the checkpoints count the resize
            nn.Conv2d(features // 2, last, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(last, output, 1),
        )
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(encoder_width, first, 1), nn.ConvTranspose2d(first, first, 4, 4)),
                nn.Sequential(nn.Conv2d(width, second, 1), nn.ConvTranspose2d(second, second, 2, 2)),
                nn.Sequential(nn.Conv2d(width, third, 1)),
                nn.Sequential(nn.Conv2d(width, fourth, 1), nn.Conv2d(fourth, fourth, 3, 2, 1)),
            ]
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of the tokens that it takes."""
        return self.scratch.layer1_rn.weight.dtype

    def prepare(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """What the encoder's tokens ``[N, rows * columns, encoder_width]`` alone decide: the same in every pair."""
        maps = self.scratch.layer1_rn(self.act_postprocess[0](grid(tokens, rows, columns)))
        return refined(self.scratch.refinenet1.resConfUnit1, maps)

    def forward(self, levels: Sequence[Tensor], prepared: Tensor, rows: int, columns: int) -> Tensor:
        """Tokens ``[N, rows * columns, width]`` of three levels of the decoder, and what `prepare` gave, to a map.

        Returns:
            ``[N, output, 16 * rows, 16 * columns]``.
        """
        before, after = self.head[0], self.head[2:]
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.Sequential)
        maps = functional.conv2d(self.fuse(levels, prepared, rows, columns), before.weight, padding=1)
        return read_out(doubled(maps, before.bias), after)

    def fuse(self, levels: Sequence[Tensor], prepared: Tensor, rows: int, columns: int) -> Tensor:
        """As `forward`, without its last convolutions: ``[N, features, 8 * rows, 8 * columns]``."""
        level2, level3, level4 = (
            layer(grid(tokens, rows, columns)) for layer, tokens in zip(self.act_postprocess[1:], levels, strict=True)
        )
        scratch = self.scratch
        level3 = scratch.layer3_rn(level3)
        maps = scratch.refinenet4(scratch.layer4_rn(level4))[..., : level3.shape[-2], : level3.shape[-1]]
        maps = scratch.refinenet3(maps, level3)
        maps = scratch.refinenet2(maps, scratch.layer2_rn(level2))
        return scratch.refinenet1(maps + prepared)


class Scratch(nn.Module):
    """The part of `DptMap` that works on maps of one width."""

    def __init__(self, channels: Sequence[int], features: int) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(count, features, 3, padding=1, bias=False) for count in channels
        )
        # The same layers once more: checkpoints hold them under both names.
        self.layer_rn = nn.ModuleList([self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn])
        self.refinenet1, self.refinenet2, self.refinenet3, self.refinenet4 = (Refinement(features) for _ in range(4))


class Refinement(nn.Module):
    """A finer map added to what comes from the coarser ones, refined and made twice as fine.

    Args:
        features: channels of all maps.
        finer: whether there is a unit for a finer map. DUSt3R's checkpoints hold one at the coarsest level too.
    """

    def __init__(self, features: int, finer: bool = True) -> None:
        super().__init__()
        if finer:
            self.resConfUnit1 = ResidualUnit(features, nn.ReLU())
        self.resConfUnit2 = ResidualUnit(features, nn.ReLU())
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, maps: Tensor, finer: Tensor | None = None) -> Tensor:
        """``[N,C,H,W]``, and a finer level of the same size or None, to ``[N,C,2H,2W]``."""
        if finer is not None:
            maps = refined(self.resConfUnit1, finer, maps)
        maps = functional.conv2d(refined(self.resConfUnit2, maps), self.out_conv.weight)
        # A convolution of single pixels commutes with the resize, and has a quarter of the pixels before it.
        return doubled(maps, self.out_conv.bias)


def refined(unit: ResidualUnit, maps: Tensor, *added: Tensor) -> Tensor:
    """``unit`` of maps, plus a map if there is one."""
    hidden = convolved(unit.conv1, functional.relu(maps), relu=True)
    return convolved(unit.conv2, hidden, maps, *added)


def grid(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """``[N, rows * columns, C]`` to ``[N,C,rows,columns]``."""
    return tokens.transpose(1, 2).unflatten(2, (rows, columns))


def doubled(maps: Tensor, bias: Tensor | None = None) -> Tensor:
    """Bilinear at twice the size, corner pixels onto corner pixels; ``bias [C]`` is added."""
    return resized(maps, (2 * maps.shape[-2], 2 * maps.shape[-1]), bias)
