"""The legend of what is recognised: classes to show and hide, things to select, and files of nothing but these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from demo import markup
from demo.controls import LIVE
from demo.recognised import Part, Recognised, recognised_of, shades
from demo.visit import Visit
from demo.widgets import widgets

Updates = dict[Any, Any]

NOTHING = "Nothing was recognised in these photos; all points are shown as they are."
HINT = "Click a thing in the scene or here to select its points."
EVERY = 0.3  # seconds between looks at what clicks in the scene have selected

# All that it needs is in the value: Gradio now and then loses other properties of a widget that appears.
LIST = """${!value || !value.rows.length ? '' : `<ul class="classes" aria-label="What is recognised">
${value.rows.map(row => `<li class="${row.shown ? '' : 'off'}" style="--colour:${row.colour}">
<input type="checkbox" data-class="${row.label}" ${row.shown ? 'checked' : ''} aria-label="Show ${row.name}"><i></i>
${row.ids.length ? `<button type="button" data-select="${row.ids}" aria-pressed="${row.selected}">${row.name}</button>`
  : row.name}<small>${row.points}</small>
${row.things.length < 2 ? '' : `<span>${row.things.map((thing, i) => `<button type="button" data-select="${thing.id}"
  style="--colour:${thing.colour}" title="${thing.points} points" aria-pressed="${thing.selected}"
  aria-label="Select ${row.name} ${i + 1}">${i + 1}</button>`).join('')}</span>`}</li>`).join('')}</ul>`}"""


@dataclass
class Legend:
    """The widgets of the legend."""

    section: gr.Column
    sentence: gr.HTML
    list: gr.HTML
    alone: gr.Checkbox
    timer: gr.Timer

    def restored(self, visit: Visit) -> Updates:
        """Updates that bring the widgets to what is recognised in the visitor's scene."""
        scene, known = visit.session.scene, recognised_of(visit)
        return {
            self.section: gr.Column(visible=scene is not None and scene.labels is not None),
            self.timer: gr.Timer(active=bool(known.parts)),
            **self.shown(known),
        }

    def shown(self, known: Recognised) -> Updates:
        """What is shown and what is selected."""
        return {
            self.sentence: markup.quiet(_sentence(known)),
            self.list: {"rows": [_row(known, part) for part in known.parts], "version": known.version},
            self.alone: gr.Checkbox(known.alone, visible=bool(known.selected)),
        }


def layout() -> Legend:
    """Put the legend into the present panel."""
    with gr.Column(visible=False, elem_id="recognised", min_width=0) as section:
        gr.HTML('<h3 class="section">Recognised</h3>')
        rows = gr.HTML(None, html_template=LIST, js_on_load=Path(__file__).with_name("legend.js").read_text())
        sentence = gr.HTML("", elem_id="recognised-sentence")
        alone = gr.Checkbox(
            False, label="Files of the selection alone", container=False, visible=False, elem_id="selection-alone"
        )
        timer = gr.Timer(EVERY, active=False)
    return Legend(section, sentence, rows, alone, timer)


def wire(legend: Legend, token: gr.BrowserState, find: Callable[[str | None], Visit | None]) -> None:
    """Connect the legend with the scene of the visitor whose token the page holds."""
    everything = widgets(legend)

    def change(key: str, value: dict[str, Any]) -> Updates:
        visit = find(key)
        if visit is None:
            return {legend.sentence: gr.skip()}
        known = recognised_of(visit)
        if value.get("shown") is not None:
            known.show({int(label) for label in value["shown"]})
        elif value.get("select") is not None:
            known.toggle(frozenset(int(number) for number in value["select"]))
        return legend.shown(known)

    def take_alone(key: str, alone: bool) -> None:
        visit = find(key)
        if visit is not None:
            recognised_of(visit).alone = alone

    def look(key: str, value: dict[str, Any] | None) -> Updates:
        """Show what clicks in the scene have selected since the page was told last."""
        visit = find(key)
        known = visit.recognised if visit else None
        if known is None or (value or {}).get("version") == known.version:
            return {legend.sentence: gr.skip()}
        return legend.shown(known)

    live = {"outputs": everything, **LIVE}
    legend.list.input(change, [token, legend.list], **live)
    legend.alone.input(take_alone, [token, legend.alone], None, **LIVE)
    legend.timer.tick(look, [token, legend.list], **live)


def _row(known: Recognised, part: Part) -> dict[str, Any]:
    assert known.labels is not None
    colours = shades(known.labels)
    return {
        "label": part.label,
        "name": escape(part.name),
        "colour": _css(part.colour.tolist()),
        "points": f"{part.points:,}",
        "shown": known.shows(part),
        "ids": ",".join(str(segment.id) for segment in part.segments),
        "selected": bool(part.segments) and part.ids <= known.selected,
        "things": [
            {
                "id": segment.id,
                "colour": _css(colours[segment.id]),
                "points": f"{known.counts.get(segment.id, 0):,}",
                "selected": segment.id in known.selected,
            }
            for segment in part.segments
        ],
    }


def _css(colour: list[int]) -> str:
    return "rgb({},{},{})".format(*colour)


def _sentence(known: Recognised) -> str:
    if not known.parts:
        return NOTHING
    if not known.selected:
        return HINT
    return f"{sum(known.counts.get(number, 0) for number in known.selected):,} points selected."
