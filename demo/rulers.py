"""Measurements in 3D: a line between two points, a dot at both ends, and how long it is."""

from __future__ import annotations

import numpy as np
import viser

from demo.lines import DOT, LIFT
from demo.picking import Hit
from recon.measurement import in_words, position
from recon.placement import Placement
from recon.scene import Scene

COLOUR = (255, 214, 10)
THICKNESS = 3.0  # pixels


class Rulers:
    """The measurements of one viewer."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._parent = server.scene.add_frame("/measurements", show_axes=False)
        self._nodes: list[viser.SceneNodeHandle] = []

    def show(self, scene: Scene, placement: Placement, begun: Hit | None = None) -> None:
        """Draw the measurements of ``scene``, and a dot where another one has ``begun``."""
        self.clear()
        ends = [
            _lifted(scene, placement, hit)
            for measurement in scene.measurements
            for hit in map(Hit, measurement.frames, measurement.pixels)
        ]
        lines = np.reshape(ends, (-1, 2, 3)).astype(np.float32)
        dots = np.reshape([*ends, *([_lifted(scene, placement, begun)] if begun else [])], (-1, 3)).astype(np.float32)
        add = self._server.scene
        if len(lines):
            self._nodes.append(
                add.add_line_segments(
                    "/measurements/lines", lines, COLOUR, thickness=THICKNESS, thickness_units="screen"
                )
            )
        if len(dots):
            self._nodes.append(
                add.add_point_cloud(
                    "/measurements/dots", dots, COLOUR, point_size=DOT, point_shape="circle", precision="float32",
                    point_shading="flat",
                )
            )  # fmt: skip
        for number, (measurement, line) in enumerate(zip(scene.measurements, lines, strict=True), start=1):
            words = in_words(measurement.length(scene.frames), scene.metric)
            text = f"{number} · {words}" if len(lines) > 1 else words
            self._nodes.append(
                add.add_label(f"/measurements/{number}", text, position=line.mean(0), anchor="bottom-center")
            )

    def clear(self) -> None:
        """Show none."""
        for node in self._nodes:
            node.remove()
        self._nodes = []


def _lifted(scene: Scene, placement: Placement, hit: Hit) -> np.ndarray:
    """``[3]`` in the viewer: a little before the surface, whose points would cover it."""
    frame = scene.frames[hit.frame]
    point, centre = placement.point(np.stack([position(frame, hit.pixel), frame.camera.centre]))
    return (1 - LIFT) * point + LIFT * centre
