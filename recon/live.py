"""Pictures as they come: of a stream at an address, of a camera, or pushed by whoever has some.

A `Live` is a letter box with little room. Whoever puts pictures in never waits: where there is no room, the picture
that waits the longest leaves for the new one, and is counted (the newest wins). So what is reconstructed is always of
now, however long each picture takes.

An address is opened by this machine, whoever names it: what strangers name must not be given to `stream`, since it
would let them reach whatever this machine can, its own services and its network included. No look at the address
replaces that rule: a name may lead elsewhere at its second look-up, and a server to another one. Files are never read:
only the schemes of `SCHEMES` are taken.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import cv2
import numpy as np

from recon.errors import InputError
from recon.geometry import resize_transform
from recon.photo import check_size, is_black, reduced_size
from recon.scene import View

log = logging.getLogger(__name__)

SCHEMES = ("http", "https", "rtsp", "rtsps")
MOTION_JPEG = (cv2.VideoWriter.fourcc(*"MJPG"), cv2.VideoWriter.fourcc(*"mjpg"), 7)  # the last is FFmpeg's own name
DEVICE = "camera:"  # before the number of a camera of this machine
ROOM = 1  # pictures that wait
PATIENCE = 10.0  # seconds in which a picture must come


class Live:
    """Views as they come, to be iterated once, by one thread; another puts them in.

    Iterating ends quietly after `stop`, or where the source came to its own end.

    Args:
        name: of the source, as the user knows it.
        patience: seconds in which a picture must come.
        room: pictures that wait to be taken.
        maximum_side: pictures are reduced to this many pixels on their long side.

    Attributes:
        seen: pictures that came; each is one of ``used``, ``black``, ``dropped``, or waits.
        used: those that were taken, and show something.
        black: those that were taken, and show nothing.
        dropped: those that left untaken, for a newer one or at the end.
        ended: True once no picture is wanted any more.

    Raises:
        InputError: from the iteration, where the source stalled or broke off.
    """

    def __init__(self, name: str, patience: float = PATIENCE, room: int = ROOM, maximum_side: int = 1600) -> None:
        self.name, self.patience, self.room, self.maximum_side = name, patience, room, maximum_side
        self.seen = self.used = self.black = self.dropped = 0
        self.ended = False
        self._why = ""
        self._waiting: deque[View] = deque()
        self._began: float | None = None
        self._news = threading.Condition()

    def put(self, image: np.ndarray, seconds: float | None = None, wait: bool = False) -> bool:
        """Give a picture.

        Args:
            image: ``[H,W,3] uint8``, RGB.
            seconds: from the start; None for now.
            wait: for room, as a source may that loses nothing by it.

        Returns:
            False where none is wanted any more.

        Raises:
            Unreadable: it is outside the limits of `recon.photo.check_size`.
        """
        size = image.shape[1], image.shape[0]
        check_size(self.name, size)
        shown = reduced_size(size, self.maximum_side)
        if shown != size:
            image = cv2.resize(image, shown, interpolation=cv2.INTER_AREA)
        with self._news:
            now = time.monotonic()
            self._began = now if self._began is None else self._began
            moment = now - self._began if seconds is None else seconds
            if wait:
                self._news.wait_for(lambda: self.ended or len(self._waiting) < self.room)
            if self.ended:
                return False
            if len(self._waiting) == self.room:
                self._waiting.popleft()
                self.dropped += 1
            self.seen += 1
            name = f"{self.name} at {moment:.2f} s"
            self._waiting.append(View(image, name, None, size, resize_transform(shown, size), time=moment))
            self._news.notify_all()
        return True

    def stop(self) -> None:
        """Want no more; what waits is dropped, and what was taken is kept."""
        with self._news:
            self.ended = True
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._why = ""
            self._news.notify_all()

    def end(self, why: str = "") -> None:
        """No more will come; what waits is still given. ``why`` is a sentence for the user, where it is no good end."""
        with self._news:
            if not self.ended:
                self.ended, self._why = True, why
            self._news.notify_all()

    @property
    def told(self) -> str:
        """What became of the pictures that came, in a sentence."""
        dropped = "none was dropped" if not self.dropped else f"{self.dropped} dropped, since newer ones came"
        black = f", {self.black} black" if self.black else ""
        return f"Of {count_of(self.seen)} of '{self.name}', {self.used} were used{black}, {dropped}."

    def __iter__(self) -> Iterator[View]:
        while (view := self._take()) is not None:
            yield view
        if self._why:
            raise InputError(self._why)

    def _take(self) -> View | None:
        with self._news:
            if not self._news.wait_for(lambda: self._waiting or self.ended, self.patience):
                self.end(f"'{self.name}' gave no picture for {self.patience:g} s.")
            if not self._waiting:
                return None
            view = self._waiting.popleft()
            shows = not is_black(view.image)
            self.used, self.black = self.used + shows, self.black + (not shows)
            self._news.notify_all()
            return view


# --- sources -------------------------------------------------------------------------------------------------------


def is_address(text: str) -> bool:
    """Whether a text names a stream or a camera, not a file."""
    return "://" in text or (text.startswith(DEVICE) and text.removeprefix(DEVICE).isdecimal())


def stream(address: str, patience: float = PATIENCE) -> Live:
    """Open what is at an address, in a thread of its own, so that a stall holds nobody up.

    A live picture is taken as it comes. A video file at an address has an end, and waits: of it nothing is dropped.

    Args:
        address: of one of `SCHEMES`, such as MJPEG over HTTP, or RTSP; or ``camera:0`` for this machine's first camera.
        patience: seconds in which a picture must come.

    Raises:
        InputError: it is no such address. What goes wrong later is raised by the iteration.
    """
    address = address.strip()
    if address.startswith(DEVICE) and is_address(address):
        number = int(address.removeprefix(DEVICE))
        return _listen(address, patience, lambda: cv2.VideoCapture(number))
    name = _checked(address)
    # FFmpeg gives up a little later than whoever waits, who then knows what to say.
    limit = int(1000 * (patience + 1))
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    return _listen(name, patience, lambda: cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits))


def _checked(address: str) -> str:
    """What an address may be called: without names, passwords and keys, which belong in no scene.

    Raises:
        InputError: it is no address of a stream.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme.lower() not in SCHEMES or not host or not address.isprintable() or " " in address:
        kinds = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise InputError(f"This is no address of a stream: give one that begins with one of {kinds}.")
    return f"{host}{f':{port}' if port else ''}{parts.path}".rstrip("/")


def _listen(name: str, patience: float, opened: Callable[[], cv2.VideoCapture]) -> Live:
    live = Live(name, patience)
    # no daemon: one that is inside of FFmpeg while Python ends would take the process down; it ends by its time limit
    threading.Thread(target=_read, args=(live, opened), name="stream").start()
    return live


def _read(live: Live, opened: Callable[[], cv2.VideoCapture]) -> None:
    capture = None
    try:
        capture = opened()
        if not capture.isOpened():
            return live.end(f"'{live.name}' cannot be opened: check the address, and that it gives pictures now.")
        live.end(_drain(live, capture))
    except InputError as error:
        live.end(str(error))
    except cv2.error:
        log.warning("a stream broke", exc_info=True)
        live.end(f"'{live.name}' gives pictures that cannot be decoded.")
    finally:
        if capture is not None:
            capture.release()


def _drain(live: Live, capture: cv2.VideoCapture) -> str:
    """Read until nothing more comes or is wanted; what there is to say about that end."""
    rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    length = count / rate if rate > 0 and 1 <= count < 1e8 else None  # seconds; a live picture has no end
    moment = 0.0
    # OpenCV stretches pictures of another size to that of the first, unless it gives them as they come.
    motion_jpeg = int(capture.get(cv2.CAP_PROP_FOURCC)) in MOTION_JPEG
    encoded = length is None and motion_jpeg and capture.set(cv2.CAP_PROP_FORMAT, -1)
    while not live.ended:
        found, frame = capture.read()
        if not found:
            break
        picture = cv2.imdecode(frame, cv2.IMREAD_COLOR) if encoded else frame
        if picture is None:
            continue  # damaged on its way
        moment = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        seconds = None if length is None else moment
        live.put(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), seconds, wait=length is not None)
    if length is not None and moment > length - max(0.5, 0.03 * length):  # sound may outlast the picture
        return ""
    return f"'{live.name}' broke off after {count_of(live.seen)}."


def count_of(pictures: int) -> str:
    """In words."""
    return "1 picture" if pictures == 1 else f"{pictures} pictures"
