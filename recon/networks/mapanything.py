"""MapAnything: photos, and what is known of them, to metric cameras, depth and points (Keetha et al. 2025).

Loads the published checkpoints key for key, those of version 1 and of version 1.1. An image encoder makes tokens of
each view, to which what is known of the view is added; blocks attend across all views and within each by turns; heads
read dense maps and poses off the patches, and the scale of the scene off a token of its own.

Conventions of the network: pictures in 0..1, sides that are multiples of the patch; poses are ``world_from_camera``,
OpenCV axes, quaternions xyzw; pixel centres lie at integers; depth is along the ray of the pixel. The world is about
the first view's camera, which is marked. All is answered in metres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from recon.errors import InputError
from recon.networks.layers.geometry_encoders import DenseEncoder, GlobalEncoder
from recon.networks.layers.mapanything_heads import SMALLEST, Levels, PoseHead, Regressor, ScaleHead
from recon.networks.layers.pose_encoding import rotation_from_quaternion
from recon.networks.layers.view_attention import EPS, InformationSharing, PictureEncoder
from recon.networks.mapanything_configuration import PATCH, Configuration, read_configuration
from recon.networks.mapanything_inputs import Known, normalised_depth, normalised_translations, relative_poses

__all__ = ["Configuration", "Features", "Known", "MapAnything", "Maps", "Prediction", "read_configuration"]

TOGETHER = 32  # maps of what is known that are encoded at a time


@dataclass
class Features:
    """What the heads read of V views.

    Attributes:
        layers: tokens of the patches ``[B,V,h * w,C]`` after fusion, after the two taps, and at the end.
        scale: the scale token ``[B,C]``.
        height: of the pictures in pixels.
        width: of the pictures in pixels.
    """

    layers: tuple[Tensor, ...]
    scale: Tensor
    height: int
    width: int

    @property
    def views(self) -> int:
        """V."""
        return self.layers[0].shape[1]


@dataclass
class Maps:
    """What is said of every pixel of some views, in units of the scene: its scale is not applied.

    Attributes:
        rays: directions ``[B,n,H,W,3]`` of unit length in the camera.
        depth: ``[B,n,H,W]`` along them.
        confidence: ``[B,n,H,W]``, at least 1.
        clear: ``[B,n,H,W]``, logits of not being sky, a mirror or the like; above 0 where depth means something.
    """

    rays: Tensor
    depth: Tensor
    confidence: Tensor
    clear: Tensor


@dataclass
class Prediction:
    """What the network says of V views, in metres.

    Attributes:
        rays: directions ``[B,V,H,W,3]`` of unit length in the camera.
        depth: ``[B,V,H,W]`` along them.
        confidence: ``[B,V,H,W]``, at least 1.
        clear: ``[B,V,H,W]``, logits of not being sky, a mirror or the like; above 0 where depth means something.
        quaternions: xyzw ``[B,V,4]`` of unit length, ``world_from_camera``.
        translations: ``[B,V,3]``, ``world_from_camera``.
        scale: metres of the network's own unit ``[B]``; it is applied already.
    """

    rays: Tensor
    depth: Tensor
    confidence: Tensor
    clear: Tensor
    quaternions: Tensor
    translations: Tensor
    scale: Tensor

    @property
    def points_in_camera(self) -> Tensor:
        """``[B,V,H,W,3]``."""
        return self.rays * self.depth[..., None]

    @property
    def points(self) -> Tensor:
        """``[B,V,H,W,3]`` in the world."""
        rotations = rotation_from_quaternion(self.quaternions)[:, :, None]
        turned = self.points_in_camera @ rotations.transpose(-1, -2)
        return turned + self.translations[:, :, None, None]


class MapAnything(nn.Module):
    """Any number of views of one size, in one pass; or in steps, for those who show progress or save memory."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = configuration
        geometry, heads = configuration.geometry, configuration.heads
        width, inner = configuration.encoder.width, configuration.attention.width
        self.encoder = PictureEncoder(configuration.encoder)
        self.ray_dirs_encoder = DenseEncoder(3, geometry.rays, width, PATCH)
        self.depth_encoder = DenseEncoder(1, geometry.depth, width, PATCH)
        self.depth_scale_encoder = GlobalEncoder(1, geometry.scale, width)
        self.cam_rot_encoder = GlobalEncoder(4, geometry.rotation, width)
        self.cam_trans_encoder = GlobalEncoder(3, geometry.translation, width)
        self.cam_trans_scale_encoder = GlobalEncoder(1, geometry.scale, width)
        self.fusion_norm_layer = nn.LayerNorm(width, EPS)
        self.scale_token = nn.Parameter(0.02 * torch.randn(width))
        self.info_sharing = InformationSharing(width, configuration.attention)
        self.dense_head = nn.ModuleList(
            [Levels((width, inner, inner, inner), heads.channels, heads.features), Regressor(heads.features, 6)]
        )
        self.pose_head = PoseHead(inner, 4 * PATCH**2, heads.pose_blocks)
        self.scale_head = ScaleHead(inner, heads.scale_width)

    def forward(self, images: Tensor, known: Known | None = None, chunk: int = 8) -> Prediction:
        """All that the network has heads for.

        Args:
            images: ``[B,V,3,H,W]`` in 0..1; view 0 sets the world.
            known: of these views beside the images.
            chunk: views that the heads take at a time, which changes nothing but memory.

        Raises:
            InputError: a size the network cannot take, or poses without that of the first view.
        """
        features = self.encode(images, known)
        parts = [slice(start, start + chunk) for start in range(0, features.views, chunk)]
        dense = [self.maps(features, part) for part in parts]
        maps = Maps(*(torch.cat([getattr(one, part.name) for one in dense], 1) for part in fields(Maps)))
        poses = [self.poses(features, part) for part in parts]
        translations, quaternions = (torch.cat(each, 1) for each in zip(*poses, strict=True))
        scale = self.scale(features)
        return Prediction(
            maps.rays,
            maps.depth * scale[:, None, None, None],
            maps.confidence,
            maps.clear,
            quaternions,
            translations * scale[:, None, None],
            scale,
        )

    def encode(
        self, images: Tensor, known: Known | None = None, progress: Callable[[float], None] | None = None
    ) -> Features:
        """What the heads read, and no more, of ``images [B,V,3,H,W]`` in 0..1 and what is known beside them.

        ``progress`` is called with the share done after each block, and may raise to stop.

        Raises:
            InputError: a size the network cannot take, or poses without that of the first view.
        """
        batch, _, _, height, width = images.shape
        if height < PATCH or width < PATCH or height % PATCH or width % PATCH:
            raise InputError(
                f"The network takes pictures whose width and height are multiples of {PATCH} pixels, "
                f"not {width} x {height}; resize them first."
            )
        first, second = self.configuration.encoder.depth, self.configuration.attention.depth

        def told(done: int) -> None:
            if progress is not None:
                progress(done / (first + second))

        patches, classes = self.encoder(images.flatten(0, 1), told)
        patches, classes = patches.unflatten(0, (batch, -1)), classes.unflatten(0, (batch, -1))
        fused = self.fuse(patches, known or Known())
        shared, scale = self.info_sharing(
            fused, classes, self.scale_token.expand(batch, 1, -1), lambda done: told(first + done)
        )
        return Features((fused, *shared), scale, height, width)

    def fuse(self, patches: Tensor, known: Known) -> Tensor:
        """Patches ``[B,V,h * w,C]`` and what is known of their views, added and normed."""
        fused = patches.clone()
        if known.rays is not None and known.has_rays is not None and len(known.rays):
            fused[known.has_rays] += in_parts(self.ray_dirs_encoder, known.rays)
        if known.depth is not None and known.has_depth is not None and len(known.depth):
            depth, unit = normalised_depth(known.depth)
            told = in_parts(self.depth_encoder, depth[..., None])
            size = self.depth_scale_encoder((unit + SMALLEST).log()[:, None])
            if known.metric_depth is not None:
                size = size * known.metric_depth[known.has_depth][:, None]
            fused[known.has_depth] += told + size[:, None]
        if known.quaternions is not None and known.translations is not None and known.has_pose is not None:
            quaternions, translations = relative_poses(known.quaternions, known.translations, known.has_pose)
            translations, unit = normalised_translations(translations)
            told = self.cam_rot_encoder(quaternions.flatten(0, 1)) + self.cam_trans_encoder(translations.flatten(0, 1))
            told = told.unflatten(0, patches.shape[:2])
            size = self.cam_trans_scale_encoder((unit + SMALLEST).log()[:, None])[:, None]
            if known.metric_pose is not None:
                size = size * known.metric_pose[..., None]
            fused += ((told + size) * known.has_pose[..., None])[:, :, None]
        return self.fusion_norm_layer(fused)

    def maps(self, features: Features, frames: slice | Sequence[int]) -> Maps:
        """What is said of every pixel of some views."""
        layers = [layer[:, frames] for layer in features.layers]
        levels, regressor = self.dense_head
        maps = levels([layer.flatten(0, 1) for layer in layers], features.height // PATCH)
        maps = regressor(maps, (features.height, features.width)).unflatten(0, layers[0].shape[:2])
        rays, depth, confidence, clear = maps.movedim(2, -1).split([3, 1, 1, 1], -1)
        return Maps(unit_length(rays), depth[..., 0].exp(), 1 + confidence[..., 0].exp(), clear[..., 0])

    def poses(self, features: Features, frames: slice) -> tuple[Tensor, Tensor]:
        """Translations ``[B,n,3]`` in units of the scene and unit quaternions ``[B,n,4]`` of some views."""
        tokens = features.layers[-1][:, frames]
        translations, quaternions = self.pose_head(tokens.flatten(0, 1))
        shape = tokens.shape[:2]
        return translations.unflatten(0, shape), unit_length(quaternions).unflatten(0, shape)

    def scale(self, features: Features) -> Tensor:
        """Metres of a unit of the scene ``[B]``."""
        return self.scale_head(features.scale)


def in_parts(encoder: DenseEncoder, maps: Tensor) -> Tensor:
    """What an encoder makes of maps ``[n,H,W,C]``, `TOGETHER` at a time, since it holds much more than it gives."""
    return torch.cat([encoder(part) for part in maps.split(TOGETHER)])


def unit_length(vectors: Tensor) -> Tensor:
    """``[...,C]`` divided by their lengths."""
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(SMALLEST)
