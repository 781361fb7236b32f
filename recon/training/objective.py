"""The objective: the weighted sum of the losses that an estimate and a batch allow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.training.batch import Batch
from recon.training.correspondences import cyclic_partners, pixel_centres, to_world, unproject
from recon.training.estimate import CameraEstimate, Estimate
from recon.training.losses import alignment, dense, matching, photometric, pose

STEP_DECAY = 0.7
"""Each step of the camera's refinement counts this much less than the next."""

REACH = 6.0
"""Scenes whose cameras go farther than this, in units of the scene, teach no camera."""

STRIDE = 4
"""Losses that compare shapes look at every fourth pixel of every fourth row."""


@dataclass(frozen=True)
class ObjectiveWeights:
    """How much each loss counts; one of 0 is not computed.

    Attributes:
        depth: confidence-weighted error of the log-depth.
        gradient: of the log-depth, at several scales.
        normal: angle of the surface's normals.
        points: confidence-weighted error of the pointmap.
        rotation: of each camera in the first one's world.
        translation: of the same.
        field_of_view: of the same.
        relative_rotation: between all pairs of views.
        relative_direction: of the translation between all pairs of views.
        alignment: of all points of a scene, up to a scale.
        consistency: of points with depth and cameras.
        coarse_matching: of descriptors of patches of 16 pixels.
        fine_matching: of descriptors of 4 pixels.
        photometric: reprojection of other views; needs no truth.
        smoothness: of depth, where the picture is smooth.
    """

    depth: float = 1.0
    gradient: float = 0.4
    normal: float = 0.0
    points: float = 1.0
    rotation: float = 2.5
    translation: float = 5.0
    field_of_view: float = 2.5
    relative_rotation: float = 0.0
    relative_direction: float = 0.0
    alignment: float = 0.0
    consistency: float = 0.0
    coarse_matching: float = 0.2
    fine_matching: float = 0.1
    photometric: float = 0.0
    smoothness: float = 0.0


def objective(estimate: Estimate, batch: Batch, weights: ObjectiveWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and each of its parts without weight or gradient, by the names of `ObjectiveWeights`.

    Static shapes throughout, float32 also under autocast. Every tensor of the estimate gets a gradient, if of 0, as
    distributed training asks for. A part is absent where its weight is 0, the estimate does not tell what it is
    about, or a single view has no pair.

    Args:
        estimate: of the batch.
        batch: normalised.
        weights: of the parts.
    """
    with torch.autocast(batch.depth.device.type, enabled=False):
        scenes, views = batch.depth.shape[:2]
        told, known = estimate.in_a_row(), batch.in_a_row()
        parts = {
            **step(dense_parts, batch)(told, known, weights),
            **camera_parts(estimate, batch, weights),
            **shape_parts(estimate, batch, weights),
            **photometric_parts(estimate, batch, weights),
        }
        if views > 1:
            partner = cyclic_partners(scenes, views, batch.depth.device)
            partner = partner + views * torch.arange(scenes, device=partner.device)[:, None]
            parts |= step(matching_parts, batch)(told, known, partner.view(1, -1), weights)
        loss = torch.zeros((), device=batch.depth.device)
        for name, part in parts.items():
            loss = loss + getattr(weights, name) * part
        for tensor in estimate.tensors():
            loss = loss + 0.0 * tensor[(0,) * tensor.dim()].float()
    return loss, {name: part.detach() for name, part in parts.items()}


def step(function: Callable[..., dict[str, Tensor]], batch: Batch) -> Callable[..., dict[str, Tensor]]:
    """What looks at single pixels, compiled on a GPU; one version does for any number of views of a scene."""
    return compiled(function) if batch.depth.device.type == "cuda" else function


@functools.cache
def compiled(function: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    """As one graph for every size of image."""
    return torch.compile(function, dynamic=False, fullgraph=True)


def dense_parts(estimate: Estimate, batch: Batch, weights: ObjectiveWeights) -> dict[str, Tensor]:
    """Depth maps and pointmaps, pixel by pixel."""
    parts: dict[str, Tensor] = {}
    if estimate.depth is not None:
        depth = estimate.depth.float()
        if weights.depth:
            error = dense.depth_error(depth, batch.depth)
            parts["depth"] = weigh(error, estimate.depth_confidence, batch.valid)
        if weights.gradient:
            parts["gradient"] = dense.multi_scale_gradient(depth, batch.depth, batch.valid)
        if weights.normal:
            parts["normal"] = dense.normal_consistency(depth, batch.depth, batch.tangents)
    if estimate.points is not None and weights.points:
        error = dense.points_error(estimate.points.float(), batch.points())
        parts["points"] = weigh(error, estimate.points_confidence, batch.valid)
    return parts


def weigh(error: Tensor, confidence: Tensor | None, mask: Tensor) -> Tensor:
    """The error's mean, weighted by the confidence where there is one."""
    if confidence is None:
        return dense.masked_mean(error, mask)
    return dense.confidence_weighted(error, confidence.float(), mask)


def camera_parts(estimate: Estimate, batch: Batch, weights: ObjectiveWeights) -> dict[str, Tensor]:
    """Cameras after every step of refinement; relative ones after the last."""
    if not estimate.cameras:
        return {}
    rotation = torch.stack([camera.rotation.float() for camera in estimate.cameras])
    translation = torch.stack([camera.translation.float() for camera in estimate.cameras])
    tangents = torch.stack([camera.tangents.float() for camera in estimate.cameras])
    truth, centre = batch.world_from_camera[..., :3, :3], batch.world_from_camera[..., :3, 3]
    near = centre.norm(dim=-1).amax(1, keepdim=True) < REACH
    weight = (batch.usable & near).float()
    steps = len(estimate.cameras)
    decay = STEP_DECAY ** torch.arange(steps - 1, -1, -1, device=weight.device)
    parts: dict[str, Tensor] = {}
    if weights.rotation:
        parts["rotation"] = (decay * pose.rotation_loss(rotation, truth, weight)).sum()
    if weights.translation:
        parts["translation"] = (decay * pose.translation_loss(translation, centre, weight)).sum()
    if weights.field_of_view:
        parts["field_of_view"] = (decay * pose.field_of_view_loss(tangents, batch.tangents, weight)).sum()
    if batch.depth.shape[1] > 1 and weights.relative_rotation:
        parts["relative_rotation"] = pose.relative_rotation_loss(rotation[-1:], truth, weight)[0]
    if batch.depth.shape[1] > 1 and weights.relative_direction:
        pointed = pose.relative_direction_loss(rotation[-1:], translation[-1:], truth, centre, weight)
        parts["relative_direction"] = pointed[0]
    return parts


def shape_parts(estimate: Estimate, batch: Batch, weights: ObjectiveWeights) -> dict[str, Tensor]:
    """Points of a scene up to a scale, and of the estimate with itself."""
    parts: dict[str, Tensor] = {}
    if estimate.points is None:
        return parts
    points, mask = thin(estimate.points.float()), thin(batch.valid)
    if weights.alignment:
        truth = thin(batch.points())
        parts["alignment"] = alignment.two_way_alignment(points.flatten(1, 3), truth.flatten(1, 3), mask.flatten(1))
    if weights.consistency and estimate.depth is not None and estimate.cameras:
        from_depth = points_from_depth(estimate.depth.float(), estimate.cameras[-1])
        unknown = ~batch.valid.flatten(1).any(1)[:, None, None, None]  # scenes without truth teach this all the same
        parts["consistency"] = alignment.consistency(from_depth, points, mask | unknown)
    return parts


def thin(maps: Tensor) -> Tensor:
    """Every `STRIDE`-th pixel of ``[S,V,H,W,...]``."""
    return maps[:, :, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


def points_from_depth(depth: Tensor, camera: CameraEstimate) -> Tensor:
    """Points ``[S,V,h,w,3]`` in the world of the pixels that `thin` keeps of ``depth [S,V,H,W]``."""
    height, width = depth.shape[-2:]
    index = thin(torch.arange(height * width, device=depth.device).view(1, 1, height, width))
    pixel = pixel_centres(index.flatten(2), width)
    in_camera = unproject(pixel, thin(depth).flatten(2), camera.tangents.float(), height, width)
    points = to_world(in_camera, world_from_camera(camera))
    return points.unflatten(2, index.shape[2:])


def world_from_camera(camera: CameraEstimate) -> Tensor:
    """``[S,V,4,4]``."""
    upper = torch.cat([camera.rotation.float(), camera.translation.float()[..., None]], -1)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*upper.shape[:-2], 1, 4)
    return torch.cat([upper, last], -2)


def matching_parts(estimate: Estimate, batch: Batch, partner: Tensor, weights: ObjectiveWeights) -> dict[str, Tensor]:
    """Descriptors of every view against those of its ``partner [S,V]``."""
    parts: dict[str, Tensor] = {}
    if estimate.descriptors is not None and weights.coarse_matching:
        grid = matching.size_of(estimate.descriptors)
        found = matching.coarse_correspondences(batch, grid, partner)
        target = matching.cell_of(found.position, matching.size_of(batch.depth), grid)
        parts["coarse_matching"] = matching.coarse_matching(estimate.descriptors, found, target)
    if estimate.fine_descriptors is not None and weights.fine_matching:
        grid = matching.size_of(estimate.fine_descriptors)
        found = matching.fine_correspondences(batch, grid, partner)
        size = matching.size_of(batch.depth)
        parts["fine_matching"] = matching.fine_matching(estimate.fine_descriptors, found, size)
    return parts


def photometric_parts(estimate: Estimate, batch: Batch, weights: ObjectiveWeights) -> dict[str, Tensor]:
    """What the pictures themselves say of depth and cameras."""
    parts: dict[str, Tensor] = {}
    if estimate.depth is None:
        return parts
    depth = estimate.depth.float()
    if weights.photometric and estimate.cameras and depth.shape[1] > 1:
        camera = estimate.cameras[-1]
        parts["photometric"] = photometric.photometric(
            batch.images, depth, world_from_camera(camera), camera.tangents.float()
        )
    if weights.smoothness:
        parts["smoothness"] = photometric.edge_aware_smoothness(depth.flatten(0, 1), batch.images.flatten(0, 1))
    return parts
