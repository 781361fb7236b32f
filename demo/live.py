"""The part of the page for pictures as they come: the visitor's webcam, or a stream at an address.

A browser's pictures are pushed to ``/live/<token>``, beside the viewers' addresses. An address is opened by this
machine, which is why a page that strangers can reach takes none, not even of hosts that look public: see `recon.live`,
and ``--streams`` of ``parallax serve``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from demo.session import Sessions
from demo.visit import Visit
from recon import CARDS, InputError, live
from recon.live import Live
from recon.models import Card

WEBCAM = "Webcam"
RATES = {"1": 1, "2": 2, "5": 5, "10": 10, "All": 0}
LARGEST = 8 << 20  # bytes of a picture that is pushed
NOBODY = "Nobody takes pictures."
FORBIDDEN = "This page opens no addresses for its visitors: use the webcam, or ask whoever runs it for --streams."

CAMERA = """
<div class="camera"><video playsinline muted hidden></video>
<div><button type="button">Start with the webcam</button></div>
<p role="status" class="hint"></p></div>
"""


class Pushed(Live):
    """Pictures that the visitor's browser pushes."""


@dataclass
class Parts:
    """The widgets."""

    part: gr.Column
    webcam: gr.Button
    address: gr.Textbox
    start: gr.Button
    rate: gr.Radio
    stop: gr.Button
    counts: gr.HTML

    def restored(self, visit: Visit) -> dict[Any, Any]:
        """Updates that show what there is to do, and what came."""
        return {
            self.part: gr.Column(elem_classes=_classes(CARDS[visit.model])),
            self.rate: visit.rate,
            self.counts: counts(visit),
            **self.buttons(visit),
        }

    def buttons(self, visit: Visit) -> dict[Any, Any]:
        """What begins and what ends it."""
        idle, under_way = visit.agreed and not visit.working, visit.working and visit.live is not None
        wanted = visit.live is not None and not visit.live.ended
        return {
            self.start: gr.Button(interactive=idle, visible=not under_way),
            self.stop: gr.Button(visible=under_way, interactive=wanted),
        }


def layout(streams: bool) -> Parts:
    """Put the part into the present column; ``streams`` tells whether visitors may name addresses."""
    first = next(iter(CARDS.values()))
    with gr.Column(elem_classes=_classes(first), elem_id="live", min_width=0) as part, gr.Accordion("Live", open=False):
        gr.HTML(CAMERA, js_on_load=Path(__file__).with_name("live.js").read_text())
        webcam = gr.Button("Begin with the webcam", visible="hidden", elem_id="live-webcam")  # live.js clicks it
        stop = gr.Button("Stop, and keep the scene", variant="stop", size="sm", visible=False, elem_id="live-stop")
        told = gr.HTML("", elem_id="live-counts")
        address = gr.Textbox(
            label="Or a stream's address", placeholder="rtsp://… or http://…", max_lines=1, visible=streams,
            elem_id="address",
        )  # fmt: skip
        with gr.Column(visible=streams, min_width=0):
            start = gr.Button("Start with the stream", size="sm", elem_id="live-start")
        rate = gr.Radio(
            list(RATES.items()), value=5, label="Of a video file", elem_id="live-rate",
            info="One alone is read while it is reconstructed; so many frames a second are taken.",
        )  # fmt: skip
    return Parts(part, webcam, address, start, rate, stop, told)


def _classes(card: Card) -> list[str]:
    # hidden by its looks, and never taken out of the page: of what comes anew Gradio now and then loses what moves it
    return [] if card.streams else ["gone"]


def counts(visit: Visit) -> str:
    """What became of the pictures that came, and what is remembered, as HTML; nothing before any source."""
    source, job = visit.live, visit.job
    if source is None:
        return ""
    numbers = {"seen": source.seen, "used": source.used, "dropped": source.dropped, "black": source.black}
    numbers["keyframes in memory"] = job.keyframes if job is not None else 0
    cells = "".join(
        f'<div data-count="{escape(name)}"><b>{number}</b> {escape(name)}</div>' for name, number in numbers.items()
    )
    rule = "Where a picture comes before the last was placed, the newest waits and the others are dropped."
    return f'<div class="counts" role="status">{cells}</div><p class="hint">{rule}</p>'


def opened(address: str, allowed: bool) -> Live:
    """The stream at an address that a visitor names.

    Raises:
        InputError: it is no such address, or visitors may name none.
    """
    if not allowed:
        raise InputError(FORBIDDEN)
    if "://" not in address:
        raise InputError("Give the address of a stream first, such as rtsp://192.168.1.20/stream.")
    return live.stream(address)


# --- pictures that a browser pushes --------------------------------------------------------------------------------


def routes(sessions: Sessions) -> list[BaseRoute]:
    """The addresses under ``/live/``."""

    async def take(request: Request) -> Response:
        session = sessions.get(request.path_params["token"])
        visit = session.memory if session is not None else None
        source = visit.live if visit is not None else None
        if not isinstance(source, Pushed) or source.ended:
            return PlainTextResponse(NOBODY, 409 if session is not None else 404)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST:
                return PlainTextResponse("This picture is too large.", 413)
        try:
            wanted = await asyncio.to_thread(push, source, bytes(body))
        except InputError as error:
            return PlainTextResponse(str(error), 400)
        return Response(status_code=204) if wanted else PlainTextResponse(NOBODY, 409)

    return [Route("/live/{token}", take, methods=["POST"])]


def push(source: Live, encoded: bytes) -> bool:
    """Give a picture, encoded as JPEG; False where none is wanted any more.

    Raises:
        InputError: it cannot be decoded, or is too small or too large.
    """
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded[:2] == b"\xff\xd8" else None
    if image is None:
        raise InputError("This is no JPEG picture.")
    return source.put(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
