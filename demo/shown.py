"""What the widgets of the page show of a visit. Nothing happens here."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo import markup, models
from demo.layout import Parts
from demo.pictures import thumbnail
from demo.visit import Visit
from demo.widgets import widgets
from recon import CARDS, InputError
from recon.timeline import marked

Updates = dict[Any, Any]


def inputs(parts: Parts, visit: Visit) -> Updates:
    """The visitor's pictures, and what a run over them will take."""
    views = visit.media.views
    visit.knowledge.follow(views)
    pictures = markup.strip([thumbnail(view.image) for view in views], [view.name for view in views], visit.ticked)
    frames = visit.frames_per_video
    return {
        parts.strip: gr.HTML(pictures, visible=bool(views)),
        parts.ticked: visit.ticked,
        parts.video_frames: gr.Slider(visible=frames > 0, value=max(frames, 2)),
        parts.clear: gr.Button(visible=bool(views)),
        parts.notes: _notes(visit),
        **parts.knowing.restored(visit),
        **go(parts, visit),
    }


def model(parts: Parts, visit: Visit) -> Updates:
    """The chosen model: its card, its choices, and what is to be accepted before its weights are downloaded."""
    card = CARDS[visit.model]
    here = models.here(card)
    return {
        parts.model: visit.model,
        parts.card: markup.card(card, here),
        parts.terms: "" if here else markup.terms(card, *models.route()),
        parts.accept: gr.Checkbox(visit.model in visit.accepted, label=markup.agreement(card)),
        parts.choosing: gr.Column(elem_classes=[] if card.choices else ["gone"]),
        **parts.choices.restored(visit),
        **parts.live.restored(visit),
        **parts.knowing.heeded(visit),
        **buttons(parts, visit),
    }


def go(parts: Parts, visit: Visit) -> Updates:
    """What a run will take, and what begins it."""
    return {parts.plan: _plan(visit), **buttons(parts, visit)}


def buttons(parts: Parts, visit: Visit) -> Updates:
    """What begins a run, says so if that downloads something, and asks before it does; and what ends it."""
    here, working = models.here(CARDS[visit.model]), visit.working
    label = "Reconstruct" if here else "Download and reconstruct"
    return {
        parts.consent: gr.Column(visible=not here and not working),
        parts.run: gr.Button(label, interactive=visit.ready, visible=not working),
        parts.cancel: gr.Button(visible=working, interactive=not visit.session.cancel.is_set()),
        **parts.live.buttons(visit),
    }


def _plan(visit: Visit) -> str:
    if not visit.ticked:
        return markup.quiet("Tick at least one picture.") if visit.media.views else ""
    if visit.streamed is not None:
        return markup.reading_on(visit.streamed.name, visit.rate)
    views = [visit.views[i] for i in visit.ticked]
    try:
        return markup.plan(models.plan(visit.model, views, visit.options), len(views))
    except InputError as error:
        return markup.quiet(str(error))


def scene(parts: Parts, visit: Visit) -> Updates:
    """Everything about the scene the visitor has, or has not."""
    scene = visit.session.scene
    count = len(scene.frames) if scene else 0
    missing = set() if scene and scene.labels and scene.labels.segments else {"labels.zip"}
    return {
        parts.welcome: gr.HTML(visible=scene is None),
        parts.notes: _notes(visit),
        parts.frame: gr.Slider(maximum=max(count, 2), value=1, visible=count > 1),
        parts.figures: figures(visit, 1),
        **{
            button: gr.Button(interactive=count > 0, visible=suffix not in missing)
            for suffix, button in parts.downloads.items()
        },
        **parts.tracking.restored(visit),
        **parts.measuring.restored(visit),
        **parts.knowing.compared(visit),
        **parts.panel.restored(visit),
        **parts.painting.restored(visit),
        **moving(parts, visit),
        **parts.legend.restored(visit),
    }


def units(parts: Parts, visit: Visit, number: float) -> Updates:
    """What a scene of another scale says; the frame is counted from 1."""
    return {
        parts.notes: _notes(visit), parts.figures: figures(visit, number), **parts.knowing.compared(visit)
    }  # fmt: skip


def moving_widgets(parts: Parts) -> list[Any]:
    """The widgets that depend on whether anything tells what moves in the scene."""
    return [*widgets(parts.timeline), parts.panel.moving, parts.downloads["masks.zip"]]


def moving(parts: Parts, visit: Visit) -> Updates:
    """What can be done about time and about what moves."""
    scene = visit.session.scene
    known = scene is not None and marked(scene)
    return {
        **parts.timeline.restored(visit),
        parts.panel.moving: gr.Radio(value=visit.session.filters.moving, visible=known),
        parts.downloads["masks.zip"]: gr.Button(interactive=known, visible=known),
    }


def figures(visit: Visit, number: float) -> str:
    """Depth and confidence of a frame, counted from 1."""
    scene = visit.session.scene
    if scene is None or not 1 <= number <= len(scene.frames):
        return markup.quiet(markup.NO_FIGURES)
    return markup.figures(scene.frames[int(number) - 1], scene.metric, scene.labels)


def _notes(visit: Visit) -> str:
    scene = visit.session.scene
    return markup.notes(list(dict.fromkeys(visit.media.notes + (scene.notes if scene else []))))
