"""What the sweep network learns from: true depth spoilt as a prior, true cameras slightly off, and its losses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from recon.assets import ASSETS
from recon.networks.parallax import ParallaxNetwork
from recon.networks.sweep import Refined, SweepNetwork
from recon.quantization import load_weights, read_configuration
from recon.training.batch import Batch
from recon.training.estimate import Estimate
from recon.training.objective import ObjectiveWeights

ROTATION_ERROR, TRANSLATION_ERROR, FOCAL_ERROR = 0.0015, 0.01, 0.01  # radians; of the baseline; of its logarithm
NETWORK_SHARE = 0.7  # of the priors that are what the embedded network says
CONFIDENCE_WEIGHT = 0.2  # alpha of DUSt3R, eq. 4
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
    path = ASSETS / "parallax-small.safetensors"
    network = ParallaxNetwork(**read_configuration(path))
    load_weights(network, path)
    return network.to(device).eval().requires_grad_(False)


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

    The bend is noise at 1/64 to 1/8 of the picture's width, of up to 15 % for a scene.
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

    Log-depth L1 after each sweep; at the end weighted by confidence (DUSt3R, eq. 4), with its gradients at three scales
    (MiDaS, eq. 11).
    """
    valid = (depth > 0).float()
    true = depth.clamp_min(1e-4).log()
    wide, fine = (
        mean((coarse - true[:, s // 2 :: s, s // 2 :: s]).abs().clamp_max(1), valid[:, s // 2 :: s, s // 2 :: s])
        for s, coarse in zip((8, 4), refined.coarse, strict=True)
    )
    difference = refined.depth.log() - true
    confidence = refined.confidence
    final = mean(difference.abs().clamp_max(1) * confidence - CONFIDENCE_WEIGHT * confidence.log(), valid)
    gradient = torch.zeros_like(final)
    for step in (1, 2, 4):
        some, known = difference[:, ::step, ::step], valid[:, ::step, ::step]
        across = (some[:, :, 1:] - some[:, :, :-1]).abs().clamp_max(1)
        down = (some[:, 1:] - some[:, :-1]).abs().clamp_max(1)
        gradient = (
            gradient + mean(across, known[:, :, 1:] * known[:, :, :-1]) + mean(down, known[:, 1:] * known[:, :-1])
        )
    loss = wide + fine + final + GRADIENT_WEIGHT * gradient
    error = mean(difference.abs(), valid)
    parts = {"wide": wide, "fine": fine, "final": final, "gradient": gradient, "error": error}
    return loss, {name: part.detach() for name, part in parts.items()}


def mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean, 0 where there is no weight."""
    return (values * weights).sum() / weights.sum().clamp_min(1)
