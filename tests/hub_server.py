"""A small Hugging Face Hub on the loopback interface, and all that can go wrong with one.

It speaks what huggingface_hub needs to fetch files: HEAD and GET of ``/{repository}/resolve/{revision}/{file}`` with
commit, checksum and size, a redirect to the address of another host for large files, ranges, tokens and gates.

    python -m tests.hub_server --port 8123 --speed 2 --folder /tmp/hub
    HF_ENDPOINT=http://127.0.0.1:8123 HF_HOME=/tmp/home parallax serve

serves a reduced VGGT with stand-in weights as facebook/VGGT-1B and, for the token ``hf_reader``, as
facebook/VGGT-1B-Commercial; or, where the folder already holds ``owner/name/file``, those files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

COMMIT = "c0ffee" * 6 + "beef"
READER, STRANGER = "hf_reader", "hf_stranger"  # tokens: one may read gated repositories, one may not yet
PAGE = b"<!DOCTYPE html><html><body>Please log in to the network.</body></html>"
BEAT = 0.02  # seconds between the portions of a slow answer


@dataclass
class Faults:
    """What goes wrong, until it is set back.

    Attributes:
        status: of every answer to a question about a file.
        delivery: status of every answer with a large file's bytes.
        cuts: bytes after which the next answers break off, one each.
        stall: byte of a large file at which every answer falls silent, as long as this stands.
        corrupt: flip a bit in every answer.
        page: send a proxy's page with status 200 in place of "everything" or of a large file's "bytes".
        speed: bytes a second, or None for as fast as it goes.
        ranges: False for a server that knows no ranges.
        heads: False for a server that answers no question about a file without sending it.
    """

    status: int | None = None
    delivery: int | None = None
    cuts: list[int] = field(default_factory=list)
    stall: int | None = None
    corrupt: bool = False
    page: str | None = None
    speed: float | None = None
    ranges: bool = True
    heads: bool = True


@dataclass(frozen=True)
class Request:
    """What a client asked for; ``start`` is the first byte of a range, None without."""

    method: str
    path: str
    start: int | None
    token: str | None


class HubServer(ThreadingHTTPServer):
    """Serves ``folder/owner/name/file``, and ``folder/datasets/owner/name/file``; use it with ``with``.

    Attributes:
        faults: what goes wrong.
        requests: what was asked for so far.
        gated: repositories that want a token.
    """

    daemon_threads = True

    def __init__(self, folder: Path, gated: Iterable[str] = (), port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder, self.gated = folder, frozenset(gated)
        self.faults = Faults()
        self.requests: list[Request] = []
        self.closing = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, part: str, method: str = "GET") -> list[Request]:
        """The requests whose path has this part."""
        return [request for request in self.requests if request.method == method and part in request.path]

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what this server is for."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def setup(self) -> None:
        self.hub = cast(HubServer, self.server)
        super().setup()

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match else None
        self.hub.requests.append(Request(self.command, self.path, start, token))
        if self.command == "HEAD" and not self.hub.faults.heads:
            self._refuse(405)
        elif self.hub.faults.page == "everything":
            self._send(200, PAGE, {"Content-Type": "text/html"})
        elif match := re.fullmatch(r"/((?:datasets/)?[\w.-]+/[\w.-]+)/resolve/([\w.-]+)/([\w./-]+)", self.path):
            self._resolve(match[1], match[2], match[3], token)
        elif match := re.fullmatch(r"/delivery/([\w./-]+)", self.path):
            self._deliver(self.hub.folder / match[1], start)
        else:
            self._refuse(404)

    def _resolve(self, repository: str, revision: str, name: str, token: str | None) -> None:
        path = self.hub.folder / repository / name
        if self.hub.faults.status is not None:
            self._refuse(self.hub.faults.status)
        elif token is not None and token not in (READER, STRANGER):
            self._refuse(401, message="Invalid credentials in Authorization header")
        elif not path.parent.is_dir():
            self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif repository in self.hub.gated and token != READER:
            self._refuse(403 if token else 401, "GatedRepo", f"Access to model {repository} is restricted.")
        elif revision not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
        elif not path.is_file():
            self._refuse(404, "EntryNotFound", "Entry not found")
        elif path.suffix == ".json":
            content = path.read_bytes()
            checksum = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._send(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{checksum}"', "Content-Type": "text/plain"})
        else:
            headers = {
                "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(path.stat().st_size),
                "X-Linked-ETag": f'"{_sha256(path)}"',
                # another name of this host, as the Hub keeps large files on another host
                "Location": f"http://localhost:{self.hub.server_port}/delivery/{repository}/{name}",
            }
            self._send(302, b"", headers)

    def _deliver(self, path: Path, start: int | None) -> None:
        faults = self.hub.faults
        if faults.delivery is not None:
            return self._refuse(faults.delivery)
        if faults.page is not None:
            return self._send(200, PAGE, {"Content-Type": "text/html"})
        content = path.read_bytes()
        headers = {"Content-Type": "application/octet-stream"}
        if start is None or not faults.ranges:
            return self._send(200, content, headers)
        if start >= len(content):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._send(206, content[start:], headers, start)

    def _refuse(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, b"", {name: value for name, value in headers.items() if value})

    def _send(self, status: int, content: bytes, headers: dict[str, str], start: int = 0) -> None:
        faults = self.hub.faults
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or not content:
            return
        if faults.corrupt:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        large = self.path.startswith("/delivery/")
        end = min(len(content), faults.cuts.pop(0)) if large and faults.cuts else len(content)
        sent = 0
        while sent < end and not self.hub.closing.is_set():
            silence = end if faults.stall is None or not large else max(0, faults.stall - start)
            if sent >= silence:
                self.hub.closing.wait(BEAT)
                continue
            portion = len(content) if faults.speed is None else max(1, int(faults.speed * BEAT))
            until = min(end, silence, sent + portion)
            self.wfile.write(content[sent:until])
            self.wfile.flush()
            sent = until
            if faults.speed is not None:
                time.sleep(BEAT)
        self.close_connection = sent < len(content)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


GATED = "facebook/VGGT-1B-Commercial"


def write_small_vggt(folder: Path) -> None:
    """A reduced VGGT with stand-in weights in both containers, under the names of the published checkpoints."""
    import torch  # here, since a server of files that are there needs none of this
    from safetensors.torch import save_file

    from tests.networks.small_vggt import configuration, stand_in_state

    state = stand_in_state()
    for repository in ("facebook/VGGT-1B", GATED):
        (folder / repository).mkdir(parents=True)
        (folder / repository / "config.json").write_text(json.dumps(asdict(configuration())))
    save_file(state, folder / "facebook/VGGT-1B/model.safetensors")
    torch.save(state, folder / GATED / "vggt_1B_commercial.pt")


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--folder", type=Path, required=True, help="owner/name/file, or none yet for a reduced VGGT")
    parser.add_argument("--speed", type=float, help="megabytes a second")
    parser.add_argument("--cut", type=float, nargs="*", default=[], help="break the next answers off after megabytes")
    parser.add_argument("--stall", type=float, help="fall silent after megabytes")
    parser.add_argument("--status", type=int, help="of every answer about a file")
    parser.add_argument("--page", choices=["everything", "bytes"], help="send a proxy's page in place of")
    parser.add_argument("--corrupt", action="store_true", help="flip a bit in every answer")
    arguments = parser.parse_args()
    if not arguments.folder.exists():
        write_small_vggt(arguments.folder)
    with HubServer(arguments.folder, {GATED}, arguments.port) as server:
        server.faults = Faults(
            status=arguments.status,
            cuts=[int(1e6 * size) for size in arguments.cut],
            stall=None if arguments.stall is None else int(1e6 * arguments.stall),
            corrupt=arguments.corrupt,
            page=arguments.page,
            speed=None if arguments.speed is None else 1e6 * arguments.speed,
        )
        print(f"HF_ENDPOINT={server.endpoint}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
