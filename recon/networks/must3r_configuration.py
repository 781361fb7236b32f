"""What may differ between checkpoints of MUSt3R, and how the texts in them that describe it are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from recon.networks.configuration import check, converted
from recon.networks.constructor import read_constructor
from recon.networks.layers.activations import VALUES

ENCODER = "Dust3rEncoder"
DECODERS = ("MUSt3R", "CausalMUSt3R")  # the second is the first with what only training needs
MODES = ("kv", "norm_y", "raw")
CHANNELS = 7  # a point in the world, one in the camera, and their confidence
# What a text may say beside the fields of `Encoder` and `Decoder`. Pictures always come upright here, so the class of
# the patches, which has the same weights, and how training laid pictures out are no matter.
SAID: dict[str, tuple[Any, ...]] = {
    "patch_embed": ("PatchEmbedDust3R", "ManyAR_PatchEmbed"),
    "landscape_only": (True, False),
    "head": ("Linear",),
    "mlp_ratio": (4,),
}
TRAINING = ("protected_imgs", "mem_dropout", "dropout_mode", "use_xformers_mask", "use_mem_mask")
ROTARY = re.compile(r"RoPE([1-9]\d{0,8})(?:_([1-9]\d{0,8}):([1-9]\d{0,8}))?")
ACTIVATIONS = {"ActivationType.NORM_EXP": "norm_exp", "ActivationType.LINEAR": "linear"}


@dataclass(frozen=True)
class Encoder:
    """What shapes the encoder; the published one is the default. The names are those of the checkpoints' texts.

    Attributes:
        img_size: height and width of the pictures that it was trained for; it takes others.
        pos_embed: rotary positions: "RoPE" and their base, and where they are stretched "_", a side and ":" and a new
            one; positions count as much as on a picture of the first side.

    Raises:
        InputError: values that no network can have.
    """

    img_size: tuple[int, ...] = (512, 512)
    patch_size: int = 16
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    pos_embed: str = "RoPE100"

    def __post_init__(self) -> None:
        check(min(self.patch_size, self.embed_dim, self.depth, self.num_heads) > 0, "sizes must be positive")
        check(len(self.img_size) == 2 and min(self.img_size) > 0, "img_size must be a height and a width")
        check(all(side % self.patch_size == 0 for side in self.img_size), "patch_size must divide both of img_size")
        check(self.embed_dim % (4 * self.num_heads) == 0, "embed_dim must be a multiple of four times num_heads")
        check(ROTARY.fullmatch(self.pos_embed) is not None, "pos_embed must be rotary, as 'RoPE100'")

    @property
    def rotary(self) -> tuple[float, float]:
        """Base of the rotary positions, and what they are multiplied by."""
        base, old, new = rotary_parts(self.pos_embed)
        return float(base), 1.0 if old is None or new is None else old / new

    def at(self, side: int) -> Encoder:
        """The same for square pictures of another side, on which positions mean what they meant on the first.

        Raises:
            InputError: it was made for pictures that are not square.
        """
        height, width = self.img_size
        check(height == width, "img_size must be square to be changed")
        if side == height:
            return self
        base, old, _ = rotary_parts(self.pos_embed)
        return replace(self, img_size=(side, side), pos_embed=f"RoPE{base}_{old or height}:{side}")


@dataclass(frozen=True)
class Decoder(Encoder):
    """What shapes the decoder, in the same manner.

    Attributes:
        enc_embed_dim: channels of the encoder's tokens.
        output_dim: channels that the head makes of a token: those of all pixels of its patch.
        feedback_type: "single_mlp" where the memory of all layers is told what the last one saw, else None.
        memory_mode: what the memory keeps of a token; see `recon.networks.must3r_memory`.
        pointmaps_activation: how points are made of what the head gives, a name of `VALUES`.
    """

    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    enc_embed_dim: int = 1024
    output_dim: int = 16 * 16 * CHANNELS
    feedback_type: str | None = "single_mlp"
    memory_mode: str = "kv"
    pointmaps_activation: str = "norm_exp"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.enc_embed_dim > 0, "sizes must be positive")
        check(self.output_dim == CHANNELS * self.patch_size**2, f"output_dim must be {CHANNELS * self.patch_size**2}")
        check(self.feedback_type in ("single_mlp", None), f"there is no feedback_type {self.feedback_type!r}")
        check(self.memory_mode in MODES, f"there is no memory_mode {self.memory_mode!r}")
        fine = self.pointmaps_activation in ACTIVATIONS.values() and self.pointmaps_activation in VALUES
        check(fine, f"there is no pointmaps_activation {self.pointmaps_activation!r}")


@dataclass(frozen=True)
class Configuration:
    """Everything that shapes the network."""

    encoder: Encoder = Encoder()
    decoder: Decoder = Decoder()

    def __post_init__(self) -> None:
        same = self.decoder.enc_embed_dim == self.encoder.embed_dim
        check(same, "enc_embed_dim of the decoder must be the embed_dim of the encoder")
        check(self.decoder.patch_size == self.encoder.patch_size, "both must have one patch_size")
        check(self.decoder.img_size == self.encoder.img_size, "both must have one img_size")

    def at(self, side: int) -> Configuration:
        """See `Encoder.at`."""
        decoder = self.decoder.at(side)
        assert isinstance(decoder, Decoder)
        return Configuration(self.encoder.at(side), decoder)


def rotary_parts(text: str) -> tuple[int, int | None, int | None]:
    """Base, old and new side of rotary positions."""
    match = ROTARY.fullmatch(text)
    assert match is not None
    base, old, new = (None if part is None else int(part) for part in match.groups())
    assert base is not None
    return base, old, new


def read_configuration(encoder: Any, decoder: Any) -> Configuration:
    """The network that the texts of two constructor calls describe.

    Raises:
        InputError: a text that is none of those, or a value that this network does not know or cannot have.
    """
    parts = []
    for text, names, kind in ((encoder, (ENCODER,), Encoder), (decoder, DECODERS, Decoder)):
        check(isinstance(text, str), f"it should name a constructor, not {type(text).__name__}")
        call = read_constructor(text)
        check(call.name in names, f"it is of a network {call.name!r}, not {names[0]!r}")
        parts.append(kind(**fields_of(call.arguments, kind)))
    assert isinstance(parts[1], Decoder)
    return Configuration(parts[0], parts[1])


def fields_of(arguments: Mapping[str, Any], kind: type[Encoder]) -> dict[str, Any]:
    """Those of a call that are fields; what the call does not say is as its constructor has it."""
    types = get_type_hints(kind)
    values: dict[str, Any] = {"img_size": (224, 224)}
    if kind is Decoder:
        values |= {"feedback_type": None, "memory_mode": "norm_y"}
    for name, value in arguments.items():
        if name in SAID:
            check(value in SAID[name], f"{name} must be {' or '.join(map(repr, SAID[name]))}, not {value!r}")
        elif name == "pointmaps_activation" and kind is Decoder:
            check(isinstance(value, str), f"{name} must be a name, not {value!r}")
            values[name] = ACTIVATIONS.get(value, value)
        elif name == "feedback_type" and value is None and kind is Decoder:
            values[name] = None
        elif name not in TRAINING:
            check(name in types, f"this network does not know {name!r}")
            values[name] = converted(str if name == "feedback_type" else types[name], value, name)
    return values
