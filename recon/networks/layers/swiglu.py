"""The gated MLP of large vision transformers (SwiGLU: Shazeer 2020, section 2; DINOv2: Oquab et al. 2023)."""

from __future__ import annotations

from torch import Tensor, nn

from recon.networks.layers import fused


class SwiGlu(nn.Module):
    """Two linear layers; what goes between them is the product of its halves, one of them through a SiLU.

    Args:
        width: channels of input and output.
        hidden: channels between the layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[..., width]`` to the same."""
        return self.w3(fused.gated(self.w12(tokens)))
