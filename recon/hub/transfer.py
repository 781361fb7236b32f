"""One large file over HTTP: it goes on from where it stopped, stops when told to, and is whole or is not there.

huggingface_hub knows where a file is and who may have it, but its second version throws a partial file away when a
download ends early. Here the bytes come through its session, and what has come stays.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError  # the base of all errors of its HTTP library
from huggingface_hub.utils import get_session, hf_raise_for_status

from recon.errors import InputError
from recon.hub.cache import checksum_holds, size_of, writing
from recon.hub.helper import INTERVAL, Helper, Result
from recon.hub.report import Tell

PAUSES = (0.5, 1.0, 2.0)  # seconds before trying again, after failures in a row that brought nothing
PARTS = 256  # of what arrives, at most that many wait to be written
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Remote:
    """A file that a server offers.

    Attributes:
        name: as the user knows it.
        url: where it is; redirects are followed.
        headers: to send, such as the one with a token, which does not follow to another host.
        size: bytes, or None where the server does not say.
        checksum: SHA-256 in 64, MD5 in 32, or Git's SHA-1 of a blob in 40 hexadecimal digits; anything else cannot be
            checked.
    """

    name: str
    url: str
    headers: Mapping[str, str]
    size: int | None
    checksum: str

    @property
    def host(self) -> str:
        """The server's address."""
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.url))


def download(remote: Remote, partial: Path, helper: Helper, tell: Tell) -> None:
    """Make ``partial`` the whole file, going on from what it holds; on any exception it keeps what has come.

    Raises:
        InputError: the connection broke off, what came is not the file, or the disk does not take it.
        HfHubHTTPError: the server refuses.
    """
    resumed = size_of(partial) > 0
    while True:
        _receive_all(remote, partial, helper, tell)
        if checksum_holds(partial, remote.checksum, lambda: tell(size_of(partial), "Checking")):
            return
        partial.unlink()
        if not resumed:
            raise InputError(
                f"'{remote.name}' came damaged from {remote.host}; try again, from another network if it goes on."
            )
        resumed = False  # what lay there may have been the damage


def retry(work: Callable[[], Result], attend: Callable[[], None]) -> Result:
    """The result of ``work``, tried again after a pause where the network or the server failed for the moment.

    Raises:
        HTTPError: it failed each time, or for good.
    """
    for pause in PAUSES:
        try:
            return work()
        except HTTPError as error:
            if not _passing(error):
                raise
        _pause(pause, attend)
    return work()


# --- receiving -----------------------------------------------------------------------------------------------------


def _receive_all(remote: Remote, partial: Path, helper: Helper, tell: Tell) -> None:
    if remote.size is None or size_of(partial) > remote.size:
        partial.unlink(missing_ok=True)
    with writing(partial.parent):
        partial.touch()
    _check_space(remote, partial)
    failures = 0
    while remote.size is None or size_of(partial) < remote.size:
        before = size_of(partial)
        failure: HTTPError | None = None
        try:
            if _receive(remote, partial, helper, tell) and remote.size is None:
                return
        except HTTPError as error:
            if not _passing(error):
                raise
            failure = error
        failures = 0 if size_of(partial) > before else failures + 1
        if failures > len(PAUSES):
            if isinstance(failure, HfHubHTTPError):
                raise failure
            raise InputError(
                f"The connection to {remote.host} broke off; try again, and '{remote.name}' goes on from where it is."
            ) from failure
        _pause(PAUSES[failures - 1] if failures else 0, lambda: tell(size_of(partial), "Trying again"))


def _receive(remote: Remote, partial: Path, helper: Helper, tell: Tell) -> bool:
    """One request for what is missing; True where the server sent all that it wanted to."""
    have = size_of(partial)
    with _opened(remote, have, helper, lambda: tell(have, "Downloading")) as response:
        start, total = _extent(response)
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if page or (remote.size is not None and total is not None and total != remote.size):
            raise _not_the_file(remote)
        if start not in (0, have):  # so what is here is not of this file
            partial.unlink()
            return False
        with writing(partial.parent):
            file = partial.open("ab" if start else "wb")
        with file, closing(_blocks(response, helper)) as blocks:
            have = start
            for block in blocks:
                with writing(partial.parent):
                    file.write(block)
                    file.flush()
                have += len(block)
                if remote.size is not None and have > remote.size:
                    file.truncate(0)
                    raise _not_the_file(remote)
                tell(have, "Downloading")
            with writing(partial.parent):
                os.fsync(file.fileno())  # a name must not outlive a power cut that the bytes do not
    return True


@contextmanager
def _opened(remote: Remote, have: int, helper: Helper, attend: Callable[[], None]) -> Iterator[Any]:
    """The server's answer, its body yet to be read, to a request for what follows ``have`` bytes."""
    headers = {**remote.headers, "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    responses: list[Any] = []

    def ask() -> Any:
        client = get_session()
        request = client.build_request("GET", remote.url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
        response = client.send(request, stream=True, follow_redirects=True)
        responses.append(response)
        if not response.is_success:
            response.read()
        return response

    def close() -> None:
        for response in responses:
            response.close()

    try:
        response = helper.do(ask, attend)
        if response.status_code != 416:
            hf_raise_for_status(response)
        yield response
    finally:
        helper.later(close)


def _blocks(response: Any, helper: Helper) -> Generator[bytes, None, None]:
    """The body as it arrives, with an empty block where nothing did for an `INTERVAL`; errors come after what came."""
    parts: Queue[bytes] = Queue(PARTS)
    abandoned = Event()

    def put(part: bytes) -> None:
        while not abandoned.is_set():
            with suppress(Full):
                return parts.put(part, timeout=INTERVAL)

    def read() -> None:
        try:
            for part in response.iter_bytes():
                if part:
                    put(part)
                if abandoned.is_set():
                    return
        finally:
            put(b"")  # the end

    reading = helper.later(read)
    try:
        ended = False
        while not ended:
            block: list[bytes] = []
            with suppress(Empty):
                block.append(parts.get(timeout=INTERVAL))
                while block[-1] and len(block) < PARTS:
                    block.append(parts.get_nowait())
            ended = b"" in block
            yield b"".join(block)
        reading.result()
    finally:
        abandoned.set()


def _extent(response: Any) -> tuple[int, int | None]:
    """The byte that a response begins with, -1 for none of the file, and the size of the whole, where it says so."""
    if response.status_code == 416:
        return -1, None
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None:
            return -1, None
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    return 0, int(length) if length.isdecimal() and not encoded else None


def _not_the_file(remote: Remote) -> InputError:
    return InputError(
        f"Something else came in place of '{remote.name}', most likely the page of a proxy or of a login: "
        f"open {remote.host} in a browser, or try from another network."
    )


def _passing(error: HTTPError) -> bool:
    return not isinstance(error, HfHubHTTPError) or error.response.status_code in TRANSIENT


def _pause(seconds: float, attend: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        attend()
        time.sleep(min(left, INTERVAL))


def _check_space(remote: Remote, partial: Path) -> None:
    need = (remote.size or 0) - size_of(partial)
    free = shutil.disk_usage(partial.parent).free
    if need > free:
        raise InputError(
            f"'{remote.name}' needs {need / 1e9:.1f} GB more, and the disk has {free / 1e9:.1f} GB free: "
            f"free some space for '{partial.parent}', or set HF_HOME to another."
        )
