"""The panel beside the scene: what of it is shown, and how. Nothing here runs a model or waits for one that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from demo.visit import Look, Visit
from recon import Scene
from recon.filters import Filters, Moving

HIDE = {
    "edges": "Depth edges",
    "sky": "Sky",
    "black": "Black",
    "white": "White",
}
MOVING = {"show": "Show", "hide": "Hide", "only": "Only"}
COLOURS = {"photo": "Photo", "confidence": "Confidence", "frame": "Frame"}
LABELS = {"semantic": "Class", "instance": "Thing", "panoptic": "Both"}
DRAWN = {False: "Points", True: "Splats"}

# Straight to the server past the queue, and while one change is on its way only the latest waits behind it.
LIVE: dict[str, Any] = {
    "queue": False,
    "trigger_mode": "always_last",
    "show_progress": "hidden",
    "api_visibility": "private",
}


@dataclass
class Controls:
    """The widgets of the panel."""

    confidence: gr.Slider
    point_size: gr.Slider
    drawn: gr.Radio
    colour: gr.Radio
    cameras: gr.Checkbox
    hide: gr.CheckboxGroup
    moving: gr.Radio
    frames: gr.CheckboxGroup
    reset: gr.Button

    def restored(self, visit: Visit) -> dict[Any, Any]:
        """Updates that bring the widgets to what the visitor sees."""
        filters, look, scene = visit.session.filters, visit.look, visit.session.scene
        count = len(scene.frames) if scene else 0
        colours = {**COLOURS, **(LABELS if scene and scene.labels else {})}
        shown = range(count) if filters.frames is None else sorted(filters.frames)
        return {
            self.confidence: filters.confidence,
            self.point_size: look.point_size,
            self.drawn: gr.Radio(value=_drawn(visit)),
            self.colour: gr.Radio(
                choices=[(title, name) for name, title in colours.items()],
                value=look.colour if look.colour in colours else "photo",
            ),
            self.cameras: look.cameras,
            self.hide: [name for name in HIDE if getattr(filters, name)],
            self.frames: gr.CheckboxGroup(choices=numbered(scene), value=list(shown), visible=count > 1),
        }


def _drawn(visit: Visit) -> str:
    """What the visitor sees, points or splats."""
    scene, chosen = visit.session.scene, visit.look.splats
    return DRAWN[scene is not None and scene.gaussians is not None if chosen is None else chosen]


def numbered(scene: Scene | None) -> list[tuple[str, int]]:
    """The frames of ``scene`` as choices: counted from 1, as the visitor counts."""
    return [(str(i + 1), i) for i in range(len(scene.frames))] if scene else []


def layout() -> Controls:
    """Put the panel into the present column."""
    standard, look = Filters(), Look()
    confidence = gr.Slider(
        0, 100, standard.confidence, step=2, label="Hide uncertain points", buttons=[], elem_id="confidence",
    )  # fmt: skip
    point_size = gr.Slider(0.2, 4, look.point_size, step=0.1, label="Point size", buttons=[], elem_id="point-size")
    drawn = gr.Radio(list(DRAWN.values()), value=DRAWN[False], label="Draw", elem_id="drawn")
    colour = gr.Radio(
        [(title, name) for name, title in COLOURS.items()], value=look.colour, label="Colour by", elem_id="colour"
    )
    hide = gr.CheckboxGroup(
        [(title, name) for name, title in HIDE.items()],
        value=[name for name in HIDE if getattr(standard, name)],
        label="Leave out",
        elem_id="hide",
    )
    moving = gr.Radio(
        [(title, name) for name, title in MOVING.items()], value=standard.moving, label="Moving things", visible=False,
        elem_id="moving",
    )  # fmt: skip
    frames = gr.CheckboxGroup([], label="Frames shown", show_select_all=True, visible=False, elem_id="frames")
    cameras = gr.Checkbox(look.cameras, label="Cameras", info="Click one to look through it.", elem_id="cameras")
    reset = gr.Button("Reset view", size="sm", elem_id="reset")
    return Controls(confidence, point_size, drawn, colour, cameras, hide, moving, frames, reset)


def wire(controls: Controls, token: gr.BrowserState, find: Callable[[str | None], Visit | None]) -> None:
    """Connect the panel with the viewer of the visitor whose token the page holds."""
    filtering = [token, controls.confidence, controls.hide, controls.moving, controls.frames]

    def set_filters(key: str, confidence: float, hide: list[str], moving: Moving, frames: list[int]) -> None:
        visit = find(key)
        if visit is None:
            return
        scene = visit.session.scene
        some = scene is not None and len(frames) < len(scene.frames)
        shown = frozenset(frames) if some else None
        left_out: dict[str, Any] = {name: name in hide for name in HIDE}
        filters = Filters(confidence, **left_out, moving=moving, frames=shown, segments=visit.session.filters.segments)
        visit.session.filters = filters
        visit.session.viewer.set_filters(filters)

    def set_look(key: str, point_size: float, cameras: bool, colour: str) -> None:
        visit = find(key)
        if visit is None:
            return
        former, visit.look = visit.look, replace(visit.look, point_size=point_size, cameras=cameras, colour=colour)
        if former.point_size != point_size:
            visit.session.viewer.set_point_size(point_size)
        if former.cameras != cameras:
            visit.session.viewer.set_cameras_visible(cameras)
        if former.colour != colour:
            visit.session.viewer.set_colour(colour)

    def set_drawn(key: str, drawn: str) -> None:
        visit = find(key)
        if visit is not None:
            visit.look = replace(visit.look, splats=drawn == DRAWN[True])
            visit.session.viewer.set_splats(visit.look.splats)

    def reset_view(key: str) -> None:
        visit = find(key)
        if visit is not None:
            visit.session.viewer.reset_view()

    for filter_widget in (controls.confidence, controls.hide, controls.moving, controls.frames):
        filter_widget.input(set_filters, filtering, None, **LIVE)
    controls.drawn.input(set_drawn, [token, controls.drawn], None, **LIVE)
    looking = [token, controls.point_size, controls.cameras, controls.colour]
    for look_widget in (controls.point_size, controls.cameras, controls.colour):
        look_widget.input(set_look, looking, None, **LIVE)
    controls.reset.click(reset_view, token, None, **LIVE)
