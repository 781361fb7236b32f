"""Checkpoints from the Hugging Face Hub, fetched once, into the cache that other programs share.

Where the cache is, which server is asked, with which token, and whether at all: huggingface_hub's own environment
variables tell (HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE). What is in the cache is used as it is,
without asking anybody.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import HfFileMetadata, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HTTPError, OfflineModeIsEnabled, RemoteEntryNotFoundError
from huggingface_hub.utils import build_hf_headers, get_token_to_send

from recon.errors import InputError
from recon.hub import cache, direct
from recon.hub.cache import CONFIGURATION, REVISION, whole, writing
from recon.hub.helper import Helper
from recon.hub.report import INSTEAD, Progress, Report, Tell
from recon.hub.transfer import Remote, download, retry
from recon.models.base import Card

log = logging.getLogger(__name__)

LIBRARY = "parallax"  # what the Hub is told of who asks


def cached(card: Card) -> Path | None:
    """The checkpoint of ``card`` where all of it is on this machine already, else None; no network is asked."""
    if card.direct:
        return direct.cached(card.direct[0])
    return None if card.repository is None else cache.find(card.repository, card.repository_type, card.files)


def companions(card: Card) -> list[Path]:
    """Those files of ``card`` beside its checkpoint that are on this machine; no network is asked."""
    return [path for file in card.direct[1:] if (path := direct.cached(file)) is not None]


def fetch(card: Card, progress: Progress | None = None) -> Path:
    """The checkpoint of ``card``, from the cache, else from where it is; on the Hub its config.json comes with it.

    A download that was stopped or cut goes on from where it was. Whoever asks for a file that somebody else is
    downloading waits for that one.

    Args:
        card: of a model whose weights are not shipped.
        progress: called with the share done, 0 to 1, and what is being done, several times a second; may raise to stop.

    Raises:
        InputError: it cannot be had; the sentence says what to do.
    """
    if card.direct:
        return direct.fetch(card, progress)
    if card.repository is None:
        raise InputError(f"The weights of {card.title} are shipped with Parallax; there is nothing to download.")
    found = cached(card)
    if found is not None and (cache.configuration_known(found) or cache.offline()):
        return found
    if cache.offline():
        raise InputError(f"{card.title} is not on this machine and HF_HUB_OFFLINE is set; unset it, or {INSTEAD}.")
    with Helper() as helper:
        source = _Source(card, helper, Report(progress, card.download))
        if found is None:
            with _explained(card):
                return source.fetch()
        try:
            with _explained(card):
                source.fetch_configuration(found.parent.name)
        except InputError as error:  # another program fetched the checkpoint alone; most need nothing else
            log.warning("%s of %s cannot be had: %s", CONFIGURATION, card.repository, error)
        return found


# --- asking and fetching -------------------------------------------------------------------------------------------


class _Source:
    """The repository of a card, and who attends to what comes from there."""

    def __init__(self, card: Card, helper: Helper, report: Report) -> None:
        assert card.repository is not None
        self.card, self.helper, self.report = card, helper, report
        self.repository = card.repository
        self.folder = cache.folder_of(card.repository, card.repository_type)
        self.endpoint = _endpoint()

    def fetch(self) -> Path:
        """The first of the card's files that the repository has."""
        for name in self.card.files:
            with suppress(RemoteEntryNotFoundError):
                offer = self.ask(name, REVISION)
                break
        else:
            files = " nor ".join(self.card.files)
            raise InputError(f"{self.repository} on {self.endpoint} has no {files}; update Parallax, or {INSTEAD}.")
        commit = str(offer.commit_hash)
        self.fetch_configuration(commit)
        path = self.bring(name, offer, self.report.start(offer.size))
        reference = self.folder / "refs" / REVISION
        with writing(self.folder):
            reference.parent.mkdir(exist_ok=True)
            cache.replace(reference, lambda temporary: temporary.write_text(commit))
        return path

    def fetch_configuration(self, commit: str) -> None:
        """Bring config.json of a commit into the cache, or a note that there is none."""
        try:
            offer = self.ask(CONFIGURATION, commit)
        except RemoteEntryNotFoundError:
            note = cache.note_of_none(self.folder / "snapshots" / commit)
            with writing(self.folder):
                note.parent.mkdir(parents=True, exist_ok=True)
                note.touch()
            return
        self.bring(CONFIGURATION, offer, lambda done, doing: self.report.say(f"{doing} {CONFIGURATION}"))

    def ask(self, name: str, revision: str) -> HfFileMetadata:
        """What the Hub says of a file: commit, checksum, size."""
        url = self.address(name, revision)

        def attend() -> None:
            self.report.say(f"Asking {self.endpoint} for {self.card.title}")

        def head() -> HfFileMetadata:
            return get_hf_file_metadata(
                url, timeout=constants.HF_HUB_ETAG_TIMEOUT, library_name=LIBRARY, endpoint=self.endpoint
            )

        attend()
        offer = retry(lambda: self.helper.do(head, attend), attend)
        for word in (offer.commit_hash, offer.etag):  # they become names of files
            if word is None or not re.fullmatch(r"\w[\w.-]*", word):
                raise InputError(
                    f"{self.endpoint} does not answer as the Hugging Face Hub does: open it in a browser to see if a "
                    "proxy or a login stands between, and check HF_ENDPOINT if it is set."
                )
        return offer

    def address(self, name: str, revision: str) -> str:
        """Of a file."""
        kind = self.card.repository_type
        return hf_hub_url(self.repository, name, repo_type=kind, revision=revision, endpoint=self.endpoint)

    def bring(self, name: str, offer: HfFileMetadata, tell: Tell) -> Path:
        """Bring a file into the cache, laid out as huggingface_hub does it."""
        commit, checksum = str(offer.commit_hash), str(offer.etag)
        pointer = self.folder / "snapshots" / commit / name
        blob = self.folder / "blobs" / checksum
        partial = blob.with_name(f"{checksum}.incomplete")
        lock = self.folder.parent / ".locks" / self.folder.name / f"{checksum}.lock"
        with writing(self.folder.parent):
            for path in (pointer, blob, lock):
                path.parent.mkdir(parents=True, exist_ok=True)
        with cache.locked(lock, lambda: tell(cache.size_of(partial), "Waiting for another download of the same")):
            if not cache.intact(pointer, name, checksum, offer.size):
                if not cache.intact(blob, name, checksum, offer.size):
                    url = self.address(name, commit)
                    headers = build_hf_headers(library_name=LIBRARY)
                    download(Remote(name, url, headers, offer.size, checksum), partial, self.helper, tell)
                    with writing(self.folder):
                        partial.replace(blob)
                cache.point(pointer, blob)
        return pointer


def _endpoint() -> str:
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
        raise InputError(f"HF_ENDPOINT is '{endpoint}', which is no address: unset it, or begin it with https://.")
    return endpoint


# --- sentences -----------------------------------------------------------------------------------------------------


@contextmanager
def _explained(card: Card) -> Iterator[None]:
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise InputError(f"HF_HUB_OFFLINE was set when Parallax started; unset it, or {INSTEAD}.") from error
    except (NotADirectoryError, PermissionError) as error:  # huggingface_hub looks for a token beside the cache
        raise InputError(f"'{error.filename}' cannot be read; set HF_HOME to a folder that can.") from error
    except HTTPError as error:
        raise InputError(_sentence(card, error)) from error


def _sentence(card: Card, error: HTTPError) -> str:
    """What a user should do about an answer of the Hub, or about none."""
    endpoint = _endpoint()
    response = getattr(error, "response", None)
    if response is None:
        return (
            f"{endpoint} cannot be reached and {card.title} is not on this machine yet ({type(error).__name__}): "
            f"check the connection and the proxy and try again, or {INSTEAD}."
        )
    status, token = response.status_code, get_token_to_send(None) is not None
    if status == 401 and token:
        return (
            f"{endpoint} does not know your token: make a new one at https://huggingface.co/settings/tokens, then run "
            f"`hf auth login` or set HF_TOKEN, or {INSTEAD}."
        )
    if (card.gated or isinstance(error, GatedRepoError)) and status in (401, 403, 404):
        if not token:
            return (
                f"{card.title} is given to those who ask: request it at {card.licence_url}, then run `hf auth login` "
                f"or set HF_TOKEN to a token of yours, or {INSTEAD}."
            )
        return (
            f"Your token may not read {card.repository}: request access at {card.licence_url} and wait for the answer "
            f"(a fine-grained token must be allowed to read gated repositories), or {INSTEAD}."
        )
    if status in (401, 404):
        return f"{card.repository} is not on {endpoint} (any more); update Parallax, or {INSTEAD}."
    if status == 429:
        return f"{endpoint} has had too many requests from here; wait some minutes and try again, or {INSTEAD}."
    if status >= 500:
        return f"{endpoint} is in trouble (error {status}); try again later, or {INSTEAD}."
    return f"{endpoint} refuses {card.repository} (error {status}); open it in a browser to see why, or {INSTEAD}."


__all__ = ["Progress", "cached", "companions", "fetch", "whole"]
