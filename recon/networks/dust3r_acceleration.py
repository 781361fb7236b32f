"""DUSt3R on a GPU (see `recon.networks.acceleration`).

What is not mentioned is as in `recon.networks.dust3r`, in float32: the tokens that blocks add to, all norms, the linear
head, and the last convolution of the other, whose values exponentials are taken of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel

from recon.networks.acceleration import (
    ATTENTION,
    all_fit,
    fuse,
    half_precision,
    in_range,
    lighten,
    link,
    on_device,
    paced,
    reach,
    reach_then,
    take_over,
)
from recon.networks.dust3r import DptHead, Dust3r, Pointmaps, Views
from recon.networks.layers import fused
from recon.networks.layers.decoder import DecoderBlock
from recon.networks.layers.rotary import rotate
from recon.networks.layers.transformer import Heads, Rotary, attend


def accelerate(network: Dust3r, device: torch.device) -> Dust3r:
    """See `on_device`.

    Args:
        network: with its weights, on any device but "meta".
        device: where to run it.
    """
    return on_device(network, device, lambda network: Accelerated(network, half_precision(device)))


class Accelerated(Dust3r):
    """`Dust3r` with the blocks of its encoder and of both decoders replaced.

    Args:
        network: gives its parts away.
        dtype: of the matrices of those blocks, and of what they multiply, where float16 cannot hold it.
        dense: precision of the dense heads' convolutions but for the last.
    """

    def __init__(self, network: Dust3r, dtype: torch.dtype, dense: torch.dtype = torch.float16) -> None:
        take_over(self, network)
        fuse(self.enc_blocks, dtype)
        link(self.enc_blocks)
        for blocks in (self.dec_blocks, self.dec_blocks2):
            for index, block in enumerate(blocks):
                blocks[index] = FusedDecoderBlock(block, dtype)  # type: ignore[arg-type]
        for head in (self.downstream_head1, self.downstream_head2):
            if isinstance(head, DptHead):
                lighten(head, head.dpt.head[4], dense)
        self.eval().requires_grad_(False)

    def encode(self, images: Tensor, progress: Callable[[float], None] | None = None, reused: bool = True) -> Views:
        """See `Dust3r.encode`; progress tells what the device has done, not what it was given to do."""
        with sdpa_kernel(ATTENTION, set_priority=True):
            return super().encode(images, None if progress is None else told(progress, images), reused)

    def decode(
        self, first: Views, second: Views, progress: Callable[[float], None] | None = None
    ) -> tuple[Pointmaps, Pointmaps]:
        """See `Dust3r.decode`; progress as in `encode`."""
        with sdpa_kernel(ATTENTION, set_priority=True):
            return super().decode(first, second, None if progress is None else told(progress, first.tokens))

    def read(self, side: int, levels: Sequence[Tensor], views: Views) -> Pointmaps:
        """See `Dust3r.read`."""
        head = (self.downstream_head1, self.downstream_head2)[side]
        if not isinstance(head, DptHead):
            return super().read(side, levels, views)

        def maps() -> tuple[Tensor, Tensor]:
            # What was prepared in a precision that turned out to be too small is no good any more.
            kept = views.prepared[side] if views.prepared else None
            prepared = head.prepare(views) if kept is None or kept.dtype != head.dpt.dtype else kept
            found = head(levels, prepared, views)
            return found.points, found.confidence

        return Pointmaps(*in_range(maps, head, head.dpt.head[4]))


class FusedDecoderBlock(DecoderBlock):
    """`DecoderBlock` as `FusedBlock` has it: matrices in half precision, one pass over memory for all between them.

    Args:
        block: gives its parts away.
        dtype: of the matrices that float16 may not hold.
    """

    def __init__(self, block: DecoderBlock, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.norm1, self.attn, self.norm2, self.norm_y = block.norm1, block.attn, block.norm2, block.norm_y
        self.cross_attn, self.norm3, self.mlp = block.cross_attn, block.norm3, block.mlp
        self.dtype = torch.float16 if dtype == torch.bfloat16 and decoder_fits_float16(block) else dtype
        for part in (self.attn.qkv, self.attn.proj, self.cross_attn, self.mlp):
            part.to(self.dtype)

    def forward(
        self, tokens: Tensor, others: Tensor, rotary: Rotary | None = None, others_rotary: Rotary | None = None
    ) -> Tensor:
        """See `DecoderBlock.forward`; the tokens that are given stay as they are."""
        cross = self.cross_attn

        def answers(asking: Tensor) -> Tensor:
            memory = fused.norm(others, self.norm_y, self.dtype)
            key, value = cross.projk(memory), cross.projv(memory)
            return attend(*turned(asking, key, value, cross.heads, rotary, others_rotary))

        return self.through(tokens, rotary, answers)

    def through(self, tokens: Tensor, rotary: Rotary | None, answers: Callable[[Tensor], Tensor]) -> Tensor:
        """All of the block, given what the others' tokens answer to queries ``[B,N,width]``."""
        total = torch.empty_like(tokens)
        packed = self.attn.qkv(fused.norm(tokens, self.norm1, self.dtype))
        update = self.attn.proj(attend(*unpacked(packed, self.attn.heads, rotary)))
        asking = self.cross_attn.projq(fused.add_norm(tokens, update, None, self.norm2, total, self.dtype))
        update = self.cross_attn.proj(answers(asking))
        change = self.mlp(fused.add_norm(total, update, None, self.norm3, total, self.dtype))
        fused.add_(total, change, None)
        return total


def unpacked(packed: Tensor, heads: int, rotary: Rotary | None) -> Heads:
    """Queries and keys, turned, and values, of ``[B, N, 3 * width]``."""
    parts = packed.unflatten(-1, (3, heads, -1))
    if rotary is None:
        query, key, value = parts.unbind(2)
        return query, key, value
    made = torch.empty((3, *parts.shape[:2], *parts.shape[3:]), dtype=packed.dtype, device=packed.device)
    fused.norm_rotate(parts, (nn.Identity(), nn.Identity()), rotary, 1.0, (made[0], made[1], made[2]))
    return made[0], made[1], made[2]


def turned(
    query: Tensor, key: Tensor, value: Tensor, heads: int, rotary: Rotary | None, others_rotary: Rotary | None
) -> Heads:
    """The same of three ``[B, N or M, width]``; queries have positions of their own."""
    if rotary is others_rotary:  # of equal sizes, so that one pass turns both
        return unpacked(torch.cat([query, key, value], -1), heads, rotary)
    query, key, value = (part.unflatten(-1, (heads, -1)) for part in (query, key, value))
    assert rotary is not None
    assert others_rotary is not None
    return rotate(query, rotary), rotate(key, others_rotary), value


def decoder_fits_float16(block: DecoderBlock) -> bool:
    """As `fits_float16`, of a decoder's block."""
    heads, value = reach(block.attn.qkv, block.norm1), reach(block.cross_attn.projv, block.norm_y)
    hidden = reach(block.mlp.fc1, block.norm3)
    made = [
        heads,
        reach_then(block.attn.proj, heads.chunk(3)[2]),
        reach(block.cross_attn.projq, block.norm2),
        reach(block.cross_attn.projk, block.norm_y),
        value,
        reach_then(block.cross_attn.proj, value),
        hidden,
        reach_then(block.mlp.fc2, hidden),
    ]
    return all_fit(made, (block.norm1, block.norm2, block.norm_y, block.norm3))


def told(progress: Callable[[float], None], given: Tensor) -> Callable[[float], None]:
    """See `paced`; where nothing runs ahead, ``progress`` itself."""
    return paced(progress) if given.is_cuda else progress
