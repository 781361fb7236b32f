"""What may differ between checkpoints of VGGT, and how their configuration files are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recon.networks.configuration import check, converted, read
from recon.networks.layers.activations import CONFIDENCES, VALUES

REGISTERS = 4
LARGEST = 1 << 16  # of a size or a number of heads
TAPS = (4, 11, 17, 23)
CHANNELS = (256, 512, 1024, 1024)


@dataclass(frozen=True)
class PatchEncoder:
    """See `recon.networks.layers.vision_transformer.VisionTransformer`; no ``init_values`` for no layer scale."""

    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    num_register_tokens: int = REGISTERS
    init_values: float = 1.0
    interpolate_antialias: bool = True
    interpolate_offset: float = 0.0
    qk_norm: bool = False
    norm_eps: float = 1e-6


@dataclass(frozen=True)
class AlternatingAttention:
    """Blocks that attend within each view ("frame") and across all views ("global") by turns.

    Attributes:
        aa_order: which of both comes first.
        aa_block_size: how many of one kind follow each other.
        rope_freq: base of the rotary positions; 0 or less for none.
    """

    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    num_register_tokens: int = REGISTERS
    aa_order: tuple[str, ...] = ("frame", "global")
    aa_block_size: int = 1
    qk_norm: bool = True
    rope_freq: float = 100.0
    init_values: float = 0.01
    norm_eps: float = 1e-5


@dataclass(frozen=True)
class Camera:
    """See `recon.networks.layers.camera_head.CameraHead`."""

    trunk_depth: int = 4
    num_heads: int = 16
    mlp_ratio: float = 4.0
    init_values: float = 0.01
    num_iterations: int = 4
    trans_act: str = "linear"
    quat_act: str = "linear"
    fl_act: str = "relu"


@dataclass(frozen=True)
class Dense:
    """See `recon.networks.layers.dpt.Dpt` and `recon.networks.layers.activations`."""

    output_dim: int
    activation: str
    conf_activation: str = "expp1"
    features: int = 256
    out_channels: tuple[int, ...] = CHANNELS
    intermediate_layer_idx: tuple[int, ...] = TAPS
    pos_embed: bool = True
    down_ratio: int = 1


@dataclass(frozen=True)
class TrackFeatures:
    """The maps that are tracked on; see `recon.networks.layers.dpt.Dpt`."""

    features: int = 128
    out_channels: tuple[int, ...] = CHANNELS
    intermediate_layer_idx: tuple[int, ...] = TAPS
    pos_embed: bool = False
    down_ratio: int = 2


@dataclass(frozen=True)
class TrackIteration:
    """See `recon.networks.layers.tracker.Tracker`."""

    latent_dim: int = 128
    stride: int = 2
    corr_levels: int = 7
    corr_radius: int = 4
    hidden_size: int = 384
    depth: int = 6
    max_scale: int = 518
    predict_conf: bool = True
    updateformer_num_heads: int = 8
    num_virtual_tracks: int = 64


@dataclass(frozen=True)
class Track:
    """Point tracking."""

    feature_extractor: TrackFeatures = TrackFeatures()
    tracker: TrackIteration = TrackIteration()
    iters: int = 4


@dataclass(frozen=True)
class Configuration:
    """Everything that shapes the network; what is published is the default.

    The names are those of the checkpoints' configurations.

    Raises:
        InputError: values that no network can have.
    """

    img_size: int = 518
    patch_size: int = 14
    embed_dim: int = 1024
    enable_camera: bool = True
    enable_point: bool = True
    enable_depth: bool = True
    enable_track: bool = True
    patch_embed: PatchEncoder = PatchEncoder()
    aggregator: AlternatingAttention = AlternatingAttention()
    camera_head: Camera = Camera()
    point_head: Dense = Dense(4, "inv_log")
    depth_head: Dense = Dense(2, "exp")
    track_head: Track = Track()

    def __post_init__(self) -> None:
        blocks, camera, extractor, tracker = (
            self.aggregator,
            self.camera_head,
            self.track_head.feature_extractor,
            self.track_head.tracker,
        )
        for name, number in (
            ("img_size", self.img_size),
            ("patch_size", self.patch_size),
            ("embed_dim", self.embed_dim),
            ("patch_embed.num_heads", self.patch_embed.num_heads),
            ("aggregator.num_heads", blocks.num_heads),
            ("aggregator.aa_block_size", blocks.aa_block_size),
            ("camera_head.num_heads", camera.num_heads),
            ("track_head.tracker.updateformer_num_heads", tracker.updateformer_num_heads),
        ):
            check(1 <= number <= LARGEST, f"{name} must be from 1 to {LARGEST}, not {number}")
        check(sorted(blocks.aa_order) == ["frame", "global"], "aggregator.aa_order must name frame and global once")
        check(blocks.depth % blocks.aa_block_size == 0, "aggregator.aa_block_size must divide aggregator.depth")
        for name, heads in (("patch_embed", self.patch_embed.num_heads), ("aggregator", blocks.num_heads)):
            check(self.embed_dim % heads == 0, f"{name}.num_heads must divide embed_dim")
        check(
            blocks.rope_freq <= 0 or self.embed_dim // blocks.num_heads % 4 == 0,
            "rotary positions need heads whose width is a multiple of 4",
        )
        check(2 * self.embed_dim % camera.num_heads == 0, "camera_head.num_heads must divide twice embed_dim")
        for part in (camera.trans_act, camera.quat_act, camera.fl_act):
            check(part in VALUES, f"there is no activation {part!r}")
        for head in (self.point_head, self.depth_head):
            check(head.activation in VALUES, f"there is no activation {head.activation!r}")
            check(head.conf_activation in CONFIDENCES, f"there is no confidence activation {head.conf_activation!r}")
        for taps in (head.intermediate_layer_idx for head in (self.point_head, self.depth_head, extractor)):
            check(
                len(taps) == 4 and all(0 <= tap < blocks.depth for tap in taps),
                "every intermediate_layer_idx must name four layers of the aggregator",
            )
        check(
            tracker.latent_dim == extractor.features,
            "track_head.tracker.latent_dim must equal track_head.feature_extractor.features",
        )
        check(
            tracker.hidden_size % tracker.updateformer_num_heads == 0,
            "track_head.tracker.updateformer_num_heads must divide track_head.tracker.hidden_size",
        )


def read_configuration(values: Mapping[str, Any]) -> Configuration:
    """What a configuration file holds, as `Configuration`; what it leaves out is as published.

    It may say again what follows from other values, or is the same for all checkpoints, but must not contradict.

    Raises:
        InputError: a value that this network does not know, or that it cannot have.
    """
    moved = {**values}
    if isinstance(head := moved.get("track_head"), Mapping):  # some files have the tracker's values one level up
        names = ("num_virtual_tracks", "updateformer_num_heads")
        tracker = {**head.get("tracker", {}), **{name: head[name] for name in names if name in head}}
        moved["track_head"] = {**{k: v for k, v in head.items() if k not in names}, "tracker": tracker}
    sizes = (
        converted(int, moved.get(name, getattr(Configuration, name)), name)
        for name in ("embed_dim", "img_size", "patch_size")
    )
    return read(Configuration, moved, implied_values(*sizes))


def implied_values(embed_dim: int, img_size: int, patch_size: int) -> dict[str, Any]:
    """What configuration files may say beside the fields of `Configuration`, by its path in the file."""
    twice = 2 * embed_dim
    return {
        "patch_embed.name": "dinov2_vitl14_reg",
        "patch_embed.embed_dim": embed_dim,
        "patch_embed.img_size": img_size,
        "patch_embed.patch_size": patch_size,
        "patch_embed.block_chunks": 0,
        "aggregator.embed_dim": embed_dim,
        "camera_head.dim_in": twice,
        "camera_head.pose_encoding_type": "absT_quaR_FoV",
        "point_head.dim_in": twice,
        "depth_head.dim_in": twice,
        "track_head.feature_extractor.dim_in": twice,
        "track_head.feature_extractor.feature_only": True,
        "track_head.tracker.use_spaceatt": True,
    }
