"""The measuring tool: two clicks in 3D or on a photo make a length, and a known length puts the scene in metres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from demo import markup
from demo.controls import LIVE
from demo.measures import UNITS, Measures, measures_of
from demo.picking import Hit
from demo.pictures import address
from demo.visit import Visit
from demo.widgets import widgets
from recon import InputError, Scene, geometry
from recon.measurement import in_words, position

Updates = dict[Any, Any]

# All that these need is in the value: Gradio now and then loses other properties of a widget that appears.
LIST = """${!value || !value.rows.length ? '' : `<ol class="measures" aria-label="Measurements">
${value.rows.map((row, i) => `<li${i === value.chosen ? ' class="here"' : ''}><button type="button" data-choose="${i}"
  aria-pressed="${i === value.chosen}"><b>${i + 1}</b> ${row}</button><button type="button" data-remove="${i}"
  aria-label="Remove measurement ${i + 1}">✕</button></li>`).join('')}</ol>`}"""
CHANGE = """
element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  const { choose, remove } = button.dataset;
  props.value = { ...props.value, choose: choose === undefined ? null : Number(choose),
                  remove: remove === undefined ? null : Number(remove) };
  trigger('input');
});
"""
MARKS = """${!value ? '' : `
<div class="pick" style="--ratio:${value.width / value.height}" role="img" aria-label="Measurements on the photo">
<svg viewBox="0 0 ${value.width} ${value.height}">${value.lines.map(({ ends: [[a, b], [c, d]] }) =>
  `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}"/>`).join('')}</svg>
${[...value.lines.flatMap(line => line.ends), ...value.begun].map(([x, y]) =>
  `<i style="left:${100 * x / value.width}%;top:${100 * y / value.height}%"></i>`).join('')}
${value.lines.map(({ ends: [[a, b], [c, d]], words }) =>
  `<b style="left:${50 * (a + c) / value.width}%;top:${50 * (b + d) / value.height}%">${words}</b>`).join('')}
</div>`}"""


@dataclass
class OnPhoto:
    """The widgets of the tool's tab."""

    sentence: gr.HTML
    frame: gr.Slider
    photo: gr.HTML
    marks: gr.HTML


@dataclass
class Measuring:
    """The widgets of the tool: over the canvas, in the panel, and in a tab of its own."""

    toggle: gr.Button
    hint: gr.HTML
    on_photo: OnPhoto
    section: gr.Column
    list: gr.HTML
    length: gr.Number
    unit: gr.Dropdown
    set: gr.Button
    clear: gr.Button
    scale: gr.HTML
    unset: gr.Button

    def restored(self, visit: Visit) -> Updates:
        """Updates that bring the widgets to what the visitor has measured."""
        measures = measures_of(visit)
        scene = measures.scene
        if scene is None:
            return {**self.shown(measures), self.on_photo.frame: gr.Slider(visible=False), self.on_photo.photo: ""}
        count = len(scene.frames)
        return {
            **self.shown(measures),
            self.on_photo.frame: gr.Slider(maximum=max(count, 2), value=measures.frame + 1, visible=count > 1),
            **self.pictured(scene, measures.frame),
        }

    def pictured(self, scene: Scene, frame: int) -> Updates:
        """The chosen photo."""
        width, height = scene.frames[frame].size
        picture = address(scene.frames[frame].image, 90)
        return {self.on_photo.photo: f'<img style="--ratio:{width / height}" src="{picture}" alt="The chosen photo">'}

    def shown(self, measures: Measures) -> Updates:
        """What is measured, and what can be done about it."""
        scene, on = measures.scene, measures.on
        known = scene.settings.get("known_length") if scene else None
        rows = _words(scene) if scene else []
        return {
            self.toggle: gr.Button(
                "Done" if on else "Measure", variant="primary" if on else "secondary", visible=scene is not None,
                elem_classes=["on"] if on else [],
            ),
            self.hint: _hint(measures),
            self.section: gr.Column(visible=bool(rows) or known is not None),
            self.list: {"rows": rows, "chosen": measures.chosen},
            self.length: gr.Number(label=_asked(rows, measures.chosen), visible=bool(rows)),
            self.unit: gr.Dropdown(visible=bool(rows)),
            self.set: gr.Button(visible=bool(rows)),
            self.clear: gr.Button(visible=bool(rows)),
            self.scale: markup.quiet(known["note"]) if known else "",
            self.unset: gr.Button(visible=known is not None),
            self.on_photo.sentence: _sentence(measures),
            self.on_photo.marks: _marks(scene, measures) if scene else None,
        }  # fmt: skip


def overlay() -> tuple[gr.Button, gr.HTML]:
    """Put what lies over the canvas into the present column."""
    toggle = gr.Button("Measure", size="sm", visible=False, min_width=0, elem_id="measure")
    keys = Path(__file__).with_name("measuring.js").read_text()
    return toggle, gr.HTML("", js_on_load=keys, elem_id="measure-hint")


def panel(toggle: gr.Button, hint: gr.HTML, on_photo: OnPhoto) -> Measuring:
    """Put what is measured into the present panel; the other widgets stand already."""
    with gr.Column(visible=False, elem_id="measured", min_width=0) as section:
        gr.HTML('<h3 class="section">Measured</h3>')
        rows = gr.HTML(None, html_template=LIST, js_on_load=CHANGE)
        with gr.Row(elem_id="known-length"):
            length = gr.Number(None, label="It is really", min_width=90, elem_id="length", scale=2)
            unit = gr.Dropdown(list(UNITS), value="m", label="Unit", min_width=72, elem_id="unit", filterable=False)
        with gr.Row(elem_id="measured-tools"):
            known = gr.Button("Set the scale", variant="primary", size="sm", min_width=0, elem_id="set-length")
            clear = gr.Button("Remove all", size="sm", min_width=0, elem_id="clear-measures")
        scale = gr.HTML("", elem_id="scale")
        unset = gr.Button("Undo the scale", size="sm", visible=False, elem_id="unset-length")
    return Measuring(toggle, hint, on_photo, section, rows, length, unit, known, clear, scale, unset)


def tab() -> OnPhoto:
    """Put a photo to measure on into the present tab."""
    sentence = gr.HTML("", elem_id="measure-sentence")
    frame = gr.Slider(1, 2, 1, step=1, label="Photo", visible=False, buttons=[], elem_id="measure-frame")
    with gr.Column(elem_classes="picked-on", elem_id="measure-photo", min_width=0):
        photo = gr.HTML("")
        clicks = Path(__file__).with_name("measuring_photo.js").read_text()
        marks = gr.HTML(None, html_template=MARKS, js_on_load=clicks, elem_classes="marks")
    return OnPhoto(sentence, frame, photo, marks)


def wire(measuring: Measuring, token: gr.BrowserState, find: Callable[[str | None], Visit | None]) -> list[Any]:
    """Connect the tool with the scene of the visitor whose token the page holds.

    Returns:
        The events after which the scene may be of another scale.
    """
    everything = widgets(measuring)

    def handler(work: Callable[..., Updates | None]) -> Callable[..., Updates]:
        """What the page shows after ``work``; if that refuses, the sentence stands where the hint was."""

        def handled(key: str, *values: Any) -> Updates:
            visit = find(key)
            if visit is None:
                return {measuring.hint: gr.skip()}
            measures = measures_of(visit)
            try:
                more = work(measures, *values) or {}
            except InputError as error:
                measures.refuse(error)
                more = {}
            return {**measuring.shown(measures), **more}

        return handled

    def turn(measures: Measures) -> None:
        measures.turn(not measures.on and measures.scene is not None)

    def change(measures: Measures, value: dict[str, Any]) -> None:
        if value.get("remove") is not None:
            measures.remove(int(value["remove"]))
        elif value.get("choose") is not None:
            measures.choose(int(value["choose"]))

    def click(measures: Measures, value: dict[str, Any]) -> None:
        scene, (x, y) = measures.scene, value["clicked"]
        if scene is None or not 0 <= value["frame"] < len(scene.frames):
            return
        width, height = scene.frames[value["frame"]].size
        if 0 <= x < width and 0 <= y < height:
            measures.click(Hit(value["frame"], (int(x), int(y))))

    def choose(measures: Measures, number: float) -> Updates | None:
        if measures.scene is None or not 1 <= number <= len(measures.scene.frames):
            return None
        measures.frame = int(number) - 1
        return measuring.pictured(measures.scene, measures.frame)

    def set_length(measures: Measures, length: float | None, unit: str) -> Updates:
        measures.set_length(length, unit)
        return {measuring.length: gr.Number(value=None)}

    async def watch(key: str) -> AsyncIterator[Updates]:
        """Show what clicks in the viewer give, as long as they are taken for points."""
        visit = find(key)
        yield {measuring.hint: gr.skip()}
        if visit is None or not measures_of(visit).on:
            return  # what else it said might arrive after what a later click gives
        measures, seen = measures_of(visit), -1
        while measures.on and not visit.session.ended:
            if measures.version != seen:
                seen = measures.version
                yield measuring.shown(measures)
            await asyncio.sleep(0.05)
        yield measuring.shown(measures)  # Gradio sends the last one again at the end

    live = {"outputs": everything, **LIVE}
    lasting: dict[str, Any] = {
        "outputs": everything, "concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private",
        "trigger_mode": "multiple",
    }  # fmt: skip
    measuring.toggle.click(handler(turn), token, **live).then(watch, token, **lasting)
    token.change(watch, token, **lasting)
    measuring.list.input(handler(change), [token, measuring.list], **live)
    measuring.clear.click(handler(Measures.clear), token, **live)
    measuring.on_photo.marks.input(handler(click), [token, measuring.on_photo.marks], **live)
    measuring.on_photo.frame.input(handler(choose), [token, measuring.on_photo.frame], **live)
    known = [token, measuring.length, measuring.unit]
    return [
        measuring.set.click(handler(set_length), known, **live),
        measuring.length.submit(handler(set_length), known, **live),
        measuring.unset.click(handler(Measures.unset), token, **live),
    ]


# --- what the tool says ----------------------------------------------------------------------------------------------


def _words(scene: Scene) -> list[str]:
    return [in_words(measurement.length(scene.frames), scene.metric) for measurement in scene.measurements]


def _asked(rows: list[str], chosen: int) -> str:
    return f"Length {chosen + 1} is really" if len(rows) > 1 else "It is really"


def _hint(measures: Measures) -> str:
    if measures.said:
        return f'<span role="alert">{escape(measures.said)}</span>'
    if not measures.on:
        return ""
    return "Now the second point" if measures.begun else "Click two points; drag to turn, Escape to end"


def _sentence(measures: Measures) -> str:
    if measures.scene is None:
        return markup.quiet("Lengths can be measured once there is a scene.")
    if measures.said:
        return markup.failed(measures.said)
    return markup.quiet("Click two points on the photo; lengths measured in 3D are here as well.")


def _marks(scene: Scene, measures: Measures) -> dict[str, Any]:
    """What is drawn on the chosen photo: all that lies before its camera, whichever photo it was clicked on."""
    frame = scene.frames[measures.frame]

    def pixels(points: np.ndarray) -> list[list[float]] | None:
        points = geometry.transform(frame.camera.camera_from_world, points)
        before = (points[:, 2] > 0).all()
        return np.round(geometry.project(points, frame.camera.intrinsics).astype(float), 2).tolist() if before else None

    begun, (width, height) = measures.begun, frame.size
    lines = [
        {"ends": ends, "words": words}
        for measurement, words in zip(scene.measurements, _words(scene), strict=True)
        if (ends := pixels(measurement.ends(scene.frames))) is not None
    ]
    places = pixels(position(scene.frames[begun.frame], begun.pixel)[None]) if begun else None
    return {"frame": measures.frame, "width": width, "height": height, "lines": lines, "begun": places or []}
