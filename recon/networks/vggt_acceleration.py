"""VGGT on a GPU (see `recon.networks.acceleration`).

What is not mentioned is as in `recon.networks.vggt`, in float32: the tokens that blocks add to, all norms, what the
cameras are read off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel

from recon.networks.acceleration import (
    ATTENTION,
    GRAPH_TOKENS,
    FusedBlock,
    bounded_is_faster,
    finite,
    fits_float16,
    fuse,
    half_precision,
    in_range,
    lighten,
    link,
    on_device,
    paced,
    take_over,
)
from recon.networks.layers.dpt import Dpt
from recon.networks.recording import Recorder, aside, recording
from recon.networks.vggt import VGGT, Features, Prediction


def accelerate(network: VGGT, device: torch.device) -> VGGT:
    """See `on_device`.

    Args:
        network: with its weights, on any device but "meta".
        device: where to run it.
    """
    return on_device(
        network, device, lambda network: Accelerated(network, half_precision(device), bounded_is_faster(device))
    )


class Accelerated(VGGT):
    """`VGGT` with the blocks of its aggregator replaced.

    Where few tokens are to be looked at, launching the kernels would take longer than running them: `forward` then
    records its launches at the second call with a size, and replays them from there on. The results are its callers'.

    Args:
        network: gives its parts away.
        dtype: of the matrices of the aggregator's blocks, and of what they multiply, where float16 cannot hold it.
        bounded: use `bounded_attention` in those blocks whose weights allow it.
        dense: precision of the dense heads' convolutions but for the last.
    """

    def __init__(
        self, network: VGGT, dtype: torch.dtype, bounded: bool = False, dense: torch.dtype = torch.float16
    ) -> None:
        take_over(self, network)
        aggregator = self.aggregator
        for blocks in (aggregator.patch_embed.blocks, aggregator.frame_blocks, aggregator.global_blocks):
            fuse(blocks, dtype, bounded)
        link(aggregator.patch_embed.blocks)
        link(block for *_, block in aggregator.blocks())
        if self.camera_head is not None:
            for index, block in enumerate(self.camera_head.trunk):
                # Else in float32: bfloat16 would show in the cameras.
                if dtype == torch.bfloat16 and fits_float16(block):  # type: ignore[arg-type]
                    self.camera_head.trunk[index] = FusedBlock(block, dtype, False)  # type: ignore[arg-type]
        for head in (self.depth_head, self.point_head):
            if head is not None:
                lighten(head, last_of(head), dense)
        self._recorded = Recorder(in_order)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, queries: Tensor | None = None, chunk: int = 8) -> Prediction:
        """See `VGGT.forward`."""
        tokens = images[..., 0, :, :].numel() // self.configuration.patch_size**2
        if queries is not None or not images.is_cuda or tokens > GRAPH_TOKENS:
            return super().forward(images, queries, chunk)
        plain = super().forward
        return self._recorded(lambda pictures: plain(pictures, None, chunk), images, chunk)

    def read(self, readings: Sequence[Callable[[], None]]) -> None:
        """See `VGGT.read`; in a recording they stand beside each other.

        Many launches are small and wait for each other, those of the cameras most, and leave much of a GPU to others.
        """
        if not recording():
            return super().read(readings)
        here = torch.cuda.current_stream()
        streams = [aside(torch.cuda.current_device(), number) for number in range(len(readings))]
        for stream, reading in zip(streams, readings, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                reading()
        for stream in streams:
            here.wait_stream(stream)

    def depth(self, features: Features, frames: slice) -> tuple[Tensor, Tensor]:
        """See `VGGT.depth`."""
        return self._read(self.depth_head, super().depth, features, frames)

    def points(self, features: Features, frames: slice) -> tuple[Tensor, Tensor]:
        """See `VGGT.points`."""
        return self._read(self.point_head, super().points, features, frames)

    @staticmethod
    def _read(
        head: Dpt | None,
        read: Callable[[Features, slice], tuple[Tensor, Tensor]],
        features: Features,
        frames: slice,
    ) -> tuple[Tensor, Tensor]:
        if head is None:
            return read(features, frames)
        values, confidence = in_range(lambda: read(features, frames), head, last_of(head))
        return values, confidence

    def encode(self, images: Tensor, progress: Callable[[float], None] | None = None) -> Features:
        """See `VGGT.encode`; progress tells what the device has done, not what it was given to do."""
        with sdpa_kernel(ATTENTION, set_priority=True):
            return super().encode(images, None if progress is None else paced(progress))


def last_of(head: Dpt) -> nn.Module:
    """The convolution whose values are what a head gives out."""
    return head.scratch.output_conv2[-1]  # type: ignore[index]


def in_order(prediction: Prediction) -> bool:
    """Whether no dense head left the range of its precision."""
    dense = (prediction.depth, prediction.depth_confidence, prediction.points, prediction.points_confidence)
    return finite(*(maps for maps in dense if maps is not None))
