"""Cameras from camera tokens, refined in turns (VGGT: Wang et al. 2025, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.activations import VALUES
from recon.networks.layers.transformer import Block, Mlp

ENCODING = 9


class CameraHead(nn.Module):
    """One token a view to one encoding of its camera: translation (3), quaternion (4), fields of view (2).

    Each turn modulates the tokens by the encoding so far, as adaptive LayerNorm does (Peebles & Xie 2023, section 3.2),
    lets the views attend to each other, and adds what it reads off to the encoding.

    Args:
        width: channels of a token.
        depth: blocks of a turn.
        heads: of each block.
        mlp_ratio: see `Block`.
        layer_scale: see `Block`.
        iterations: turns.
        activations: of translation, quaternion and fields of view, each a name of `VALUES`. They shape what is given
            out, not what the next turn starts from.
    """

    def __init__(
        self,
        width: int = 2048,
        depth: int = 4,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        layer_scale: float | None = 0.01,
        iterations: int = 4,
        activations: tuple[str, str, str] = ("linear", "linear", "relu"),
    ) -> None:
        super().__init__()
        self.iterations, self.activations = iterations, activations
        self.token_norm = nn.LayerNorm(width)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, ENCODING))
        self.embed_pose = nn.Linear(ENCODING, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.trunk = nn.ModuleList(
            Block(width, heads, layer_scale=layer_scale, mlp_ratio=mlp_ratio) for _ in range(depth)
        )
        self.trunk_norm = nn.LayerNorm(width)
        self.pose_branch = Mlp(width, width // 2, output=ENCODING)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """``[B,V,width]`` to the encodings ``[B,V,9]`` after each turn, the last the best."""
        tokens = self.token_norm(tokens)
        normed = functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        encoding, encodings = None, []
        for _ in range(self.iterations):
            before = self.empty_pose_tokens.expand(*tokens.shape[:2], -1) if encoding is None else encoding.detach()
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(before)).chunk(3, -1)
            hidden = gate * (normed * (1 + scale) + shift) + tokens
            for block in self.trunk:
                hidden = block(hidden)
            change = self.pose_branch(self.trunk_norm(hidden))
            encoding = change if encoding is None else before + change
            encodings.append(self.activate(encoding))
        return encodings

    def activate(self, encoding: Tensor) -> Tensor:
        """What is given out for an encoding ``[...,9]``."""
        parts = zip(self.activations, encoding.split([3, 4, 2], -1), strict=True)
        return torch.cat([VALUES[name](part) for name, part in parts], -1)
