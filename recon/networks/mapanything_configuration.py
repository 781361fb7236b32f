"""What may differ between checkpoints of MapAnything, and how their configuration files are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recon.networks.configuration import check, converted

PATCH = 14  # of the image encoder, in pixels
GLOBAL = (128, 256, 512)
DENSE = (588, 768, 1024)


@dataclass(frozen=True)
class ImageEncoder:
    """A vision transformer of the DINOv2 family without registers, or the first blocks of one.

    Attributes:
        width: channels of a token.
        depth: blocks that are there.
        heads: of each block.
        hidden: channels within the MLP of a block.
        gated: that MLP is a `recon.networks.layers.swiglu.SwiGlu`.
        normed: a LayerNorm ends it.
    """

    width: int = 1536
    depth: int = 24
    heads: int = 24
    hidden: int = 4096
    gated: bool = True
    normed: bool = False


@dataclass(frozen=True)
class AlternatingAttention:
    """Blocks that attend across all views and within each view by turns.

    Attributes:
        width: channels of a token.
        depth: blocks.
        heads: of each block.
        hidden: channels within the MLP of a block.
        gated: that MLP is a `recon.networks.layers.swiglu.SwiGlu`.
        layer_scale: initial value; 0 for none.
        taps: the two blocks after which the dense head reads.
        class_tokens: the class token of each view takes part.
    """

    width: int = 1536
    depth: int = 16
    heads: int = 24
    hidden: int = 4096
    gated: bool = True
    layer_scale: float = 1e-5
    taps: tuple[int, ...] = (7, 11)
    class_tokens: bool = True


@dataclass(frozen=True)
class GeometryEncoders:
    """Channels between the layers of the encoders of what is known beside the pictures."""

    rays: tuple[int, ...] = DENSE
    depth: tuple[int, ...] = DENSE
    rotation: tuple[int, ...] = GLOBAL
    translation: tuple[int, ...] = GLOBAL
    scale: tuple[int, ...] = GLOBAL


@dataclass(frozen=True)
class Heads:
    """Of the dense maps, the poses and the scale.

    Attributes:
        channels: of the map that each of four layers becomes, the finest first.
        features: channels of all those maps from there on.
        pose_blocks: residual blocks of the pose head.
        scale_width: channels within the scale head.
    """

    channels: tuple[int, ...] = (96, 192, 384, 768)
    features: int = 256
    pose_blocks: int = 2
    scale_width: int = 196


@dataclass(frozen=True)
class Configuration:
    """Everything that shapes the network; the published version 1.1 is the default.

    Raises:
        InputError: values that no network can have.
    """

    encoder: ImageEncoder = ImageEncoder()
    attention: AlternatingAttention = AlternatingAttention()
    geometry: GeometryEncoders = GeometryEncoders()
    heads: Heads = Heads()

    def __post_init__(self) -> None:
        blocks = self.attention
        for name, part in (("the encoder", self.encoder), ("the views", blocks)):
            sizes = part.width, part.depth, part.heads, part.hidden
            check(min(sizes) > 0 and part.width % part.heads == 0, f"the heads of {name} must divide its width")
        known = len(blocks.taps) == 2 and all(0 <= tap < blocks.depth for tap in blocks.taps)
        check(known, "info_sharing_config.module_args.indices must name two of its layers")
        check(len(self.heads.channels) == 4, "pred_head_config.feature_head.layer_dims must hold four numbers")
        check(
            all(len(dims) == 3 for dims in vars(self.geometry).values()),
            "every intermediate_dims of geometric_input_config must hold three numbers",
        )


ENCODERS = {  # Oquab et al. 2023, table 17
    "small": ImageEncoder(384, 12, 6, 1536, gated=False, normed=True),
    "base": ImageEncoder(768, 12, 12, 3072, gated=False, normed=True),
    "large": ImageEncoder(1024, 24, 16, 4096, gated=False, normed=True),
    "giant": ImageEncoder(1536, 40, 24, 4096, gated=True, normed=True),
}
VERSION_1 = Configuration(
    ENCODERS["large"],
    AlternatingAttention(768, 24, 12, 3072, gated=False, layer_scale=0.0, taps=(11, 17), class_tokens=False),
)
GATES = {"mlp": False, "swiglu": True, "swiglufused": True}
LINEAR, SCALES = {"mode": "linear", "vmin": float("-inf"), "vmax": float("inf")}, {"mode": "exp", "vmax": float("inf")}
ADAPTOR = "raydirs+depth+pose+confidence+mask"
IMPLIED: dict[str, Any] = {  # what is the same for all checkpoints
    "name": "mapanything",
    "encoder_config.encoder_str": "dinov2",
    "encoder_config.data_norm_type": "dinov2",
    "encoder_config.with_registers": False,
    "info_sharing_config.model_type": "alternating_attention",
    "info_sharing_config.model_return_type": "intermediate_features",
    "info_sharing_config.custom_positional_encoding": None,
    "info_sharing_config.module_args.custom_positional_encoding": None,
    "info_sharing_config.module_args.norm_intermediate": True,
    "info_sharing_config.module_args.distinguish_ref_and_non_ref_views": True,
    "info_sharing_config.module_args.qkv_bias": True,
    "info_sharing_config.module_args.qk_norm": False,
    "pred_head_config.type": "dpt+pose",
    "pred_head_config.adaptor_type": ADAPTOR,
    "pred_head_config.feature_head.hooks": [0, 1, 2, 3],
    "pred_head_config.regressor_head.output_dim": 6,
    "pred_head_config.pose_head.rot_representation_dim": 4,
    "pred_head_config.scale_head.output_dim": 1,
    **{f"pred_head_config.{kind}_adaptor.name": f"{ADAPTOR}+scale" for kind in ("dpt", "pose", "scale")},
    **{f"pred_head_config.dpt_adaptor.ray_directions_{name}": value for name, value in LINEAR.items()},
    "pred_head_config.dpt_adaptor.ray_directions_normalize_to_unit_sphere": True,
    "pred_head_config.dpt_adaptor.ray_directions_normalize_to_unit_image_plane": False,
    "pred_head_config.dpt_adaptor.ray_directions_clamp_min_of_z_dir": False,
    **{f"pred_head_config.dpt_adaptor.depth_{name}": value for name, value in {**SCALES, "vmin": 0}.items()},
    "pred_head_config.dpt_adaptor.confidence_type": "exp",
    "pred_head_config.dpt_adaptor.confidence_vmin": 1,
    "pred_head_config.dpt_adaptor.confidence_vmax": float("inf"),
    **{f"pred_head_config.pose_adaptor.cam_trans_{name}": value for name, value in LINEAR.items()},
    **{f"pred_head_config.pose_adaptor.quaternions_{name}": value for name, value in LINEAR.items()},
    "pred_head_config.pose_adaptor.quaternions_normalize": True,
    **{f"pred_head_config.scale_adaptor.{name}": value for name, value in {**SCALES, "vmin": 1e-8}.items()},
}
INPUTS = {  # of the files, by the names of `GeometryEncoders`: channels, kind
    "rays": ("ray_dirs_encoder_config", 3, "dense_rep_encoder"),
    "depth": ("depth_encoder_config", 1, "dense_rep_encoder"),
    "rotation": ("cam_rot_encoder_config", 4, "global_rep_encoder"),
    "translation": ("cam_trans_encoder_config", 3, "global_rep_encoder"),
    "scale": ("scale_encoder_config", 1, "global_rep_encoder"),
}
UNUSED = {  # names, and what concerns only how a checkpoint was trained or where its start came from
    "encoder_config": ("name", "uses_torch_hub", "torch_hub_pretrained"),
    "info_sharing_config.module_args": ("name", "size"),
    "pred_head_config.dpt_adaptor": ("ray_directions_z_dir_min",),
    **{f"geometric_input_config.{key}": ("name",) for key, _, _ in INPUTS.values()},
    "geometric_input_config": (
        "overall_prob", "dropout_prob", "ray_dirs_prob", "depth_prob", "cam_prob", "sparse_depth_prob",
        "sparsification_removal_percent", "depth_scale_norm_all_prob", "pose_scale_norm_all_prob",
    ),
}  # fmt: skip
UNUSED_PATHS = {f"{where}.{name}" for where, names in UNUSED.items() for name in names}
UNUSED_NAMES = {  # wherever they stand
    "gradient_checkpointing", "checkpoint_gradient", "torch_hub_force_reload", "pretrained_checkpoint_path",
    "load_specific_pretrained_submodules", "specific_pretrained_submodules",
}  # fmt: skip
SAID_AGAIN = "pred_head_config.adaptor_config."  # what the adaptors say


def read_configuration(values: Mapping[str, Any]) -> Configuration:
    """What the ``config.json`` of a checkpoint holds, as `Configuration`; an empty one is the published version 1.1.

    It may say what is the same for all checkpoints, but must not contradict.

    Raises:
        InputError: a value that this network does not know, or that it cannot have.
    """
    if not values:
        return Configuration()
    given = {path: value for path, value in leaves(values) if not path.startswith(SAID_AGAIN)}

    def taken(path: str, kind: Any, default: Any = None) -> Any:
        value = given.pop(path, None)
        check(value is not None or default is not None, f"it must say {path}")
        return default if value is None else converted(kind, value, path)

    size = taken("encoder_config.size", str)
    check(size in ENCODERS, f"there is no encoder of size {size!r}")
    whole = ENCODERS[size]
    encoder = ImageEncoder(
        whole.width,
        min(whole.depth, taken("encoder_config.keep_first_n_layers", int, whole.depth)),
        whole.heads,
        whole.hidden,
        whole.gated,
        taken("encoder_config.norm_returned_features", bool, whole.normed),
    )
    gate, blocks = taken("info_sharing_mlp_layer_str", str, "mlp"), "info_sharing_config.module_args"
    check(gate in GATES, f"there is no MLP {gate!r}")
    width = taken(f"{blocks}.dim", int, 768)
    ratio = taken(f"{blocks}.mlp_ratio", float, 4.0)
    check(math.isfinite(ratio), f"{blocks}.mlp_ratio must be finite")
    hidden = int(width * ratio)
    attention = AlternatingAttention(
        width,
        taken(f"{blocks}.depth", int),
        taken(f"{blocks}.num_heads", int, 12),
        (int(hidden * 2 / 3) + 7) // 8 * 8 if GATES[gate] else hidden,
        GATES[gate],
        taken(f"{blocks}.init_values", float, 0.0),
        taken(f"{blocks}.indices", tuple[int, ...]),
        taken("use_register_tokens_from_encoder", bool, False),
    )
    inner = {
        name: taken(f"geometric_input_config.{key}.intermediate_dims", tuple[int, ...], getattr(GeometryEncoders, name))
        for name, (key, _, _) in INPUTS.items()
    }
    heads = Heads(
        taken("pred_head_config.feature_head.layer_dims", tuple[int, ...], Heads.channels),
        taken("pred_head_config.feature_head.feature_dim", int, Heads.features),
        taken("pred_head_config.pose_head.num_resconv_block", int, Heads.pose_blocks),
        taken("pred_head_config.scale_head.hidden_dim", int, Heads.scale_width),
    )
    configuration = Configuration(encoder, attention, GeometryEncoders(**inner), heads)
    implied = implied_values(configuration)
    for path, value in given.items():
        if path not in UNUSED_PATHS and path.rpartition(".")[2] not in UNUSED_NAMES:
            check(path in implied, f"this network does not know {path!r}")
            check(number(value) == implied[path], f"{path} must be {implied[path]!r}, not {value!r}")
    return configuration


def implied_values(configuration: Configuration) -> dict[str, Any]:
    """What a file may say that is the same for all checkpoints or follows from other values, by its path."""
    wide, inner, features = configuration.encoder.width, configuration.attention.width, configuration.heads.features
    head = "pred_head_config"
    implied = IMPLIED | {
        "encoder_config.patch_size": PATCH,
        "info_sharing_config.module_args.input_embed_dim": wide,
        f"{head}.feature_head.patch_size": PATCH,
        f"{head}.feature_head.input_feature_dims": [wide, inner, inner, inner],
        f"{head}.regressor_head.input_feature_dim": features,
        f"{head}.pose_head.patch_size": PATCH,
        f"{head}.pose_head.input_feature_dim": inner,
        f"{head}.scale_head.input_feature_dim": inner,
    }
    for key, channels, kind in INPUTS.values():
        said = {"in_chans": channels, "encoder_str": kind, "apply_pe": False, "enc_embed_dim": wide}
        said["patch_size"] = PATCH
        implied |= {f"geometric_input_config.{key}.{name}": value for name, value in said.items()}
    return implied


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping, by its path."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def number(value: Any) -> Any:
    """Infinity, which not every file can hold as a number, as one."""
    return float(value) if value in ("inf", "-inf", "Infinity", "-Infinity") else value
