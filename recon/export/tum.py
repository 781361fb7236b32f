"""TUM: the camera's trajectory as text, as evo, ORB-SLAM and the TUM RGB-D benchmark's tools read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon import geometry
from recon.filters import Filters
from recon.scene import Scene


def write_tum(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write a line a chosen frame, ``timestamp tx ty tz qx qy qz qw``, in the order of time; lines with # are comments.

    The pose is camera-to-world in the scene's own frame and unit: ``t`` is where the camera's centre stands, and ``q``,
    scalar last, turns its axes (x right, y down, z forward) into the world's. Timestamps are seconds of the video, or,
    where a frame has none or a time comes twice (there are several videos), the frames' indices.
    """
    shown = [(index, frame) for index, frame in enumerate(scene.frames) if filters.shows(index)]
    times = [frame.time for _, frame in shown if frame.time is not None]
    if len(set(times)) == len(shown):
        rows = sorted(zip(times, (frame for _, frame in shown), strict=True), key=lambda row: row[0])
    else:
        rows = [(float(index), frame) for index, frame in shown]
    unit = "one metre" if scene.metric else "arbitrary"
    lines = [
        f"# Parallax: camera-to-world; camera axes are x right, y down, z forward; 1 unit is {unit}",
        "# timestamp tx ty tz qx qy qz qw",
    ]
    for timestamp, frame in rows:
        w, x, y, z = geometry.quaternion_from_rotation(frame.camera.world_from_camera[:3, :3].astype(np.float64))
        numbers = (*frame.camera.centre, x, y, z, w)
        lines.append(f"{timestamp:.6f} " + " ".join(f"{number:.9f}" for number in numbers))
    path.write_text("\n".join(lines) + "\n", "ascii")
