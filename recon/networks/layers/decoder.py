"""The decoder block of the DUSt3R family: a view attends to itself, then to others (CroCo: Weinzaepfel et al. 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from recon.networks.layers.rotary import rotate
from recon.networks.layers.transformer import Attention, Mlp, Rotary, attend


class CrossAttention(nn.Module):
    """Attention of the tokens of one view to those of others."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, tokens: Tensor, memory: Tensor, rotary: Rotary | None = None, memory_rotary: Rotary | None = None
    ) -> Tensor:
        """``tokens [B,N,width]`` that ask and ``memory [B,M,width]`` that answers to ``[B,N,width]``.

        ``rotary`` and ``memory_rotary`` hold the angles of the N and of the M tokens (see `rotary_angles`); None for
        both stands for attention that knows no positions.
        """
        query = self.projq(tokens).unflatten(-1, (self.heads, -1))
        key, value = (layer(memory).unflatten(-1, (self.heads, -1)) for layer in (self.projk, self.projv))
        if rotary is not None:
            query = rotate(query, rotary)
        if memory_rotary is not None:
            key = rotate(key, memory_rotary)
        return self.proj(attend(query, key, value))


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention, then an MLP, each normed before and added.

    Args:
        width: channels of a token.
        heads: of both attentions.
        mlp_ratio: channels within the MLP, as a multiple of ``width``.
        eps: of all LayerNorms.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps)
        self.norm_y = nn.LayerNorm(width, eps)
        self.cross_attn = CrossAttention(width, heads)
        self.norm3 = nn.LayerNorm(width, eps)
        self.mlp = Mlp(width, int(mlp_ratio * width))

    def forward(
        self, tokens: Tensor, others: Tensor, rotary: Rotary | None = None, others_rotary: Rotary | None = None
    ) -> Tensor:
        """``tokens [B,N,width]`` of a view, knowing ``others [B,M,width]``, to the same shape.

        ``rotary`` turns within the view, and both turn across views, as `CrossAttention.forward` has it.
        """
        tokens = tokens + self.attn(self.norm1(tokens), rotary)
        tokens = tokens + self.cross_attn(self.norm2(tokens), self.norm_y(others), rotary, others_rotary)
        return tokens + self.mlp(self.norm3(tokens))
