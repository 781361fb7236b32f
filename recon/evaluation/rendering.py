"""How well a scene as Gaussians shows the pictures that it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from recon.filters import Filters, keep
from recon.scene import Frame, Scene
from recon.splatting import Rendered, render_colours, splats
from recon.surfels import MOST, gaussians_of

COVERED = 0.5  # of a pixel, by Gaussians


@dataclass(frozen=True)
class Likeness:
    """Means over the pictures of a scene.

    Attributes:
        covered: PSNR in decibels over the pixels that Gaussians cover by more than half.
        everywhere: over all pixels; what is not covered is black.
        share: of pixels that are covered.
        gaussians: how many there are.
    """

    covered: float
    everywhere: float
    share: float
    gaussians: int


def likeness(scene: Scene, filters: Filters | None = None, width: int = 320, most: int = MOST) -> Likeness:
    """Render what `recon.surfels.gaussians_of` makes of ``scene`` from all its cameras, and compare.

    Nothing is optimised and no picture is held back: it tells how well positions, cameras and the sizes of Gaussians
    agree, not how new views look.

    Args:
        scene: any.
        filters: what of it is made into Gaussians; by default what `Filters()` keep.
        width: of the pictures, in pixels.
        most: how many Gaussians at most.
    """
    gaussians = gaussians_of(scene, keep(scene, filters or Filters()), most)
    world, harmonics = splats(gaussians), torch.as_tensor(gaussians.harmonics)
    figures = []
    for frame in scene.frames:
        size = width, max(1, round(frame.size[1] * width / frame.size[0]))
        lens = np.diag([size[0] / frame.size[0], size[1] / frame.size[1], 1]) @ frame.camera.intrinsics
        pose = frame.camera.world_from_camera
        seen = render_colours(world, harmonics, _one(lens), _one(pose), size)
        figures.append(_compared(frame, seen, size))
    covered, everywhere, share = np.nanmean(figures, axis=0).tolist()
    return Likeness(covered, everywhere, share, len(gaussians))


def _one(matrix: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(matrix.astype(np.float32))[None]


def _compared(frame: Frame, seen: Rendered, size: tuple[int, int]) -> tuple[float, float, float]:
    picture = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) / 255
    error = np.square(seen.features[0].cpu().numpy() - picture).mean(-1)
    covered = seen.alpha[0].cpu().numpy() > COVERED
    return _decibels(error[covered]), _decibels(error), float(covered.mean())


def _decibels(errors: np.ndarray) -> float:
    return float(-10 * np.log10(max(errors.mean(), 1e-10))) if errors.size else np.nan
