"""MUSt3R on a GPU (see `recon.networks.acceleration`).

What is not mentioned is as in `recon.networks.must3r`, in float32: the tokens that blocks add to, all norms, the
feedback, and the head, whose values exponentials are taken of. The memory is as precise as the blocks that read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from recon.networks.acceleration import (
    ATTENTION,
    GRAPH_TOKENS,
    finite,
    fuse,
    half_precision,
    link,
    on_device,
    paced,
    take_over,
)
from recon.networks.dust3r_acceleration import FusedDecoderBlock
from recon.networks.layers import fused
from recon.networks.layers.transformer import Rotary
from recon.networks.must3r import Encoded, Heads, Memory, MemoryBlock, Must3r, Seen
from recon.networks.recording import Recorder

# The memory has another size at each keyframe, for which cuDNN would make a plan each time.
MEMORY_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def accelerate(network: Must3r, device: torch.device) -> Must3r:
    """See `on_device`.

    Args:
        network: with its weights, on any device but "meta".
        device: where to run it.
    """
    return on_device(network, device, lambda network: Accelerated(network, half_precision(device)))


class Accelerated(Must3r):
    """`Must3r` with the blocks of its encoder and decoder replaced.

    Args:
        network: gives its parts away.
        dtype: of the matrices of those blocks, and of what they multiply, where float16 cannot hold it.
    """

    def __init__(self, network: Must3r, dtype: torch.dtype) -> None:
        take_over(self, network)
        fuse(self.encoder.blocks_enc, dtype)
        link(self.encoder.blocks_enc)
        for index, memory_block in enumerate(self.decoder.blocks()):
            self.decoder.blocks_dec[index] = FusedMemoryBlock(memory_block, dtype)
        self._recorded: Recorder[Encoded] = Recorder(lambda encoded: finite(encoded.tokens))
        self.eval().requires_grad_(False)

    def encode(self, images: Tensor, progress: Callable[[float], None] | None = None) -> Encoded:
        """See `Must3r.encode`.

        Progress tells what the device has done, not what it was given to do; without it the launches for few pictures
        are recorded and replayed.
        """
        with sdpa_kernel(ATTENTION, set_priority=True):
            if progress is not None:
                return super().encode(images, paced(progress) if images.is_cuda else progress)
            tokens = images[:, 0].numel() // self.configuration.encoder.patch_size**2
            if not images.is_cuda or tokens > GRAPH_TOKENS:
                return super().encode(images)
            return self._recorded(super().encode, images)

    def update(self, stacks: Sequence[Encoded], memory: Memory | None = None) -> tuple[list[Tensor], Seen]:
        """See `Must3r.update`."""
        with sdpa_kernel(MEMORY_ATTENTION, set_priority=True):
            return super().update(stacks, memory)

    def render(self, images: Encoded, memory: Memory) -> Tensor:
        """See `Must3r.render`."""
        with sdpa_kernel(MEMORY_ATTENTION, set_priority=True):
            return super().render(images, memory)


class FusedMemoryBlock(FusedDecoderBlock, MemoryBlock):
    """`MemoryBlock` as `FusedDecoderBlock` has its own."""

    def entry(self, tokens: Tensor, mode: str) -> Tensor:
        """See `MemoryBlock.entry`."""
        return tokens.to(self.dtype) if mode == "raw" else super().entry(tokens, mode)

    def normed(self, tokens: Tensor) -> Tensor:
        """See `MemoryBlock.normed`."""
        return fused.norm(tokens.float(), self.norm_y, self.dtype)

    def forward(self, tokens: Tensor, rotary: Rotary, visible: Sequence[Heads]) -> Tensor:  # type: ignore[override]
        """See `MemoryBlock.forward`; the tokens that are given stay as they are."""
        return self.through(tokens, rotary, lambda asking: self.answers(asking, visible))
