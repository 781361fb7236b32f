"""VGGT: photos of one scene to cameras, depth, points and tracks in one pass (Wang et al. 2025).

Loads the published checkpoints key for key. A patch encoder makes tokens of each view; blocks attend within each view
and across all views by turns; heads read cameras off the camera tokens, and dense maps off the patches of four layers.

Conventions of the network: pictures in 0..1, sides that are multiples of the patch; the world is about the first
view's camera, OpenCV axes; cameras are ``camera_from_world``, quaternions xyzw; pixel centres lie at integers; the
unit is the mean distance of all visible points from the first camera; the principal point is the image's centre. The
only thing that tells views apart is the first one's own set of special tokens: the order of the others is no matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recon.errors import InputError
from recon.networks.layers.activations import CONFIDENCES, VALUES
from recon.networks.layers.camera_head import CameraHead
from recon.networks.layers.dpt import Dpt
from recon.networks.layers.pose_encoding import decode_cameras, encode_cameras
from recon.networks.layers.rotary import grid_positions, rotary_angles
from recon.networks.layers.tables import table
from recon.networks.layers.tracker import Tracker, Tracking, joined
from recon.networks.layers.transformer import Block, Rotary
from recon.networks.layers.vision_transformer import VisionTransformer, picture_moments
from recon.networks.vggt_configuration import Configuration, Dense, Track, read_configuration

__all__ = [
    "VGGT",
    "Configuration",
    "Features",
    "Prediction",
    "Tracking",
    "decode_cameras",
    "encode_cameras",
    "read_configuration",
]


@dataclass
class Features:
    """What the heads read of V views.

    Attributes:
        layers: tokens of the patches ``[B,V,h * w,2C]`` by the number of the layer that gave them: as they were after
            its attention within views, then after that across views.
        cameras: camera tokens of the last layer ``[B,V,2C]``.
        height: of the pictures in pixels.
        width: of the pictures in pixels.
    """

    layers: dict[int, Tensor]
    cameras: Tensor
    height: int
    width: int

    @property
    def views(self) -> int:
        """V."""
        return self.cameras.shape[1]


@dataclass
class Prediction:
    """What the network says of V views; None for what it has no head for.

    Attributes:
        cameras: encodings ``[B,V,9]`` after each iteration, the last the best (see `decode_cameras`).
        depth: ``[B,V,H,W]`` z-depth.
        depth_confidence: ``[B,V,H,W]``, at least 1.
        points: ``[B,V,H,W,3]`` in the world.
        points_confidence: ``[B,V,H,W]``, at least 1.
        tracking: of the queries, if there were any.
    """

    cameras: list[Tensor] | None = None
    depth: Tensor | None = None
    depth_confidence: Tensor | None = None
    points: Tensor | None = None
    points_confidence: Tensor | None = None
    tracking: Tracking | None = None


class VGGT(nn.Module):
    """Any number of views of one size, in one pass; or in steps, for those who show progress or save memory."""

    def __init__(self, configuration: Configuration = Configuration()) -> None:
        super().__init__()
        self.configuration = configuration
        width, patch = 2 * configuration.embed_dim, configuration.patch_size
        self.aggregator = Aggregator(configuration)
        self.camera_head = camera_head(configuration) if configuration.enable_camera else None
        self.point_head = DenseHead(width, patch, configuration.point_head) if configuration.enable_point else None
        self.depth_head = DenseHead(width, patch, configuration.depth_head) if configuration.enable_depth else None
        self.track_head = TrackHead(width, patch, configuration.track_head) if configuration.enable_track else None

    def forward(self, images: Tensor, queries: Tensor | None = None, chunk: int = 8) -> Prediction:
        """All that the network has heads for.

        Args:
            images: ``[B,V,3,H,W]`` in 0..1; view 0 sets the world.
            queries: pixels ``[B,N,2]`` of view 0 to track, or None.
            chunk: views that the dense heads take at a time, which changes nothing but memory.

        Raises:
            InputError: a size the network cannot take.
        """
        features = self.encode(images)
        prediction = Prediction()

        def cameras() -> None:
            prediction.cameras = self.cameras(features)

        def depth() -> None:
            parts = [self.depth(features, frames) for frames in slices(features.views, chunk)]
            prediction.depth, prediction.depth_confidence = (torch.cat(each, 1) for each in zip(*parts, strict=True))

        def points() -> None:
            parts = [self.points(features, frames) for frames in slices(features.views, chunk)]
            prediction.points, prediction.points_confidence = (torch.cat(each, 1) for each in zip(*parts, strict=True))

        heads = (self.camera_head, cameras), (self.depth_head, depth), (self.point_head, points)
        self.read([reading for head, reading in heads if head is not None])
        if self.track_head is not None and queries is not None:
            prediction.tracking = self.track(features, queries, chunk=chunk)
        return prediction

    def read(self, readings: Sequence[Callable[[], None]]) -> None:
        """Do what the heads of `forward` do, which is independent of each other."""
        for reading in readings:
            reading()

    def encode(self, images: Tensor, progress: Callable[[float], None] | None = None) -> Features:
        """What the heads read, and no more, of ``images [B,V,3,H,W]`` in 0..1.

        ``progress`` is called with the share done after each block, and may raise to stop. Nothing waits for the
        device.

        Raises:
            InputError: a size the network cannot take.
        """
        height, width = images.shape[-2:]
        patch = self.configuration.patch_size
        if height < patch or width < patch or height % patch or width % patch:
            raise InputError(
                f"The network takes pictures whose width and height are multiples of {patch} pixels, "
                f"not {width} x {height}; resize them first."
            )
        layers, cameras = self.aggregator(images, self.tapped, progress)
        return Features(layers, cameras, height, width)

    @property
    def tapped(self) -> frozenset[int]:
        """Layers that the dense heads and the tracker read."""
        heads = (self.point_head, self.depth_head, self.track_head)
        return frozenset(layer for head in heads if head is not None for layer in head.taps)

    def cameras(self, features: Features) -> list[Tensor]:
        """Encodings ``[B,V,9]`` after each iteration, the last the best: translation, quaternion xyzw, fields of view.

        The fields of view are the vertical, then the horizontal one, full angles in radians.
        """
        if self.camera_head is None:
            raise InputError("This checkpoint has no camera head; choose one that gives cameras.")
        return self.camera_head(features.cameras)

    def depth(self, features: Features, frames: slice) -> tuple[Tensor, Tensor]:
        """Z-depth ``[B,n,H,W]`` of some views, and its confidence ``[B,n,H,W]``."""
        if self.depth_head is None:
            raise InputError("This checkpoint has no depth head; take points from its point head.")
        depth, confidence = self.depth_head(features, frames)
        return depth[..., 0], confidence

    def points(self, features: Features, frames: slice) -> tuple[Tensor, Tensor]:
        """World points ``[B,n,H,W,3]`` of some views, and their confidence ``[B,n,H,W]``."""
        if self.point_head is None:
            raise InputError("This checkpoint has no point head; take points from its depth and cameras.")
        return self.point_head(features, frames)

    def track(
        self,
        features: Features,
        queries: Tensor,
        progress: Callable[[float], None] | None = None,
        chunk: int = 8,
        together: int | None = None,
    ) -> Tracking:
        """Pixels ``[B,N,2]`` of view 0, followed through all views.

        Args:
            features: of all views.
            queries: (x, y), integers at pixel centres.
            progress: called with the share done after each chunk and each iteration; may raise to stop.
            chunk: views whose maps are made at a time.
            together: points that are followed at a time, which bounds memory, and see each other; None for all.

        Raises:
            InputError: no track head, or pictures too small to track in.
        """
        if self.track_head is None:
            raise InputError("This checkpoint has no track head; choose one that gives tracks.")
        return self.track_head(features, queries, progress, chunk, together)


class Aggregator(nn.Module):
    """Views to tokens that know of each other: the patch encoder, then attention within and across views by turns."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        encoder, blocks, width = configuration.patch_embed, configuration.aggregator, configuration.embed_dim
        self.settings, self.patch = blocks, configuration.patch_size
        self.head_width = width // blocks.num_heads
        self.patch_embed = VisionTransformer(
            image=configuration.img_size,
            patch=configuration.patch_size,
            width=width,
            depth=encoder.depth,
            heads=encoder.num_heads,
            mlp_ratio=encoder.mlp_ratio,
            registers=encoder.num_register_tokens,
            layer_scale=encoder.init_values or None,
            qk_norm=encoder.qk_norm,
            antialias=encoder.interpolate_antialias,
            offset=encoder.interpolate_offset,
            eps=encoder.norm_eps,
        )
        self.camera_token = nn.Parameter(0.02 * torch.randn(1, 2, 1, width))  # of the first view, of all others
        self.register_token = nn.Parameter(0.02 * torch.randn(1, 2, blocks.num_register_tokens, width))
        self.frame_blocks, self.global_blocks = (
            nn.ModuleList(
                Block(
                    width,
                    blocks.num_heads,
                    nn.LayerNorm if blocks.qk_norm else None,
                    layer_scale=blocks.init_values or None,
                    mlp_ratio=blocks.mlp_ratio,
                    eps=blocks.norm_eps,
                )
                for _ in range(blocks.depth)
            )
            for _ in range(2)
        )

    def forward(
        self, images: Tensor, kept: Collection[int], progress: Callable[[float], None] | None = None
    ) -> tuple[dict[int, Tensor], Tensor]:
        """``[B,V,3,H,W]`` to `Features.layers`, those to keep, and `Features.cameras`."""
        batch, views, _, height, width = images.shape
        encoder = len(self.patch_embed.blocks)
        total = encoder + 2 * self.settings.depth
        tokens = self.embed(images, None if progress is None else lambda done: progress(done / total))
        rotary = self.rotary(height // self.patch, width // self.patch, images.device)
        special, last = 1 + self.settings.num_register_tokens, self.settings.depth - 1
        halves: dict[tuple[str, int], Tensor] = {}
        layers: dict[int, Tensor] = {}
        cameras: dict[str, Tensor] = {}
        for done, (kind, number, block) in enumerate(self.blocks(), encoder + 1):
            tokens = self.advance(block, tokens, rotary, views if kind == "global" else 1)
            if number in kept:
                halves[kind, number] = tokens[:, special:]
            if number == last:
                cameras[kind] = tokens[:, 0]
            if ("frame", number) in halves and ("global", number) in halves:
                pair = halves.pop(("frame", number)), halves.pop(("global", number))
                layers[number] = torch.cat(pair, -1).unflatten(0, (batch, views))
            if progress is not None:
                progress(done / total)
        return layers, torch.cat([cameras["frame"], cameras["global"]], -1).unflatten(0, (batch, views))

    def embed(self, images: Tensor, progress: Callable[[int], None] | None = None) -> Tensor:
        """``[B,V,3,H,W]`` to the tokens ``[B V,P,C]`` before the blocks: camera, registers, patches.

        ``progress`` is called with the number of blocks of the patch encoder that are done.
        """
        batch, views = images.shape[:2]
        mean, deviation = picture_moments(images.device)
        pictures = (images.flatten(0, 1) - mean.to(images.dtype)) / deviation.to(images.dtype)
        patches = self.patch_embed(pictures, progress)
        first, others = torch.cat([self.camera_token, self.register_token], 2).split(1, 1)
        special = torch.cat([first, others.expand(-1, views - 1, -1, -1)], 1).expand(batch, -1, -1, -1)
        return torch.cat([special.flatten(0, 1).to(patches.dtype), patches], 1)

    def rotary(self, rows: int, columns: int, device: torch.device) -> Rotary | None:
        """Angles of a view's tokens, the same in every view, or None without rotary positions."""
        if self.settings.rope_freq <= 0:
            return None
        special = 1 + self.settings.num_register_tokens
        return view_angles(rows, columns, special, self.head_width, self.settings.rope_freq, device)

    def blocks(self) -> Iterator[tuple[str, int, Block]]:
        """All blocks in the order of their turns: "frame" or "global", the layer it belongs to, the block."""
        kinds = {"frame": self.frame_blocks, "global": self.global_blocks}
        size = self.settings.aa_block_size
        for start in range(0, self.settings.depth, size):
            for kind in self.settings.aa_order:
                for number in range(start, start + size):
                    yield kind, number, kinds[kind][number]  # type: ignore[misc]

    @staticmethod
    def advance(block: Block, tokens: Tensor, rotary: Rotary | None, together: int) -> Tensor:
        """Tokens ``[B V,P,C]`` through a block that attends across ``together`` views, 1 for each by itself."""
        # Held by no name: queries, keys and values go before what comes after the attention begins.
        attended = block.attend(
            *(part.unflatten(0, (-1, together)).flatten(1, 2) for part in block.project(tokens, rotary))
        )
        return block.add(tokens, attended.reshape(tokens.shape))


class DenseHead(Dpt):
    """Patches of four layers to values and their confidence, for every pixel."""

    def __init__(self, width: int, patch: int, settings: Dense) -> None:
        super().__init__(
            width,
            settings.out_channels,
            settings.features,
            settings.output_dim,
            patch,
            settings.down_ratio,
            settings.pos_embed,
        )
        self.taps = settings.intermediate_layer_idx
        self.activation, self.conf_activation = settings.activation, settings.conf_activation

    def forward(self, features: Features, frames: slice) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Values ``[B,n,H,W,output_dim - 1]`` and confidence ``[B,n,H,W]`` of some views."""
        layers = [features.layers[tap][:, frames] for tap in self.taps]
        maps = super().forward([layer.flatten(0, 1) for layer in layers], features.height, features.width)
        maps = maps.float().movedim(1, -1).unflatten(0, layers[0].shape[:2])
        return VALUES[self.activation](maps[..., :-1]), CONFIDENCES[self.conf_activation](maps[..., -1])


class TrackHead(nn.Module):
    """Maps to track on, and the tracker."""

    def __init__(self, width: int, patch: int, settings: Track) -> None:
        super().__init__()
        extractor, tracker = settings.feature_extractor, settings.tracker
        self.taps, self.iterations = extractor.intermediate_layer_idx, settings.iters
        self.feature_extractor = Dpt(
            width,
            extractor.out_channels,
            extractor.features,
            None,
            patch,
            extractor.down_ratio,
            extractor.pos_embed,
        )
        self.tracker = Tracker(
            tracker.latent_dim,
            tracker.stride,
            tracker.corr_levels,
            tracker.corr_radius,
            tracker.hidden_size,
            tracker.depth,
            tracker.updateformer_num_heads,
            tracker.num_virtual_tracks,
            tracker.max_scale,
            tracker.predict_conf,
        )

    def forward(
        self,
        features: Features,
        queries: Tensor,
        progress: Callable[[float], None] | None = None,
        chunk: int = 8,
        together: int | None = None,
    ) -> Tracking:
        """See `VGGT.track`."""
        smallest = self.feature_extractor.down_ratio * self.tracker.smallest_side
        if min(features.height, features.width) < smallest:
            raise InputError(
                f"Tracking needs pictures of at least {smallest} pixels a side, not {features.width} x "
                f"{features.height}; use larger or less elongated ones."
            )
        maps: list[Tensor] = []
        chunks = slices(features.views, chunk)
        for frames in chunks:
            layers = [features.layers[tap][:, frames] for tap in self.taps]
            part = self.feature_extractor([layer.flatten(0, 1) for layer in layers], features.height, features.width)
            maps.append(part.unflatten(0, layers[0].shape[:2]))
            if progress is not None:
                progress(0.5 * len(maps) / len(chunks))
        whole = torch.cat(maps, 1)
        del maps
        parts = queries.split(together or queries.shape[1], 1)
        tracked: list[Tracking] = []
        for part in parts:

            def told(share: float) -> None:
                if progress is not None:
                    progress(0.5 + 0.5 * (len(tracked) + share) / len(parts))

            tracked.append(self.tracker(whole, part, self.iterations, told))
        return joined(tracked)


def camera_head(configuration: Configuration) -> CameraHead:
    """The head that a configuration describes."""
    settings = configuration.camera_head
    return CameraHead(
        2 * configuration.embed_dim,
        settings.trunk_depth,
        settings.num_heads,
        settings.mlp_ratio,
        settings.init_values or None,
        settings.num_iterations,
        (settings.trans_act, settings.quat_act, settings.fl_act),
    )


def slices(count: int, size: int) -> list[slice]:
    """All of ``count``, at most ``size`` at a time and about as many each time."""
    size = math.ceil(count / math.ceil(count / size)) if count else size
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


@table(64)
def view_angles(rows: int, columns: int, special: int, head_width: int, base: float, device: torch.device) -> Rotary:
    """Rotary angles of the tokens of a view of that many patches, made once for each size and device."""
    return rotary_angles(grid_positions(rows, columns, special, device), head_width, base)
