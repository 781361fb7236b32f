"""What the sweep network learns from: true depth spoilt as a prior, true cameras slightly off, and its losses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from recon.assets import WEIGHTS
from recon.networks.parallax import ParallaxNetwork
from recon.networks.sweep import Refined, SweepNetwork
from recon.quantization import load_network
from recon.training.batch import Batch
from recon.training.estimate import Estimate
from recon.training.losses import dense
from recon.training.objective import ObjectiveWeights

ROTATION_ERROR, TRANSLATION_ERROR = 0.0015, 0.01  # radians; of the baseline
NETWORK_SHARE = 0.7  # of the priors that are what the embedded network says
GRADIENT_WEIGHT = 0.5


@dataclass
class Question:
    """What the network is asked.

    Attributes:
        batch: S scenes of V views.
        prior: ``[S,V,H,W]``, above 0.
        world_from_camera: ``[S,V,4,4]``, as well as it is known.
    """

    batch: Batch
    prior: Tensor
    world_from_camera: Tensor


def pose_question(batch: Batch, generator: torch.Generator) -> Question:
    """Spoil what is known of a batch."""
    prior = prior_depth(batch, generator, embedded_network(batch.depth.device))
    return Question(batch, prior, shaken_cameras(batch, generator))


def sweep_loss(network: SweepNetwork, question: Question, losses: ObjectiveWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective of what the network says; its parts have weights of their own."""
    return sweep_objective(refine(network, question), question.batch.depth.flatten(0, 1))


def estimate_sweep(network: SweepNetwork, question: Question) -> Estimate:
    """What the network says, to be measured."""
    refined = refine(network, question)
    shape = question.batch.depth.shape
    return Estimate(depth=refined.depth.view(shape), depth_confidence=refined.confidence.view(shape))


@lru_cache(maxsize=1)
def embedded_network(device: torch.device) -> ParallaxNetwork:
    """The network that is shipped, whose depth is the prior."""
    return load_network(ParallaxNetwork, WEIGHTS).to(device).eval().requires_grad_(False)


def refine(network: SweepNetwork, question: Question) -> Refined:
    """Refine each of the V views of each scene by the V - 1 others; returns ``S * V`` photos, scene by scene."""
    batch, prior, world_from_camera = question.batch, question.prior, question.world_from_camera
    scenes, views = batch.depth.shape[:2]
    features = network.encoder(batch.images.flatten(0, 1))
    intrinsics = intrinsics_of(batch.tangents)
    index = torch.arange(scenes * views, device=prior.device).view(scenes, views)
    sources, source_intrinsics, source_from_reference = [], [], []
    for step in range(1, views):
        other = index.roll(-step, 1).flatten()
        sources.append(features.select(other))
        source_intrinsics.append(intrinsics.flatten(0, 1)[other])
        camera_from_world = torch.linalg.inv(world_from_camera.roll(-step, 1))
        source_from_reference.append((camera_from_world @ world_from_camera).flatten(0, 1))
    return network(
        features, sources, prior.flatten(0, 1), intrinsics.flatten(0, 1), source_intrinsics, source_from_reference
    )


def intrinsics_of(tangents: Tensor) -> Tensor:
    """``[...,3,3]`` in units of the picture, for ``tangents [...,2]`` of half the fields of view."""
    intrinsics = torch.zeros(*tangents.shape[:-1], 3, 3, device=tangents.device)
    intrinsics[..., 0, 0] = 0.5 / tangents[..., 0]
    intrinsics[..., 1, 1] = 0.5 / tangents[..., 1]
    intrinsics[..., :2, 2] = 0.5
    intrinsics[..., 2, 2] = 1
    return intrinsics


def filled(depth: Tensor) -> Tensor:
    """Depth ``[S,V,H,W]`` with the farthest of its scene where there is none."""
    return torch.where(depth > 0, depth, depth.amax((1, 2, 3), keepdim=True).clamp_min(1e-3))


def spoilt_depth(depth: Tensor, generator: torch.Generator) -> Tensor:
    """A prior made of true depth ``[S,V,H,W]``: soft edges, bent smoothly, off in scale.

    The bend is noise on grids of 2, 4 and 8 cells a side, of up to about 15 % for a scene.
    """
    scenes, views, height, width = depth.shape

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=depth.device)

    flat = filled(depth).log().flatten(0, 1)[:, None]
    small = functional.avg_pool2d(flat, 8)
    soft = functional.interpolate(small, size=(height, width), mode="bilinear")
    flat = flat + (soft - flat) * torch.rand(scenes * views, 1, 1, 1, generator=generator, device=depth.device)
    strength = 0.15 * torch.rand(scenes, 1, generator=generator, device=depth.device).expand(-1, views).flatten()
    for cells in (2, 4, 8):
        noise = functional.interpolate(normal(scenes * views, 1, cells, cells), size=(height, width), mode="bicubic")
        flat = flat + strength[:, None, None, None] * noise / 2
    return (flat + 0.05 * normal(scenes * views, 1, 1, 1)).exp().view(scenes, views, height, width)


@torch.no_grad()
def prior_depth(batch: Batch, generator: torch.Generator, network: ParallaxNetwork) -> Tensor:
    """``[S,V,H,W]``: what a network says, scaled to the truth of each view as verification would, or spoilt truth, by
    scene."""
    spoilt = spoilt_depth(batch.depth, generator)
    with torch.autocast(batch.depth.device.type, torch.bfloat16, enabled=batch.depth.is_cuda):
        seen = network(batch.images).depth.float()
    ratio = torch.where(batch.valid, (filled(batch.depth) / seen).log(), torch.nan).flatten(2).nanmedian(-1).values
    scale = (ratio + 0.03 * torch.randn(ratio.shape, generator=generator, device=ratio.device)).nan_to_num(0).exp()
    by_network = torch.rand(len(seen), generator=generator, device=seen.device) < NETWORK_SHARE
    return torch.where(by_network[:, None, None, None], seen * scale[..., None, None], spoilt)


def shaken_cameras(batch: Batch, generator: torch.Generator) -> Tensor:
    """``world_from_camera [S,V,4,4]`` as far off as verified cameras are."""
    scenes, views = batch.depth.shape[:2]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=batch.depth.device)

    turn = torch.linalg.matrix_exp(skew(ROTATION_ERROR * normal(scenes, views, 3)))
    centres = batch.world_from_camera[..., :3, 3]
    baseline = (centres - centres.mean(1, keepdim=True)).norm(dim=-1).mean(1)
    shaken = batch.world_from_camera.clone()
    shaken[..., :3, :3] = shaken[..., :3, :3] @ turn
    shaken[..., :3, 3] += TRANSLATION_ERROR * baseline[:, None, None] * normal(scenes, views, 3)
    return shaken


def skew(vectors: Tensor) -> Tensor:
    """``[...,3]`` to the matrices ``[...,3,3]`` of the cross product with them."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def sweep_objective(refined: Refined, depth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss against true ``depth [N,H,W]``, 0 where unknown, and its parts.

    Errors of the log-depth after each sweep; at the end weighted by confidence, with its gradients at three scales.
    """
    valid = depth > 0
    true = dense.log_depth(depth)
    wide, fine = (
        dense.masked_mean((coarse - cells(true, s)).abs().clamp_max(1), cells(valid, s))
        for s, coarse in zip((8, 4), refined.coarse, strict=True)
    )
    error = dense.depth_error(refined.depth, depth)
    final = dense.confidence_weighted(error.clamp_max(1), refined.confidence, valid)
    gradient = dense.multi_scale_gradient(refined.depth, depth, valid)
    loss = wide + fine + final + GRADIENT_WEIGHT * gradient
    parts = {"wide": wide, "fine": fine, "final": final, "gradient": gradient, "error": dense.masked_mean(error, valid)}
    return loss, {name: part.detach() for name, part in parts.items()}


def cells(maps: Tensor, stride: int) -> Tensor:
    """The pixels of ``[N,H,W]`` at the middle of each cell of a coarser grid."""
    return maps[:, stride // 2 :: stride, stride // 2 :: stride]
