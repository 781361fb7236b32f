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
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.convolution import ResidualUnit
from recon.networks.layers.rotary import grid_positions, rotary_angles
from recon.networks.layers.transformer import Block, Heads, Rotary, attend

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


@dataclass
class Group:
    """Views of one size on their way through the blocks.

    Attributes:
        views: V, how many of each scene.
        maps: the stem's at 1/2, 1/4 and 1/8, ``[(B V),C,H/s,W/s]``.
        rotary: the angles of a view's tokens.
        tokens: ``[(B V),N,C]``: camera, registers, patches.
        heads: of those tokens, for the next block's attention.
        kept: the tokens as they were after some blocks, by the block's number.
    """

    views: int
    maps: list[Tensor]
    rotary: Rotary
    tokens: Tensor
    heads: Heads
    kept: dict[int, Tensor] = field(default_factory=dict)


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
        self.taps = tuple(taps)
        self.descriptors_after = descriptors_after
        self.kept = {descriptors_after, *taps, depth - 1, depth}  # blocks whose tokens the heads read

        self.stem = Stem(stem_channels, width)
        self.position = nn.Linear(2 + 4 * POSITION_OCTAVES, width)
        self.special_tokens = nn.Parameter(0.02 * torch.randn(2, self.special, width))  # first view, all others
        qk_norm = partial(nn.RMSNorm, eps=1e-6)
        blocks = (Block(width, heads, qk_norm=qk_norm, gelu="tanh") for _ in range(depth))
        self.blocks: Sequence[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.descriptors = nn.Linear(width, 64)
        self.camera_head = CameraHead(width)
        self.dense_head = DenseHead(width, len(taps), dense_channels, stem_channels)
        self.fine_head = FineHead(stem_channels[1], fine_channels) if fine_channels else None

    def forward(self, images: Tensor) -> Prediction:
        """``[B,V,3,H,W]`` in 0..1, H and W multiples of 16; view 0 sets the world."""
        groups = self.start([images])
        for number in range(1, len(self.blocks) + 1):
            self.advance(groups, number)
        return self.predict(groups[0])

    def steps(self, images: Sequence[Tensor]) -> Generator[tuple[float, str], None, list[Prediction]]:
        """Views of different sizes of one scene, block by block, for those who show progress or may stop.

        Args:
            images: one ``[B,V_g,3,H_g,W_g]`` for each size. View 0 of the first sets the world; beyond that, order does
                not matter.

        Yields:
            The fraction of the work that is done, and a phrase for it.

        Returns:
            One prediction a size.
        """
        groups = self.start(images)
        for number in range(1, len(self.blocks) + 1):
            self.advance(groups, number)
            yield number / (len(self.blocks) + 2), f"Block {number} of {len(self.blocks)}"
        return [self.predict(group) for group in groups]

    def start(self, images: Sequence[Tensor]) -> list[Group]:
        """Views before the first block, grouped by size as `steps` takes them."""
        groups = []
        for index, group in enumerate(images):
            batch, views, _, height, width = group.shape
            special = self.special_tokens[1:].expand(views, -1, -1)
            if index == 0:
                special = torch.cat([self.special_tokens[:1], special[1:]])
            maps, tokens = self.embed(group.flatten(0, 1), special.repeat(batch, 1, 1))
            positions = grid_positions(height // STRIDE, width // STRIDE, self.special, group.device)
            rotary = rotary_angles(positions, self.head_width)
            groups.append(Group(views, maps, rotary, tokens, self.blocks[0].project(tokens, rotary)))
        return groups

    def embed(self, images: Tensor, special: Tensor) -> tuple[list[Tensor], Tensor]:
        """Images ``[N,3,H,W]`` and their special tokens ``[N,special,C]`` to the stem's maps and to all tokens."""
        height, width = images.shape[-2] // STRIDE, images.shape[-1] // STRIDE
        maps, patches = self.stem(images)
        patches = patches + self.position(fourier_positions(height, width, images.device))
        return maps, torch.cat([special.to(patches.dtype), patches], 1)

    def advance(self, groups: list[Group], number: int) -> None:
        """Through one block: those of odd number attend within each view, those of even number across all views."""
        if number % 2:
            attended = [attend(*group.heads) for group in groups]
        else:
            attended = attend_across([group.heads for group in groups], [group.views for group in groups])
        block, following = self.blocks[number - 1], self.blocks[number : number + 1]
        for group, values in zip(groups, attended, strict=True):
            if following:
                group.tokens, group.heads = self.pass_on(block, following[0], group.tokens, values, group.rotary)
            else:
                group.tokens = block.add(group.tokens, values)
            if number in self.kept:
                group.kept[number] = group.tokens

    @staticmethod
    def pass_on(
        block: Block, following: Block, tokens: Tensor, attended: Tensor, rotary: Rotary
    ) -> tuple[Tensor, Heads]:
        """What lies between two attentions: the tokens after ``block``, and their heads for the one that follows."""
        tokens = block.add(tokens, attended)
        return tokens, following.project(tokens, rotary)

    def predict(self, group: Group) -> Prediction:
        """What the heads read off a group that has passed all blocks."""
        return by_scene(self.read(group.maps, group.kept), group.views)

    def read(self, maps: list[Tensor], kept: dict[int, Tensor]) -> Prediction:
        """The heads: a `Group`'s maps and tokens of N views to a prediction of shapes ``[N,...]``."""
        last = len(self.blocks)
        taps = [kept[number][:, self.special :] for number in self.taps]
        values, quarter = self.dense_head(maps, taps)
        log_depth, depth_confidence, points, points_confidence = values.float().split([1, 1, 3, 1], -1)
        descriptors = self.descriptors(kept[self.descriptors_after][:, self.special :]).unflatten(
            1, (quarter.shape[-2] // 4, quarter.shape[-1] // 4)
        )
        return Prediction(
            depth=log_depth.squeeze(-1).clamp(-8, 8).exp(),
            depth_confidence=1 + depth_confidence.squeeze(-1).clamp_max(5).exp(),
            points=from_signed_log(points),
            points_confidence=1 + points_confidence.squeeze(-1).clamp_max(5).exp(),
            descriptors=functional.normalize(descriptors, dim=-1),
            cameras=self.camera_head(kept[last - 1][:, 0], kept[last][:, 0]),
            fine_descriptors=None if self.fine_head is None else self.fine_head(quarter),
        )

    def compile_parts(self, **options: Any) -> None:
        """Compile in place what fuses well, for training; ``options`` are those of `torch.compile`.

        In parts, so that one compilation serves all blocks, and none depends on how many views a scene has: only
        another image size or another number of views in all compiles anew. Attention has kernels of its own.
        """
        torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)  # image sizes
        compiled = partial(torch.compile, dynamic=False, fullgraph=True, **options)
        self.embed = compiled(self.embed)  # type: ignore[method-assign]
        self.pass_on = compiled(self.pass_on)  # type: ignore[method-assign]
        self.read = compiled(self.read)  # type: ignore[method-assign]
        first, last = self.blocks[0], self.blocks[-1]
        first.project = compiled(first.project)  # type: ignore[method-assign]
        last.add = compiled(last.add)  # type: ignore[method-assign]


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
        self.output = nn.Sequential(Gelu(), nn.Conv2d(half, 6 * 4, 3, padding=1))
        convolution = self.output[1]
        nn.init.normal_(convolution.weight, std=1e-2)  # type: ignore[arg-type]
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor], taps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps ``[N,C,H/s,W/s]`` at s = 2, 4, 8 and tokens ``[N, H/16 * W/16, width]`` to values and a finer map.

        Returns:
            The values ``[N,H,W,6]``, and the head's own map at 1/4, ``[N,C,H/4,W/4]``.
        """
        half, quarter, eighth = maps
        tokens = self.project(torch.cat([norm(tap) for norm, tap in zip(self.norms, taps, strict=True)], -1))
        coarse = rearrange(tokens, "n (h w) c -> n c h w", h=eighth.shape[-2] // 2)
        coarse = self.stride16(coarse.contiguous(memory_format=torch.channels_last))
        fine = self.stride4(self.stride8(coarse, eighth), quarter)
        values = rearrange(self.output(self.stride2(fine, half)), "n c h w -> n h w c")
        return rearrange(values, "n h w (c i j) -> n (h i) (w j) c", i=2, j=2), fine  # by way of the layout in memory


class FineHead(nn.Module):
    """The dense head's map at 1/4 to descriptors of unit length."""

    def __init__(self, channels: int, descriptor: int) -> None:
        super().__init__()
        self.refine = ResidualUnit(channels, Gelu())
        self.project = nn.Conv2d(channels, descriptor, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """``[N,channels,H,W]`` to ``[N,H,W,descriptor]``."""
        return functional.normalize(rearrange(self.project(self.refine(maps)), "n c h w -> n h w c").float(), dim=-1)


class Fusion(nn.Module):
    """A coarse map, doubled, plus the finer map of the stem, refined by residual units."""

    def __init__(self, coarse: int, fine: int, units: int) -> None:
        super().__init__()
        self.from_coarse = nn.Conv2d(coarse, fine, 1)
        self.from_fine = nn.Conv2d(fine, fine, 1)
        self.refine = nn.Sequential(*(ResidualUnit(fine, Gelu()) for _ in range(units)))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """``[N,coarse,H,W]`` and ``[N,fine,2H,2W]`` to ``[N,fine,2H,2W]``."""
        doubled = repeat(self.from_coarse(coarse), "n c h w -> n (h two) (w to) c", two=2, to=2)
        return self.refine(rearrange(doubled, "n h w c -> n c h w") + self.from_fine(fine))


def attend_across(heads: list[Heads], views: list[int]) -> list[Tensor]:
    """All tokens of a scene attend to each other: for each group the heads of its ``(B V_g)`` views, and V_g."""
    sequences = [
        [rearrange(part, "(b v) n h d -> b (v n) h d", v=v) for part in parts]
        for parts, v in zip(heads, views, strict=True)
    ]
    query, key, value = (torch.cat(parts, 1) if len(parts) > 1 else parts[0] for parts in zip(*sequences, strict=True))
    attended = attend(query, key, value).split([parts[0].shape[1] for parts in sequences], 1)
    return [rearrange(values, "b (v n) c -> (b v) n c", v=v) for values, v in zip(attended, views, strict=True)]


def by_scene(prediction: Prediction, views: int) -> Prediction:
    """A prediction of ``[N,...]`` as one of ``[B,V,...]``."""

    def split(values: Tensor) -> Tensor:
        return values.unflatten(0, (-1, views))

    return Prediction(
        depth=split(prediction.depth),
        depth_confidence=split(prediction.depth_confidence),
        points=split(prediction.points),
        points_confidence=split(prediction.points_confidence),
        descriptors=split(prediction.descriptors),
        cameras=[
            CameraPrediction(split(camera.translation), split(camera.quaternion), split(camera.fields_of_view))
            for camera in prediction.cameras
        ],
        fine_descriptors=None if prediction.fine_descriptors is None else split(prediction.fine_descriptors),
    )


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
