"""ONE port: Gradio launches the page at /, and routes added to its app lead to each visitor's viewer.

``/viewer/<token>/`` is that viewer's page and ``/viewer/<token>`` its websocket. Viewers listen on the loopback
interface only; whoever does not know a token finds nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import hashlib
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read by these libraries when they are imported: nobody is told that Parallax runs.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import httpx
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from demo import models
from demo.session import Session, Sessions
from recon.errors import InputError
from recon.models import CARDS

if TYPE_CHECKING:
    import gradio

log = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 7860
UNKNOWN, GONE = 4404, 1012  # close codes: no such viewer; the viewer is no more
TOUCH = 30.0  # seconds between two signs of life of a connected viewer
CACHE_SWEEP, CACHE_AGE = 600, 3600  # seconds: how often Gradio's copies are looked over, how old they may get

# The page has the controls, so viser's panel and notices go; and the canvas, which is clear, gets the page's colours.
SKIN = b"""<style>
#root .mantine-Paper-root, .mantine-Notification-root { display: none !important }
[data-dock-root] { background: radial-gradient(120% 90% at 50% 35%, #263149, #121826 60%, #0b0f17) }
</style>"""


@dataclass(frozen=True)
class Running:
    """A server at work.

    Attributes:
        url: where the page is.
        share_url: the public address, or None.
        sessions: the visitors.
    """

    url: str
    share_url: str | None
    sessions: Sessions


@contextlib.contextmanager
def running(
    host: str = HOST,
    port: int = PORT,
    share: bool = False,
    root: Path | None = None,
    build: Callable[[Sessions], gradio.Blocks] | None = None,
    quiet: bool = True,
    **sessions_options: Any,
) -> Iterator[Running]:
    """Serve until the block is left; then all sessions are closed and their files deleted.

    Args:
        host: address to listen on.
        port: 0 for any free one.
        share: also open a public tunnel through Gradio's service.
        root: folder for the visitors' folders, for `Sessions`; it must lie in the system's temporary folder.
        build: makes the page; None for `demo.page.build`.
        quiet: do not tell the address on the terminal.
        sessions_options: further arguments of `Sessions`.

    Raises:
        InputError: the address cannot be listened on.
    """
    _check_free(host, port)
    port = port or _free_port()
    sessions = Sessions(root, **sessions_options)
    with tempfile.TemporaryDirectory(prefix="parallax-uploads-") as cache, _environment("GRADIO_TEMP_DIR", cache):
        try:
            from demo import page

            blocks = (build or page.build)(sessions)
            blocks.delete_cache = blocks.delete_cache or (CACHE_SWEEP, CACHE_AGE)
            app, url, share_url = blocks.launch(
                server_name=host, server_port=port, share=share, prevent_thread_lock=True, ssr_mode=False,
                show_error=False, enable_monitoring=False, quiet=quiet, **page.launch_options(),
            )  # fmt: skip
            # deflating megabytes of coordinates would only hold up everybody else
            blocks.server.config.ws_per_message_deflate = False
            app.router.routes[:0] = routes(sessions)
            try:
                yield Running(url, share_url, sessions)
            finally:
                blocks.close(verbose=False)
        finally:
            sessions.close()


def serve(host: str = HOST, port: int = PORT, share: bool = False, streams: bool = False) -> int:
    """Serve until the process is interrupted or told to end.

    ``streams`` tells whether visitors may have this machine open addresses; see `recon.live`.

    Raises:
        InputError: the address cannot be listened on.
    """
    import pycolmap  # noqa: F401  (its import takes the signals for itself, so it must come before we take them)

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with running(host, port, share, quiet=False, streams=streams):
        threading.Thread(target=_warm_up).start()  # no daemon: one that is inside of torch while Python ends aborts it
        stop.wait()
    return 0


def _warm_up() -> None:
    """Load the first model while the visitor is still looking for photos."""
    with contextlib.suppress(InputError):  # the run that needs it says so
        models.load(next(iter(CARDS)))


def add_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``parallax serve``."""
    parser = subparsers.add_parser("serve", help="open the page in which photos become a scene")
    add_arguments(parser)
    parser.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`; the environment's defaults are those that Gradio takes."""
    host = os.environ.get("GRADIO_SERVER_NAME", HOST)
    port = int(os.environ.get("GRADIO_SERVER_PORT", PORT))
    parser.add_argument("--host", default=host, help=f"address to listen on; 0.0.0.0 lets others in (default {host})")
    parser.add_argument("--port", type=int, default=port, help=f"0 takes any free one (default {port})")
    parser.add_argument("--share", action="store_true", help="also open a public address through Gradio's tunnel")
    parser.add_argument(
        "--weights", type=_weights, action="append", default=[], metavar="MODEL=FILE",
        help="a checkpoint on this machine to use for a model, which is then not downloaded; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--streams", action=argparse.BooleanOptionalAction,
        help="let visitors have this machine open the addresses of live streams, its own network's included (default: "
        "only on a page that is neither shared nor listens beyond this machine; say --no-streams behind a proxy)",
    )  # fmt: skip


def _weights(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if name not in CARDS or not path:
        raise argparse.ArgumentTypeError(f"'{text}' is not MODEL=FILE, where MODEL is {' or '.join(CARDS)}")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"there is no file '{path}'")
    return name, Path(path)


def run(arguments: argparse.Namespace) -> int:
    """Do what ``parallax serve`` says."""
    models.use_local(dict(arguments.weights))
    streams = may_stream(arguments.host, arguments.share, arguments.streams)
    return serve(arguments.host, arguments.port, arguments.share, streams)


def may_stream(host: str, share: bool, said: bool | None) -> bool:
    """Whether visitors may have this machine open addresses: as was ``said``, else where none but its own come."""
    return (host in ("127.0.0.1", "localhost", "::1") and not share) if said is None else said


# --- routes to the viewers -------------------------------------------------------------------------------------------


def routes(sessions: Sessions) -> list[BaseRoute]:
    """The addresses under ``/viewer/`` and ``/live/``."""
    from demo import live  # its widgets bring Gradio, which must see this module's environment

    files = _Files()

    async def redirect(request: Request) -> Response:
        # relative, so that it also holds under a prefix that a proxy has cut off
        return RedirectResponse(f"{request.path_params['token']}/")

    async def page(request: Request) -> Response:
        session = sessions.get(request.path_params["token"])
        if session is None:
            return Response("There is no such viewer.", 404)
        return await files.answer(request, session)

    async def channel(websocket: WebSocket) -> None:
        session = sessions.get(websocket.path_params["token"])
        if session is None:
            await websocket.accept(_first(websocket.scope["subprotocols"]))
            await websocket.close(UNKNOWN)
        else:
            await _tunnel(websocket, session)

    return [
        WebSocketRoute("/viewer/{token}", channel),
        Route("/viewer/{token}", redirect),
        Route("/viewer/{token}/{path:path}", page),
        *live.routes(sessions),
    ]


class _Files:
    """The files of viser's page. All viewers serve the same, so what one has given is kept."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, str, bytes]] = {}  # path -> type, tag, gzipped

    async def answer(self, request: Request, session: Session) -> Response:
        path = request.path_params["path"]
        if ".." in path.split("/"):
            return Response("There is no such file.", 404)
        if path not in self._kept:
            viewer = await asyncio.to_thread(lambda: session.viewer)
            async with httpx.AsyncClient(trust_env=False) as client:
                given = await client.get(httpx.URL(f"http://127.0.0.1:{viewer.port}").copy_with(path=f"/{path}"))
            if given.status_code != 200:
                return Response("There is no such file.", given.status_code)
            body = given.content.replace(b"</head>", SKIN + b"</head>", 1)
            tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
            self._kept[path] = given.headers["content-type"], tag, gzip.compress(body)
        media_type, tag, body = self._kept[path]
        headers = {
            "ETag": tag,
            "Cache-Control": "private, max-age=86400",
            "Vary": "Accept-Encoding",
            "Referrer-Policy": "no-referrer",  # the address is the key
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            body = gzip.decompress(body)
        return Response(body, headers=headers, media_type=media_type)


async def _tunnel(websocket: WebSocket, session: Session) -> None:
    """Carry messages between a browser and its viewer, both ways, until either leaves."""
    offered = [Subprotocol(name) for name in websocket.scope["subprotocols"]]
    try:
        viewer = await asyncio.to_thread(lambda: session.viewer)
        upstream = await connect(
            f"ws://127.0.0.1:{viewer.port}", subprotocols=offered or None, compression=None, max_size=None,
            max_queue=2, proxy=None, ping_interval=None, close_timeout=1,
        )  # fmt: skip
    except (RuntimeError, OSError, InvalidHandshake):  # the session ends at this moment
        await websocket.accept(_first(websocket.scope["subprotocols"]))
        await websocket.close(GONE)
        return
    session.enter()
    try:
        await websocket.accept(upstream.subprotocol)
        await _first_to_end(_down(upstream, websocket), _up(websocket, upstream), _signs_of_life(session))
    finally:
        session.leave()
        await upstream.close()
        if websocket.client_state is WebSocketState.CONNECTED:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it has left in this moment
                code = upstream.close_code
                unsendable = (CloseCode.NO_STATUS_RCVD, CloseCode.ABNORMAL_CLOSURE)
                await websocket.close(GONE if code is None or code in unsendable else code)


async def _down(upstream: ClientConnection, websocket: WebSocket) -> None:
    # each message is awaited, so a slow browser slows its viewer down and nothing piles up here
    with contextlib.suppress(ConnectionClosed, WebSocketDisconnect):
        async for message in upstream:
            if isinstance(message, bytes):
                await websocket.send_bytes(message)
            else:
                await websocket.send_text(message)


async def _up(websocket: WebSocket, upstream: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while (message := await websocket.receive())["type"] == "websocket.receive":
            await upstream.send(message["text"] if message.get("bytes") is None else message["bytes"])


async def _signs_of_life(session: Session) -> None:
    while True:
        session.touch()
        await asyncio.sleep(TOUCH)


async def _first_to_end(*work: Awaitable[None]) -> None:
    """Run all until one ends, then stop the others; an exception of the one that ended is raised."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _first(names: list[str]) -> str | None:
    return names[0] if names else None


# --- surroundings ----------------------------------------------------------------------------------------------------


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OverflowError as error:
        raise InputError(f"There is no port {port}: choose one from 0 to 65535.") from error
    except OSError as error:
        raise InputError(
            f"Cannot listen on {host}:{port} ({error.strerror}): choose another --host or --port."
        ) from error


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    former = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if former is None:
            del os.environ[name]
        else:
            os.environ[name] = former
