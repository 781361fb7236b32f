"""SIU3R's backbone: views encoded each by itself, then decoded knowing of each other, with a token for the lens.

DUSt3R's trunk, which also reads the intrinsics of each view (as NoPoSplat: Ye et al. 2025), and takes
any number of views: the first goes through one decoder, all others through a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from recon.networks.layers.rotary import grid_positions, rotary_angles
from recon.networks.layers.tables import table
from recon.networks.layers.transformer import Rotary
from recon.networks.pairwise import PairTrunk
from recon.networks.siu3r_configuration import Croco

Progress = Callable[[float], None]


class Backbone(PairTrunk):
    """Pictures and their intrinsics to tokens. The intrinsics' token is the last of each view, and stays within.

    Args:
        settings: of the encoder and the decoders.
        base: of the rotary positions.
        blocks: of the encoder whose tokens are wanted, counted from 0.
        taps: levels of the decoders that are wanted.
        masked: hold the token of the training by masking, as checkpoints for many views do.
    """

    def __init__(self, settings: Croco, base: float, blocks: Sequence[int], taps: Sequence[int], masked: bool) -> None:
        super().__init__(
            settings.patch_size,
            base,
            (settings.enc_embed_dim, settings.enc_depth, settings.enc_num_heads),
            (settings.dec_embed_dim, settings.dec_depth, settings.dec_num_heads),
        )
        self.blocks, self.taps = tuple(blocks), tuple(taps)
        if not masked:
            del self.mask_token
        self.intrinsic_encoder = nn.Linear(9, settings.enc_embed_dim)

    def forward(self, images: Tensor, intrinsics: Tensor, progress: Progress) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of some blocks of the encoder ``[B,V,P,C]``, and of some levels of the decoders; P patches a view.

        Levels are the encoder's tokens, normed, then what `taps` name, ``[B,V,P,D]``, the last one normed.

        Args:
            images: ``[B,V,3,H,W]`` in 0..1, which stay as they are.
            intrinsics: ``[B,V,3,3]``, the first row divided by W, the second by H.
            progress: called with the share done after each block; may raise to stop.
        """
        batch, views, _, height, width = images.shape
        rows, columns = height // self.patch, width // self.patch
        angles = [token_angles(rows, columns, head, self.base, images.device) for head in self.head_widths]
        steps = len(self.enc_blocks) + len(self.dec_blocks)
        tokens = self.patch_embed(images.flatten(0, 1))
        tokens = torch.cat([tokens, self.intrinsic_encoder(intrinsics.flatten(2)).reshape(batch * views, 1, -1)], 1)
        kept = []
        for number, block in enumerate(self.enc_blocks):
            tokens = block(tokens, angles[0])
            if number in self.blocks:
                kept.append(tokens[:, :-1].unflatten(0, (batch, views)))
            progress((number + 1) / steps)
        tokens = self.enc_norm(tokens)
        levels = [tokens[:, :-1].unflatten(0, (batch, views))]
        tokens = self.decoder_embed(tokens).unflatten(0, (batch, views))
        around = angles[1][0].repeat(views - 1, 1, 1), angles[1][1].repeat(views - 1, 1, 1)
        for number, (block, block2) in enumerate(zip(self.dec_blocks, self.dec_blocks2, strict=True), 1):
            others = [torch.cat([tokens[:, :view], tokens[:, view + 1 :]], 1).flatten(1, 2) for view in range(views)]
            first = block(tokens[:, 0], others[0], angles[1], around)
            rest = block2(tokens[:, 1:].flatten(0, 1), torch.stack(others[1:], 1).flatten(0, 1), angles[1], around)
            tokens = torch.cat([first[:, None], rest.unflatten(0, (batch, views - 1))], 1)
            if number in self.taps:
                last = self.dec_norm(tokens) if number == len(self.dec_blocks) else tokens
                levels.append(last[:, :, :-1])
            progress((len(self.enc_blocks) + number) / steps)
        return kept, levels


@table(64)
def token_angles(rows: int, columns: int, head_width: int, base: float, device: torch.device) -> Rotary:
    """Rotary angles of a view's patches, which count from 0, and of its last token, one row below them."""
    patches = grid_positions(rows, columns, device=device) - 1
    return rotary_angles(torch.cat([patches, patches.new_tensor([[rows, 0]])]), head_width, base)
