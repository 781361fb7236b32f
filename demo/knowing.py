"""What the visitor knows already: cameras and depth dropped beside the photos, and compared with what was found."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from demo import markup, uploads
from demo.controls import LIVE
from demo.given import COLOUR, compared
from demo.visit import Visit
from demo.widgets import widgets
from recon import CARDS
from recon.known import Row
from recon.models import unheeded

HINT = (
    '<p class="hint">A COLMAP model, a transforms.json, tables of cameras, depth maps; of Polycam, 3D Scanner App and '
    "Record3D a zip. Matched with the photos by name.</p>"
)
LOST = "These files could not be kept: make room on the disk, then drop them again."
MOST_ROWS = 200

log = logging.getLogger(__name__)

Updates = dict[Any, Any]


@dataclass
class Comparing:
    """The widgets beside the scene."""

    legend: gr.HTML
    tick: gr.Checkbox


@dataclass
class Knowing:
    """The widgets of the panel beside the photos, and those beside the scene."""

    comparing: Comparing
    files: gr.File
    folder: gr.UploadButton
    said: gr.HTML
    table: gr.HTML
    depth_scale: gr.Number
    metric: gr.Checkbox
    exif: gr.Checkbox
    clear: gr.Button

    def restored(self, visit: Visit) -> Updates:
        """Updates that bring the widgets to what the visitor gave and what was understood of it."""
        knowledge = visit.knowledge
        known, kinds = knowledge.known, _kinds(visit)
        return {
            self.said: _said(visit),
            self.table: _table(known.rows) if known and kinds else "",
            self.depth_scale: gr.Number(knowledge.depth_scale, visible=knowledge.may_hold_depth),
            self.metric: gr.Checkbox(knowledge.metric, visible=bool(kinds & {"poses", "depth"})),
            self.exif: gr.Checkbox(
                knowledge.exif, visible=any(view.focal_prior is not None for view in visit.media.views)
            ),
            self.clear: gr.Button(visible=bool(knowledge.files)),
        }

    def heeded(self, visit: Visit) -> Updates:
        """What is said again where another model is chosen."""
        return {self.said: _said(visit)}

    def compared(self, visit: Visit) -> Updates:
        """How the given cameras lie to those that were found."""
        scene, comparison = visit.session.scene, compared(visit.session.scene)
        words = "" if scene is None or comparison is None else comparison.in_words(len(scene.frames))
        return {
            self.comparing.legend: _legend(words) if words else "",
            self.comparing.tick: gr.Checkbox(visit.knowledge.shown, visible=bool(words)),
        }


def beside_scene() -> Comparing:
    """Put the tick and the legend into the present panel."""
    tick = gr.Checkbox(True, label="Given cameras", visible=False, container=False, elem_id="given")
    return Comparing(gr.HTML("", elem_id="legend"), tick)


def layout() -> Callable[[Comparing], Knowing]:
    """Put the panel into the present column, folded; the answer makes the group once the rest of it stands."""
    with gr.Accordion("I also know", open=False, elem_id="know"):
        gr.HTML(HINT)
        files = gr.File(
            file_count="multiple", label="What is known", show_label=False, height=64, elem_id="known-files"
        )  # fmt: skip
        folder = gr.UploadButton("Choose a folder", file_count="directory", size="sm", elem_id="known-folder")
        said = gr.HTML("", elem_id="known-said")
        table = gr.HTML("", elem_id="known-table")
        depth_scale = gr.Number(
            None, label="A depth value of 1 is", info="In units of the poses; 0.001 for millimetres in metres.",
            visible=False, elem_id="depth-scale",
        )  # fmt: skip
        metric = gr.Checkbox(False, label="These are metres", visible=False, container=False, elem_id="known-metric")
        exif = gr.Checkbox(
            False, label="Trust the focal lengths of the EXIF data", visible=False, container=False, elem_id="exif"
        )
        clear = gr.Button("Forget what I know", size="sm", visible=False, elem_id="clear-known")
    return lambda comparing: Knowing(comparing, files, folder, said, table, depth_scale, metric, exif, clear)


def wire(knowing: Knowing, token: gr.BrowserState, find: Callable[[str | None], Visit | None]) -> list[Any]:
    """Connect the panel with the photos of the visitor whose token the page holds.

    Returns:
        The events after which a run may take other views.
    """
    everything = widgets(knowing)

    async def drop(key: str, uploaded: str | Sequence[str] | None) -> AsyncIterator[Updates]:
        visit = find(key)
        yield {knowing.files: None}
        if visit is None or not uploaded:
            return
        names = [uploaded] if isinstance(uploaded, str) else list(uploaded)
        try:
            async for fraction, name in uploads.watch(partial(visit.knowledge.add, names, visit.media.views)):
                yield {knowing.said: markup.busy("Reading what you know", fraction, name)}
        except OSError:
            log.exception("files of what is known cannot be kept")
            yield {**knowing.restored(visit), knowing.said: markup.failed(LOST)}
            return
        yield knowing.restored(visit)

    def handler(work: Callable[..., None]) -> Callable[..., Updates]:
        def handled(key: str, *values: Any) -> Updates:
            visit = find(key)
            if visit is None:
                return {knowing.said: gr.skip()}
            work(visit, *values)
            return knowing.restored(visit)

        return handled

    def say(visit: Visit, scale: float | None, metric: bool, exif: bool) -> None:
        knowledge = visit.knowledge
        knowledge.depth_scale, knowledge.metric, knowledge.exif = scale or None, metric, exif
        knowledge.understand(visit.media.views)

    def show(key: str, shown: bool) -> None:
        if visit := find(key):
            visit.knowledge.shown = shown
            visit.session.viewer.set_given_visible(shown)

    lasting: dict[str, Any] = {
        "outputs": everything, "concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip
    knowing.comparing.tick.input(show, [token, knowing.comparing.tick], None, **LIVE)
    saying = [token, knowing.depth_scale, knowing.metric, knowing.exif]
    return [
        knowing.files.upload(drop, [token, knowing.files], **lasting),
        knowing.folder.upload(drop, [token, knowing.folder], **lasting),
        knowing.depth_scale.input(handler(say), saying, everything, **LIVE),
        knowing.metric.input(handler(say), saying, everything, **LIVE),
        knowing.exif.input(handler(say), saying, everything, **LIVE),
        knowing.clear.click(handler(lambda visit: visit.knowledge.clear()), token, everything, **LIVE),
    ]


# --- what the panel says ---------------------------------------------------------------------------------------------


def _kinds(visit: Visit) -> set[str]:
    """What is known of any of the photos: "intrinsics", "poses", "depth"."""
    known = visit.knowledge.known
    parts = {"intrinsics": "intrinsics", "poses": "world_from_camera", "depth": "depth"}
    views = known.views if known else []
    return {kind for kind, part in parts.items() if any(getattr(view, part) is not None for view in views)}


def _said(visit: Visit) -> str:
    knowledge, kinds = visit.knowledge, _kinds(visit)
    if knowledge.said:
        return markup.failed(knowledge.said)
    if knowledge.files and not visit.media.views:
        names = ", ".join(list(knowledge.files)[:3]) + (", ..." if len(knowledge.files) > 3 else "")
        return markup.quiet(f"{names}: matched with the photos once there are some.")
    if knowledge.known is None:
        return ""
    card = CARDS[visit.model]
    lost = unheeded(card, knowledge.known.views)
    if "poses" in kinds.difference(card.heeds):
        lost += " Given cameras are drawn beside those it finds, all the same."
    notes = [*knowledge.known.notes, *([lost] if lost else [])]
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'{_summary(visit, kinds)}<ul class="known-notes">{items}</ul>' if notes else _summary(visit, kinds)


def _summary(visit: Visit, kinds: set[str]) -> str:
    assert visit.knowledge.known is not None
    rows = visit.knowledge.known.rows
    counts: dict[int, list[str]] = {}
    for kind, part in (("intrinsics", "intrinsics"), ("poses", "pose"), ("depth", "depth")):
        if kind in kinds:
            counts.setdefault(sum(bool(getattr(row, part)) for row in rows), []).append(kind)
    words = "; ".join(
        f"{_listed(alike)} of {'all photos' if count == len(rows) else markup.count(count, 'photo')}"
        for count, alike in counts.items()
    )
    words = f"Known: {words}" if words else "Nothing is known for certain yet."
    return f'<div class="status done" role="status">{words}</div>'


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Photo", "Intrinsics", "Pose", "Depth", "From"))
    body = "".join(
        f'<tr><th scope="row">{number}<span>{escape(row.name)}</span></th>'
        + "".join(f"<td>{escape(cell) or '–'}</td>" for cell in (row.intrinsics, row.pose, row.depth, row.source))
        + "</tr>"
        for number, row in enumerate(rows[:MOST_ROWS], start=1)
    )
    more = f'<p class="hint">and {len(rows) - MOST_ROWS} more</p>' if len(rows) > MOST_ROWS else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="known" tabindex="0">{table}</div>{more}'


def _legend(words: str) -> str:
    red, green, blue = COLOUR
    return (
        f'<p class="legend"><i></i>found <i style="--key:rgb({red},{green},{blue})"></i>given</p>'
        f'<p class="hint">{escape(words)}</p>'
    )
