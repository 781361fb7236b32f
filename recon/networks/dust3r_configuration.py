"""What may differ between checkpoints of DUSt3R and MonST3R, and how their configurations are read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

from recon.networks.configuration import check, converted
from recon.networks.layers.pointmaps import CONFIDENCES, POINTS

HEADS = ("dpt", "linear")
# What a configuration may say beside the fields of `Configuration`. Pictures always come upright here, so how training
# laid them out is no matter (see `Dust3r.forward_landscape`), nor which weights it froze.
SAID: dict[str, tuple[Any, ...]] = {
    "output_mode": ("pts3d",),
    "landscape_only": (True, False),
    "patch_embed_cls": ("PatchEmbedDust3R", "ManyAR_PatchEmbed"),
    "freeze": ("none", "mask", "encoder", "encoder_and_decoder"),
    "mlp_ratio": (4,),
    "norm_im2_in_dec": (True,),
}


@dataclass(frozen=True)
class DptHead:
    """See `recon.networks.layers.pointmap_heads.DptMap`."""

    feature_dim: int = 256
    last_dim: int = 128
    layer_dims: tuple[int, ...] = (96, 192, 384, 768)


@dataclass(frozen=True)
class Configuration:
    """Everything that shapes the network; the published one for pictures of 512 pixels is the default.

    The names are those of the checkpoints' configurations.

    Attributes:
        head_type: "dpt" or "linear".
        depth_mode: how points are made of what a head gives; a name of `POINTS`.
        conf_mode: the same of confidence, a name of `CONFIDENCES`, and its smallest and largest value.
        img_size: height and width of the pictures that it was trained for; it takes others.
        pos_embed: rotary positions and their base.

    Raises:
        InputError: values that no network can have.
    """

    head_type: str = "dpt"
    depth_mode: str = "exp"
    conf_mode: tuple[str, float, float] = ("exp", 1.0, math.inf)
    img_size: tuple[int, ...] = (512, 512)
    patch_size: int = 16
    pos_embed: str = "RoPE100"
    enc_embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    dec_embed_dim: int = 768
    dec_depth: int = 12
    dec_num_heads: int = 12
    dpt: DptHead = DptHead()

    def __post_init__(self) -> None:
        name, least, most = self.conf_mode
        check(self.head_type in HEADS, f"there is no head {self.head_type!r}")
        check(self.depth_mode in POINTS, f"there is no depth_mode {self.depth_mode!r}")
        check(name in CONFIDENCES, f"there is no conf_mode {name!r}")
        check(math.isfinite(least) and least < most, "conf_mode must name a smallest value, and a largest above it")
        check(name != "sigmoid" or most < math.inf, "conf_mode 'sigmoid' must name a finite largest value")
        sizes = [getattr(self, part.name) for part in fields(self) if isinstance(getattr(self, part.name), int)]
        sizes += [*self.img_size, self.dpt.feature_dim, self.dpt.last_dim, *self.dpt.layer_dims]
        check(min(sizes) > 0, "sizes and numbers of layers must be positive")
        check(len(self.img_size) == 2, "img_size must be a height and a width")
        check(all(side % self.patch_size == 0 for side in self.img_size), "patch_size must divide both of img_size")
        check(re.fullmatch(r"RoPE[1-9]\d{0,8}", self.pos_embed) is not None, "pos_embed must be rotary, as 'RoPE100'")
        for part, width, heads in (
            ("enc", self.enc_embed_dim, self.enc_num_heads),
            ("dec", self.dec_embed_dim, self.dec_num_heads),
        ):
            check(width % (4 * heads) == 0, f"{part}_embed_dim must be a multiple of four times {part}_num_heads")
        if self.head_type == "dpt":
            check(self.dec_depth > 9, "dec_depth must be more than 9 for a DPT head")
            check(self.patch_size == 16, "patch_size must be 16 for a DPT head")
            check(len(self.dpt.layer_dims) == 4, "dpt.layer_dims must be four numbers")
            check(self.dpt.feature_dim % 2 == 0, "dpt.feature_dim must be even")

    @property
    def rotary_base(self) -> float:
        """Of the rotary positions."""
        return float(self.pos_embed.removeprefix("RoPE"))


def read_configuration(values: Mapping[str, Any]) -> Configuration:
    """What a configuration file holds, as `Configuration`; what it leaves out is as published.

    Raises:
        InputError: a value that this network does not know, or that it cannot have.
    """
    types = get_type_hints(Configuration)
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name in SAID:
            check(value in SAID[name], f"{name} must be {' or '.join(map(repr, SAID[name]))}, not {value!r}")
        elif name == "depth_mode":
            mode, *bounds = read_mode(name, value)
            check(bounds == [-math.inf, math.inf], f"depth_mode must have no bounds, not {value!r}")
            given[name] = mode
        elif name == "conf_mode":
            given[name] = read_mode(name, value)
        elif name == "img_size" and isinstance(value, int):
            given[name] = (value, value)
        elif name == "dpt":
            given[name] = read_head(value)
        elif name != "mask_ratio":  # of the pretraining
            check(name in types, f"this network does not know {name!r}")
            given[name] = converted(types[name], value, name)
    return replace(Configuration(), **given)


def read_mode(name: str, value: Any) -> tuple[str, float, float]:
    """A name and two bounds, which may be words where JSON has no number for them."""
    check(isinstance(value, (list, tuple)) and len(value) == 3, f"{name} must be a name and two bounds, not {value!r}")
    mode, *given = value
    words = {"inf": math.inf, "-inf": -math.inf}
    bounds = [words.get(bound, bound) if isinstance(bound, str) else bound for bound in given]
    least, most = (converted(float, bound, f"the bound of {name}") for bound in bounds)
    return converted(str, mode, f"the name in {name}"), least, most


def read_head(values: Any) -> DptHead:
    """Sizes of the DPT head, which are the same in all published checkpoints."""
    check(isinstance(values, Mapping), f"dpt must hold names and values, not {values!r}")
    types = get_type_hints(DptHead)
    for name in values:
        check(name in types or name == "note", f"this network does not know 'dpt.{name}'")
    return DptHead(**{name: converted(types[name], values[name], f"dpt.{name}") for name in types if name in values})
