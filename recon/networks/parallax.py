"""The embedded network, parallax-small: photos of one scene to depth, points, cameras and coarse descriptors at once.

After VGGT (Wang et al. 2025): blocks that attend within each view and across all views by turns, a camera token a view,
one set of special tokens for the first view and one for all others. Smaller in every way, and with a convolutional stem
in place of a pretrained patch encoder, whose maps also feed the dense head.

Conventions of the network: the world is the first view's camera (nearly: its own camera comes out close to the
identity), OpenCV axes; cameras are ``world_from_camera``; quaternions wxyz; the unit is the mean distance of all
visible points from the first camera; the principal point is the image's centre.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.convolution import ResidualUnit
from recon.networks.layers.rotary import grid_positions, rotary_angles
from recon.networks.layers.transformer import Block

STRIDE = 16
POSITION_OCTAVES = 8
Gelu = partial(nn.GELU, approximate="tanh")


@dataclass
class CameraPrediction:
    """Cameras of all views after one refinement step.

    Attributes:
        translation: ``[B,V,3]`` centres in the world.
        quaternion: ``[B,V,4]`` wxyz, unit length, of ``world_from_camera``.
        fields_of_view: ``[B,V,2]`` horizontal and vertical, full angles in radians.
    """

    translation: Tensor
    quaternion: Tensor
    fields_of_view: Tensor


@dataclass
class Prediction:
    """What the network says of V views of one size.

    Attributes:
        depth: ``[B,V,H,W]`` z-depth.
        depth_confidence: ``[B,V,H,W]``, at least 1, the inverse of the expected error of the log-depth.
        points: ``[B,V,H,W,3]`` in the world.
        points_confidence: ``[B,V,H,W]``, at least 1.
        descriptors: ``[B,V,H/16,W/16,64]``, unit length: patches of two views that show the same thing have a large
            scalar product.
        cameras: after each refinement step, the last the best.
        fine_descriptors: ``[B,V,H/4,W/4,C]``, unit length, to match pixels within patches; None if the network has no
            such head.
    """

    depth: Tensor
    depth_confidence: Tensor
    points: Tensor
    points_confidence: Tensor
    descriptors: Tensor
    cameras: list[CameraPrediction]
    fine_descriptors: Tensor | None = None


class ParallaxNetwork(nn.Module):
    """Any number of views of any sizes that are multiples of 16, in one pass.

    Args:
        width: channels of a token.
        depth: blocks, which attend within and across views by turns.
        heads: of each block.
        registers: special tokens of a view beside its camera token.
        stem_channels: of the stem's maps at 1/2, 1/4 and 1/8 of the image.
        dense_channels: of the dense head at 1/16.
        taps: blocks, counted from 1, after which the dense head reads the tokens.
        descriptors_after: the block after which the coarse descriptors are read.
        fine_channels: of the fine descriptors at 1/4; 0 for none.
    """

    def __init__(
        self,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        registers: int = 4,
        stem_channels: tuple[int, int, int] = (32, 64, 128),
        dense_channels: int = 192,
        taps: tuple[int, ...] = (5, 8, 12),
        descriptors_after: int = 4,
        fine_channels: int = 0,
    ) -> None:
        super().__init__()
        self.head_width = width // heads
        self.special = 1 + registers
        self.taps = taps
        self.descriptors_after = descriptors_after

        self.stem = Stem(stem_channels, width)
        self.position = nn.Linear(2 + 4 * POSITION_OCTAVES, width)
        self.special_tokens = nn.Parameter(0.02 * torch.randn(2, self.special, width))  # first view, all others
        qk_norm = partial(nn.RMSNorm, eps=1e-6)
        self.blocks = nn.ModuleList(Block(width, heads, qk_norm=qk_norm, gelu="tanh") for _ in range(depth))
        self.descriptors = nn.Linear(width, 64)
        self.camera_head = CameraHead(width)
        self.dense_head = DenseHead(width, len(taps), dense_channels, stem_channels)
        self.fine_head = FineHead(stem_channels[1], fine_channels) if fine_channels else None

    def forward(self, images: Tensor) -> Prediction:
        """``[B,V,3,H,W]`` in 0..1, H and W multiples of 16; view 0 sets the world."""
        steps = self.steps([images])
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value[0]

    def steps(self, groups: Sequence[Tensor]) -> Generator[tuple[float, str], None, list[Prediction]]:
        """Views of different sizes of one scene, block by block, for those who show progress or may stop.

        Args:
            groups: one ``[B,V_g,3,H_g,W_g]`` for each size. View 0 of the first group sets the world; beyond that,
                order does not matter.

        Yields:
            The fraction of the work that is done, and a phrase for it.

        Returns:
            One prediction a group.
        """
        skips, tokens, rotary = [], [], []
        for index, images in enumerate(groups):
            maps, embedded = self.embed(images, holds_first=index == 0)
            height, width = images.shape[-2] // STRIDE, images.shape[-1] // STRIDE
            positions = grid_positions(height, width, self.special, images.device)
            skips.append(maps)
            tokens.append(embedded)
            rotary.append(rotary_angles(positions, self.head_width))

        tapped: list[list[Tensor]] = [[] for _ in groups]
        for index, block in enumerate(self.blocks):
            before_last = tokens
            tokens = attend_across_views(block, tokens, rotary) if index % 2 else attend_within(block, tokens, rotary)
            if index + 1 == self.descriptors_after:
                described = [functional.normalize(self.descriptors(t[:, :, self.special :]), dim=-1) for t in tokens]
            if index + 1 in self.taps:
                for taps, group in zip(tapped, tokens, strict=True):
                    taps.append(group[:, :, self.special :])
            yield (index + 1) / (len(self.blocks) + 2), f"Block {index + 1} of {len(self.blocks)}"

        return [
            self.predict(skips[i], tapped[i], described[i], before_last[i][:, :, 0], tokens[i][:, :, 0])
            for i in range(len(groups))
        ]

    def embed(self, images: Tensor, holds_first: bool) -> tuple[list[Tensor], Tensor]:
        """Images ``[B,V,3,H,W]`` to the stem's maps and to tokens ``[B,V,N,width]``: camera, registers, patches."""
        batch, views, _, height, width = images.shape
        maps, patches = self.stem(images.flatten(0, 1))
        grid = fourier_positions(height // STRIDE, width // STRIDE, images.device)
        patches = patches + self.position(grid)
        slots = torch.ones(views, dtype=torch.long, device=images.device)
        slots[0] = 0 if holds_first else 1
        special = repeat(self.special_tokens[slots], "v n c -> b v n c", b=batch).to(patches.dtype)
        return maps, torch.cat([special, rearrange(patches, "(b v) n c -> b v n c", b=batch)], 2)

    def predict(
        self, maps: list[Tensor], taps: list[Tensor], descriptors: Tensor, before_last: Tensor, last: Tensor
    ) -> Prediction:
        """The heads: stem's maps ``[(B V),C,...]``, patch tokens ``[B,V,N,C]``, two camera tokens ``[B,V,C]``."""
        batch, rows = last.shape[0], maps[0].shape[-2] * 2 // STRIDE
        dense, quarter = self.dense_head(maps, [tap.flatten(0, 1) for tap in taps])
        dense = rearrange(dense.float(), "(b v) c h w -> b v h w c", b=batch)
        fine = None
        if self.fine_head is not None:
            fine = rearrange(self.fine_head(quarter), "(b v) c h w -> b v h w c", b=batch)
        return Prediction(
            depth=dense[..., 0].clamp(-8, 8).exp(),
            depth_confidence=1 + dense[..., 1].clamp_max(5).exp(),
            points=from_signed_log(dense[..., 2:5]),
            points_confidence=1 + dense[..., 5].clamp_max(5).exp(),
            descriptors=rearrange(descriptors, "b v (h w) c -> b v h w c", h=rows),
            cameras=self.camera_head(before_last, last),
            fine_descriptors=fine,
        )


class Stem(nn.Module):
    """Strided convolutions to 1/2, 1/4, 1/8 and 1/16 of the image."""

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        half, quarter, eighth = channels
        self.stride2 = nn.Conv2d(3, half, 5, 2, 2)
        self.stride4 = nn.Sequential(Gelu(), nn.Conv2d(half, quarter, 3, 2, 1), ResidualUnit(quarter, Gelu()))
        self.stride8 = nn.Sequential(
            Gelu(), nn.Conv2d(quarter, eighth, 3, 2, 1), ResidualUnit(eighth, Gelu()), ResidualUnit(eighth, Gelu())
        )
        self.stride16 = nn.Sequential(Gelu(), nn.Conv2d(eighth, width, 3, 2, 1))
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """``[N,3,H,W]`` in 0..1 to maps at 1/2, 1/4, 1/8 and to tokens ``[N, H/16 * W/16, width]``."""
        half = self.stride2((4 * (images - 0.5)).contiguous(memory_format=torch.channels_last))
        quarter = self.stride4(half)
        eighth = self.stride8(quarter)
        return [half, quarter, eighth], self.norm(rearrange(self.stride16(eighth), "n c h w -> n (h w) c"))


class CameraHead(nn.Module):
    """A camera from each view's camera token, in steps: each adds to the last estimate, which passes no gradient.

    What is refined: translation, quaternion less the identity, logarithms of the tangents of half the fields of view.
    """

    def __init__(self, width: int, steps: int = 3) -> None:
        super().__init__()
        self.steps = steps
        self.norm = nn.LayerNorm(width)
        self.token = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, width))
        self.embed_camera = nn.Linear(9, width)
        self.refine = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.delta = nn.Linear(width, 9)
        nn.init.normal_(self.delta.weight, std=1e-3)
        nn.init.zeros_(self.delta.bias)

    def forward(self, within: Tensor, across: Tensor) -> list[CameraPrediction]:
        """Camera tokens ``[B,V,width]`` before and after the last attention across views, to each step's cameras."""
        token = self.token(torch.cat([self.norm(within), self.norm(across)], -1))
        camera = torch.zeros(*token.shape[:-1], 9, device=token.device)
        identity = torch.tensor([1.0, 0.0, 0.0, 0.0], device=token.device)
        cameras = []
        for _ in range(self.steps):
            camera = camera.detach()
            hidden = token + self.embed_camera(camera.to(token.dtype))
            camera = camera + self.delta(hidden + self.refine(hidden)).float()
            translation, quaternion, log_tangents = camera.split([3, 4, 2], -1)
            cameras.append(
                CameraPrediction(
                    translation, functional.normalize(quaternion + identity, dim=-1), 2 * log_tangents.exp().atan()
                )
            )
        return cameras


class DenseHead(nn.Module):
    """Patch tokens and the stem's maps to six values a pixel: log-depth, its confidence, signed-log points and theirs.

    DPT (Ranftl et al. 2021) with convolutional maps in place of reassembled tokens.
    """

    def __init__(self, width: int, taps: int, channels: int, stem_channels: tuple[int, int, int]) -> None:
        super().__init__()
        half, quarter, eighth = stem_channels
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(taps))
        self.project = nn.Linear(taps * width, channels)
        self.stride16 = ResidualUnit(channels, Gelu())
        self.stride8 = Fusion(channels, eighth, units=2)
        self.stride4 = Fusion(eighth, quarter, units=2)
        self.stride2 = Fusion(quarter, half, units=1)
        self.output = nn.Sequential(Gelu(), nn.Conv2d(half, 6 * 4, 3, padding=1), nn.PixelShuffle(2))
        convolution = self.output[1]
        nn.init.normal_(convolution.weight, std=1e-2)  # type: ignore[arg-type]
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor], taps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps ``[N,C,H/s,W/s]`` at s = 2, 4, 8 and tokens ``[N, H/16 * W/16, width]`` to values and a finer map.

        Returns:
            The values ``[N,6,H,W]``, and the head's own map at 1/4, ``[N,C,H/4,W/4]``.
        """
        half, quarter, eighth = maps
        tokens = self.project(torch.cat([norm(tap) for norm, tap in zip(self.norms, taps, strict=True)], -1))
        coarse = rearrange(tokens, "n (h w) c -> n c h w", h=eighth.shape[-2] // 2)
        coarse = self.stride16(coarse.contiguous(memory_format=torch.channels_last))
        fine = self.stride4(self.stride8(coarse, eighth), quarter)
        return self.output(self.stride2(fine, half)), fine


class FineHead(nn.Module):
    """The dense head's map at 1/4 to descriptors of unit length."""

    def __init__(self, channels: int, descriptor: int) -> None:
        super().__init__()
        self.refine = ResidualUnit(channels, Gelu())
        self.project = nn.Conv2d(channels, descriptor, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """``[N,channels,H,W]`` to ``[N,descriptor,H,W]``."""
        return functional.normalize(self.project(self.refine(maps)).float(), dim=1)


class Fusion(nn.Module):
    """A coarse map, doubled, plus the finer map of the stem, refined by residual units."""

    def __init__(self, coarse: int, fine: int, units: int) -> None:
        super().__init__()
        self.from_coarse = nn.Conv2d(coarse, fine, 1)
        self.from_fine = nn.Conv2d(fine, fine, 1)
        self.refine = nn.Sequential(*(ResidualUnit(fine, Gelu()) for _ in range(units)))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """``[N,coarse,H,W]`` and ``[N,fine,2H,2W]`` to ``[N,fine,2H,2W]``."""
        doubled = functional.interpolate(self.from_coarse(coarse), scale_factor=2, mode="nearest")
        return self.refine(doubled + self.from_fine(fine))


def attend_within(block: nn.Module, tokens: list[Tensor], rotary: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Each view's tokens attend to that view's own; tokens ``[B,V_g,N_g,C]`` a group."""
    return [
        block(group.flatten(0, 1), angles).unflatten(0, group.shape[:2])
        for group, angles in zip(tokens, rotary, strict=True)
    ]


def attend_across_views(block: nn.Module, tokens: list[Tensor], rotary: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """All tokens of all views of all groups attend to each other."""
    views = [group.shape[1] for group in tokens]
    joined = torch.cat([group.flatten(1, 2) for group in tokens], 1)
    cosines, sines = (
        torch.cat([angles[i].repeat(count, 1) for angles, count in zip(rotary, views, strict=True)]) for i in (0, 1)
    )
    parts = block(joined, (cosines, sines)).split([group.shape[1] * group.shape[2] for group in tokens], 1)
    return [part.unflatten(1, group.shape[1:3]) for part, group in zip(parts, tokens, strict=True)]


def fourier_positions(height: int, width: int, device: torch.device) -> Tensor:
    """``[height * width, 34]``: (y, x) of a grid's cells, -1 to 1 along its long side, with their sines and cosines."""
    long = max(height, width)
    y = (2 * torch.arange(height, device=device) + 1 - height) / long
    x = (2 * torch.arange(width, device=device) + 1 - width) / long
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flatten(0, 1)
    octaves = 2.0 ** torch.arange(POSITION_OCTAVES, device=device)
    angles = (grid[:, :, None] * octaves * (math.pi / 2)).flatten(1)
    return torch.cat([grid, angles.sin(), angles.cos()], -1)


def from_signed_log(values: Tensor) -> Tensor:
    """Points ``[...,3]`` whose length was replaced by ``log(1 + length)``, undone."""
    length = values.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    return values / length * length.clamp_max(8).expm1()
