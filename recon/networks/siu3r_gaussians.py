"""SIU3R's dense heads and what becomes of their numbers: one 3D Gaussian for each pixel of each view.

Centres and the rest come from two heads (as NoPoSplat: Ye et al. 2025); Gaussians are those of Kerbl et al.
2023. All lie in the first view's camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon import splatting
from recon.networks.layers.activations import expm1_of_length
from recon.networks.layers.pointmap_heads import DptMap, doubled
from recon.networks.siu3r_configuration import Configuration

SMALLEST, LARGEST = 1e-3, 0.3  # factor of scales, and what they do not exceed, metres or so
EPS = 1e-8


@dataclass
class GaussianMaps:
    """One Gaussian a pixel, B batches of V views.

    Attributes:
        means: ``[B,V,H,W,3]`` in the first view's camera.
        scales: ``[B,V,H,W,3]``, deviations along the Gaussian's own axes.
        rotations: ``[B,V,H,W,4]`` quaternions xyzw, not normalised.
        opacities: ``[B,V,H,W]`` in 0..1.
        harmonics: ``[B,V,H,W,3,K]``, spherical harmonics of each colour; the colour is 0.5 plus their sum.
    """

    means: Tensor
    scales: Tensor
    rotations: Tensor
    opacities: Tensor
    harmonics: Tensor


class CentreHead(nn.Module):
    """Tokens of four levels to points."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        croco, dpt = configuration.croco, configuration.dpt
        widths = croco.enc_embed_dim, croco.dec_embed_dim
        self.dpt = DptMap(*widths, dpt.layer_dims, dpt.feature_dim, dpt.last_dim, 3)

    def forward(self, levels: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        """Tokens ``[N,rows * columns,C]`` of four levels to ``[N,3,H,W]``, points whose lengths are logarithms."""
        return self.dpt(levels[1:], self.dpt.prepare(levels[0], rows, columns), rows, columns)


class ParameterMap(DptMap):
    """A DPT that looks at the picture once more, before its last convolutions."""

    def __init__(self, configuration: Configuration, output: int) -> None:
        croco, dpt = configuration.croco, configuration.dpt
        features = dpt.feature_dim
        super().__init__(
            croco.enc_embed_dim, croco.dec_embed_dim, dpt.layer_dims, features, dpt.last_dim, output
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1, bias=False),
            nn.Identity(),  # where the checkpoints count a norm, and a dropout below
            nn.ReLU(),
            nn.Identity(),
            nn.Conv2d(features, output, 1),
        )
        self.input_merger = nn.Sequential(nn.Conv2d(3, features, 7, padding=3))


class ParameterHead(nn.Module):
    """Tokens of four levels and the picture to all of a Gaussian but its centre."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.dpt = ParameterMap(configuration, channels(configuration))

    def forward(self, levels: Sequence[Tensor], images: Tensor, rows: int, columns: int) -> Tensor:
        """Tokens ``[N,rows * columns,C]`` of four levels and ``[N,3,H,W]`` in 0..1 to ``[N,K,H,W]``."""
        maps = self.dpt.fuse(levels[1:], self.dpt.prepare(levels[0], rows, columns), rows, columns)
        return self.dpt.head(doubled(maps) + functional.relu(self.dpt.input_merger(images)))


def channels(configuration: Configuration) -> int:
    """Numbers of a Gaussian beside its centre: opacity, scale, rotation, spherical harmonics."""
    return 1 + 3 + 4 + 3 * (configuration.sh_degree + 1) ** 2


def gaussians(centres: Tensor, parameters: Tensor) -> GaussianMaps:
    """``[B,V,3,H,W]`` and ``[B,V,K,H,W]`` as the heads give them, as Gaussians."""
    parameters = parameters.movedim(2, -1)
    opacities, scales, rotations, harmonics = parameters.split([1, 3, 4, parameters.shape[-1] - 8], -1)
    return GaussianMaps(
        expm1_of_length(centres.movedim(2, -1)),
        (SMALLEST * functional.softplus(scales)).clamp_max(LARGEST),
        rotations,
        opacities[..., 0].sigmoid(),
        harmonics.unflatten(-1, (3, -1)) * damping(harmonics.shape[-1] // 3, harmonics.device),
    )


def damping(count: int, device: torch.device) -> Tensor:
    """``[count]``: how much each spherical harmonic counts, less from degree to degree: 1, then 0.1 / 4 ** degree."""
    degrees = torch.arange(count, device=device).sqrt().floor()
    return torch.where(degrees == 0, 1.0, 0.1 * 0.25**degrees)


def covariances(scales: Tensor, rotations: Tensor) -> Tensor:
    """``[...,3,3]`` of scales ``[...,3]`` and quaternions xyzw ``[...,4]``, which need not be normalised."""
    quaternions = rotations / (rotations.norm(dim=-1, keepdim=True) + EPS)
    return splatting.covariances(scales, quaternions.roll(1, -1))
