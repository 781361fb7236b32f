"""Scene folders as batches: real photos, and what is known of them, to fine-tune on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from recon import geometry, media
from recon.errors import InputError
from recon.evaluation.scenes import TrueScene, find_scenes, load_scene
from recon.training.batch import Batch

NEIGHBOURHOOD = 3  # a scene's views are drawn from so many times as many consecutive pictures
TYPICAL_FIELD = 1.1  # radians, horizontal, where nothing is known


class FolderScenes:
    """Batches of pictures from scene folders (see `recon.evaluation.scenes`), cut to any shape.

    Truth counts where the views drawn have both cameras and depth, since without the one there are no points, and
    without the other there is no unit; elsewhere the photometric loss is what is left to learn from.

    Args:
        folders: scene folders, or folders of such.
        seed: of what is drawn.
        device: of the batches.

    Raises:
        InputError: a folder is no scene, or its files cannot be read.
    """

    def __init__(self, folders: Sequence[str | Path], seed: int, device: torch.device | str) -> None:
        self.scenes = [load_scene(folder) for folder in find_scenes(map(Path, folders))]
        self.seed = seed
        self.device = device

    def batch(self, index: int, scenes: int, views: int, height: int, width: int) -> Batch:
        """A batch, a pure function of the arguments and the seed."""
        generator = random.Random(f"folder {self.seed} {index}")
        drawn = [self._scene(generator, views, height, width) for _ in range(scenes)]
        return Batch(*(torch.stack(parts) for parts in zip(*drawn, strict=True))).normalised().to(self.device)

    def _scene(self, generator: random.Random, views: int, height: int, width: int) -> tuple[torch.Tensor, ...]:
        scene = generator.choice(self.scenes)
        chosen = draw_views(generator, len(scene.pictures), views)
        frames = [read_view(scene, index, height, width) for index in chosen]
        images, depths, tangents = (np.stack(parts) for parts in zip(*frames, strict=True))
        poses, known = scene.world_from_camera, scene.intrinsics is not None and bool((depths > 0).any())
        if poses is None or not known:
            poses, known = np.tile(np.eye(4), (len(scene.pictures), 1, 1)), False
        return (
            torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
            torch.from_numpy(depths * known).float(),
            torch.from_numpy(poses[chosen]).float(),
            torch.from_numpy(tangents).float(),
            torch.full((views,), known),
        )


def draw_views(generator: random.Random, count: int, views: int) -> list[int]:
    """``views`` of ``count`` pictures, close together, in any order; again the same ones where there are too few."""
    span = min(count, generator.randint(views, NEIGHBOURHOOD * views))
    start = generator.randint(0, count - span)
    indices = list(range(start, start + span))
    generator.shuffle(indices)
    return [indices[i % span] for i in range(views)]


def read_view(scene: TrueScene, index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture cut about its principal point to an aspect, and shrunk.

    Returns:
        ``[height,width,3] uint8``; depth ``[height,width]``, 0 where unknown; tangents ``[2]`` of half the fields of
        view.

    Raises:
        InputError: a file cannot be read, or its depth map has another shape than the picture.
    """
    view = media.read([scene.pictures[index]]).views[0]
    rows, columns = view.image.shape[:2]
    if scene.intrinsics is None:
        focal = columns / 2 / np.tan(TYPICAL_FIELD / 2)
        intrinsics = geometry.intrinsics_from_focal(focal, columns, rows)
    else:
        intrinsics = np.linalg.inv(view.original_from_view.astype(np.float64)) @ scene.intrinsics[index]
    left, top, right, bottom = window(intrinsics, columns, rows, width / height)
    image = cv2.resize(view.image[top:bottom, left:right], (width, height), interpolation=cv2.INTER_AREA)
    depth = np.zeros((height, width), np.float32)
    truth = scene.depth(index)
    if truth is not None:
        if abs(truth.shape[1] / truth.shape[0] - columns / rows) > 0.02:
            raise InputError(f"The depth map of {scene.pictures[index]} has another aspect than the picture.")
        scale_y, scale_x = truth.shape[0] / rows, truth.shape[1] / columns
        across = ((left + (np.arange(width) + 0.5) * (right - left) / width) * scale_x).astype(int)
        down = ((top + (np.arange(height) + 0.5) * (bottom - top) / height) * scale_y).astype(int)
        depth = truth[down.clip(0, truth.shape[0] - 1)][:, across.clip(0, truth.shape[1] - 1)]
    tangents = [(right - left) / 2 / intrinsics[0, 0], (bottom - top) / 2 / intrinsics[1, 1]]
    return image, depth, np.array(tangents, np.float32)


def window(intrinsics: np.ndarray, columns: int, rows: int, aspect: float) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest cut of an aspect whose centre is the principal point."""
    x, y = intrinsics[0, 2], intrinsics[1, 2]
    half_width, half_height = min(x, columns - x), min(y, rows - y)
    half_width, half_height = min(half_width, half_height * aspect), min(half_height, half_width / aspect)
    left, right = round(x - half_width), round(x + half_width)
    top, bottom = round(y - half_height), round(y + half_height)
    return max(0, left), max(0, top), min(columns, right), min(rows, bottom)
