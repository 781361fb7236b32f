"""How good an estimate of a batch is, in the figures of `recon.evaluation.metrics`, in torch and for many scenes."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.training.batch import Batch
from recon.training.correspondences import Correspondences, of_partner
from recon.training.estimate import CameraEstimate, Estimate
from recon.training.losses import matching
from recon.training.losses.pose import NO_BASELINE, relative_rotation, relative_translation, rotation_angle


@torch.no_grad()
def metrics(estimate: Estimate, batch: Batch) -> dict[str, Tensor]:
    """Means over all scenes, on the batch's device; what the estimate does not tell is absent, what the batch cannot
    judge NaN.

    ``auc30``, ``rra5``, ``rra15``, ``rta5``, ``rta15`` of the relative poses of all pairs of usable views;
    ``field_of_view``: median relative error of the horizontal tangent; ``absolute_relative`` and ``within_25_percent``
    of depth after one median scale for each scene; ``coarse_matches``: share of visible patches whose best match lies
    within one patch; ``fine_matches_1`` and ``fine_matches_2``: share of visible samples whose best match of all cells
    lies within 1 and 2 cells of the true place.
    """
    figures: dict[str, Tensor] = {}
    with torch.autocast(batch.depth.device.type, enabled=False):
        if estimate.cameras:
            figures |= camera_metrics(estimate.cameras[-1], batch)
        if estimate.depth is not None:
            figures |= depth_metrics(estimate.depth.float(), batch)
        if batch.depth.shape[1] > 1:
            figures |= matching_metrics(estimate, batch)
    return figures


def camera_metrics(camera: CameraEstimate, batch: Batch) -> dict[str, Tensor]:
    """Of the estimate's cameras ``[S,V]``, all pairs ``i < j`` of usable views together."""
    nan = torch.tensor(torch.nan, device=batch.depth.device)
    opened = (camera.tangents[..., 0].float() / batch.tangents[..., 0] - 1).abs()
    figures = {"field_of_view": torch.where(batch.usable, opened, nan).nanmedian()}
    views = batch.depth.shape[1]
    if views == 1:
        return figures
    rotation, direction = pair_errors(camera, batch)
    worst = torch.where(direction.isnan(), rotation, torch.maximum(rotation, direction))
    limits = torch.arange(1, 31, device=worst.device)
    figures["auc30"] = accuracy(worst, limits).mean()
    for threshold in (5, 15):
        limit = torch.tensor([threshold], device=worst.device)
        figures[f"rra{threshold}"] = accuracy(rotation, limit)[0]
        figures[f"rta{threshold}"] = accuracy(direction, limit)[0]
    return figures


def pair_errors(camera: CameraEstimate, batch: Batch) -> tuple[Tensor, Tensor]:
    """Rotation and direction errors ``[S,P]`` in degrees of pairs ``i < j``; NaN where a view is not usable, and
    directions where the true cameras coincide."""
    truth, centre = batch.world_from_camera[..., :3, :3], batch.world_from_camera[..., :3, 3]
    views = batch.depth.shape[1]
    first, second = torch.triu_indices(views, views, offset=1, device=batch.depth.device)
    rotation = rotation_angle(relative_rotation(camera.rotation.float()), relative_rotation(truth))[:, first, second]
    estimate = relative_translation(camera.rotation.float(), camera.translation.float())[:, first, second]
    true = relative_translation(truth, centre)[:, first, second]
    direction = torch.atan2(torch.linalg.cross(estimate, true).norm(dim=-1), (estimate * true).sum(-1))
    direction = torch.where(estimate.norm(dim=-1) == 0, torch.pi, direction)
    length = true.norm(dim=-1)
    usable = batch.usable[:, first] & batch.usable[:, second]
    apart = usable & (length > NO_BASELINE * length.amax(-1, keepdim=True))
    return (
        torch.where(usable, rotation.rad2deg(), torch.nan),
        torch.where(apart, direction.rad2deg(), torch.nan),
    )


def accuracy(errors: Tensor, limits: Tensor) -> Tensor:
    """``[L]``: share of the errors, of any shape, below each of ``limits [L]``; NaN does not count."""
    below = (errors.flatten() < limits[:, None]).sum(-1)
    return below / (~errors.isnan()).sum()


def depth_metrics(depth: Tensor, batch: Batch) -> dict[str, Tensor]:
    """After the median of ``truth / estimate`` of each scene; the mean over scenes."""
    truth = torch.where(batch.valid, batch.depth, torch.nan).flatten(1)
    scale = (truth / depth.flatten(1)).nanmedian(-1, keepdim=True).values
    ratio = scale * depth.flatten(1) / truth
    within = torch.where(ratio.isnan(), torch.nan, (torch.maximum(ratio, 1 / ratio) < 1.25).float())
    return {
        "absolute_relative": (ratio - 1).abs().nanmean(-1).nanmean(),
        "within_25_percent": within.nanmean(-1).nanmean(),
    }


def matching_metrics(estimate: Estimate, batch: Batch) -> dict[str, Tensor]:
    """Nearest descriptors against true places."""
    figures = {}
    size = matching.size_of(batch.depth)
    if estimate.descriptors is not None:
        grid = matching.size_of(estimate.descriptors)
        found = matching.coarse_correspondences(batch, grid)
        source = matching.cell_of(matching.pixel_centres(found.source, size[1]), size, grid)
        best = nearest_cells(estimate.descriptors, found, source)
        target = matching.cell_of(found.position, size, grid)
        off = torch.maximum((best // grid[1] - target // grid[1]).abs(), (best % grid[1] - target % grid[1]).abs())
        figures["coarse_matches"] = share(off <= 1, found.visible)
    if estimate.fine_descriptors is not None:
        grid = matching.size_of(estimate.fine_descriptors)
        found = matching.fine_correspondences(batch, grid)
        source = matching.cell_of(matching.pixel_centres(found.source, size[1]), size, grid)
        best = nearest_cells(estimate.fine_descriptors, found, source)
        place = torch.stack([best % grid[1], best // grid[1]], -1) + 0.5
        true = found.position * place.new_tensor([grid[1] / size[1], grid[0] / size[0]])
        off = (place - true).norm(dim=-1)
        figures["fine_matches_1"] = share(off <= 1, found.visible)
        figures["fine_matches_2"] = share(off <= 2, found.visible)
    return figures


def nearest_cells(descriptors: Tensor, found: Correspondences, source: Tensor) -> Tensor:
    """``[S,V,N] long``: of all cells of the partner the one most like each cell ``source [S,V,N]`` of a view."""
    cells = descriptors.float().flatten(2, 3)
    there = of_partner(cells, found.partner)
    best = []
    for scene in range(len(cells)):  # all at once would take gigabytes
        here = cells[scene].take_along_dim(source[scene, :, :, None], 1)
        best.append((here @ there[scene].transpose(-1, -2)).argmax(-1))
    return torch.stack(best)


def share(right: Tensor, counts: Tensor) -> Tensor:
    """Share of those that count; NaN where none does."""
    return (right & counts).sum() / counts.sum()
