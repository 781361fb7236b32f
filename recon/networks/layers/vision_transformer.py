"""The patch encoder of the DINOv2 family (Oquab et al. 2023; registers: Darcet et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.tables import table
from recon.networks.layers.transformer import Block

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which these encoders were trained on


class PatchEmbed(nn.Module):
    """Patches of an image to tokens, row by row."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        """``[N,3,H,W]`` to ``[N, h * w, width]``, contiguous, as the kernels for GPUs want it."""
        return self.proj(images).flatten(2).transpose(1, 2).contiguous()


class VisionTransformer(nn.Module):
    """An image to one token a patch.

    Args:
        image: side in pixels of the square image that the position table is made for.
        patch: side of a patch in pixels.
        width: channels of a token.
        depth: blocks.
        heads: of each block.
        mlp_ratio: see `Block`.
        registers: special tokens beside the class token; 0 for none.
        layer_scale: see `Block`.
        qk_norm: LayerNorm of queries and keys.
        antialias: when the position table is resized.
        offset: added to the number of patches a side before the factor of that resize is taken; 0 to resize to exactly
            that number.
        eps: of the LayerNorms, but those of queries and keys.
    """

    def __init__(
        self,
        image: int = 518,
        patch: int = 14,
        width: int = 1024,
        depth: int = 24,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        registers: int = 4,
        layer_scale: float | None = 1.0,
        qk_norm: bool = False,
        antialias: bool = True,
        offset: float = 0.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.side = image // patch
        self.patch, self.antialias, self.offset = patch, antialias, offset
        self.patch_embed = PatchEmbed(patch, width)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + self.side**2, width))
        self.register_tokens = nn.Parameter(0.02 * torch.randn(1, registers, width)) if registers else None
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # of the training by masking; checkpoints hold it
        norm = nn.LayerNorm if qk_norm else None
        self.blocks = nn.ModuleList(
            Block(width, heads, norm, layer_scale=layer_scale, mlp_ratio=mlp_ratio, eps=eps) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps)

    def forward(self, images: Tensor, progress: Callable[[int], None] | None = None) -> Tensor:
        """``[N,3,H,W]``, normalised as the checkpoint wants it, to the tokens of its patches ``[N, h * w, width]``.

        ``progress`` is called with the number of blocks done after each, and may raise to stop.
        """
        tokens = self.embed(images)
        for done, block in enumerate(self.blocks, 1):
            tokens = block(tokens)
            if progress is not None:
                progress(done)
        return self.finish(tokens)

    def embed(self, images: Tensor) -> Tensor:
        """What comes before the blocks: class token, registers and patches, with positions but for the registers."""
        count, _, height, width = images.shape
        tokens = torch.cat([self.cls_token.expand(count, -1, -1), self.patch_embed(images)], 1)
        tokens = tokens + self.positions(height // self.patch, width // self.patch).to(tokens.dtype)
        if self.register_tokens is None:
            return tokens
        return torch.cat([tokens[:, :1], self.register_tokens.expand(count, -1, -1), tokens[:, 1:]], 1)

    def finish(self, tokens: Tensor) -> Tensor:
        """What comes after them: the patches' tokens alone, normed."""
        special = 1 if self.register_tokens is None else 1 + self.register_tokens.shape[1]
        return self.norm(tokens)[:, special:]

    def positions(self, height: int, width: int) -> Tensor:
        """The position table ``[1, 1 + height * width, C]`` for a grid of that many patches."""
        if height == width == self.side:
            return self.pos_embed
        table = self.pos_embed.float()
        grid = table[:, 1:].unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        scale = ((height + self.offset) / self.side, (width + self.offset) / self.side)
        grid = functional.interpolate(
            grid,
            size=None if self.offset else (height, width),
            scale_factor=scale if self.offset else None,
            mode="bicubic",
            antialias=self.antialias,
        )
        return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], 1)


@table(8)
def picture_moments(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``[3,1,1]`` of pictures on a device."""
    mean, deviation = torch.tensor([MEAN, DEVIATION])[..., None, None].to(device)
    return mean, deviation
