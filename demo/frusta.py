"""The cameras of a scene in the viewer: a frustum each, with the photo in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

import cv2
import numpy as np
import viser
from viser import CameraFrustumHandle

from demo.clouds import frame_colour
from recon.placement import Placement, eye_of_camera, frustum_depth
from recon.scene import Frame

PICTURE = 160  # pixels, long side of a frustum's photo
NEUTRAL, PRESENT = (120, 130, 145), (255, 170, 40)

Click = viser.SceneNodePointerEvent[CameraFrustumHandle]


class Frusta:
    """The cameras of one viewer; ``clicked`` is called with the index of one that a visitor clicks."""

    def __init__(self, server: viser.ViserServer, clicked: Callable[[int, Click], None]) -> None:
        self._server, self._clicked = server, clicked
        self._parent = server.scene.add_frame("/cameras", show_axes=False)
        self._frusta: dict[int, CameraFrustumHandle] = {}
        self._by_frame, self._thickness = False, 0.0
        self._frames: Collection[int] | None = None
        self._present: int | None = None

    @property
    def drawn(self) -> set[int]:
        """Indices of the frames whose cameras are here."""
        return set(self._frusta)

    @property
    def visible(self) -> bool:
        """Whether cameras are shown at all."""
        return self._parent.visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._parent.visible = visible

    def draw(self, frames: Sequence[Frame], placement: Placement, changed: Iterable[int]) -> None:
        """Send the cameras of the frames that ``changed`` names, and size them all."""
        depth = frustum_depth(frames, placement)
        for index in changed:
            frame = frames[index]
            eye = eye_of_camera(frame.camera, frame.size, placement)
            frustum = self._server.scene.add_camera_frustum(
                f"/cameras/{index}", fov=eye.fov, aspect=eye.aspect, image=_picture(frame), jpeg_quality=80,
                color=self._colour(index), wxyz=eye.wxyz, position=eye.position, visible=self._shown(index),
            )  # fmt: skip
            frustum.on_click(partial(self._clicked, index))
            self._frusta[index] = frustum
        self._thickness = 0.02 * depth
        for index, frustum in self._frusta.items():
            frustum.scale = depth / frustum.compute_canonical_frustum_size()[2]
            frustum.thickness = self._stroke(index)

    def remove(self, index: int) -> None:
        """Take a frame's camera away, if it is there."""
        if frustum := self._frusta.pop(index, None):
            frustum.remove()

    def show(self, frames: Collection[int] | None) -> None:
        """Show the cameras of ``frames``; None for all."""
        self._frames = frames
        for index, frustum in self._frusta.items():
            frustum.visible = self._shown(index)

    def paint(self, by_frame: bool) -> None:
        """Give each camera the colour of its frame's points, or all a neutral one."""
        self._by_frame = by_frame
        for index, frustum in self._frusta.items():
            frustum.color = self._colour(index)

    def mark(self, index: int | None) -> None:
        """Tell one camera from the others; None for none."""
        former, self._present = self._present, index
        for changed in (former, index):
            if changed is not None and changed in self._frusta:
                self._frusta[changed].color = self._colour(changed)
                self._frusta[changed].thickness = self._stroke(changed)

    def _shown(self, index: int) -> bool:
        return self._frames is None or index in self._frames

    def _colour(self, index: int) -> tuple[int, int, int]:
        if index == self._present:
            return PRESENT
        return tuple(frame_colour(index).tolist()) if self._by_frame else NEUTRAL

    def _stroke(self, index: int) -> float:
        return self._thickness * (2 if index == self._present else 1)


def _picture(frame: Frame) -> np.ndarray:
    """The photo, small."""
    factor = PICTURE / max(frame.size)
    return (
        cv2.resize(frame.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else frame.image
    )
