"""Scene -> viser: points, frusta, tracks, where the eye stands. One visitor's viewer; knows no Gradio.

A threshold never resends points (`demo.clouds`). The levels are percentiles of the whole scene's confidence
(`recon.filters.confidence_levels`), so at every multiple of `Viewer.step` the viewer shows exactly what
`recon.filters.keep` keeps.

The scene is drawn in coordinates of the viewer's own, see `recon.drawing`.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import rich
import viser
from viser import ClientHandle

from demo.clouds import Clouds
from demo.flight import Flights
from demo.frusta import Click, Frusta
from demo.given import GivenCameras
from demo.grid import STEPS, Grid, survey
from demo.lines import Lines
from demo.paint import Paint
from demo.picking import Hit, Ray, pick
from demo.playback import Moment, Playback
from demo.rulers import Rulers
from demo.splats import Splats
from recon.drawing import look_first
from recon.filters import Filters
from recon.placement import Eye, eye_of_camera, frustum_depth, home, place
from recon.scene import Scene
from recon.timeline import has_time, marked, passing

logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # a browser that leaves is no error


class _Server(viser.ViserServer):
    """A viser server that a message from the browser cannot open to the world."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Never."""
        return None


class Viewer:
    """A viser server on a free port of the loopback interface, and what it shows. All methods may be called from any
    thread.

    Attributes:
        playback: which moment of the scene is shown, and whether time runs.
    """

    def __init__(self) -> None:
        rich.get_console().quiet = True  # viser greets on the terminal
        self._server = _Server(host="127.0.0.1", port=0, label="Parallax", verbose=False)
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=True)
        self._server.gui.main_panel.minimize()
        self._lock = threading.RLock()
        self._source = self._scene = Scene()
        self._filters = Filters()
        self._grid: Grid | None = None
        self._passing: list[np.ndarray] = []
        self.playback = Playback(self._go, self._lock)
        self._clouds = Clouds(self._server)
        self._splats = Splats(self._server)
        self._as_splats: bool | None = None
        self._complete = False
        self._paint = Paint()
        self._frusta = Frusta(self._server, self._clicked)
        self._lines = Lines(self._server)
        self._rulers = Rulers(self._server)
        self._given = GivenCameras(self._server)
        self._picked: Callable[[Scene, Hit | None], None] | None = None
        self._selected: Callable[[Scene, Hit | None], None] | None = None
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

    def show(self, scene: Scene, changed: Iterable[int] | None = None, growing: bool = False) -> None:
        """Draw ``scene``.

        Args:
            scene: shown from now on; later changes to it show at the next call.
            changed: indices of the frames that are new or differ from the last call; None for all. While these are
                but a part, the other frames' levels may lag behind by up to a `step`; an empty ``changed`` brings
                everything up to date and sends nothing where it is already.
            growing: more is to come soon; meanwhile it is shown as points, since splats are sent as a whole.
        """
        with self._lock, self._server.atomic():
            if self._stopped:
                return
            fresh = scene is not self._source
            told = marked(self._scene) == marked(scene)
            self._source = scene
            # the model goes on changing the scene while filters are moved
            self._scene = replace(scene, frames=[copy.copy(frame) for frame in scene.frames])
            self._passing = passing(self._scene)
            self.playback.begin(len(scene.frames) if has_time(scene) else 0, afresh=fresh)
            indices = set(range(len(scene.frames)))
            wanted = indices if changed is None or fresh or not told else set(changed) & indices
            for index in (self._clouds.drawn | self._frusta.drawn) - indices:
                self._clouds.remove(index)
                self._frusta.remove(index)
            if not indices:
                self._draw_tracks()
                self._rulers.clear()
                self._given.clear()
                self._splats.clear()
                return
            self._complete = not growing
            selected = frozenset() if fresh else self._paint.selected
            self._set_paint(replace(self._paint, labels=scene.labels, selected=selected))
            # while a scene grows it stays in its place
            placement = place(self._scene.frames) if wanted == indices or not self._grid else self._grid.placement
            grid = survey(self._scene, placement)
            if wanted == indices or not self._grid or not self._grid.suits(grid, exactly=not wanted):
                self._grid = grid
                self._clouds.lay(grid, self._scene.frames)
                self._toggle()
                wanted = indices
            for index in sorted(wanted):
                self._draw_points(index)
            self._frusta.draw(self._scene.frames, self._grid.placement, wanted)
            self._draw_tracks()
            self._rulers.show(self._scene, placement)
            self._given.show(self._scene, placement)
            self._splats.clear()
            self._show_splats()
            self._look(fresh)

    def clear(self) -> None:
        """Show nothing."""
        self.show(Scene(), ())

    def stop(self) -> None:
        """Close the server; its memory is free once the viewer is dropped. Nothing is shown any more."""
        with self._lock:
            self._stopped = True
            self.playback.begin(0, afresh=True)
            self._source = self._scene = Scene()
            self._grid, self._home = None, None
            self._clouds, self._frusta = Clouds(self._server), Frusta(self._server, self._clicked)
            self._splats = Splats(self._server)
        self._server.stop()

    def set_filters(self, filters: Filters) -> None:
        """Show what ``filters`` keep; see `snap`. The threshold, the frames and what moves send no points."""
        with self._lock, self._server.atomic():
            former, self._filters = self._filters, filters
            if replace(former, confidence=filters.confidence, frames=filters.frames, moving=filters.moving) != filters:
                for index in self._clouds.drawn:
                    self._draw_points(index)
            if replace(former, confidence=filters.confidence, frames=filters.frames) != filters:
                self._draw_tracks()
            self._toggle()
            self._lines.show(self._lowest, self._filters.frames)
            if replace(former, confidence=filters.confidence) == filters and not self._splats.timed:
                self._splats.show(self._lowest)
            else:
                self._splats.clear()
            self._show_splats()
        self._server.flush()

    def set_point_size(self, factor: float) -> None:
        """Draw points ``factor`` times as large as the gap between neighbouring ones, and splats as they are."""
        with self._lock, self._server.atomic():
            self._clouds.scale(factor)
            self._splats.scale(factor)

    def set_splats(self, splats: bool | None) -> None:
        """Draw splats in the place of points, or not; None leaves it to the scene: those that have Gaussians do.

        Any scene has splats: its points make them, once they are asked for.
        """
        with self._lock, self._server.atomic():
            self._as_splats = splats
            self._show_splats()
        self._server.flush()

    def _show_splats(self) -> None:
        """Draw splats where they are due and not there yet, and show either them or points."""
        wanted = self._scene.gaussians is not None if self._as_splats is None else self._as_splats
        due = wanted and self._complete and self._grid is not None and bool(self._scene.frames)
        if due and not self._splats.drawn and self._grid is not None:
            self._splats.draw(self._scene, self._grid, self._passing, self.snap(self._filters), self._lowest)
        self._splats.visible, self._clouds.visible = due, not due

    def set_cameras_visible(self, visible: bool) -> None:
        """Show or hide all frusta."""
        with self._lock:
            self._frusta.visible = visible

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

    def set_given_visible(self, visible: bool) -> None:
        """Show or hide the cameras that the visitor gave."""
        with self._lock:
            self._given.visible = visible

    def show_measurements(self, scene: Scene, begun: Hit | None = None) -> None:
        """Draw those that ``scene`` has now, and where one has ``begun``, if it is the one that is shown."""
        with self._lock, self._server.atomic():
            if self._grid is not None and scene is self._source:
                self._scene.measurements = scene.measurements
                self._rulers.show(self._scene, self._grid.placement, begun)
        self._server.flush()

    def rescale(self, scene: Scene, factor: float) -> None:
        """Show ``scene``, which is what is shown but ``factor`` times as large: nothing moves, no point is sent."""
        with self._lock, self._server.atomic():
            if self._grid is None:
                return
            self._source = scene
            self._scene = replace(scene, frames=[copy.copy(frame) for frame in scene.frames])
            self._grid = replace(self._grid, placement=self._grid.placement.rescaled(factor))
            self._clouds.lay(self._grid, self._scene.frames)
            self._rulers.show(self._scene, self._grid.placement)
            self._given.show(self._scene, self._grid.placement)
        self._server.flush()

    def set_colour(self, by: str) -> None:
        """Colour points by "photo", by "confidence" (its percentile, yellow is high), by "frame", or by what they are
        part of (`recon.palette.Painting`).

        Raises:
            ValueError: none of these.
        """
        with self._lock, self._server.atomic():
            self._set_paint(replace(self._paint, by=by))
            self._frusta.paint(by == "frame")

    def select(self, segments: Iterable[int]) -> None:
        """Let segments of the scene stand out: all else is dimmed. None of them ends it."""
        with self._lock, self._server.atomic():
            self._set_paint(replace(self._paint, selected=frozenset(segments)))
        self._server.flush()

    def _set_paint(self, paint: Paint) -> None:
        if paint.differs(self._paint):
            self._clouds.paint(paint)
            self._splats.paint(paint)
        self._paint = paint

    def _draw_points(self, index: int) -> None:
        self._clouds.draw(index, self._scene.frames[index], self._passing[index], self._filters)

    def _go(self, moment: Moment) -> None:
        with self._lock, self._server.atomic():
            self._clouds.go(moment)
            self._splats.go(moment)
            self._frusta.mark(moment.frame)
        self._server.flush()

    def _toggle(self) -> None:
        self._clouds.show(self._lowest, self._filters)
        self._frusta.show(self._filters.frames)

    @property
    def _lowest(self) -> int:
        """The lowest level that the filters show."""
        return round(self.snap(self._filters).confidence) // self.step

    def pick_points(self, picked: Callable[[Scene, Hit | None], None] | None) -> None:
        """Tell ``picked`` of every click: the scene in sight, and the point under it, None where there is none.

        Meanwhile frusta do nothing when they are clicked. None ends it. A drag, which turns the view, is no click.
        """
        with self._lock:
            before = self._listener
            self._picked = picked
            self._listen(before)

    def select_points(self, selected: Callable[[Scene, Hit | None], None] | None) -> None:
        """As `pick_points`, for clicks that nobody picks points with; frusta go on as they do. None ends it."""
        with self._lock:
            before = self._listener
            self._selected = selected
            self._listen(before)

    @property
    def _listener(self) -> Callable[[Scene, Hit | None], None] | None:
        return self._picked or self._selected

    def _listen(self, before: Callable[[Scene, Hit | None], None] | None) -> None:
        """Ask for clicks from when somebody wants them until nobody does."""
        if before is None and self._listener is not None:
            self._server.scene.on_click()(self._pick)
        elif before is not None and self._listener is None:
            self._server.scene.remove_click_callback(self._pick)

    def _pick(self, event: viser.SceneClickEvent) -> None:
        with self._lock:
            picked, grid, scene, source = self._listener, self._grid, self._scene, self._source
            filters, lowest, radius = self._filters, self._lowest, self._clouds.radius
            moment = self.playback.moment
            gone = {index: mask for index, mask in enumerate(self._passing) if not moment.shows(index)}
        if picked is None or grid is None:
            return
        ray = Ray.in_viewer(grid.placement, event.ray_origin, event.ray_direction, radius)
        picked(source, pick(scene, filters, float(grid.levels[lowest]) if lowest else -np.inf, ray, gone))

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
        look_first(self._server, eye)
        for client in self._server.get_clients().values():
            if fresh or former is None or self._flights.is_at(client, former):
                self._flights.fly(client, eye)

    def _greet(self, client: ClientHandle) -> None:
        """A page begins at the first view, whose angle suits a wide canvas; a narrow one needs more."""
        eye = self._home
        if eye is not None and client.camera.aspect < eye.aspect:
            self._flights.fly(client, eye)

    def _clicked(self, index: int, event: Click) -> None:
        """Fly to where the frame's camera stood. The photo in its frustum lies before the near plane, out of sight."""
        with self._lock:
            if self._picked is not None:
                return
            if event.client is None or self._grid is None or index >= len(self._scene.frames):
                return
            frame, placement = self._scene.frames[index], self._grid.placement
            known = frame.known()
            distance = placement.scale * float(np.median(frame.depth[known])) if known.any() else 1.0
            near = 1.1 * frustum_depth(self._scene.frames, placement)
            eye = replace(eye_of_camera(frame.camera, frame.size, placement), distance=distance, near=near)
        self._flights.fly(event.client, eye)
