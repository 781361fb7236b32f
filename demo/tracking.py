"""The tab of the tracks: points are clicked on a photo, and seen to follow through all frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from demo import markup
from demo.controls import LIVE
from demo.following import Following, Picks
from demo.pictures import address
from demo.trails import trails
from demo.visit import Visit
from recon import CARDS, InputError, Scene
from recon.models.base import spread

MAXIMUM_PICTURES = 48

Updates = dict[Any, Any]

# The marks have the colours of `demo.trails.colours`. All that they need is in the value: Gradio now and then loses
# other properties of a widget that appears.
MARKS = """${!value ? '' : `
<div class="pick" style="--ratio:${value.width / value.height}" role="img" aria-label="Points on the photo">
${value.points.map(([x, y], i) => `<i style="left:${100 * x / value.width}%;top:${100 * y / value.height}%;` +
  `--colour:hwb(${300 * x / value.width}deg ${45 - 45 * y / value.height}% 0%)">` +
  (value.points.length > 30 ? '' : `<b>${i + 1}</b>`) + '</i>').join('')}</div>`}"""


@dataclass
class Tracking:
    """The widgets of the tab."""

    sentence: gr.HTML
    frame: gr.Slider
    photo: gr.HTML
    points: gr.HTML
    follow: gr.Button
    cancel: gr.Button
    find: gr.Button
    clear: gr.Button
    lines: gr.Checkbox
    status: gr.HTML
    pictures: gr.HTML

    def restored(self, visit: Visit) -> Updates:
        """Updates that bring the widgets to what the visitor clicked and saw followed."""
        picks = picks_of(visit)
        ready = picks is not None and _hindrance(picks.scene) == ""
        if picks is None or not ready:
            return {
                self.sentence: markup.quiet(_hindrance(visit.session.scene)),
                self.status: "",
                self.pictures: "",
                self.photo: "",
                self.points: None,
                **{widget: type(widget)(visible=False) for widget in self._tools()},
            }
        count = len(picks.scene.frames)
        return {
            self.sentence: markup.quiet("Click points on the photo, then press Follow. A click on a point removes it."),
            self.frame: gr.Slider(maximum=count, value=picks.frame + 1, visible=True),
            self.lines: gr.Checkbox(value=picks.lines, visible=True),
            **self.shown(picks),
            **self.ended(picks),
        }

    def shown(self, picks: Picks) -> Updates:
        """The chosen photo and its points."""
        frame = picks.scene.frames[picks.frame]
        width, height = frame.size
        picture = address(frame.image, 90)
        return {
            self.photo: f'<img style="--ratio:{width / height}" src="{picture}" alt="The chosen photo">',
            self.points: {
                "frame": picks.frame,
                "points": picks.points(picks.frame),
                "width": width,
                "height": height,
            },
            self.pictures: _pictures(picks),
            **self.buttons(picks),
        }

    def buttons(self, picks: Picks) -> Updates:
        """What can be done about the points."""
        fresh, active = bool(picks.fresh.get(picks.frame)), picks.active
        return {
            self.follow: gr.Button(visible=not active, interactive=fresh),
            self.cancel: gr.Button(visible=active, interactive=True),
            self.find: gr.Button(visible=True, interactive=not active),
            self.clear: gr.Button(visible=True, interactive=not active and bool(picks.points(picks.frame))),
        }

    def ended(self, picks: Picks) -> Updates:
        """What became of the last run."""
        run = picks.following
        if run is None:
            return {self.status: ""}
        if run.active:
            return {self.status: _line(run)}
        if run.state == "failed":
            return {self.status: markup.failed(run.error)}
        return {self.status: _done(picks, run) if run.state == "done" else markup.quiet("Stopped.")}

    def _tools(self) -> list[Any]:
        return [self.frame, self.follow, self.cancel, self.find, self.clear, self.lines]


def layout() -> Tracking:
    """Put the widgets into the present tab."""
    sentence = gr.HTML(markup.quiet(_hindrance(None)), elem_id="track-sentence")
    frame = gr.Slider(1, 2, 1, step=1, label="Photo", visible=False, buttons=[], elem_id="track-frame")
    with gr.Column(elem_id="track-photo", min_width=0):
        photo = gr.HTML("")
        clicks = Path(__file__).with_name("points.js").read_text()
        points = gr.HTML(None, html_template=MARKS, js_on_load=clicks, elem_id="track-points")
    with gr.Row(elem_id="track-tools"):
        follow = gr.Button("Follow", variant="primary", size="sm", visible=False, min_width=90, elem_id="follow")
        cancel = gr.Button("Cancel", variant="stop", size="sm", visible=False, min_width=90, elem_id="track-cancel")
        find = gr.Button("Find points for me", size="sm", visible=False, min_width=140, elem_id="find-points")
        clear = gr.Button("Clear", size="sm", visible=False, min_width=70, elem_id="clear-points")
        lines = gr.Checkbox(True, label="Lines in 3D", container=False, visible=False, min_width=110, elem_id="lines")
    status = gr.HTML("", elem_id="track-status")
    pictures = gr.HTML("", elem_id="trails")
    return Tracking(sentence, frame, photo, points, follow, cancel, find, clear, lines, status, pictures)


def picks_of(visit: Visit) -> Picks | None:
    """What was clicked in the visitor's present scene; None before there is one."""
    scene = visit.session.scene
    if scene is None:
        visit.picks = None
    elif visit.picks is None or visit.picks.scene is not scene:
        visit.picks = Picks(scene)
    return visit.picks


def wire(tracking: Tracking, token: gr.BrowserState, find: Callable[[str | None], Visit | None]) -> None:
    """Connect the tab with the scene of the visitor whose token the page holds."""
    everything = [getattr(tracking, name) for name in Tracking.__dataclass_fields__]

    def present(key: str | None) -> tuple[Visit, Picks] | None:
        visit = find(key)
        picks = picks_of(visit) if visit else None
        return (visit, picks) if visit and picks and _hindrance(picks.scene) == "" else None

    def click(key: str, value: dict[str, Any] | None) -> Updates:
        here = present(key)
        if here is None or not value or not 0 <= value["frame"] < len(here[1].scene.frames):
            return {tracking.status: gr.skip()}
        visit, picks = here
        dropped = picks.place(value["frame"], value["points"])
        if dropped:
            visit.session.viewer.show_tracks(picks.scene)
        pictures = {tracking.pictures: _pictures(picks)} if dropped else {}
        return {**tracking.buttons(picks), **pictures}

    def clear(key: str) -> Updates:
        here = present(key)
        if here is None:
            return {tracking.status: gr.skip()}
        visit, picks = here
        if picks.place(picks.frame, []):
            visit.session.viewer.show_tracks(picks.scene)
        return {**tracking.shown(picks), tracking.status: ""}

    def choose(key: str, number: float) -> Updates:
        here = present(key)
        if here is None or not 1 <= number <= len(here[1].scene.frames):
            return {tracking.status: gr.skip()}
        here[1].frame = int(number) - 1
        return tracking.shown(here[1])

    def show_lines(key: str, lines: bool) -> None:
        here = present(key)
        if here is not None:
            here[1].lines = lines
            here[0].session.viewer.set_tracks_visible(lines)

    def cancel(key: str) -> Updates:
        here = present(key)
        if here is None or not here[1].active:
            return {tracking.cancel: gr.skip()}
        here[0].session.cancel.set()
        return {tracking.cancel: gr.Button(interactive=False)}

    def starter(finding: bool) -> Callable[[str], AsyncIterator[Updates]]:
        async def start(key: str) -> AsyncIterator[Updates]:
            here = present(key)
            if here is None:
                yield {tracking.status: markup.failed("This scene is gone: reload the page.")}
                return
            visit, picks = here
            if not picks.active:
                run = Following(visit.session, picks, picks.frame, finding)
                try:
                    if not run.start():
                        raise InputError("A run is under way: wait for its end, then follow points.")
                except InputError as error:
                    yield {tracking.status: markup.failed(str(error))}
                    return
                picks.following = run
            async for updates in watch(picks):
                yield updates

        return start

    async def resume(key: str) -> AsyncIterator[Updates]:
        here = present(key)
        yield {tracking.status: gr.skip()}
        if here is not None and here[1].active:
            async for updates in watch(here[1]):
                yield updates

    async def watch(picks: Picks) -> AsyncIterator[Updates]:
        yield tracking.buttons(picks)
        run, said = picks.following, ""
        while run is not None and run.active:
            if (line := _line(run)) != said:
                said = line
                yield {tracking.status: line}
            await asyncio.sleep(0.05)
        yield {**await asyncio.to_thread(tracking.shown, picks), **tracking.ended(picks)}

    lasting: dict[str, Any] = {
        "outputs": everything, "concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip
    tracking.points.input(click, [token, tracking.points], everything, **LIVE)
    tracking.frame.input(choose, [token, tracking.frame], everything, **LIVE)
    tracking.clear.click(clear, token, everything, **LIVE)
    tracking.lines.input(show_lines, [token, tracking.lines], None, **LIVE)
    tracking.cancel.click(cancel, token, everything, **LIVE)
    tracking.follow.click(starter(False), token, trigger_mode="once", **lasting)
    tracking.find.click(starter(True), token, trigger_mode="once", **lasting)
    token.change(resume, token, **lasting)


# --- what the tab says ---------------------------------------------------------------------------------------------


def _hindrance(scene: Scene | None) -> str:
    """Why no points can be followed through ``scene``, in a sentence; empty where they can."""
    if scene is None:
        return "Points that you click on a photo are followed through all others, once there is a scene."
    card = CARDS.get(scene.model)
    if card is None or "tracks" not in card.gives:
        able = ", ".join(other.title for other in CARDS.values() if "tracks" in other.gives)
        name = card.title if card else "The model of this scene"
        return f"{name} does not follow points: reconstruct with a model that does ({able})."
    if len(scene.frames) < 2:
        return "There is only one photo: add more, and points can be followed from one to the next."
    return ""


def _line(run: Following) -> str:
    """Where a run stands; how long it takes nobody has planned."""
    if run.update is None or run.session.cancel.is_set():
        return markup.running(run)
    return markup.busy(run.update.stage, run.update.fraction, run.update.message)


def _done(picks: Picks, run: Following) -> str:
    tracks = picks.followed(run.frame)
    if tracks is None:
        return markup.quiet("No points are followed.")
    seen = tracks.seen().sum(0)
    return (
        f'<div class="status done" role="status"><b>{markup.count(len(seen), "point")} followed</b> in '
        f"{markup.duration(run.seconds)}; on average each is seen in {seen.mean():.1f} of "
        f"{markup.count(len(picks.scene.frames), 'photo')}.</div>"
    )


def _pictures(picks: Picks) -> str:
    """All frames, or some spread evenly, with the tracks that began on the chosen photo."""
    tracks, frames = picks.followed(picks.frame), picks.scene.frames
    if tracks is None:
        return ""
    shown = sorted({*spread(len(frames), MAXIMUM_PICTURES), picks.frame})
    cells = [
        f'<figure{" class=here" if i == picks.frame else ""}><img src="{address(trails(tracks, frames, i), 80)}" '
        f'alt="Points in photo {i + 1}"><figcaption>{i + 1}<span>{escape(frames[i].name)}</span></figcaption></figure>'
        for i in shown
    ]
    part = f'<p class="hint">{len(shown)} of {len(frames)} photos</p>' if len(shown) < len(frames) else ""
    return f'<div class="trails">{"".join(cells)}</div>{part}'
