"""The pre-norm transformer block of the VGGT family (Wang et al. 2025, section 3.2) and its parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.rotary import rotate

Rotary = tuple[Tensor, Tensor]  # what `rotary_angles` gives for the tokens
Heads = tuple[Tensor, Tensor, Tensor]  # queries, keys and values, each [B, N, heads, head_width]


class Attention(nn.Module):
    """Self-attention over all tokens of a sequence.

    Args:
        width: channels of a token.
        heads: how many heads share them.
        qk_norm: makes the norm of queries and of keys from the width of a head, or None for neither
            (query-key normalisation: Dehghani et al. 2023, section 2.1).
    """

    def __init__(self, width: int, heads: int, qk_norm: Callable[[int], nn.Module] | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = qk_norm(width // heads) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(width // heads) if qk_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, rotary: Rotary | None = None) -> Tensor:
        """``[B, N, width]`` to the same; ``rotary`` holds the angles of the N tokens (see `rotary_angles`)."""
        return self.proj(attend(*self.project(tokens, rotary)))

    def project(self, tokens: Tensor, rotary: Rotary | None = None) -> Heads:
        """Queries, keys and values of ``[B, N, width]``, for `attend`."""
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(tokens).chunk(3, -1))
        query, key = self.q_norm(query), self.k_norm(key)
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        return query.to(value.dtype), key.to(value.dtype), value


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot products of `Heads`, ``[B, N, heads, head_width]`` each, to ``[B, N, heads * head_width]``."""
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """Two linear layers with a GELU between.

    Args:
        width: channels of the input.
        hidden: channels between the layers.
        gelu: "none" for the exact one or "tanh" for its approximation.
        output: channels of the output; None for as many as the input has.
    """

    def __init__(self, width: int, hidden: int, gelu: str = "none", output: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate=gelu)
        self.fc2 = nn.Linear(hidden, output or width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[..., width]`` to ``[..., output]``."""
        return self.fc2(self.act(self.fc1(tokens)))


class LayerScale(nn.Module):
    """A learned factor per channel, small at first: a deep stack starts near the identity (Touvron et al. 2021)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, tokens: Tensor, update: Tensor) -> Tensor:
        """``[..., width]`` plus the scaled update."""
        return torch.addcmul(tokens, self.gamma, update)


class Sum(nn.Module):
    """What stands in a block without `LayerScale` in its place."""

    def forward(self, tokens: Tensor, update: Tensor) -> Tensor:
        """The sum of both, ``[..., width]``."""
        return tokens + update


class Block(nn.Module):
    """Attention, then an MLP, each normed before, scaled after and added.

    Args:
        width: channels of a token.
        heads: of the attention.
        qk_norm: see `Attention`.
        gelu: see `Mlp`.
        layer_scale: initial value of both `LayerScale`s; None for none.
        mlp_ratio: channels within the MLP, as a multiple of ``width``.
        eps: of both LayerNorms.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        qk_norm: Callable[[int], nn.Module] | None = None,
        gelu: str = "none",
        layer_scale: float | None = 0.01,
        mlp_ratio: float = 4.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads, qk_norm)
        self.ls1 = Sum() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = Mlp(width, int(mlp_ratio * width), gelu)
        self.ls2 = Sum() if layer_scale is None else LayerScale(width, layer_scale)

    def forward(self, tokens: Tensor, rotary: Rotary | None = None) -> Tensor:
        """``[B, N, width]`` to the same; ``rotary`` as in `Attention.forward`."""
        return self.add(tokens, self.attend(*self.project(tokens, rotary)))

    def project(self, tokens: Tensor, rotary: Rotary | None = None) -> Heads:
        """What comes before the attention: queries, keys and values of ``[B, N, width]``, for `attend`."""
        return self.attn.project(self.norm1(tokens), rotary)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The attention itself, of what `project` gave (see `attend`)."""
        return attend(query, key, value)

    def add(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """What comes after it: ``attended``, which that gave, added to the tokens, then the MLP."""
        tokens = self.ls1(tokens, self.attn.proj(attended))
        return self.ls2(tokens, self.mlp(self.norm2(tokens)))
