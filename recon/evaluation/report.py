"""A model on scenes with known cameras and depth: run it on the pictures alone, compare, tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from recon import geometry
from recon.errors import InputError
from recon.evaluation import metrics
from recon.evaluation.scenes import TrueScene
from recon.media import read
from recon.models import Model, Options, Update
from recon.scene import Frame


@dataclass(frozen=True)
class Result:
    """Figures of one run, NaN where there is no ground truth to tell them.

    Attributes:
        frames: how many pictures the model was given.
        auc30: `metrics.area_under_curve` at 30 degrees of the larger error of each pair of views.
        rra5, rra15: share of pairs with relative rotation within 5 and 15 degrees.
        rta5, rta15: share of pairs with translation direction within 5 and 15 degrees.
        ate: `metrics.trajectory_error`, in units of the truth.
        absrel, delta125: of the depth, after one median scale for the scene.
        seconds: from files on disk to the whole scene, the model loaded before.
    """

    frames: int
    auc30: float
    rra5: float
    rra15: float
    rta5: float
    rta15: float
    ate: float
    absrel: float
    delta125: float
    seconds: float


def evaluate(
    truth: TrueScene,
    model: Model,
    chosen: Sequence[int],
    options: Options = Options(),
    progress: Callable[[Update], Any] = lambda update: None,
) -> Result:
    """Run ``model`` on the pictures ``chosen`` of a scene, and on nothing else of it, and compare.

    Raises:
        InputError: a picture or depth map cannot be read.
    """
    start = time.perf_counter()
    views = read([truth.pictures[i] for i in chosen]).views
    scene = None
    with closing(model.stream(views, options)) as updates:
        for update in updates:
            progress(update)
            scene = update.scene
    seconds = time.perf_counter() - start
    if scene is None:
        raise InputError(f"The model made nothing of the scene {truth.name}.")

    index_of = {truth.pictures[i].resolve(): i for i in chosen}
    picture_of_view = [index_of[view.path.resolve()] for view in views if view.path is not None]
    frames = {picture_of_view[frame.view]: frame for frame in scene.frames}
    return compare(truth, frames, chosen, seconds)


def compare(truth: TrueScene, frames: Mapping[int, Frame], chosen: Sequence[int], seconds: float = np.nan) -> Result:
    """Compare reconstructed ``frames``, by index of their picture, with the pictures ``chosen`` of the true scene.

    A picture without a frame has no pose, which counts as an error of 180 degrees against every other.
    """
    auc30 = rra5 = rra15 = rta5 = rta15 = ate = np.nan
    if truth.world_from_camera is not None:
        known = [i for i in chosen if np.isfinite(truth.world_from_camera[i]).all()]
        nowhere = np.full((4, 4), np.nan)
        poses = [frames[i].camera.world_from_camera if i in frames else nowhere for i in known]
        true, guess = truth.world_from_camera[known], np.array(poses, np.float64).reshape(-1, 4, 4)
        errors = metrics.pair_errors(true, guess)
        auc30 = metrics.area_under_curve(errors.worst)
        rra5, rra15 = metrics.accuracy(errors.rotation, 5), metrics.accuracy(errors.rotation, 15)
        rta5, rta15 = metrics.accuracy(errors.direction, 5), metrics.accuracy(errors.direction, 15)
        ate = metrics.trajectory_error(true, guess)

    true_depth, guess_depth = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for i in chosen:
        depth = truth.depth(i) if i in frames else None
        if depth is not None:
            true_depth.append(depth.ravel())
            guess_depth.append(depth_at(frames[i], (depth.shape[1], depth.shape[0])).ravel())
    depth_errors = metrics.depth_errors(np.concatenate(true_depth), np.concatenate(guess_depth))
    return Result(
        len(chosen), auc30, rra5, rra15, rta5, rta15, ate,
        depth_errors.absolute_relative, depth_errors.within_25_percent, seconds,
    )  # fmt: skip


def depth_at(frame: Frame, size: tuple[int, int]) -> np.ndarray:
    """The frame's depth at the pixels of the untouched picture resized to ``size`` (width, height), 0 where unknown.

    Bilinear among the known neighbours, where they carry at least half of the weight.
    """
    original_from_target = geometry.resize_transform(size, frame.original_size).astype(np.float64)
    frame_from_target = np.linalg.inv(frame.original_from_processed.astype(np.float64)) @ original_from_target
    to_centres = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV counts from the centre of the first pixel
    matrix = np.linalg.inv(to_centres) @ frame_from_target @ to_centres
    known = frame.known()
    depth, weight = (
        cv2.warpPerspective(values.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        for values in (np.where(known, frame.depth, 0), known)
    )
    return np.divide(depth, weight, out=np.zeros_like(depth), where=weight >= 0.5)


def mean(results: Sequence[Result]) -> dict[str, float]:
    """The mean of each figure over the scenes that have it, NaN where none has."""
    columns = {name: [asdict(result)[name] for result in results] for name in asdict(results[0])}
    told = {name: [value for value in values if not np.isnan(value)] for name, values in columns.items()}
    return {name: float(np.mean(values)) if values else np.nan for name, values in told.items()}


def as_json(results: Mapping[str, Result]) -> dict[str, Any]:
    """``{"scenes": {name: {figure: value}}, "mean": {figure: value}}``, None where a figure is not known."""
    return {
        "scenes": {name: _without_nan(asdict(result)) for name, result in results.items()},
        "mean": _without_nan(mean(list(results.values()))),
    }


def as_table(results: Mapping[str, Result]) -> str:
    """The results as a Markdown table, one scene a row, the mean last."""
    rows = {name: asdict(result) for name, result in results.items()}
    rows["mean"] = mean(list(results.values()))
    width = max(map(len, rows))
    columns = list(rows["mean"])
    lines = [
        f"| {'scene':{width}} | " + " | ".join(f"{column:>8}" for column in columns) + " |",
        f"| {'-' * width} | " + " | ".join("-------:" for _ in columns) + " |",
    ]
    for name, row in rows.items():
        lines.append(f"| {name:{width}} | " + " | ".join(f"{_text(row[column]):>8}" for column in columns) + " |")
    return "\n".join(lines)


def _without_nan(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in figures.items()}


def _text(value: float) -> str:
    if np.isnan(value):
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}" if value < 100 else f"{value:.0f}"
