"""MapAnything on a GPU (see `recon.networks.acceleration`).

What is not mentioned is as in `recon.networks.mapanything`, in float32: the tokens that blocks add to, all norms, what
is known of views and its fusion, poses and scale.
"""

from __future__ import annotations

import logging
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
    fuse,
    half_precision,
    in_range,
    lighten,
    link,
    on_device,
    paced,
    take_over,
)
from recon.networks.mapanything import Features, Known, MapAnything, Maps, Prediction
from recon.networks.mapanything_configuration import PATCH
from recon.networks.recording import Recorder, recording

log = logging.getLogger(__name__)


def accelerate(network: MapAnything, device: torch.device) -> MapAnything:
    """See `on_device`.

    Args:
        network: with its weights, on any device but "meta".
        device: where to run it.
    """
    return on_device(
        network, device, lambda network: Accelerated(network, half_precision(device), bounded_is_faster(device))
    )


class Accelerated(MapAnything):
    """`MapAnything` with the blocks of its encoder and of those that views share replaced.

    Where few tokens are to be looked at, and nothing is known beside the pictures, `forward` records its launches (see
    `Recorder`).

    Args:
        network: gives its parts away.
        dtype: of the matrices of those blocks, and of what they multiply, where float16 cannot hold it.
        bounded: use `bounded_attention` across views, as long as no score is out of its range.
        dense: precision of the dense head's convolutions but for the last.
    """

    def __init__(
        self, network: MapAnything, dtype: torch.dtype, bounded: bool = False, dense: torch.dtype = torch.float16
    ) -> None:
        take_over(self, network)
        within, shared = self.encoder.model.blocks, self.info_sharing.self_attention_blocks
        fuse(within, dtype)
        fuse(shared, dtype, checked=range(0, len(shared), 2) if bounded else ())
        link(within)  # between the others tokens are put together anew
        lighten(self.dense_head, self.last, dense)
        self._recorded = Recorder(in_order)
        self.eval().requires_grad_(False)

    @property
    def last(self) -> nn.Module:
        """The convolution whose values are what the dense head gives out."""
        return self.dense_head.get_submodule("1.conv2.2")

    def forward(self, images: Tensor, known: Known | None = None, chunk: int = 8) -> Prediction:
        """See `MapAnything.forward`."""
        tokens = images[..., 0, :, :].numel() // PATCH**2
        if known is not None or not images.is_cuda or tokens > GRAPH_TOKENS:
            return super().forward(images, known, chunk)
        plain = super().forward
        return self._recorded(lambda pictures: plain(pictures, None, chunk), images, chunk)

    def encode(
        self, images: Tensor, known: Known | None = None, progress: Callable[[float], None] | None = None
    ) -> Features:
        """See `MapAnything.encode`; progress tells what the device has done, not what it was given to do."""
        with sdpa_kernel(ATTENTION, set_priority=True):
            features = super().encode(images, known, None if progress is None else paced(progress))
        checked = [block for block in self.modules() if isinstance(block, FusedBlock) and block.checked]
        if not checked or recording() or finite(features.layers[-1], features.scale):  # who replays looks at what comes
            return features
        log.warning("Attention across views leaves the range of the fastest way, and goes on in one that takes longer.")
        for block in checked:
            block.trust_no_bound()
        return self.encode(images, known, None if progress is None else lambda _: progress(1.0))

    def maps(self, features: Features, frames: slice | Sequence[int]) -> Maps:
        """See `MapAnything.maps`."""
        plain = super().maps
        return Maps(*in_range(lambda: tuple(vars(plain(features, frames)).values()), self.dense_head, self.last))


def in_order(prediction: Prediction) -> bool:
    """Whether attention and the dense head stayed in their range."""
    dense = (prediction.rays, prediction.depth, prediction.confidence, prediction.clear)
    return finite(*dense, prediction.translations, prediction.scale)
