"""The trunk of MapAnything: tokens of each picture, then attention across and within views (Keetha et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recon.networks.layers.swiglu import SwiGlu
from recon.networks.layers.transformer import Block
from recon.networks.layers.vision_transformer import VisionTransformer, picture_moments
from recon.networks.mapanything_configuration import PATCH, AlternatingAttention, ImageEncoder

SIDE = 518  # of the picture that the image encoder's positions are made for, in pixels
EPS = 1e-6  # of all LayerNorms


class PictureEncoder(nn.Module):
    """The image encoder; its parts have a place of their own in the checkpoints."""

    def __init__(self, settings: ImageEncoder) -> None:
        super().__init__()
        self.model = VisionTransformer(
            SIDE, PATCH, settings.width, 0, registers=0, antialias=False, offset=0.1, eps=EPS
        )
        self.model.blocks = nn.ModuleList(
            block(settings.width, settings.heads, settings.hidden, settings.gated, 1.0) for _ in range(settings.depth)
        )
        del self.model.mask_token  # which these checkpoints do not hold
        if not settings.normed:
            self.model.norm = nn.Identity()  # type: ignore[assignment]

    def forward(self, images: Tensor, progress: Callable[[int], None]) -> tuple[Tensor, Tensor]:
        """``[N,3,H,W]`` in 0..1 to tokens of the patches ``[N,h * w,C]`` and class tokens ``[N,C]``."""
        mean, deviation = (moment.to(images.dtype) for moment in picture_moments(images.device))
        tokens = self.model.embed((images - mean) / deviation)
        for done, layer in enumerate(self.model.blocks, 1):
            tokens = layer(tokens)
            progress(done)
        tokens = self.model.norm(tokens)
        return tokens[:, 1:], tokens[:, 0]


class InformationSharing(nn.Module):
    """Tokens of views to tokens that know of each other, by attention across and within views by turns.

    Args:
        width: channels of a token that comes.
        settings: of the blocks.
    """

    view_pos_table: Tensor

    def __init__(self, width: int, settings: AlternatingAttention) -> None:
        super().__init__()
        self.taps, self.class_tokens = settings.taps, settings.class_tokens
        self.proj_embed = nn.Identity() if width == settings.width else nn.Linear(width, settings.width)
        self.register_buffer("view_pos_table", torch.arange(settings.width, device="cpu")[None] % 2.0)
        self.self_attention_blocks = nn.ModuleList(
            block(settings.width, settings.heads, settings.hidden, settings.gated, settings.layer_scale or None)
            for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(settings.width, EPS)

    def forward(
        self, patches: Tensor, classes: Tensor, scale: Tensor, progress: Callable[[int], None]
    ) -> tuple[list[Tensor], Tensor]:
        """Patches of the taps and of the last block, normed, and the scale token, normed.

        Args:
            patches: ``[B,V,P,C]``.
            classes: ``[B,V,C]``.
            scale: ``[B,1,C]``.
            progress: called with the number of blocks done.
        """
        batch, views, count, _ = patches.shape
        if self.class_tokens:
            patches = torch.cat([patches, classes[:, :, None]], 2)
        tokens, scale = self.proj_embed(patches), self.proj_embed(scale)
        tokens = torch.cat([tokens[:, :1] + self.view_pos_table, tokens[:, 1:]], 1).flatten(1, 2)
        kept = []
        for number, layer in enumerate(self.self_attention_blocks):
            if number % 2:
                tokens = tokens.reshape(batch * views, -1, tokens.shape[-1])
                tokens = layer(tokens).reshape(batch, -1, tokens.shape[-1])
            else:
                tokens = torch.cat([tokens, scale], 1)  # under the same name, so that what was joined is gone
                tokens = layer(tokens)
                tokens, scale = tokens[:, :-1], tokens[:, -1:]
            if number in self.taps:
                kept.append(self.norm(tokens.unflatten(1, (views, -1))[:, :, :count]))
            progress(number + 1)
        kept.append(self.norm(tokens.unflatten(1, (views, -1))[:, :, :count]))
        return kept, self.norm(scale[:, 0])


def block(width: int, heads: int, hidden: int, gated: bool, layer_scale: float | None) -> Block:
    """A block of the image encoder or of those that views share."""
    made = Block(width, heads, layer_scale=layer_scale, mlp_ratio=hidden / width, eps=EPS)
    if gated:
        made.mlp = SwiGlu(width, hidden)  # type: ignore[assignment]
    return made
