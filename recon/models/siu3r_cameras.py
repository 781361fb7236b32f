"""The cameras of a run of SIU3R: what is known of their lenses beforehand, and where its pixels' points put them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon import geometry
from recon.models.fitting import Fitted
from recon.models.siu3r_fitting import fitted_intrinsics
from recon.scene import View

USUAL = 318 / 256  # focal length over the short side, of the pictures that the network was trained on
STRIDE = 4  # of the pixels that a camera is found by
TOLERANCE = 4.0  # pixels of 256, of such a pixel
LEAST_SHARE = 0.3  # of them that must agree on a camera
SAME_DEPTH = 0.15  # relative difference of two views that see the same
LEAST_OVERLAP = 0.1  # share of a view that the first one sees too


def intrinsics_of(views: Sequence[View], fitted: Sequence[Fitted]) -> tuple[list[np.ndarray], list[str]]:
    """``[3,3]`` in pixels of what was fitted of each view, and a sentence where focal lengths are guessed.

    Taken from what is known of the view, else from its EXIF data, else from the other views', else as usual.
    """
    known = [_known(view) for view in views]
    shares = [matrix[0, 0] / min(view.size) for matrix, view in zip(known, views, strict=True) if matrix is not None]
    share = float(np.median(shares)) if shares else USUAL
    found = []
    for view, matrix, one in zip(views, known, fitted, strict=True):
        guess = geometry.intrinsics_from_focal(share * min(view.size), *view.size)
        found.append(fitted_intrinsics(guess if matrix is None else matrix, one).astype(np.float32))
    lost = [view.name for view, matrix in zip(views, known, strict=True) if matrix is None]
    if not lost:
        return found, []
    which = f"'{lost[0]}'" if len(lost) == 1 else f"{len(lost)} of {len(views)} photos"
    taken = "the other photos' are taken" if shares else "that of the pictures SIU3R learned from is taken"
    return found, [
        f"The focal length of {which} is not known, so {taken}: shapes and sizes are better for photos with EXIF data."
    ]


def _known(view: View) -> np.ndarray | None:
    if view.intrinsics is not None:
        return np.asarray(view.intrinsics, np.float64)
    if view.focal_prior:
        return geometry.intrinsics_from_focal(view.focal_prior, *view.size).astype(np.float64)
    return None


@dataclass(frozen=True)
class Placed:
    """Where a view is.

    Attributes:
        world_from_camera: ``[4,4]``.
        overlap: share of its pixels that show what the first view shows too.
    """

    world_from_camera: np.ndarray
    overlap: float


def place(points: np.ndarray, first: np.ndarray, intrinsics: np.ndarray, first_intrinsics: np.ndarray) -> Placed | None:
    """The camera by the points of a view's pixels, ``[H,W,3]`` in the first view's camera; None where they fit none.

    Args:
        points: of the view.
        first: the same of the first view.
        intrinsics: ``[3,3]`` of the view.
        first_intrinsics: of the first view.
    """
    chosen = np.s_[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    pixels = geometry.pixel_grid(*points.shape[:2])[chosen].reshape(-1, 2)
    places = points[chosen].reshape(-1, 3)
    good = np.isfinite(places).all(1)
    found = geometry.pnp(places[good], pixels[good], intrinsics, TOLERANCE)
    if found is None or found[1].sum() < LEAST_SHARE * len(places):
        return None
    return Placed(found[0].astype(np.float32), overlap(places[good], first[..., 2], first_intrinsics))


def overlap(points: np.ndarray, depth: np.ndarray, intrinsics: np.ndarray) -> float:
    """Share of ``points [N,3]`` in a camera that it sees at the same depth, by its own ``depth [H,W]``."""
    height, width = depth.shape
    pixels = geometry.project(points, intrinsics)
    inside = (points[:, 2] > 0) & (pixels >= 0).all(1) & (pixels < (width, height)).all(1)
    column, row = pixels[inside].astype(int).T
    seen = np.abs(depth[row, column] - points[inside, 2]) < SAME_DEPTH * points[inside, 2]
    return float(seen.sum() / max(len(points), 1))
