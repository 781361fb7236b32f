"""A camera on the loopback interface: pictures over HTTP, one after the other, as the test wants them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

Script = Callable[[], Iterable["np.ndarray | float"]]


class Camera:
    """Serves what ``script`` gives anew to each who asks: pictures RGB, and seconds to rest; then the connection ends.
    Or it serves ``whole``, a file.

    Attributes:
        address: of the stream.
        sent: pictures that were.
    """

    def __init__(self, script: Script, path: str = "/video", whole: bytes | None = None) -> None:
        self.script, self.sent, self.whole = script, 0, whole
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}{path}"

    def __enter__(self) -> Camera:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def parts(self) -> Iterator[bytes]:
        """The body, a picture at a time; empty where there is nothing to say yet."""
        for item in self.script():
            if isinstance(item, float):
                end = time.monotonic() + item
                while time.monotonic() < end and not self.closing.wait(0.02):
                    pass
                continue
            encoded = cv2.imencode(".jpg", item[..., ::-1])[1].tobytes()
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(encoded)}\r\n\r\n"
            yield head.encode() + encoded + b"\r\n"
            self.sent += 1
            if self.closing.is_set():
                return


def _handler(camera: Camera) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if camera.whole is not None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(camera.whole)))
                self.end_headers()
                self.wfile.write(camera.whole)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            try:
                for part in camera.parts():
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                pass  # whoever watched has left

        def log_message(self, *_: object) -> None:
            pass

    return Handler
