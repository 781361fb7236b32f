"""NPZ: everything in arrays, for people who compute."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from recon import gravity
from recon.filters import Filters
from recon.scene import Scene, Tracks


def write_npz(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the whole scene in its own frame: OpenCV axes, pixel centres at +0.5, ``a_from_b`` takes b to a.

    Frames of different sizes are padded at the right and at the bottom to the largest, with zeros (``mask`` False).
    ``N`` frames; read with ``numpy.load(path)``, no pickles.

    ======================== ======================= ==============================================================
    images                   [N,H,W,3] uint8         sRGB
    depth                    [N,H,W] float32         z-depth, 0 where unknown
    confidence               [N,H,W] float32         larger is better, the model's own scale
    mask                     [N,H,W] bool            what the filters left: the points of the GLB and the PLY
    moving                   [N,H,W] bool            True on moving things; all False where nothing tells
    points                   [N,H,W,3] float32       in the world; 0 where unknown
    sizes                    [N,2] int32             (width, height) of each frame before padding
    intrinsics               [N,3,3] float32         in pixels of ``images``
    world_from_camera        [N,4,4] float32
    original_from_processed  [N,3,3] float32         pixels of ``images`` to pixels of the untouched photo
    original_sizes           [N,2] int32             (width, height) of the untouched photos
    names                    [N] str                 file names
    times                    [N] float64             seconds from the start of a video, NaN for photos
    upright_from_world       [4,4] float32           to the frame of the GLB and the PLY, +Y up
    sparse_points            [P,3] float32           triangulated points in the world, P is 0 where there are none
    track_pixels             [N,T,2] float32         where T followed points are in ``images``; T may be 0
    track_visibility         [N,T] float32           0 to 1: whether a point is seen there
    track_confidence         [N,T] float32           0 to 1: whether the place is right
    track_query              [T] int32               the frame in which each point was picked
    metric                   bool                    True where one unit is one metre
    model, settings, notes   str, JSON, [M] str      what made it, how, and what it says to the user
    filters                  JSON                    what made ``mask``
    ======================== ======================= ==============================================================
    """
    frames = scene.frames
    points = [np.where(frame.known()[..., None], frame.world_points(), 0) for frame in frames]
    moving = [np.zeros(frame.depth.shape, bool) if frame.moving is None else frame.moving for frame in frames]
    times = [np.nan if frame.time is None else frame.time for frame in frames]
    tracks = scene.tracks or _no_tracks(len(frames))
    arrays = {
        "images": _padded([frame.image for frame in frames]),
        "depth": _padded([frame.depth for frame in frames]),
        "confidence": _padded([frame.confidence for frame in frames]),
        "mask": _padded(masks),
        "moving": _padded(moving),
        "points": _padded(points),
        "sizes": np.array([frame.size for frame in frames], np.int32),
        "intrinsics": np.stack([frame.camera.intrinsics for frame in frames]).astype(np.float32),
        "world_from_camera": np.stack([frame.camera.world_from_camera for frame in frames]).astype(np.float32),
        "original_from_processed": np.stack([frame.original_from_processed for frame in frames]).astype(np.float32),
        "original_sizes": np.array([frame.original_size for frame in frames], np.int32),
        "names": np.array([frame.name for frame in frames], np.str_),
        "times": np.array(times, np.float64),
        "upright_from_world": gravity.upright(scene.frames),
        "sparse_points": np.zeros((0, 3), np.float32) if scene.sparse_points is None else scene.sparse_points,
        "track_pixels": tracks.pixels,
        "track_visibility": tracks.visibility,
        "track_confidence": tracks.confidence,
        "track_query": tracks.query,
        "metric": np.array(scene.metric),
        "model": np.array(scene.model),
        "settings": np.array(json.dumps(scene.settings)),
        "notes": np.array(scene.notes, np.str_),
        "filters": np.array(json.dumps(dataclasses.asdict(filters), default=sorted)),
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _no_tracks(frames: int) -> Tracks:
    nothing = np.zeros((frames, 0), np.float32)
    return Tracks(np.zeros((frames, 0, 2), np.float32), nothing, nothing, np.zeros(0, np.int32))


def _padded(maps: list[np.ndarray]) -> np.ndarray:
    """Maps ``[H,W,...]`` of any sizes to one array ``[N,H,W,...]``."""
    height, width = (max(single.shape[axis] for single in maps) for axis in (0, 1))
    padded = np.zeros((len(maps), height, width, *maps[0].shape[2:]), maps[0].dtype)
    for target, single in zip(padded, maps, strict=True):
        target[: single.shape[0], : single.shape[1]] = single
    return padded
