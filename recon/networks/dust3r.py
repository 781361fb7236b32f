"""DUSt3R: two photos to a pointmap of each, both in the first one's camera (Wang et al. 2024); and MonST3R.

Loads the published checkpoints key for key. MonST3R (Zhang et al. 2025) is the same network, trained on scenes that
move: each of its pointmaps shows the scene at the time of its own photo.

Conventions of the network: pictures in 0..1, sides that are multiples of the patch, always upright; OpenCV axes; a
scale of its own for each pair. It knows nothing of cameras: what they are follows from the pointmaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.dust3r_configuration import Configuration, read_configuration
from recon.networks.layers.pointmap_heads import DptMap, grid
from recon.networks.layers.pointmaps import CONFIDENCES, POINTS
from recon.networks.pairwise import PairTrunk, Views, batches

__all__ = ["Configuration", "Dust3r", "Pointmaps", "Views", "read_configuration"]

CHANNELS = 4  # a point and its confidence


@dataclass
class Pointmaps:
    """What the network says of one side of B pairs.

    Attributes:
        points: ``[B,H,W,3]`` in the camera of the pair's first view.
        confidence: ``[B,H,W]``.
    """

    points: Tensor
    confidence: Tensor


class Dust3r(PairTrunk):
    """Pairs of views in one pass; or views first, then pairs of them, for those who have many."""

    def __init__(self, configuration: Configuration = Configuration()) -> None:
        super().__init__(
            configuration.patch_size,
            configuration.rotary_base,
            (configuration.enc_embed_dim, configuration.enc_depth, configuration.enc_num_heads),
            (configuration.dec_embed_dim, configuration.dec_depth, configuration.dec_num_heads),
        )
        self.configuration = configuration
        self.downstream_head1, self.downstream_head2 = head(configuration), head(configuration)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Pointmaps, Pointmaps]:
        """Both sides of the pairs of ``first [B,3,H,W]`` and ``second [B,3,H',W']``, in 0..1.

        Raises:
            InputError: a size the network cannot take.
        """
        return self.decode(self.encode(first, reused=False), self.encode(second, reused=False))

    def encode(self, images: Tensor, progress: Callable[[float], None] | None = None, reused: bool = True) -> Views:
        """All that is to be known of ``images [N,3,H,W]`` in 0..1, each by itself, for `decode`.

        Args:
            images: of one size.
            progress: called with the share done after each block, and may raise to stop.
            reused: prepare them for both heads, which pays for pictures that are in more than one pair, and takes
                memory: 25 MB for a picture of 512 x 384 pixels and a DPT head.

        Raises:
            InputError: a size the network cannot take.
        """
        views = self.encode_tokens(images, progress)
        if reused:
            views.prepared = tuple(each.prepare(views) for each in (self.downstream_head1, self.downstream_head2))
        return views

    def decode(
        self, first: Views, second: Views, progress: Callable[[float], None] | None = None
    ) -> tuple[Pointmaps, Pointmaps]:
        """Both sides of the pairs of B ``first`` and B ``second`` views; ``progress`` as in `decode_tokens`."""
        one, two = self.decode_tokens(first, second, self.downstream_head1.taps, progress)
        return self.read(0, one, first), self.read(1, two, second)

    def read(self, side: int, levels: Sequence[Tensor], views: Views) -> Pointmaps:
        """What the head of the first (0) or second (1) side makes of what `decode_tokens` gave for ``views``."""
        head = (self.downstream_head1, self.downstream_head2)[side]
        return head(levels, views.prepared[side] if views.prepared else head.prepare(views), views)

    def decode_pairs(
        self, views: Sequence[Views], pairs: Sequence[tuple[int, int]], batch: int
    ) -> Iterator[tuple[list[int], Pointmaps, Pointmaps]]:
        """All pairs of some views, one of each picture, at most ``batch`` at a time.

        Yields:
            Numbers of the pairs in ``pairs``, and both sides of them. Pictures of different sizes make groups, whose
            pairs come one group after the other.
        """
        for numbers, first, second in batches(views, pairs, batch):
            yield numbers, *self.decode(first, second)

    def forward_landscape(
        self, first: Tensor, second: Tensor, first_portrait: Tensor, second_portrait: Tensor
    ) -> tuple[Pointmaps, Pointmaps]:
        """As `forward`, of pictures that all lie in landscape layout, as in a batch of training.

        Args:
            first: ``[B,3,H,W]``, W not less than H.
            second: the same.
            first_portrait: ``[B] bool``, which of them are portraits, of height W, that were transposed.
            second_portrait: the same.

        Returns:
            Both sides, in the same layout: what belongs to portraits is transposed.
        """
        sides: list[list[Pointmaps]] = [[], []]
        order: list[Tensor] = []
        for tall in ((False, False), (False, True), (True, False), (True, True)):
            chosen = ((first_portrait == tall[0]) & (second_portrait == tall[1])).nonzero()[:, 0]
            if not len(chosen):
                continue
            upright = (turned(images[chosen], flip, -2, -1) for images, flip in zip((first, second), tall, strict=True))
            for side, given, flip in zip(sides, self(*upright), tall, strict=True):
                side.append(Pointmaps(turned(given.points, flip, 1, 2), turned(given.confidence, flip, 1, 2)))
            order.append(chosen)
        back = torch.cat(order).argsort()
        one, two = sides
        return joined(one, back), joined(two, back)


class LinearHead(nn.Module):
    """One layer: each of the last tokens gives all pixels of its patch."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = configuration
        self.taps: tuple[int, ...] = (configuration.dec_depth,)
        self.proj = nn.Linear(configuration.dec_embed_dim, CHANNELS * configuration.patch_size**2)

    def prepare(self, views: Views) -> Tensor | None:
        """Nothing: this head does not read what the encoder gave."""
        return None

    def forward(self, levels: Sequence[Tensor], prepared: Tensor | None, views: Views) -> Pointmaps:
        """Tokens of the decoder's last level to pointmaps; ``views`` are the views they are of."""
        maps = grid(self.proj(levels[-1].to(self.proj.weight.dtype)), views.rows, views.columns)
        return pointmaps(functional.pixel_shuffle(maps, self.configuration.patch_size), self.configuration)


class DptHead(nn.Module):
    """Tokens of four levels, fused: what half, three quarters and all blocks of the decoder gave, and the encoder."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = configuration
        depth, sizes = configuration.dec_depth, configuration.dpt
        self.taps = depth // 2, 3 * depth // 4, depth
        self.dpt = DptMap(
            configuration.enc_embed_dim,
            configuration.dec_embed_dim,
            sizes.layer_dims,
            sizes.feature_dim,
            sizes.last_dim,
            CHANNELS,
        )

    def prepare(self, views: Views) -> Tensor | None:
        """See `DptMap.prepare`."""
        return self.dpt.prepare(views.tokens.to(self.dpt.dtype), views.rows, views.columns)

    def forward(self, levels: Sequence[Tensor], prepared: Tensor | None, views: Views) -> Pointmaps:
        """Tokens of three levels of the decoder, and what `prepare` gave, to pointmaps of the same ``views``."""
        levels = [tokens.to(self.dpt.dtype) for tokens in levels]
        return pointmaps(self.dpt(levels, prepared, views.rows, views.columns), self.configuration)


def head(configuration: Configuration) -> LinearHead | DptHead:
    """The head that a configuration describes."""
    return (LinearHead if configuration.head_type == "linear" else DptHead)(configuration)


def pointmaps(maps: Tensor, configuration: Configuration) -> Pointmaps:
    """``[B,4,H,W]`` as heads give it, as points and confidence."""
    maps = maps.movedim(1, -1).contiguous()
    name, least, most = configuration.conf_mode
    return Pointmaps(POINTS[configuration.depth_mode](maps[..., :3]), CONFIDENCES[name](maps[..., 3], least, most))


def joined(parts: Sequence[Pointmaps], order: Tensor) -> Pointmaps:
    """All of them, in that order."""
    points, confidence = torch.cat([part.points for part in parts]), torch.cat([part.confidence for part in parts])
    return Pointmaps(points[order], confidence[order])


def turned(maps: Tensor, portrait: bool, rows: int, columns: int) -> Tensor:
    """With those two axes exchanged, if it is a portrait's."""
    return maps.transpose(rows, columns) if portrait else maps
