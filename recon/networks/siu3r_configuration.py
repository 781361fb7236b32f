"""What may differ between checkpoints of SIU3R, and how their configurations are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recon.networks.configuration import check, read

COARSEST = 32  # pixels of a cell of the coarsest level: sides of pictures are multiples of it
# What a configuration may say beside the fields below: of training, of the work after the network, or always the same.
IMPLIED: dict[str, Any] = {
    "croco.freeze": "encoder",
    "adapter.add_vit_feature": True,
    "adapter.use_extra_extractor": True,
    "mask2former.pre_norm": False,
    "mask2former.enforce_input_projection": False,
    "mask2former.common_stride": 4,
    "mask2former.feature_strides": [4, 8, 16, 32],
    "mask2former.activation_function": "relu",
    "mask2former.class_weight": 2.0,
    "mask2former.mask_weight": 5.0,
    "mask2former.dice_weight": 5.0,
    "mask2former.train_num_points": 12544,
    "mask2former.oversample_ratio": 3.0,
    "mask2former.importance_sample_ratio": 0.75,
    "gaussian_scale_min": 0.5,
    "gaussian_scale_max": 15.0,
    "label_ids_to_fuse": [0, 1],
    "seg_threshold": 0.5,
    "pixel_threshold": 0.3,
    "mask2former_activation": "relu",
}


@dataclass(frozen=True)
class Croco:
    """The backbone; see `recon.networks.pairwise.PairTrunk`."""

    enc_depth: int = 24
    dec_depth: int = 12
    enc_embed_dim: int = 1024
    dec_embed_dim: int = 768
    enc_num_heads: int = 16
    dec_num_heads: int = 12
    pos_embed: str = "RoPE100"
    patch_size: int = 16


@dataclass(frozen=True)
class Adapter:
    """See `recon.networks.layers.vision_adapter.VisionAdapter`; the encoder's blocks that it reads count from 0."""

    conv_inplane: int = 64
    n_points: int = 4
    deform_num_heads: int = 16
    interaction_indexes: tuple[int, ...] = (5, 11, 17, 23)
    cffn_ratio: float = 0.25


@dataclass(frozen=True)
class Mask2former:
    """Pixel decoder and query decoder.

    ``decoder_layers`` counts predictions: one comes before the first layer, so there is one layer less.
    """

    feature_size: int = 256
    mask_feature_size: int = 256
    hidden_dim: int = 256
    encoder_layers: int = 6
    encoder_feedforward_dim: int = 1024
    decoder_layers: int = 10
    dim_feedforward: int = 2048
    num_attention_heads: int = 8
    num_queries: int = 100
    no_object_weight: float = 0.1


@dataclass(frozen=True)
class Dpt:
    """See `recon.networks.layers.pointmap_heads.DptMap`; ``hooks`` are levels of the decoder, empty for the usual."""

    feature_dim: int = 256
    last_dim: int = 128
    layer_dims: tuple[int, ...] = (96, 192, 384, 768)
    hooks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Configuration:
    """Everything that shapes the network; the published one is the default. Names are those of the recordings.

    Attributes:
        image_size: height and width of the pictures that it was trained for.
        croco: the backbone.
        adapter: between the encoder and the segmentation.
        mask2former: the segmentation.
        dpt: the dense heads.
        sh_degree: of the colours' spherical harmonics.
        num_labels: classes, without the one that means none.
        multiple: made for any number of views; such checkpoints hold a mask token.
        text: has the branch that is asked by words.

    Raises:
        InputError: values that no network can have.
    """

    image_size: tuple[int, ...] = (256, 256)
    croco: Croco = Croco()
    adapter: Adapter = Adapter()
    mask2former: Mask2former = Mask2former()
    dpt: Dpt = Dpt()
    sh_degree: int = 4
    num_labels: int = 20
    multiple: bool = False
    text: bool = False

    def __post_init__(self) -> None:
        croco, adapter, masks = self.croco, self.adapter, self.mask2former
        check(len(self.image_size) == 2, "image_size must be a height and a width")
        check(all(side > 0 and side % COARSEST == 0 for side in self.image_size), "image_size must be multiples of 32")
        check(croco.patch_size == 16, "croco.patch_size must be 16")
        check(re.fullmatch(r"RoPE[1-9]\d{0,8}", croco.pos_embed) is not None, "croco.pos_embed must be as 'RoPE100'")
        sizes = [value for part in (croco, masks, adapter, self.dpt) for value in vars(part).values()]
        whole = [value for value in sizes if isinstance(value, int)]
        check(min([*whole, *self.dpt.layer_dims, self.num_labels]) > 0, "sizes and numbers of layers must be positive")
        for name, width, heads in (
            ("croco.enc", croco.enc_embed_dim, croco.enc_num_heads),
            ("croco.dec", croco.dec_embed_dim, croco.dec_num_heads),
        ):
            check(width % (4 * heads) == 0, f"{name}_embed_dim must be a multiple of four times {name}_num_heads")
        check(croco.enc_embed_dim % adapter.deform_num_heads == 0, "adapter.deform_num_heads must divide the width")
        chosen = adapter.interaction_indexes
        fine = (
            len(chosen) == 4 and list(chosen) == sorted(set(chosen)) and 0 <= chosen[0] <= chosen[-1] < croco.enc_depth
        )
        check(fine, "adapter.interaction_indexes must be four rising numbers of encoder blocks")
        check(masks.hidden_dim == masks.feature_size, "mask2former.hidden_dim must be mask2former.feature_size")
        check(masks.hidden_dim % (4 * masks.num_attention_heads) == 0, "mask2former.num_attention_heads must divide it")
        check(masks.feature_size % 32 == 0, "mask2former.feature_size must be a multiple of 32")
        check(masks.decoder_layers > 1, "mask2former.decoder_layers must be more than 1")
        check(len(self.dpt.layer_dims) == 4, "dpt.layer_dims must be four numbers")
        check(croco.dec_depth > 3, "croco.dec_depth must be more than 3")
        check(not self.dpt.hooks or self.dpt.hooks == (0, *self.taps), "dpt.hooks must be as published")
        check(0 <= self.sh_degree <= 4, "sh_degree must be 0 to 4")

    @property
    def rotary_base(self) -> float:
        """Of the rotary positions."""
        return float(self.croco.pos_embed.removeprefix("RoPE"))

    @property
    def taps(self) -> tuple[int, int, int]:
        """Levels of the decoder that the dense heads read, beside the encoder's tokens."""
        depth = self.croco.dec_depth
        return depth // 2, 3 * depth // 4, depth


def read_configuration(values: Mapping[str, Any]) -> Configuration:
    """What a configuration file holds, as `Configuration`; what it leaves out is as published.

    Raises:
        InputError: a value that this network does not know, or that it cannot have.
    """
    return read(Configuration, values, IMPLIED, Configuration())
