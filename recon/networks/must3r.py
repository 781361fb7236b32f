"""MUSt3R: any number of images, one after the other, to pointmaps in one world (Cabon et al. 2025).

Loads the published checkpoints key for key. Images are encoded each by itself; the decoder then reads them beside a
memory of those that came before (see `recon.networks.must3r_memory`), in either of two ways:

- `Must3r.update`: images that are new see the memory and each other, not themselves, and may enter the memory after;
- `Must3r.render`: images see a memory that stays as it is, themselves in it or not.

Conventions of the network: pictures in 0..1, always upright, sides that are multiples of the patch; OpenCV axes;
metres, as far as the training made it so; the world is the camera of the first image that entered the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.errors import InputError
from recon.networks import must3r_configuration as configurations
from recon.networks.layers.activations import VALUES
from recon.networks.layers.decoder import DecoderBlock
from recon.networks.layers.rotary import grid_positions, rotary_angles
from recon.networks.layers.tables import table
from recon.networks.layers.transformer import Block, Mlp, Rotary, attend
from recon.networks.layers.vision_transformer import PatchEmbed
from recon.networks.must3r_configuration import Configuration, read_configuration
from recon.networks.must3r_memory import Entries, Memory

__all__ = ["Configuration", "Encoded", "Entries", "Memory", "Must3r", "Pointmaps", "Seen", "read_configuration"]

EPS = 1e-6  # of every LayerNorm but the one before the feedback, which has torch's own 1e-5
Heads = tuple[Tensor, Tensor]  # keys and values, each [M, heads, head_width]


@dataclass
class Encoded:
    """V pictures of one size, each by itself.

    Attributes:
        tokens: of the patches, row by row, ``[V, rows * columns, C]``.
        rows: of patches.
        columns: of patches.
    """

    tokens: Tensor
    rows: int
    columns: int

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, part: slice) -> Encoded:
        """Some of the pictures; nothing is copied."""
        return Encoded(self.tokens[part], self.rows, self.columns)

    @staticmethod
    def joined(parts: Sequence[Encoded]) -> Encoded:
        """Pictures of one size together."""
        first = parts[0]
        if len(parts) == 1:
            return first
        return Encoded(torch.cat([part.tokens for part in parts]), first.rows, first.columns)


@dataclass
class Seen:
    """What `Must3r.entries` makes a memory of: of each layer the tokens that entered it, of each stack of images."""

    layers: list[list[Tensor]]


@dataclass
class Pointmaps:
    """What the network says of V pictures.

    Attributes:
        points: ``[V,H,W,3]`` in the world.
        points_in_camera: ``[V,H,W,3]``, of the same pixels in the camera of each picture.
        confidence: ``[V,H,W]``, above 1.
    """

    points: Tensor
    points_in_camera: Tensor
    confidence: Tensor

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, part: slice) -> Pointmaps:
        """Some of the pictures; nothing is copied."""
        return Pointmaps(self.points[part], self.points_in_camera[part], self.confidence[part])


class Must3r(nn.Module):
    """Encoder and decoder. The names of the parts are those of the checkpoints.

    Attributes:
        memory_mode: what a memory keeps of a token: "kv" (keys and values), "norm_y" (what they are made of, half as
            large, to be projected anew at each use) or "raw" (that, not yet normed). All give the same numbers. A
            memory serves the mode that it was made in.
    """

    def __init__(self, configuration: Configuration = Configuration()) -> None:
        super().__init__()
        self.configuration = configuration
        self.memory_mode = configuration.decoder.memory_mode
        self.encoder, self.decoder = Encoder(configuration.encoder), Decoder(configuration.decoder)

    def encode(self, images: Tensor, progress: Callable[[float], None] | None = None) -> Encoded:
        """``images [V,3,H,W]`` in 0..1, each by itself; ``progress`` gets the share done and may raise to stop.

        Raises:
            InputError: a size the network cannot take.
        """
        return self.encoder(images, progress)

    def update(self, stacks: Sequence[Encoded], memory: Memory | None = None) -> tuple[list[Tensor], Seen]:
        """Decode new images beside a memory, without which the first of them makes the world.

        Args:
            stacks: images, those of one size together.
            memory: stays as it is; None, or an empty one, for a new world.

        Returns:
            Of each stack the raw maps ``[V,H,W,7]``, for `pointmaps`, and what `entries` needs to let them enter.
        """
        return self.decoder.update(stacks, memory, self.memory_mode)

    def entries(self, seen: Seen) -> Entries:
        """What a memory keeps of images that `update` has seen, the feedback of the last layer in it (section 3.2)."""
        sizes = [stack.shape[1] for stack in seen.layers[0] for _ in range(len(stack))]
        return Entries(self.decoder.entries(seen, self.memory_mode), sizes)

    def render(self, images: Encoded, memory: Memory) -> Tensor:
        """Raw maps ``[V,H,W,7]`` of images that see the memory alone, and leave it as it is."""
        return self.decoder.render(images, memory, self.memory_mode)

    def pointmaps(self, raw: Tensor) -> Pointmaps:
        """What raw maps ``[V,H,W,7]`` mean (section 3.3)."""
        points = VALUES[self.configuration.decoder.pointmaps_activation]
        raw = raw.float() if raw.dtype != torch.float64 else raw
        return Pointmaps(points(raw[..., :3]), points(raw[..., 3:6]), 1 + raw[..., 6].exp())


class Encoder(nn.Module):
    """A vision transformer: each picture by itself."""

    def __init__(self, configuration: configurations.Encoder) -> None:
        super().__init__()
        width, heads = configuration.embed_dim, configuration.num_heads
        self.configuration = configuration
        self.patch_embed = PatchEmbed(configuration.patch_size, width)
        self.blocks_enc = nn.ModuleList(
            Block(width, heads, layer_scale=None, eps=EPS) for _ in range(configuration.depth)
        )
        self.norm_enc = nn.LayerNorm(width, EPS)

    def forward(self, images: Tensor, progress: Callable[[float], None] | None = None) -> Encoded:
        """See `Must3r.encode`."""
        height, width = images.shape[-2:]
        patch = self.configuration.patch_size
        if height < patch or width < patch or height % patch or width % patch:
            raise InputError(
                f"The network takes pictures whose width and height are multiples of {patch} pixels, "
                f"not {width} x {height}; resize them first."
            )
        rows, columns = height // patch, width // patch
        rotary = angles(rows, columns, self.configuration, images.device)
        tokens = self.patch_embed(2 * images - 1)
        for done, block in enumerate(self.blocks_enc, 1):
            tokens = block(tokens, rotary)
            if progress is not None:
                progress(done / len(self.blocks_enc))
        return Encoded(self.norm_enc(tokens), rows, columns)


class Decoder(nn.Module):
    """Blocks that read images beside a memory, and the head."""

    def __init__(self, configuration: configurations.Decoder) -> None:
        super().__init__()
        width = configuration.embed_dim
        self.configuration = configuration
        self.feat_embed_enc_to_dec = nn.Linear(configuration.enc_embed_dim, width)
        self.image2_embed = nn.Parameter(torch.zeros(1, 1, width))  # of all images but the one that makes the world
        self.blocks_dec = nn.ModuleList(
            MemoryBlock(width, configuration.num_heads, eps=EPS) for _ in range(configuration.depth)
        )
        if configuration.feedback_type is not None:
            self.feedback_norm = nn.LayerNorm(width)
            self.feedback_layer = Mlp(width, 4 * width)
        self.norm_dec = nn.LayerNorm(width, EPS)
        self.head_dec = Head(width, configuration.output_dim)

    def blocks(self) -> list[MemoryBlock]:
        """All of them, in their order."""
        return [block for block in self.blocks_dec if isinstance(block, MemoryBlock)]

    def update(self, stacks: Sequence[Encoded], memory: Memory | None, mode: str) -> tuple[list[Tensor], Seen]:
        """See `Must3r.update`."""
        memory = memory if memory is not None and len(memory) else None
        rotary = [self.angles(stack) for stack in stacks]
        tokens = [self.embed(stack, memory is None and number == 0) for number, stack in enumerate(stacks)]
        seen: list[list[Tensor]] = []
        for number, block in enumerate(self.blocks()):
            seen.append(tokens)
            known = None if memory is None else block.keys(memory.layers[number], mode)
            visible = block.visible(known, tokens, mode)
            tokens = [block(*each) for each in zip(tokens, rotary, visible, strict=True)]
        return [self.read(each, stack) for each, stack in zip(tokens, stacks, strict=True)], Seen(seen)

    def entries(self, seen: Seen, mode: str) -> list[Tensor]:
        """See `Must3r.entries`; ``[T,C]`` of each layer."""
        layers = [torch.cat([stack.flatten(0, 1) for stack in layer]) for layer in seen.layers]
        if self.configuration.feedback_type is not None:
            told = self.feedback_layer(self.feedback_norm(layers[-1]))
            layers[:-1] = [layer + told for layer in layers[:-1]]
        return [block.entry(layer, mode) for block, layer in zip(self.blocks(), layers, strict=True)]

    def render(self, images: Encoded, memory: Memory, mode: str) -> Tensor:
        """See `Must3r.render`."""
        rotary, tokens = self.angles(images), self.embed(images)
        for number, block in enumerate(self.blocks()):
            tokens = block(tokens, rotary, [block.keys(memory.layers[number], mode)])
        return self.read(tokens, images)

    def embed(self, images: Encoded, world: bool = False) -> Tensor:
        """Tokens of images as the first block takes them; in a new ``world`` the first image is it."""
        tokens = self.feat_embed_enc_to_dec(images.tokens)
        if not world:
            return tokens + self.image2_embed
        return torch.cat([tokens[:1], tokens[1:] + self.image2_embed])

    def read(self, tokens: Tensor, images: Encoded) -> Tensor:
        """Raw maps ``[V,H,W,7]`` of what the last block gives."""
        return self.head_dec(self.norm_dec(tokens), images.rows, images.columns)

    def angles(self, images: Encoded) -> Rotary:
        """Of the patches of those images."""
        return angles(images.rows, images.columns, self.configuration, images.tokens.device)


class MemoryBlock(DecoderBlock):
    """A block of the decoder: an image attends to itself, then to what is remembered of others."""

    def entry(self, tokens: Tensor, mode: str) -> Tensor:
        """``tokens [M,width]`` that enter this block, as a memory in that mode keeps them."""
        if mode == "raw":
            return tokens
        normed = self.normed(tokens)
        return normed if mode == "norm_y" else self.project(normed)

    def keys(self, entries: Tensor, mode: str) -> Heads:
        """Keys and values of M entries ``[M,C]``."""
        if mode == "raw":
            entries = self.normed(entries)
        if mode != "kv":
            entries = self.project(entries)
        key, value = (part.unflatten(-1, (self.cross_attn.heads, -1)) for part in entries.chunk(2, -1))
        return key, value

    def normed(self, tokens: Tensor) -> Tensor:
        """Tokens as keys and values are made of them."""
        return self.norm_y(tokens)

    def project(self, normed: Tensor) -> Tensor:
        """Keys and values of normed tokens, as "kv" keeps them."""
        return torch.cat([self.cross_attn.projk(normed), self.cross_attn.projv(normed)], -1)

    def visible(self, known: Heads | None, stacks: Sequence[Tensor], mode: str) -> list[list[Heads]]:
        """What each image of each stack ``[V,N,width]`` sees: what is known, and the others, but not itself.

        The one image of a new world sees itself, for want of anything else.
        """
        images = [image for stack in stacks for image in stack]
        if len(images) == 1 and known is not None:
            return [[known]]
        new = [self.keys(self.entry(image, mode), mode) for image in images]
        before = [] if known is None else [known]
        each = [joined([*before, *new[:i], *new[i + 1 :]]) for i in range(len(new))] if len(new) > 1 else new
        parts = iter(each)
        return [[next(parts) for _ in stack] for stack in stacks]

    def forward(self, tokens: Tensor, rotary: Rotary, visible: Sequence[Heads]) -> Tensor:  # type: ignore[override]
        """``tokens [V,N,width]`` to the same; ``visible`` is what each image sees, or one for all of them."""
        tokens = tokens + self.attn(self.norm1(tokens), rotary)
        tokens = tokens + self.cross_attn.proj(self.answers(self.cross_attn.projq(self.norm2(tokens)), visible))
        return tokens + self.mlp(self.norm3(tokens))

    def answers(self, asking: Tensor, visible: Sequence[Heads]) -> Tensor:
        """What the images attend to, ``[V,N,width]``, for their queries of that shape."""
        query = asking.unflatten(-1, (self.cross_attn.heads, -1))
        queries = [query.flatten(0, 1)] if len(visible) == 1 else query
        pairs = zip(queries, visible, strict=True)
        found = [attend(each[None], key[None], value[None]) for each, (key, value) in pairs]
        return (found[0] if len(found) == 1 else torch.cat(found)).reshape(asking.shape)


class Head(nn.Module):
    """One layer: each token gives all pixels of its patch."""

    def __init__(self, width: int, output: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, output)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """``[V, rows * columns, width]`` to ``[V,H,W,7]``."""
        maps = self.proj(tokens).transpose(1, 2).unflatten(-1, (rows, columns))
        side = int((maps.shape[1] // configurations.CHANNELS) ** 0.5)
        return functional.pixel_shuffle(maps, side).movedim(1, -1)


def joined(parts: Sequence[Heads]) -> Heads:
    """All of them, one after the other."""
    keys, values = zip(*parts, strict=True)
    return torch.cat(keys), torch.cat(values)


@table(64)
def angles(rows: int, columns: int, configuration: configurations.Encoder, device: torch.device) -> Rotary:
    """Rotary angles of a picture of that many patches, which count from 0."""
    base, factor = configuration.rotary
    positions = factor * (grid_positions(rows, columns, device=device) - 1)
    return rotary_angles(positions, configuration.embed_dim // configuration.num_heads, base)
