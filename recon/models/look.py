"""What the network says of each view: a picture on its way in, a `Look` out, and how all looks are made to agree."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from recon.alignment.dense_matching import Description, dense_matches
from recon.alignment.matching import candidate_pairs
from recon.alignment.soft_bundle import Sightings, settle
from recon.networks.parallax import STRIDE
from recon.scene import View

INPUT_AREA = 192 * 256  # pixels of a view as the network was trained


@dataclass
class Look:
    """What the network says of one view, in numpy, on its own grid of ``h x w`` pixels.

    Attributes:
        depth: ``[h,w]`` z-depth, in the unit of all views of the pass.
        confidence: ``[h,w]``, at least 1.
        world_from_camera: ``[4,4]``; the world is the first view's camera.
        fields_of_view: horizontal and vertical, full angles in radians.
        description: what is alike in other views.
    """

    depth: np.ndarray
    confidence: np.ndarray
    world_from_camera: np.ndarray
    fields_of_view: tuple[float, float]
    description: Description


def network_size(width: int, height: int) -> tuple[int, int]:
    """The network's ``(width, height)`` for a picture: multiples of 16, about its aspect, about `INPUT_AREA` pixels."""
    ideal_width = math.sqrt(INPUT_AREA * width / height)
    candidates = []
    for columns in (math.floor(ideal_width / STRIDE), math.ceil(ideal_width / STRIDE)):
        for rows in (math.floor(INPUT_AREA / ideal_width / STRIDE), math.ceil(INPUT_AREA / ideal_width / STRIDE)):
            candidates.append((max(columns, 1) * STRIDE, max(rows, 1) * STRIDE))

    def misfit(size: tuple[int, int]) -> float:
        stretch = math.log(size[0] / size[1] * height / width)
        return 2 * abs(stretch) + abs(math.log(size[0] * size[1] / INPUT_AREA))

    return min(candidates, key=misfit)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``image`` at ``size`` (width, height): by areas where it shrinks, linear where it grows."""
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def preprocess(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """``[H,W,3] uint8`` to the network's ``[3,h,w]`` in 0..1."""
    return torch.from_numpy(resize(image, size)).permute(2, 0, 1).float() / 255


def focal_lengths(views: Sequence[View], looks: Sequence[Look]) -> list[float]:
    """One focal length a view, in pixels of its image.

    What the file says where it says something; else what the network sees, its median over all views of the same
    size, which probably come from one camera.
    """
    seen = []
    for view, look in zip(views, looks, strict=True):
        width, height = view.size
        horizontal, vertical = (math.tan(angle / 2) for angle in look.fields_of_view)
        seen.append(math.sqrt(width / (2 * horizontal) * height / (2 * vertical)))
    shared = {view.size: float(np.median([f for f, v in zip(seen, views, strict=True) if v.size == view.size]))
              for view in views}  # fmt: skip
    return [view.focal_prior or shared[view.size] for view in views]


def agree(
    views: Sequence[View], looks: Sequence[Look], focals: Sequence[float]
) -> Generator[tuple[float, str], None, float]:
    """Bring the cameras and depths of ``looks`` to agree with their own matches, in place.

    Args:
        views: at least one.
        looks: one a view.
        focals: one a view, in pixels of its image.

    Returns:
        What to multiply the focal lengths with.
    """
    pairs = candidate_pairs(len(views))
    tangents = [np.array(view.size) / (2 * focal) for view, focal in zip(views, focals, strict=True)]
    parts = []
    for done, pair in enumerate(pairs):
        for view, other in (pair, pair[::-1]):
            here, there = looks[view].description, looks[other].description
            found = dense_matches(here, there).strongest(*here.patches.shape[1::-1])
            parts.append(Sightings.of((view, other), found, looks[view].depth, tangents))
        yield 0.5 * (done + 1) / len(pairs), f"Compared {done + 1} of {len(pairs)} pairs"
    if not any(len(part.view) for part in parts):
        return 1.0
    settled = settle(np.stack([look.world_from_camera for look in looks]), Sightings.joined(parts))
    for look, pose, scale in zip(looks, settled.world_from_camera, settled.scale, strict=True):
        look.world_from_camera = pose
        look.depth = look.depth * np.float32(scale)
    return settled.focal
