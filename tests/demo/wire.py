"""A browser without a screen: speaks viser's protocol over a websocket and keeps the scene that a page would draw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import viser
import zstandard
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

SUBPROTOCOL = Subprotocol(f"viser-v{viser.__version__}")


@dataclass
class Node:
    """A scene node as the page knows it."""

    props: dict[str, Any]
    visible: bool = True
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))


class Page:
    """Connected to ``url``; use as a context.

    Attributes:
        nodes: by name.
        arrivals: time (``time.perf_counter``) and bytes of each websocket message.
        camera: position, wxyz, look_at, fov, near as the server last set them for this page alone.
        first_view: the same, for pages to come.
    """

    def __init__(self, url: str) -> None:
        self.url = url.replace("http", "ws", 1).rstrip("/")
        self.nodes: dict[str, Node] = {}
        self.arrivals: list[tuple[float, int]] = []
        self.camera: dict[str, Any] = {}
        self.first_view: dict[str, Any] = {}
        self.clickable: set[str] = set()

    def __enter__(self) -> Page:
        self._socket = connect(self.url, subprotocols=[SUBPROTOCOL], max_size=None, compression=None, proxy=None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.look_from([3, 3, 3])
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._reader.join(10)

    @property
    def subprotocol(self) -> str | None:
        return self._socket.subprotocol

    def look_from(self, position: list[float], aspect: float = 1.6) -> None:
        """Tell the server where this page's camera stands; until a page has done so, the server does not count it."""
        self.send(
            "ViewerCameraMessage", wxyz=(1, 0, 0, 0), position=position, fov=1.3, near=0.01, far=1000.0,
            image_height=500, image_width=int(500 * aspect), look_at=(0, 0, 0), up_direction=(0, 0, 1),
        )  # fmt: skip

    def click(self, name: str) -> None:
        """Click a node."""
        self.send(
            "SceneNodeClickMessage", name=name, instance_index=None, ray_origin=(0, 0, 0), ray_direction=(0, 0, 1),
            screen_pos=(0.5, 0.5), modifier=None, owner="",
        )  # fmt: skip

    def send(self, kind: str, **values: object) -> None:
        self._socket.send(msgspec.msgpack.encode({"type": kind, **values}))

    def settle(self, quiet: float = 0.3, timeout: float = 30) -> None:
        """Wait until nothing has arrived for ``quiet`` seconds, or longer on a machine that is busy."""
        end, seen, calm = time.perf_counter() + timeout, len(self.arrivals), 0
        while time.perf_counter() < end:
            time.sleep(0.01)  # takes as much longer as the sender does where both must wait for a processor
            calm = calm + 1 if len(self.arrivals) == seen else 0
            seen = len(self.arrivals)
            if calm >= quiet / 0.01:
                return
        raise TimeoutError("messages keep coming")

    def wait_for(self, condition: Callable[[], bool], timeout: float = 20) -> float:
        """Wait until ``condition`` holds; returns the time of the message that made it so."""
        end = time.perf_counter() + timeout
        while time.perf_counter() < end:
            if condition():
                return self.arrivals[-1][0]
            time.sleep(0.001)
        raise TimeoutError("the page never got there")

    def received_since(self, start: float) -> int:
        """Bytes that have arrived since then."""
        return sum(size for moment, size in list(self.arrivals) if moment >= start)

    def drawn(self, name: str) -> bool:
        """Whether a node and all above it are visible."""
        parts = name.split("/")
        above = ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]
        return all(self.nodes[path].visible for path in above if path in self.nodes)

    def clouds(self) -> dict[str, Node]:
        """The point clouds, hidden ones as well."""
        return {
            name: node
            for name, node in self.nodes.items()
            if name.startswith(("/points/", "/moments/")) and "point_size" in node.props
        }

    def points(self, frame: int | None = None) -> np.ndarray:
        """``[N,3]``: all points in sight, of one frame or of all, ordered."""
        shown = [
            node.position + node.props["points"].reshape(-1, 3).astype(np.float32)
            for name, node in self.clouds().items()
            if self.drawn(name) and frame in (None, _frame_of(name))
        ]
        points = np.concatenate([*shown, np.empty((0, 3))])
        return points[np.lexsort(points.T)]

    def _read(self) -> None:
        try:
            for data in self._socket:
                assert isinstance(data, bytes)
                for message in _decode(data):
                    self._take(message)
                self.arrivals.append((time.perf_counter(), len(data)))
        except ConnectionClosed:
            pass

    def _take(self, message: dict[str, Any]) -> None:
        kind, name = message["type"], message.get("name", "")
        if "props" in message and name.startswith("/"):
            former = self.nodes.get(name)  # a node that is replaced keeps its pose and visibility, as in the browser
            self.nodes[name] = Node(message["props"], *((former.visible, former.position) if former else ()))
        elif kind == "SceneNodeUpdateMessage":
            self.nodes[name].props.update(message["updates"])
        elif kind == "SetSceneNodeVisibilityMessage":
            self.nodes[name].visible = message["visible"]
        elif kind == "SetPositionMessage":
            self.nodes[name].position = np.array(message["position"])
        elif kind == "RemoveSceneNodeMessage":
            self.nodes.pop(name, None)
        elif kind == "SetSceneNodeClickBindingsMessage" or "ClickBinding" in kind:
            self.clickable.add(name)
        elif kind.startswith("SetCamera"):
            values = {key: value for key, value in message.items() if key not in ("type", "initial")}
            view = self.first_view if message.get("initial") else self.camera
            view[kind] = np.array(next(iter(values.values())))


def _frame_of(name: str) -> int:
    """The frame whose points a cloud holds: ``/points/<level>/<frame>`` or ``/moments/<frame>/<level>``."""
    _, kind, first, second = name.split("/")
    return int(first if kind == "moments" else second)


def _decode(data: bytes) -> list[dict[str, Any]]:
    size, packed = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:16], "little")
    content = msgspec.msgpack.decode(zstandard.decompress(data[16 : 16 + packed], max_output_size=size))
    arrays, offset = [], 16 + packed
    for length in content["binaryBufferLengths"]:
        offset += -offset % 8
        arrays.append(data[offset : offset + length])
        offset += length
    return [_restore(message, arrays) for message in content["messages"]]


def _restore(value: Any, arrays: list[bytes]) -> Any:
    if isinstance(value, dict):
        if "__binary_index" in value:
            return np.frombuffer(arrays[value["__binary_index"]], value["dtype"])
        return {key: _restore(item, arrays) for key, item in value.items()}
    return [_restore(item, arrays) for item in value] if isinstance(value, list) else value
