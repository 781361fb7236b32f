"""Scene -> viser: points, frusta, tracks, where the eye stands. One visitor's viewer; knows no Gradio.

A threshold never resends points. Every frame's points lie in chunks by confidence, one node a chunk, and the chunks of
one level hang under one parent: ``/points/<level>/<frame>``. The slider shows and hides the parents. The levels are
percentiles of the whole scene's confidence (`recon.filters.confidence_levels`), so at every multiple of `Viewer.step`
the viewer shows exactly what `recon.filters.keep` keeps.

The scene is drawn in coordinates of the viewer's own (`demo.placement.Placement`): up is +z, the median distance of a
point from its camera is 1. So near, far, orbit and line widths suit any scene, and float16 suffices: a point is stored
relative to the camera that saw it, where half precision errs by less than half a pixel of a focal length of 1,000.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import rich
import viser
from viser import CameraFrustumHandle, ClientHandle, FrameHandle, PointCloudHandle

from demo.flight import Flights
from demo.grid import STEPS, Grid, survey
from demo.lines import Lines
from demo.placement import Eye, eye_of_camera, footprint, frustum_depth, home, place
from recon.filters import Filters, static_keep
from recon.scene import Frame, Scene

logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # a browser that leaves is no error

PICTURE = 160  # pixels, long side of a frustum's photo
FAR = 1000.0
FIRST_HUE, GOLDEN = 0.58, 0.618034
NEUTRAL = (120, 130, 145)


@dataclass
class Chunk:
    """One frame's points of one level, as drawn."""

    handle: PointCloudHandle
    colours: np.ndarray


class _Server(viser.ViserServer):
    """A viser server that a message from the browser cannot open to the world."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Never."""
        return None


class Viewer:
    """A viser server on a free port of the loopback interface, and what it shows. All methods may be called from any
    thread."""

    def __init__(self) -> None:
        rich.get_console().quiet = True  # viser greets on the terminal
        self._server = _Server(host="127.0.0.1", port=0, label="Parallax", verbose=False)
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=True)
        self._server.gui.main_panel.minimize()
        self._lock = threading.RLock()
        self._source = self._scene = Scene()
        self._filters = Filters()
        self._grid: Grid | None = None
        self._levels: list[FrameHandle] = []
        self._chunks: dict[int, dict[int, Chunk]] = {}
        self._frusta: dict[int, CameraFrustumHandle] = {}
        self._cameras: FrameHandle = self._server.scene.add_frame("/cameras", show_axes=False)
        self._lines = Lines(self._server)
        self._size, self._factor = 0.01, 1.0
        self._colour = "photo"
        self._home: Eye | None = None
        self._stopped = False
        self._flights = Flights(self._server)
        self._server.on_client_connect(self._greet)

    @property
    def port(self) -> int:
        """Where the server listens, on 127.0.0.1."""
        return self._server.get_port()

    @property
    def step(self) -> int:
        """Percent between two thresholds that can be told apart; 100 is a multiple of it, and so is 20."""
        return self._grid.step if self._grid else STEPS[0]

    def snap(self, filters: Filters) -> Filters:
        """``filters`` with the threshold that is really shown: the nearest multiple of `step`."""
        return replace(filters, confidence=float(min(100, round(filters.confidence / self.step) * self.step)))

    # --- what is drawn -----------------------------------------------------------------------------------------------

    def show(self, scene: Scene, changed: Iterable[int] | None = None) -> None:
        """Draw ``scene``.

        Args:
            scene: shown from now on; later changes to it show at the next call.
            changed: indices of the frames that are new or differ from the last call; None for all. While these are
                but a part, the other frames' levels may lag behind by up to a `step`; an empty ``changed`` brings
                everything up to date and sends nothing where it is already.
        """
        with self._lock, self._server.atomic():
            if self._stopped:
                return
            fresh = scene is not self._source
            self._source = scene
            # the model goes on changing the scene while filters are moved
            self._scene = replace(scene, frames=[copy.copy(frame) for frame in scene.frames])
            indices = set(range(len(scene.frames)))
            wanted = indices if changed is None or fresh else set(changed) & indices
            for index in (self._chunks.keys() | self._frusta.keys()) - indices:
                self._remove(index)
            if not indices:
                self._draw_tracks()
                return
            # while a scene grows it stays in its place
            placement = place(self._scene.frames) if wanted == indices or not self._grid else self._grid.placement
            grid = survey(self._scene, placement)
            if wanted == indices or not self._grid or not self._grid.suits(grid, exactly=not wanted):
                self._lay(grid)
                wanted = indices
            for index in sorted(wanted):
                self._draw_points(index)
            self._draw_frusta(wanted)
            self._draw_tracks()
            self._look(fresh)

    def clear(self) -> None:
        """Show nothing."""
        self.show(Scene(), ())

    def stop(self) -> None:
        """Close the server; its memory is free once the viewer is dropped. Nothing is shown any more."""
        with self._lock:
            self._stopped = True
            self._source = self._scene = Scene()
            self._grid, self._home = None, None
            self._levels, self._chunks, self._frusta = [], {}, {}
        self._server.stop()

    def set_filters(self, filters: Filters) -> None:
        """Show what ``filters`` keep; see `snap`. Only the threshold and the frames are free of sending points."""
        with self._lock, self._server.atomic():
            former, self._filters = self._filters, filters
            if replace(former, confidence=filters.confidence, frames=filters.frames) != filters:
                for index in self._chunks:
                    self._draw_points(index)
                self._draw_tracks()
            self._toggle()
            self._lines.show(self._lowest, self._filters.frames)
        self._server.flush()

    def set_point_size(self, factor: float) -> None:
        """Draw points ``factor`` times as large as the gap between neighbouring ones."""
        with self._lock, self._server.atomic():
            self._factor = factor
            for chunk in self._all_chunks():
                chunk.handle.point_size = self._size * factor

    def set_cameras_visible(self, visible: bool) -> None:
        """Show or hide all frusta."""
        with self._lock:
            self._cameras.visible = visible

    def show_tracks(self, scene: Scene) -> None:
        """Draw the tracks that ``scene`` has now, if it is the one that is shown."""
        with self._lock, self._server.atomic():
            if self._stopped or scene is not self._source:
                return
            self._scene.tracks = scene.tracks
            self._draw_tracks()
        self._server.flush()

    def _draw_tracks(self) -> None:
        tracks, frames = self._scene.tracks, self._scene.frames
        if self._grid is None or tracks is None or len(tracks.pixels) != len(frames):
            self._lines.clear()
        else:
            self._lines.set(tracks, frames, self._grid, self._filters)
            self._lines.show(self._lowest, self._filters.frames)

    def set_tracks_visible(self, visible: bool) -> None:
        """Show or hide all tracks."""
        with self._lock:
            self._lines.visible = visible

    def set_colour(self, by: str) -> None:
        """Colour points by "photo", by "confidence" (its percentile, yellow is high) or by "frame".

        Raises:
            ValueError: none of these.
        """
        if by not in ("photo", "confidence", "frame"):
            raise ValueError(f"points are coloured by photo, confidence or frame, not by {by}")
        with self._lock, self._server.atomic():
            self._colour = by
            for index, chunks in self._chunks.items():
                for level, chunk in chunks.items():
                    chunk.handle.colors = self._colours(index, level, chunk.colours)
            for index, frustum in self._frusta.items():
                frustum.color = self._frustum_colour(index)

    # --- points ------------------------------------------------------------------------------------------------------

    def _lay(self, grid: Grid) -> None:
        """Take ``grid`` for all that is drawn from now on."""
        for parent in self._levels[len(grid.levels) :]:
            parent.remove()
        for index, chunks in self._chunks.items():
            self._chunks[index] = {level: chunk for level, chunk in chunks.items() if level < len(grid.levels)}
        self._levels = self._levels[: len(grid.levels)]
        for level in range(len(self._levels), len(grid.levels)):
            self._levels.append(self._server.scene.add_frame(f"/points/{level}", show_axes=False))
        self._grid = grid
        # a little more than the gap; viser draws a point twice as wide as its size says
        self._size = 0.65 * footprint(self._scene.frames, grid.placement) / grid.share**0.5
        self._toggle()

    def _draw_points(self, index: int) -> None:
        grid, frame = self._grid, self._scene.frames[index]
        assert grid is not None
        kept = static_keep(frame, self._filters) & grid.drawn(frame.depth.shape)
        level = grid.level(frame.confidence[kept])  # bytes, which sort fastest
        order = np.argsort(level, kind="stable")
        offsets = grid.placement.offsets(frame.world_points()[kept][order], frame.camera.centre)
        offsets = np.clip(offsets, -6e4, 6e4).astype(np.float16)
        colours = frame.image[kept][order]
        bounds = np.searchsorted(level[order], np.arange(len(grid.levels) + 1))
        former, chunks = self._chunks.get(index, {}), {}
        shown = self._shown(index)
        for number in range(len(grid.levels)):
            part = slice(bounds[number], bounds[number + 1])
            if part.start == part.stop:
                continue
            handle = self._server.scene.add_point_cloud(
                f"/points/{number}/{index}", offsets[part], self._colours(index, number, colours[part]),
                point_size=self._size * self._factor, point_shape="rounded", point_shading="flat",
                position=grid.placement.point(frame.camera.centre), visible=shown,
            )  # fmt: skip
            chunks[number] = Chunk(handle, colours[part])
        for number in former.keys() - chunks.keys():
            former[number].handle.remove()
        self._chunks[index] = chunks

    def _remove(self, index: int) -> None:
        for chunk in self._chunks.pop(index, {}).values():
            chunk.handle.remove()
        if frustum := self._frusta.pop(index, None):
            frustum.remove()

    def _all_chunks(self) -> list[Chunk]:
        return [chunk for chunks in self._chunks.values() for chunk in chunks.values()]

    def _shown(self, index: int) -> bool:
        return self._filters.frames is None or index in self._filters.frames

    @property
    def _lowest(self) -> int:
        """The lowest level that the filters show."""
        return round(self.snap(self._filters).confidence) // self.step

    def _toggle(self) -> None:
        for level, parent in enumerate(self._levels):
            parent.visible = level >= self._lowest
        for index, chunks in self._chunks.items():
            for chunk in chunks.values():
                chunk.handle.visible = self._shown(index)
        for index, frustum in self._frusta.items():
            frustum.visible = self._shown(index)

    def _colours(self, index: int, level: int, photo: np.ndarray) -> np.ndarray:
        if self._colour == "photo":
            return photo
        if self._colour == "frame":
            return _frame_colour(index)
        value = np.array([[round(255 * level / max(1, len(self._levels) - 1))]], np.uint8)
        return cv2.applyColorMap(value, cv2.COLORMAP_VIRIDIS)[0, 0, ::-1].copy()

    # --- cameras -----------------------------------------------------------------------------------------------------

    def _draw_frusta(self, changed: Iterable[int]) -> None:
        assert self._grid is not None
        placement, frames = self._grid.placement, self._scene.frames
        depth = frustum_depth(frames, placement)
        for index in changed:
            frame = frames[index]
            eye = eye_of_camera(frame.camera, frame.size, placement)
            frustum = self._server.scene.add_camera_frustum(
                f"/cameras/{index}", fov=eye.fov, aspect=eye.aspect, image=_picture(frame), jpeg_quality=80,
                color=self._frustum_colour(index), wxyz=eye.wxyz, position=eye.position, visible=self._shown(index),
            )  # fmt: skip
            frustum.on_click(partial(self._clicked, index))
            self._frusta[index] = frustum
        for frustum in self._frusta.values():
            frustum.scale = depth / frustum.compute_canonical_frustum_size()[2]
            frustum.thickness = 0.02 * depth

    def _frustum_colour(self, index: int) -> tuple[int, int, int]:
        return tuple(_frame_colour(index).tolist()) if self._colour == "frame" else NEUTRAL

    # --- the eye -----------------------------------------------------------------------------------------------------

    def reset_view(self) -> None:
        """Take every page back to the first view."""
        with self._lock:
            eye = self._home
        if eye is not None:
            for client in self._server.get_clients().values():
                self._flights.fly(client, eye)

    def _look(self, fresh: bool) -> None:
        """Take the pages that show a new scene, or that nobody has turned since the last one, to the first view."""
        assert self._grid is not None
        former, eye = self._home, home(self._scene.frames, self._grid.placement)
        if former is not None and not fresh and np.allclose(former.position, eye.position, atol=1e-3):
            return
        self._home = eye
        first = self._server.initial_camera
        first.position, first.look_at, first.fov = eye.position, eye.look_at, eye.fov
        first.near, first.far = eye.near, FAR
        for client in self._server.get_clients().values():
            if fresh or former is None or self._flights.is_at(client, former):
                self._flights.fly(client, eye)

    def _greet(self, client: ClientHandle) -> None:
        """A page begins at the first view, whose angle suits a wide canvas; a narrow one needs more."""
        eye = self._home
        if eye is not None and client.camera.aspect < eye.aspect:
            self._flights.fly(client, eye)

    def _clicked(self, index: int, event: viser.SceneNodePointerEvent[CameraFrustumHandle]) -> None:
        """Fly to where the frame's camera stood. The photo in its frustum lies before the near plane, out of sight."""
        with self._lock:
            if event.client is None or self._grid is None or index >= len(self._scene.frames):
                return
            frame, placement = self._scene.frames[index], self._grid.placement
            known = frame.known()
            distance = placement.scale * float(np.median(frame.depth[known])) if known.any() else 1.0
            near = 1.1 * frustum_depth(self._scene.frames, placement)
            eye = replace(eye_of_camera(frame.camera, frame.size, placement), distance=distance, near=near)
        self._flights.fly(event.client, eye)


def _picture(frame: Frame) -> np.ndarray:
    """The photo, small."""
    factor = PICTURE / max(frame.size)
    return (
        cv2.resize(frame.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else frame.image
    )


def _frame_colour(index: int) -> np.ndarray:
    """``[3] uint8``: hues in golden steps, so that neighbours differ."""
    hue = round(180 * ((FIRST_HUE + index * GOLDEN) % 1))
    return cv2.cvtColor(np.array([[[hue, 150, 235]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
