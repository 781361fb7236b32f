"""The sweep network: the depth of one photo, refined by what other photos from known places show of it.

A prior depth is given, of any model, together with cameras that can be trusted. Hypotheses are factors of the prior,
so that surfaces are swept along their own shape; features of the other photos are warped to each hypothesis and
compared, and a network on the cost volume, the photo and the prior decides. Wide steps at stride 8, then fine ones at
stride 4, then up to the photo's own pixels. Where nothing can be compared, what comes out is a mended prior.

After MVSNet (Yao et al. 2018), its cascade (Gu et al. 2020) and SimpleRecon (Sayed et al. 2022), whose two-dimensional
convolutions over the volume suit a CPU.

Conventions of the network: intrinsics in units of the picture (0..1 across its width and its height), OpenCV axes,
z-depth; depth and translations share any one unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.convolution import ResidualUnit
from recon.networks.parallax import Fusion

STRIDE = 16
Gelu = partial(nn.GELU, approximate="tanh")


@dataclass
class Features:
    """What the encoder says of N photos: its maps at 1/2, 1/4, 1/8, and what is compared at 1/8 and at 1/4."""

    half: Tensor
    quarter: Tensor
    eighth: Tensor
    compared_eighth: Tensor
    compared_quarter: Tensor

    def select(self, index: Tensor | slice) -> Features:
        """The features of some of the photos."""
        return Features(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


@dataclass
class Refined:
    """The refined depth of N photos.

    Attributes:
        depth: ``[N,H,W]`` z-depth.
        confidence: ``[N,H,W]``, at least 1, the inverse of the expected error of the log-depth.
        coarse: ``[N,H/8,W/8]`` and ``[N,H/4,W/4]``, log-depth after each sweep, of the pixel at each cell's centre.
    """

    depth: Tensor
    confidence: Tensor
    coarse: tuple[Tensor, Tensor]


class SweepNetwork(nn.Module):
    """Any number of sources, of any sizes that are multiples of 16."""

    def __init__(
        self,
        channels: tuple[int, int, int, int] = (24, 48, 80, 112),
        compared: int = 32,
        steps: tuple[int, int] = (40, 20),
        reach: tuple[float, float] = (0.5, 0.07),
    ) -> None:
        super().__init__()
        half, quarter, eighth, _ = channels
        self.encoder = Encoder(channels, compared)
        self.wide = Sweep(eighth, steps[0], reach[0])
        self.fine = Sweep(quarter, steps[1], reach[1], coarser=eighth)
        self.detail = nn.Sequential(
            nn.Conv2d(quarter + 4 * half, 2 * quarter, 3, padding=1), Gelu(), nn.Conv2d(2 * quarter, 10 * 16, 1)
        )

    def forward(
        self,
        reference: Features,
        sources: Sequence[Features],
        prior: Tensor,
        intrinsics: Tensor,
        source_intrinsics: Sequence[Tensor],
        source_from_reference: Sequence[Tensor],
    ) -> Refined:
        """Refine the depth of N photos, each by K others.

        Args:
            reference: of the N photos, of size ``[H,W]``.
            sources: K times, the features of one other photo for each of the N.
            prior: ``[N,H,W]`` depth, above 0 everywhere.
            intrinsics: ``[N,3,3]``.
            source_intrinsics: K times ``[N,3,3]``.
            source_from_reference: K times ``[N,4,4]``.
        """
        cameras = list(zip(source_intrinsics, source_from_reference, strict=True))
        start = prior.log()
        centred = start - start.mean((-2, -1), keepdim=True)

        at8 = start[:, 4::8, 4::8]
        views = [source.compared_eighth for source in sources]
        offset8, wide = self.wide(
            reference.compared_eighth, views, cameras, intrinsics, at8, centred[:, 4::8, 4::8], reference.eighth
        )
        moved = functional.interpolate(offset8[:, None], scale_factor=2, mode="bilinear")[:, 0]
        at4 = start[:, 2::4, 2::4] + moved
        views = [source.compared_quarter for source in sources]
        offset4, fine = self.fine(
            reference.compared_quarter,
            views,
            cameras,
            intrinsics,
            at4,
            centred[:, 2::4, 2::4] + moved,
            reference.quarter,
            wide,
        )
        at4 = at4 + offset4

        detail = self.detail(torch.cat([fine, functional.pixel_unshuffle(reference.half, 2)], 1)).float()
        weights = detail[:, :144].unflatten(1, (9, 16)).softmax(1)
        around = functional.unfold(functional.pad(at4[:, None], (1, 1, 1, 1), mode="replicate"), 3)
        around = around.unflatten(2, at4.shape[-2:])
        depth = functional.pixel_shuffle((weights * around[:, :, None]).sum(1), 4)[:, 0].exp()
        confidence = 1 + functional.pixel_shuffle(detail[:, 144:], 4)[:, 0].clamp(-8, 5).exp()
        return Refined(depth, confidence, (at8 + offset8, at4))


class Encoder(nn.Module):
    """Convolutions down to 1/16 of the photo and up again to 1/4."""

    def __init__(self, channels: tuple[int, int, int, int], compared: int) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = channels
        self.stride2 = nn.Conv2d(3, half, 5, 2, 2)
        self.stride4 = nn.Sequential(Gelu(), nn.Conv2d(half, quarter, 3, 2, 1), ResidualUnit(quarter, Gelu()))
        self.stride8 = nn.Sequential(
            Gelu(), nn.Conv2d(quarter, eighth, 3, 2, 1), ResidualUnit(eighth, Gelu()), ResidualUnit(eighth, Gelu())
        )
        self.stride16 = nn.Sequential(Gelu(), nn.Conv2d(eighth, sixteenth, 3, 2, 1), ResidualUnit(sixteenth, Gelu()))
        self.up8 = Fusion(sixteenth, eighth, units=1)
        self.up4 = Fusion(eighth, quarter, units=1)
        self.compared8 = nn.Conv2d(eighth, compared, 1)
        self.compared4 = nn.Conv2d(quarter, compared, 1)

    def forward(self, images: Tensor) -> Features:
        """``[N,3,H,W]`` in 0..1, H and W multiples of 16."""
        half = self.stride2((4 * (images - 0.5)).contiguous(memory_format=torch.channels_last))
        quarter = self.stride4(half)
        eighth = self.stride8(quarter)
        eighth = self.up8(self.stride16(eighth), eighth)
        quarter = self.up4(eighth, quarter)
        return Features(half, quarter, eighth, self.compared8(eighth), self.compared4(quarter))


class Sweep(nn.Module):
    """One plane sweep: hypotheses around a depth, compared with all sources, and the change that a network reads off.

    Args:
        channels: of the photo's map at this stride.
        steps: number of hypotheses.
        reach: the farthest one, as the absolute logarithm of its factor.
        coarser: channels of the map of the sweep before, or 0 for the first sweep.
        groups: of channels, compared separately (Guo et al. 2019, section 3.2).
        evidence: channels that say how well a hypothesis fits all sources.
    """

    offsets: Tensor

    def __init__(
        self, channels: int, steps: int, reach: float, coarser: int = 0, groups: int = 4, evidence: int = 8
    ) -> None:
        super().__init__()
        self.groups = groups
        self.register_buffer("offsets", torch.linspace(-reach, reach, steps), persistent=False)
        self.judge = nn.Sequential(nn.Linear(groups + 2, 16), Gelu(), nn.Linear(16, evidence + 1))
        self.volume = nn.Conv2d(steps * evidence, channels, 1)
        self.photo = nn.Conv2d(channels + 2, channels, 3, padding=1)
        self.from_coarser = nn.Conv2d(coarser, channels, 1) if coarser else None
        self.shape = nn.Sequential(ResidualUnit(channels, Gelu()), ResidualUnit(channels, Gelu()))
        self.down = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, 2, 1),
            ResidualUnit(2 * channels, Gelu()),
            ResidualUnit(2 * channels, Gelu()),
        )
        self.up = Fusion(2 * channels, channels, units=2)
        self.trust = nn.Parameter(torch.tensor(10.0))
        self.change = nn.Conv2d(channels, steps, 1)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)  # type: ignore[arg-type]

    def forward(
        self,
        reference: Tensor,
        sources: Sequence[Tensor],
        cameras: Sequence[tuple[Tensor, Tensor]],
        intrinsics: Tensor,
        log_depth: Tensor,
        shape: Tensor,
        photo: Tensor,
        coarser: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The change of ``log_depth [N,h,w]``, and the map ``[N,channels,h,w]`` it was read off.

        Args:
            reference: ``[N,C,h,w]`` to compare.
            sources: K times ``[N,C,h',w']``.
            cameras: of the sources, intrinsics and source_from_reference.
            intrinsics: ``[N,3,3]`` of the reference.
            log_depth: what is changed.
            shape: the same in a unit of the network's own.
            photo: ``[N,channels,h,w]``.
            coarser: ``[N,2*channels or other,h/2,w/2]`` of the sweep before, or None.
        """
        depth = (log_depth[:, None] + self.offsets[:, None, None]).exp()
        height, width = log_depth.shape[-2:]
        grid = picture_grid(height, width, log_depth.device)
        directions = torch.einsum("nab,bhw->nahw", torch.linalg.inv(intrinsics), grid)
        reference = unit_groups(reference, self.groups)
        total = torch.full_like(depth, 1e-3)[..., None]
        evidence, likely, seen = torch.zeros_like(total), torch.zeros_like(depth), torch.zeros_like(log_depth)
        for source, (source_intrinsics, source_from_reference) in zip(sources, cameras, strict=True):
            places, visible, angle = project(directions, depth, source_intrinsics, source_from_reference)
            warped = functional.grid_sample(
                unit_groups(source, self.groups).flatten(1, 2),
                places.flatten(1, 2),
                padding_mode="border",
                align_corners=False,
            )
            warped = rearrange(warped, "n (g c) (d h) w -> n g c d h w", g=self.groups, d=depth.shape[1])
            alike = torch.einsum("ngchw,ngcdhw->ndhwg", reference, warped)
            judged = self.judge(torch.cat([alike, torch.stack([visible, angle], -1)], -1)).float()
            weight = judged[..., -1:].sigmoid() * visible[..., None]
            total = total + weight
            evidence = evidence + weight * judged[..., :-1]
            likely = likely + visible * alike.mean(-1)
            seen = seen + visible.mean(1)
        volume = self.volume(rearrange(evidence / total, "n d h w e -> n (d e) h w"))
        hidden = volume + self.photo(torch.cat([photo, torch.stack([shape, seen.clamp_max(1)], 1)], 1))
        if self.from_coarser is not None and coarser is not None:
            hidden = hidden + functional.interpolate(self.from_coarser(coarser), scale_factor=2, mode="nearest")
        hidden = self.shape(hidden)
        hidden = self.up(self.down(hidden), hidden)
        likely = self.trust * likely / seen[:, None].clamp_min(1)
        probabilities = (self.change(hidden).float() + likely).softmax(1)
        return (probabilities * self.offsets[:, None, None]).sum(1), hidden


def picture_grid(height: int, width: int, device: torch.device) -> Tensor:
    """Homogeneous pixel centres ``[3,H,W]`` in units of the picture."""
    y, x = torch.meshgrid(
        (torch.arange(height, device=device) + 0.5) / height,
        (torch.arange(width, device=device) + 0.5) / width,
        indexing="ij",
    )
    return torch.stack([x, y, torch.ones_like(x)])


def unit_groups(maps: Tensor, groups: int) -> Tensor:
    """``[N,C,h,w]`` to ``[N,groups,C/groups,h,w]`` of unit length in float32, which no change of exposure moves."""
    return functional.normalize(maps.float().unflatten(1, (groups, -1)), dim=2, eps=1e-4)


def project(
    directions: Tensor, depth: Tensor, intrinsics: Tensor, source_from_reference: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where hypotheses ``depth [N,D,h,w]`` along ``directions [N,3,h,w]`` (z = 1) lie in a source.

    Returns:
        Places ``[N,D,h,w,2]`` as ``grid_sample`` takes them; ``[N,D,h,w]`` 1 where they lie in the picture, else 0; and
        the angle ``[N,D,h,w]`` between the two rays, in tenths of a radian.
    """
    rotation, translation = source_from_reference[:, :3, :3], source_from_reference[:, :3, 3]
    turned = torch.einsum("nab,nbhw->nhwa", rotation, directions)[:, None]
    points = turned * depth[..., None] + translation[:, None, None, None]
    pixels = points @ intrinsics.mT[:, None, None]
    z = pixels[..., 2:]
    places = 2 * pixels[..., :2] / z.clamp_min(1e-4) - 1
    visible = (z[..., 0] > 1e-4) & (places.abs() < 1).all(-1)
    cosine = (functional.normalize(turned, dim=-1) * functional.normalize(points, dim=-1)).sum(-1)
    angle = (2 - 2 * cosine).clamp(1e-8, 4).sqrt()  # the chord: finite slope at 0
    return places.clamp(-2, 2), visible.float(), 10 * angle
