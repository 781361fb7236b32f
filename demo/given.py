"""The cameras that the visitor gave, in the viewer beside those that were found: frusta of another colour."""

from __future__ import annotations

import numpy as np
import viser

from recon.alignment.given import Comparison, compare
from recon.placement import Placement, eye_of_camera, frustum_depth
from recon.scene import Camera, Scene

COLOUR = (255, 159, 10)
THICKNESS = 1.5  # pixels, of the line from a given camera to the one that was found


class GivenCameras:
    """The given cameras of one viewer; `show` draws them."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._parent = server.scene.add_frame("/given", show_axes=False)
        self._nodes: list[viser.SceneNodeHandle] = []

    @property
    def visible(self) -> bool:
        """Whether they are shown at all."""
        return self._parent.visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._parent.visible = visible

    def show(self, scene: Scene, placement: Placement) -> None:
        """Draw those of ``scene``, if it has any, each with a line to the one that was found for its photo."""
        self.clear()
        comparison = compared(scene)
        if scene.given is None or comparison is None:
            return
        depth = frustum_depth(scene.frames, placement)
        for index, pose in zip(scene.given.frames, comparison.world_from_camera, strict=True):
            frame = scene.frames[index]
            eye = eye_of_camera(Camera(frame.camera.intrinsics, pose), frame.size, placement)
            frustum = self._server.scene.add_camera_frustum(
                f"/given/{index}", fov=eye.fov, aspect=eye.aspect, color=COLOUR, wxyz=eye.wxyz, position=eye.position
            )
            frustum.scale = depth / frustum.compute_canonical_frustum_size()[2]
            frustum.thickness = 0.02 * depth
            self._nodes.append(frustum)
        found = np.stack([scene.frames[index].camera.centre for index in scene.given.frames])
        lines = placement.point(np.stack([comparison.world_from_camera[:, :3, 3], found], 1)).astype(np.float32)
        self._nodes.append(
            self._server.scene.add_line_segments(
                "/given/lines", lines, COLOUR, thickness=THICKNESS, thickness_units="screen"
            )
        )

    def clear(self) -> None:
        """Show none."""
        for node in self._nodes:
            node.remove()
        self._nodes = []


def compared(scene: Scene | None) -> Comparison | None:
    """How the given cameras of ``scene`` lie to those that were found; None where none were given."""
    if scene is None or scene.given is None:
        return None
    return compare(scene.given, scene.frames, scene.metric)
