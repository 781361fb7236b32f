"""What each view says of itself over all its pairs: a focal length, a pointmap in its own camera, the pairs' units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon import geometry
from recon.alignment.focal import focal_of_points, possible
from recon.alignment.pair_maps import Known, Samples

FOCALS = 21  # tried for a view that is no pair's first, between these shares of its longer side
NARROWEST, WIDEST = 3.0, 0.5
USUAL = 1.2  # where nothing tells
REPROJECTION_ERROR = 0.02  # of an inlier there, of the longer side


@dataclass
class OwnPointmaps:
    """Each view in its own camera and in a unit of its own.

    Attributes:
        focal: ``[V]`` in pixels.
        points: ``[V,N,3]`` of the samples; z is 1 where unknown.
        weights: ``[V,N]``, 0 where unknown.
        log_unit: ``[P]``, logarithm of a length in each pair's unit over the same in that of the pair's first view.
    """

    focal: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    log_unit: np.ndarray


def own_pointmaps(samples: Samples, known: Known) -> OwnPointmaps:
    """The median of the maps in which a view comes first; where these tell nothing, the best map in another camera."""
    views, count = samples.pixels.shape[:2]
    depth, weights = np.ones((views, count)), np.zeros((views, count))
    log_unit = np.zeros(len(samples.first))
    focal = focal_lengths(samples, known)
    for view in range(views):
        pairs = np.flatnonzero(samples.first == view)
        if len(pairs):
            depth[view], weights[view], log_unit[pairs] = _median_depth(
                samples.points[2 * pairs, :, 2], samples.weights[2 * pairs]
            )
        if not (weights[view].any() and np.isfinite(focal[view])):
            focal[view], depth[view], weights[view] = _resection(samples, view, focal[view])
    if known.shared_focal:
        focal[:] = np.median(focal)
    rays = np.concatenate([samples.pixels / focal[:, None, None], np.ones((views, count, 1))], -1)
    return OwnPointmaps(focal, depth[..., None] * rays, weights, log_unit)


def focal_lengths(samples: Samples, known: Known) -> np.ndarray:
    """``[V]``, known or from all maps in which the view comes first; nan where there is none."""
    views = len(samples.pixels)
    maps = [np.flatnonzero(samples.first == view) * 2 for view in range(views)]
    groups = [range(views)] if known.shared_focal else [[view] for view in range(views)]
    focal = np.full(views, np.nan)
    for group in groups:
        given = [known.focal[view] for view in group if view in known.focal]
        if given:
            focal[list(group)] = given[0]
        elif any(len(maps[view]) for view in group):
            sides = np.concatenate([maps[view] for view in group])
            pixels = samples.pixels[samples.first[sides // 2]].reshape(-1, 2)
            found = focal_of_points(samples.points[sides].reshape(-1, 3), pixels, samples.weights[sides].ravel())
            longest = samples.size[list(group)].max()
            if found is not None and possible(found, longest):
                focal[list(group)] = found
    return focal


def _median_depth(depth: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One depth map of several ``[M,N]`` that differ in scale, its weights, and the logarithms of their scales."""
    good = (weights > 0) & (depth > 0)
    logarithm = np.where(good, np.log(np.where(good, depth, 1)), np.nan)
    reference = logarithm[np.argmax(np.where(good, weights, 0).sum(1))]
    both = np.isfinite(logarithm - reference)
    scale = np.array(
        [np.median((row - reference)[seen]) if seen.any() else 0.0 for row, seen in zip(logarithm, both, strict=True)]
    )
    logarithm -= scale[:, None]
    unknown = ~good.any(0)
    logarithm[:, unknown] = 0
    return np.exp(np.nanmedian(logarithm, 0)), np.where(good, weights, 0).mean(0), scale


def _resection(samples: Samples, view: int, focal: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Focal length, depth and weights of a view from the surest map of it in another's camera."""
    long_side = float(samples.size[view].max())
    usual = focal if np.isfinite(focal) else USUAL * long_side
    sides = 2 * np.flatnonzero(samples.second == view) + 1
    nothing = usual, np.ones(samples.pixels.shape[1]), np.zeros(samples.pixels.shape[1])
    if len(sides) == 0:
        return nothing
    side = sides[np.argmax(samples.weights[sides].sum(1))]
    points, good = samples.points[side], samples.weights[side] > 0
    candidates = [focal] if np.isfinite(focal) else np.geomspace(WIDEST, NARROWEST, FOCALS) * long_side
    best, most = None, 0
    for candidate in candidates:
        intrinsics = np.diag([candidate, candidate, 1.0])
        found = geometry.pnp(
            points[good], samples.pixels[view, good], intrinsics, REPROJECTION_ERROR * long_side, iterations=50
        )
        if found is not None and found[1].sum() > most:
            best, most = (float(candidate), found[0]), int(found[1].sum())
    if best is None:
        return nothing
    depth = geometry.transform(geometry.invert(best[1]), points)[:, 2]
    seen = good & (depth > 0)
    return best[0], np.where(seen, depth, 1), np.where(seen, samples.weights[side], 0)
