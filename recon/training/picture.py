"""What a network makes of a scene, to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from recon.evaluation.metrics import depth_errors
from recon.training.batch import Batch
from recon.training.estimate import Estimate


def picture(estimate: Estimate, batch: Batch, scene: int = 0, views: int = 4) -> np.ndarray:
    """``[3 H, V W, 3] uint8``: photos over true over predicted depth, near bright; one scale for the scene."""
    count = min(views, batch.images.shape[1])
    photos = (batch.images[scene, :count].permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
    rows = [np.concatenate(list(photos), 1)]
    true = _numpy(batch.depth[scene, :count])
    depths = [true]
    if estimate.depth is not None:
        guess = _numpy(estimate.depth[scene, :count])
        scale = depth_errors(true, guess).scale
        depths.append(guess * (scale if np.isfinite(scale) else 1.0))
    known = depths[0][depths[0] > 0] if (depths[0] > 0).any() else depths[-1]
    near = float(np.percentile(known, 2))
    for depth in depths:
        shade = np.clip(near / np.maximum(depth, 1e-6), 0, 1) * (depth > 0)
        rows.append(np.concatenate(list(shades(shade)), 1))
    return np.concatenate(rows, 0)


def shades(values: np.ndarray) -> np.ndarray:
    """``[...]`` in 0..1 to colours ``[...,3] uint8``: black, violet, orange, white."""
    stops: Sequence[tuple[int, int, int]] = [(0, 0, 0), (90, 20, 110), (220, 60, 60), (250, 170, 50), (255, 255, 230)]
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, places, channel) for channel in zip(*stops, strict=True)], -1).astype(np.uint8)


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
