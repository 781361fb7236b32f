"""Convolutional parts of dense heads (DPT: Ranftl et al. 2021, section 3)."""

from __future__ import annotations

from torch import Tensor, nn


class ResidualUnit(nn.Module):
    """Activation, 3x3 convolution, twice, added to the input: the pre-activation unit of DPT's fusion blocks.

    The second convolution starts at zero, so that a fresh unit is the identity.

    Args:
        channels: of the maps.
        activation: before each convolution.
        add_activated: what the convolutions give is added to the activated input instead of the input, as checkpoints
            want that were trained with an activation in place; a fresh unit is then the activation alone.
    """

    def __init__(self, channels: int, activation: nn.Module, add_activated: bool = False) -> None:
        super().__init__()
        self.activation = activation
        self.add_activated = add_activated
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> Tensor:
        """``[N, channels, H, W]`` to the same."""
        activated = self.activation(maps)
        update = self.conv2(self.activation(self.conv1(activated)))
        return (activated if self.add_activated else maps) + update
