"""Checkpoints that lie outside of the Hub, each under an address of its own: into the same cache, by their checksum."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import get_session, hf_raise_for_status

from recon.errors import InputError
from recon.hub import cache
from recon.hub.cache import size_of, writing
from recon.hub.helper import Helper
from recon.hub.report import INSTEAD, Progress, Report, Tell
from recon.hub.transfer import Remote, download, retry
from recon.models.base import Card, Direct

log = logging.getLogger(__name__)


def cached(file: Direct) -> Path | None:
    """The file, if it is on this machine."""
    path = _path(file)
    return path if cache.whole(path) else None


def fetch(card: Card, progress: Progress | None = None) -> Path:
    """The checkpoint of ``card``; with it come the files that a run can do without, as far as they can be had.

    See `recon.hub.fetch`.

    Raises:
        InputError: it cannot be had; the sentence says what to do.
    """
    checkpoint, *others = card.direct
    found = cached(checkpoint)
    if found is not None:
        return found
    if cache.offline():
        raise InputError(f"{card.title} is not on this machine and HF_HUB_OFFLINE is set; unset it, or {INSTEAD}.")
    report = Report(progress, card.download)
    with Helper() as helper:
        for file in others:  # before the checkpoint, since once that is here nobody asks any more
            if cached(file) is None:
                try:
                    with _explained(card, file):
                        _bring(file, helper, report, large=False)
                except InputError as error:
                    log.warning("%s cannot be had: %s", file.name, error)
        with _explained(card, checkpoint):
            return _bring(checkpoint, helper, report, large=True)


def _path(file: Direct) -> Path:
    return cache.folder() / f"direct--{file.host.replace(':', '-')}" / file.checksum / file.name


def _bring(file: Direct, helper: Helper, report: Report, large: bool) -> Path:
    """Bring a file into the cache; of a ``large`` one it is told how much of it is here."""

    def say() -> None:
        report.say(f"Asking {file.host} for {file.name}")

    say()
    size = retry(lambda: helper.do(lambda: _size(file.url), say), say)
    tell: Tell = report.start(size) if large else lambda done, doing: report.say(f"{doing} {file.name}")
    path = _path(file)
    partial, lock = path.with_name(f"{path.name}.incomplete"), path.with_name(f".{path.name}.lock")
    with writing(cache.folder()):
        path.parent.mkdir(parents=True, exist_ok=True)
    with cache.locked(lock, lambda: tell(size_of(partial), "Waiting for another download of the same")):
        if not cache.whole(path):
            download(Remote(file.name, file.url, {}, size, file.checksum), partial, helper, tell)
            with writing(path.parent):
                partial.replace(path)
    return path


def _size(url: str) -> int | None:
    """Bytes of what lies there, if the server says so."""
    response = get_session().head(
        url, headers={"Accept-Encoding": "identity"}, timeout=constants.HF_HUB_ETAG_TIMEOUT, follow_redirects=True
    )
    if response.status_code in (405, 501):  # the server knows no such question
        return None
    hf_raise_for_status(response)
    length = response.headers.get("Content-Length", "")
    page = response.headers.get("Content-Type", "").startswith("text/html")
    return int(length) if length.isdecimal() and not page else None


@contextmanager
def _explained(card: Card, file: Direct) -> Iterator[None]:
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise InputError(f"HF_HUB_OFFLINE was set when Parallax started; unset it, or {INSTEAD}.") from error
    except HTTPError as error:
        raise InputError(_sentence(card, file, error)) from error


def _sentence(card: Card, file: Direct, error: HTTPError) -> str:
    """What a user should do about an answer of the server, or about none."""
    response = getattr(error, "response", None)
    if response is None:
        return (
            f"{file.host} cannot be reached and {card.title} is not on this machine yet ({type(error).__name__}): "
            f"check the connection and the proxy and try again, or {INSTEAD}."
        )
    status = response.status_code
    if status in (404, 410):
        return f"'{file.name}' is not on {file.host} (any more); update Parallax, or {INSTEAD}."
    if status >= 500 or status == 429:
        return f"{file.host} is in trouble (error {status}); try again later, or {INSTEAD}."
    return f"{file.host} refuses '{file.name}' (error {status}); open {file.url} in a browser, or {INSTEAD}."
