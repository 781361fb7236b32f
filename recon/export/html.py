"""HTML: the scene in one file that any browser opens, without a network: viser's own page with a recording in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recon.drawing import (
    NEUTRAL,
    PRESENT,
    add_camera,
    add_points,
    half_precision,
    look_first,
    point_size,
    selection,
    share_drawn,
    size_camera,
)
from recon.filters import Filters
from recon.placement import frustum_depth, home, place
from recon.scene import Scene

if TYPE_CHECKING:
    import viser

PACE = 10  # frames a second; the page plays at half to eight times that
TITLE = "<title>Viser</title>", "<title>Parallax</title>"


def write_html(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the masked points and the cameras of the chosen frames, standing as in the viewer of the page.

    Where anything moves the file plays: the static world stays, of what moves the present frame's is shown, and that
    frame's camera stands out. Of very many points an even selection is written (`recon.drawing.MAXIMUM_POINTS`).
    """
    with _recorder() as server:
        path.write_text(_recorded(server, scene, filters, masks), "utf-8")


@contextmanager
def _recorder() -> Iterator[viser.ViserServer]:
    """A viser server that nobody asks, which only records, and says nothing on the terminal."""
    import rich
    import viser  # here, since its import takes longer than the work of most other formats

    console = rich.get_console()
    former, console.quiet = console.quiet, True
    try:
        server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
        try:
            yield server
        finally:
            server.stop()
    finally:
        console.quiet = former


def _recorded(server: viser.ViserServer, scene: Scene, filters: Filters, masks: list[np.ndarray]) -> str:
    frames = scene.frames
    placement, share = place(frames), share_drawn(frames)
    size, depth = point_size(frames, placement, share), frustum_depth(frames, placement)
    shown = [index for index in range(len(frames)) if filters.shows(index)]
    moving: dict[int, viser.PointCloudHandle] = {}
    cameras: dict[int, viser.CameraFrustumHandle] = {}
    look_first(server, home(frames, placement))
    for index in shown:
        frame = frames[index]
        cameras[index] = add_camera(server, f"/cameras/{index}", frame, placement)
        size_camera(cameras[index], depth)
        drawn = masks[index] & selection(frame.depth.shape, share)
        passing = drawn & frame.moving if frame.moving is not None else np.zeros_like(drawn)
        for kind, part in (("static", drawn & ~passing), ("moving", passing)):
            if not part.any():
                continue
            offsets = half_precision(frame.world_points()[part], frame, placement)
            centre = placement.point(frame.camera.centre)
            cloud = add_points(server, f"/{kind}/{index}", offsets, frame.image[part], centre, size)
            if kind == "moving":
                moving[index] = cloud
    recording = server.get_scene_serializer()
    if moving:
        for index in shown:
            for other in shown:
                if other in moving:
                    moving[other].visible = other == index
                cameras[other].color = PRESENT if other == index else NEUTRAL
            recording.insert_sleep(1 / PACE)
    return recording.as_html(dark_mode=True).replace(*TITLE, 1)
