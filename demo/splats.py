"""The Gaussians of a scene in the viewer: its own, or those that its points make.

viser sorts and draws all splats together, and takes a change of any by copying all. So there are few nodes: one for
about ten percent of confidence, ``/splats/level/<level>``, and one for what each frame shows at its moment only,
``/splats/moment/<frame>``. A threshold shows and hides nodes, to the nearest ten percent, and sends nothing; where
something moves, and for every other filter, the splats are sent anew. Time sends nothing.

viser leaves out splats that are smaller than half a pixel of the screen, so each is at least about as large as half a
pixel of its own photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import viser
from viser import GaussianSplatHandle

from demo.grid import Grid
from demo.paint import Paint
from demo.playback import Moment
from recon import geometry
from recon.filters import Filters, keep
from recon.scene import Frame, Gaussians, Scene
from recon.surfels import CONSTANT, WIDTH, gaussians_of

MOST = 300_000  # drawn, 32 bytes each
COARSE = 10  # percent of confidence to a node
FLOOR = 0.8  # of the size that a splat made of a pixel has


@dataclass(eq=False)
class Heap:
    """The splats of one node, in the viewer, and what their colours are made of.

    Attributes:
        handle: of the node.
        colours: ``[N,3] uint8``, as the photo has them.
        frames: ``[N]``, indices.
        segments: ``[N]``, ids, -1 for none.
        covariances: ``[N,3,3]`` in the node's own unit.
        level: of confidence; None for what is there at one moment only.
    """

    handle: GaussianSplatHandle
    colours: np.ndarray
    frames: np.ndarray
    segments: np.ndarray
    covariances: np.ndarray
    level: int | None


class Splats:
    """The splats of one viewer, empty until they are drawn."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._heaps: list[Heap] = []
        self._root = server.scene.add_frame("/splats", show_axes=False, visible=False)
        self._paint, self._levels, self._size = Paint(), 1, 1.0
        self._lowest, self._moment = 0, Moment()
        self._coarse = 1  # levels of a node

    @property
    def visible(self) -> bool:
        """Whether they are in sight; what is not drawn is not there either way."""
        return self._root.visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._root.visible = visible

    @property
    def drawn(self) -> bool:
        """Whether there are any."""
        return bool(self._heaps)

    @property
    def timed(self) -> bool:
        """Whether some are there at one moment only."""
        return any(heap.level is None for heap in self._heaps)

    def clear(self) -> None:
        """Take all away."""
        for heap in self._heaps:
            heap.handle.remove()
        self._heaps = []

    def draw(self, scene: Scene, grid: Grid, passing: Sequence[np.ndarray], filters: Filters, lowest: int) -> None:
        """Send what ``filters`` keep, in the place of all that was there.

        Args:
            scene: what is shown.
            grid: of its levels, and its place in the viewer.
            passing: ``[H,W] bool`` a frame, what is there at its moment only.
            filters: what is kept; of what is always there any confidence is.
            lowest: the lowest level in sight.
        """
        self.clear()
        self._levels, self._lowest = len(grid.levels), lowest
        self._coarse = max(1, COARSE // grid.step)
        everything = keep(scene, replace(filters, confidence=0.0))
        level = grid.levels[lowest] if lowest else -np.inf
        masks = [
            mask & (~gone | (frame.confidence >= level))
            for mask, gone, frame in zip(everything, passing, scene.frames, strict=True)
        ]
        gaussians = gaussians_of(scene, masks, MOST)
        levels = grid.level(at_pixels(gaussians, [frame.confidence for frame in scene.frames]))
        levels = levels // self._coarse * self._coarse
        timed = at_pixels(gaussians, passing).astype(bool)
        for number in np.unique(levels[~timed]):
            self._send(f"/splats/level/{number}", scene, grid, gaussians.chosen(~timed & (levels == number)), number)
        for index in np.unique(gaussians.frame[timed]):
            self._send(f"/splats/moment/{index}", scene, grid, gaussians.chosen(timed & (gaussians.frame == index)))
        self.show(lowest)

    def _send(self, name: str, scene: Scene, grid: Grid, some: Gaussians, level: int | None = None) -> None:
        scale = grid.placement.scale
        floor = FLOOR * WIDTH * _pixels(some, scene.frames)
        axes = geometry.rotation_from_quaternion(some.rotations) * np.maximum(some.scales, floor[:, None])[:, None, :]
        axes = grid.placement.viewer_from_world[:3, :3].astype(np.float32) @ axes
        unit = max(1e-6, float(np.median(some.scales)) * scale)  # half precision holds what is of the order of 1
        covariances = (axes @ axes.swapaxes(-1, -2) / unit**2).astype(np.float32)
        colours, segments = seen(some, scene.frames), some.segments(scene.frames)
        handle = self._server.scene.add_gaussian_splats(
            name,
            (grid.placement.point(some.means) / unit).astype(np.float32),
            self._sized(covariances),
            self._painted(colours, some.frame, segments, level),
            some.opacities[:, None],
            scale=unit,
        )
        self._heaps.append(Heap(handle, colours, some.frame, segments, covariances, level))

    def show(self, lowest: int) -> None:
        """Show what is always there of at least about the level ``lowest``; nothing is resent."""
        self._lowest = round(lowest / self._coarse) * self._coarse
        for heap in self._heaps:
            if heap.level is not None:
                heap.handle.visible = heap.level >= self._lowest
        self.go(self._moment)

    def go(self, moment: Moment) -> None:
        """Show what is there at a moment; nothing is resent."""
        self._moment = moment
        for heap in self._heaps:
            if heap.level is None:
                heap.handle.visible = moment.shows(int(heap.frames[0]))

    def paint(self, paint: Paint) -> None:
        """Colour all anew."""
        self._paint = paint
        for heap in self._heaps:
            heap.handle.rgbs = self._painted(heap.colours, heap.frames, heap.segments, heap.level)

    def scale(self, factor: float) -> None:
        """Draw all ``factor`` times as large as they are."""
        self._size = factor
        for heap in self._heaps:
            heap.handle.covariances = self._sized(heap.covariances)

    def _sized(self, covariances: np.ndarray) -> np.ndarray:
        return np.clip(covariances * self._size**2, -6e4, 6e4)

    def _painted(self, photo: np.ndarray, frames: np.ndarray, segments: np.ndarray, level: int | None) -> np.ndarray:
        share = (self._levels - 1 if level is None else level) / max(1, self._levels - 1)
        return np.broadcast_to(self._paint.colours(photo, frames, share, segments), photo.shape)


def at_pixels(gaussians: Gaussians, maps: Sequence[np.ndarray]) -> np.ndarray:
    """``[N]``: what maps ``[H,W]``, one a frame, say of the pixels that Gaussians come from."""
    found = np.zeros(len(gaussians), np.float32)
    for index, values in enumerate(maps):
        mine = gaussians.frame == index
        column, row = gaussians.pixel[mine].T
        found[mine] = values[row, column]
    return found


def seen(gaussians: Gaussians, frames: Sequence[Frame]) -> np.ndarray:
    """``[N,3] uint8``: the colours that each frame's own camera sees."""
    if gaussians.harmonics.shape[-1] == 1:
        colours = 0.5 + CONSTANT * gaussians.harmonics[..., 0]
    else:
        import torch  # most scenes come without, and a waiting page is light

        from recon.spherical_harmonics import colours as towards

        centres = np.stack([frame.camera.centre for frame in frames])[gaussians.frame]
        directions = gaussians.means - centres
        directions /= np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-12)
        colours = towards(torch.as_tensor(gaussians.harmonics), torch.as_tensor(directions.astype(np.float32))).numpy()
    return (255 * np.clip(colours, 0, 1)).round().astype(np.uint8)


def _pixels(gaussians: Gaussians, frames: Sequence[Frame]) -> np.ndarray:
    """``[N]``: the width of the pixel that each comes from, where it lies."""
    return at_pixels(gaussians, [frame.depth / frame.camera.intrinsics[0, 0] for frame in frames])
