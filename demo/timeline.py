"""The bar below the scene: time runs, stands still, and goes back; there only for scenes that have time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.controls import LIVE
from demo.playback import SPEED, Playback
from demo.visit import Visit
from recon import Scene
from recon.timeline import has_time

SPEEDS = (1, 2, 5, 10, 15, 24, 30, 60)
SHORT, WHOLE = 5, 10_000  # moments of a trail
TRAILS = {"No trail": 0, "Short trail": SHORT, "Whole trail": WHOLE}
ABREAST = 0.1  # seconds between two looks at where the time is

Updates = dict[Any, Any]


@dataclass
class Timeline:
    """The widgets of the bar."""

    bar: gr.Column
    play: gr.Button
    pause: gr.Button
    frame: gr.Slider
    where: gr.HTML
    speed: gr.Dropdown
    trail: gr.Dropdown
    loop: gr.Checkbox
    everything: gr.Checkbox

    def restored(self, visit: Visit) -> Updates:
        """Updates that bring the widgets to what the visitor sees."""
        scene = visit.session.scene
        if scene is None or not has_time(scene):
            return {self.bar: gr.Column(visible=False)}
        playback = visit.session.viewer.playback
        return {
            self.bar: gr.Column(visible=True),
            self.speed: playback.speed,
            self.trail: playback.moment.trail,
            self.loop: playback.loop,
            self.frame: gr.Slider(maximum=len(scene.frames), value=_number(playback)),
            **self.state(scene, playback),
        }

    def now(self, scene: Scene, playback: Playback) -> Updates:
        """Where the time is."""
        return {self.frame: _number(playback), self.where: _where(scene, playback)}

    def state(self, scene: Scene, playback: Playback) -> Updates:
        """Whether time runs; the slider is left alone, since somebody may hold it."""
        return {
            self.play: gr.Button(visible=not playback.playing),
            self.pause: gr.Button(visible=playback.playing),
            self.where: _where(scene, playback),
            self.everything: playback.moment.frame is None,
        }


def layout() -> Timeline:
    """Put the bar below the scene."""
    with gr.Column(visible=False, elem_id="timeline", min_width=0) as bar:
        with gr.Row(elem_classes="line"):
            play = gr.Button("▶ Play", size="sm", min_width=84, elem_id="play")
            pause = gr.Button("❚❚ Pause", size="sm", min_width=84, visible=False, elem_id="pause")
            frame = gr.Slider(
                1, 2, 1, step=1, label="Frame", show_label=False, container=False, buttons=[], elem_id="moment"
            )
            where = gr.HTML("", elem_id="where", padding=False)
        with gr.Row(elem_classes="line"):
            speed = gr.Dropdown(
                [(f"{speed} frames/s", float(speed)) for speed in SPEEDS], value=SPEED, show_label=False, min_width=0,
                container=False, filterable=False, elem_id="speed", label="Speed",
            )  # fmt: skip
            trail = gr.Dropdown(
                list(TRAILS.items()), value=0, show_label=False, container=False, filterable=False, min_width=0,
                elem_id="trail", label="Trail of moving things",
            )  # fmt: skip
            loop = gr.Checkbox(True, label="Repeat", container=False, min_width=0, elem_id="loop")
            everything = gr.Checkbox(True, label="All frames at once", container=False, min_width=0, elem_id="all")
    return Timeline(bar, play, pause, frame, where, speed, trail, loop, everything)


def wire(timeline: Timeline, token: gr.BrowserState, find: Callable[[str | None], Visit | None]) -> None:
    """Connect the bar with the viewer of the visitor whose token the page holds."""
    everything = [getattr(timeline, name) for name in Timeline.__dataclass_fields__]

    def present(key: str | None) -> tuple[Scene, Playback] | None:
        visit = find(key)
        scene = visit.session.scene if visit else None
        return (scene, visit.session.viewer.playback) if visit and scene is not None and has_time(scene) else None

    def changing(change: Callable[[Playback, Any], None]) -> Callable[[str, Any], Updates]:
        def changed(key: str, value: Any = None) -> Updates:
            here = present(key)
            if here is None:
                return {timeline.where: gr.skip()}
            change(here[1], value)
            return timeline.state(*here)

        return changed

    async def play(key: str) -> AsyncIterator[Updates]:
        here = present(key)
        yield {timeline.where: gr.skip()}  # of a generator that yields nothing Gradio empties all outputs
        if here is not None:
            here[1].play()
            async for updates in keep_abreast(*here):
                yield updates

    async def resume(key: str) -> AsyncIterator[Updates]:
        here = present(key)
        yield {timeline.where: gr.skip()}
        if here is not None and here[1].playing:
            async for updates in keep_abreast(*here):
                yield updates

    async def keep_abreast(scene: Scene, playback: Playback) -> AsyncIterator[Updates]:
        yield timeline.state(scene, playback)
        said = None
        while playback.playing:
            if playback.moment.frame != said:
                said = playback.moment.frame
                yield timeline.now(scene, playback)
            await asyncio.sleep(ABREAST)
        yield {**timeline.state(scene, playback), **timeline.now(scene, playback)}

    def all_at_once(playback: Playback, yes: bool) -> None:
        playback.seek(None if yes else 0)

    lasting: dict[str, Any] = {
        "outputs": everything, "concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip
    timeline.play.click(play, token, trigger_mode="once", **lasting)
    token.change(resume, token, **lasting)
    timeline.pause.click(changing(lambda playback, _: playback.pause()), token, everything, **LIVE)
    for widget, change in (
        (timeline.frame, lambda playback, number: playback.seek(int(number) - 1)),
        (timeline.speed, lambda playback, speed: setattr(playback, "speed", float(speed))),
        (timeline.trail, lambda playback, length: playback.trail(int(length))),
        (timeline.loop, lambda playback, yes: setattr(playback, "loop", bool(yes))),
        (timeline.everything, all_at_once),
    ):
        widget.input(changing(change), [token, widget], everything, **LIVE)


def _number(playback: Playback) -> int:
    """The present frame, counted from 1."""
    return (playback.moment.frame or 0) + 1


def _where(scene: Scene, playback: Playback) -> str:
    """Where the time is, in words."""
    frame = playback.moment.frame
    if frame is None or frame >= len(scene.frames):
        return f"all {len(scene.frames)}"
    seconds = scene.frames[frame].time
    return f"{frame + 1} of {len(scene.frames)}" + ("" if seconds is None else f" · {seconds:.2f} s")
