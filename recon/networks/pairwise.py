"""The trunk of the DUSt3R family: views encoded each by itself, then decoded two by two (Wang et al. 2024, figure 2).

What a picture alone decides is kept in `Views`, so that it is computed once, however many pairs the picture is in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from recon.errors import InputError
from recon.networks.layers.decoder import DecoderBlock
from recon.networks.layers.rotary import grid_positions, rotary_angles
from recon.networks.layers.transformer import Block, Rotary
from recon.networks.layers.vision_transformer import PatchEmbed

EPS = 1e-6  # of every LayerNorm


@dataclass
class Views:
    """What a network knows of N pictures of one size, each by itself.

    Attributes:
        tokens: of the patches, row by row, ``[N, rows * columns, C]``.
        embedded: the same, as the decoders take them, ``[N, rows * columns, D]``.
        prepared: what the head of the first and of the second view make of them alone; empty where that is left to
            each pair.
        rows: of patches.
        columns: of patches.
    """

    tokens: Tensor
    embedded: Tensor
    prepared: tuple[Tensor | None, ...]
    rows: int
    columns: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    def __getitem__(self, part: slice) -> Views:
        """Some of the pictures; nothing is copied."""
        prepared = tuple(None if each is None else each[part] for each in self.prepared)
        return Views(self.tokens[part], self.embedded[part], prepared, self.rows, self.columns)

    @staticmethod
    def joined(parts: Sequence[Views]) -> Views:
        """Pictures of one size together; they were all prepared, or none was."""
        first = parts[0]
        columns = zip(*(part.prepared for part in parts), strict=True)
        prepared = tuple(None if each[0] is None else torch.cat(each) for each in columns)
        tokens, embedded = torch.cat([part.tokens for part in parts]), torch.cat([part.embedded for part in parts])
        return Views(tokens, embedded, prepared, first.rows, first.columns)


class PairTrunk(nn.Module):
    """Encoder and both decoders, without heads. The names of the parts are those of the checkpoints.

    Args:
        patch: side of a patch in pixels.
        base: of the rotary positions.
        encoder: width, blocks and heads of the encoder.
        decoder: the same of each decoder.
    """

    def __init__(self, patch: int, base: float, encoder: tuple[int, int, int], decoder: tuple[int, int, int]) -> None:
        super().__init__()
        self.patch, self.base = patch, base
        (wide, deep, heads), (width, depth, decoder_heads) = encoder, decoder
        self.head_widths = wide // heads, width // decoder_heads
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))  # of the training by masking; checkpoints hold it
        self.patch_embed = PatchEmbed(patch, wide)
        self.enc_blocks = nn.ModuleList(Block(wide, heads, layer_scale=None, eps=EPS) for _ in range(deep))
        self.enc_norm = nn.LayerNorm(wide, EPS)
        self.decoder_embed = nn.Linear(wide, width)
        self.dec_blocks, self.dec_blocks2 = (
            nn.ModuleList(DecoderBlock(width, decoder_heads, eps=EPS) for _ in range(depth)) for _ in range(2)
        )
        self.dec_norm = nn.LayerNorm(width, EPS)

    def encode_tokens(self, images: Tensor, progress: Callable[[float], None] | None = None) -> Views:
        """``images [N,3,H,W]`` in 0..1 to what the decoders read of each, with nothing prepared for heads.

        ``progress`` is called with the share done after each block, and may raise to stop.

        Raises:
            InputError: a size the network cannot take.
        """
        height, width = images.shape[-2:]
        if height < self.patch or width < self.patch or height % self.patch or width % self.patch:
            raise InputError(
                f"The network takes pictures whose width and height are multiples of {self.patch} pixels, "
                f"not {width} x {height}; resize them first."
            )
        rows, columns = height // self.patch, width // self.patch
        rotary = patch_angles(rows, columns, self.head_widths[0], self.base, images.device)
        tokens = self.patch_embed(2 * images - 1)
        for done, block in enumerate(self.enc_blocks, 1):
            tokens = block(tokens, rotary)
            if progress is not None:
                progress(done / len(self.enc_blocks))
        tokens = self.enc_norm(tokens)
        return Views(tokens, self.decoder_embed(tokens), (), rows, columns)

    def decode_tokens(
        self,
        first: Views,
        second: Views,
        taps: Collection[int],
        progress: Callable[[float], None] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What some levels of the decoders give for pairs of B ``first`` and B ``second`` views, level by level.

        Level 0 is the encoder's tokens, level k what block k gives, the last one normed. Both views may have different
        sizes. ``progress`` is called with the share done after each level, and may raise to stop.
        """
        rotary, other = (
            patch_angles(views.rows, views.columns, self.head_widths[1], self.base, views.tokens.device)
            for views in (first, second)
        )
        kept = [(first.tokens, second.tokens)] if 0 in taps else []
        one, two = first.embedded, second.embedded
        for number, (block, block2) in enumerate(zip(self.dec_blocks, self.dec_blocks2, strict=True), 1):
            one, two = block(one, two, rotary, other), block2(two, one, other, rotary)
            if number == len(self.dec_blocks):
                one, two = self.dec_norm(one), self.dec_norm(two)
            if number in taps:
                kept.append((one, two))
            if progress is not None:
                progress(number / len(self.dec_blocks))
        return [level[0] for level in kept], [level[1] for level in kept]


def batches(
    views: Sequence[Views], pairs: Sequence[tuple[int, int]], size: int
) -> Iterator[tuple[list[int], Views, Views]]:
    """All pairs, at most ``size`` at a time, each time of equal sizes of the first and of the second views.

    Args:
        views: one of each picture.
        pairs: of their numbers.
        size: pairs at a time.

    Yields:
        Numbers of the pairs in ``pairs``, and their first and second views. Pairs keep their order among those of the
        same sizes.
    """
    groups: dict[tuple[tuple[int, int], tuple[int, int]], list[int]] = {}
    for number, (i, j) in enumerate(pairs):
        groups.setdefault((views[i].size, views[j].size), []).append(number)
    for group in groups.values():
        for start in range(0, len(group), size):
            numbers = group[start : start + size]
            first, second = ([views[pairs[number][side]] for number in numbers] for side in (0, 1))
            yield numbers, Views.joined(first), Views.joined(second)


@lru_cache(maxsize=64)
def patch_angles(rows: int, columns: int, head_width: int, base: float, device: torch.device) -> Rotary:
    """Rotary angles of a view of that many patches, which count from 0, made once for each size and device."""
    with torch.inference_mode(False):
        return rotary_angles(grid_positions(rows, columns, device=device) - 1, head_width, base)
