"""One photo alone: what a network of pairs says when it is given the photo twice."""

from __future__ import annotations

import numpy as np
import torch

from recon.alignment.focal import focal_of_points, possible
from recon.alignment.global_alignment import Alignment
from recon.alignment.own_pointmaps import USUAL
from recon.alignment.pair_maps import Known, PairMaps, confidence_weights


def alone(pair: PairMaps, known: Known) -> Alignment:
    """The world of one photo, its own camera unless that is known, in the network's unit."""
    view = pair.first
    points = torch.as_tensor(pair.first_points).float().cpu().numpy()
    confidence = torch.as_tensor(pair.first_confidence).float().cpu()
    height, width = confidence.shape
    good = np.isfinite(points).all(-1) & (points[..., 2] > 0)
    centre = np.asarray(known.principal_point.get(view, (width / 2, height / 2)), np.float64)
    focal = known.focal.get(view)
    if focal is None:
        rows, columns = np.nonzero(good)
        pixels = np.stack([columns, rows], -1) + 0.5 - centre
        weights = confidence_weights(confidence).numpy()[good]
        found = focal_of_points(points[good].astype(np.float64), pixels, weights) if len(rows) else None
        longer = max(width, height)
        focal = found if found is not None and possible(found, longer) else USUAL * longer
    return Alignment(
        (view,),
        (),
        np.asarray(known.world_from_camera.get(view, np.eye(4)), np.float64)[None],
        np.array([focal]),
        centre[None],
        (np.where(good, points[..., 2], 0),),
        (np.nan_to_num(confidence.numpy(), nan=0, posinf=0, neginf=0),),
    )
