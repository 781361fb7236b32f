"""The cameras of a scene in the viewer: a frustum each, with the photo in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

import viser
from viser import CameraFrustumHandle

from demo.paint import frame_colour
from recon.drawing import NEUTRAL, PRESENT, add_camera, size_camera
from recon.placement import Placement, frustum_depth
from recon.scene import Frame

Click = viser.SceneNodePointerEvent[CameraFrustumHandle]


class Frusta:
    """The cameras of one viewer; ``clicked`` is called with the index of one that a visitor clicks."""

    def __init__(self, server: viser.ViserServer, clicked: Callable[[int, Click], None]) -> None:
        self._server, self._clicked = server, clicked
        self._parent = server.scene.add_frame("/cameras", show_axes=False)
        self._frusta: dict[int, CameraFrustumHandle] = {}
        self._by_frame, self._depth = False, 0.0
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
        self._depth = frustum_depth(frames, placement)
        for index in changed:
            frustum = add_camera(
                self._server, f"/cameras/{index}", frames[index], placement, self._colour(index), self._shown(index)
            )
            frustum.on_click(partial(self._clicked, index))
            self._frusta[index] = frustum
        for index, frustum in self._frusta.items():
            size_camera(frustum, self._depth, bold=index == self._present)

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
                size_camera(self._frusta[changed], self._depth, bold=changed == index)

    def _shown(self, index: int) -> bool:
        return self._frames is None or index in self._frames

    def _colour(self, index: int) -> tuple[int, int, int]:
        if index == self._present:
            return PRESENT
        return tuple(frame_colour(index).tolist()) if self._by_frame else NEUTRAL
