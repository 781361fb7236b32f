"""Checkpoints from the Hugging Face Hub, fetched once, into the cache that other programs share.

Where the cache is, which server is asked, with which token, and whether at all: huggingface_hub's own environment
variables tell (HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE). What is in the cache is used as it is,
without asking anybody.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from zipfile import BadZipFile, ZipFile

from huggingface_hub import HfFileMetadata, constants, get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HTTPError, OfflineModeIsEnabled, RemoteEntryNotFoundError
from huggingface_hub.utils import WeakFileLock, build_hf_headers
from safetensors import SafetensorError, safe_open

from recon.download import INTERVAL, Helper, Remote, download, retry, size_of, writing
from recon.errors import InputError
from recon.models.base import Card

log = logging.getLogger(__name__)

CONFIGURATION = "config.json"
REVISION = "main"
LIBRARY = "parallax"
WINDOW = 5.0  # seconds over which speed is measured
Progress = Callable[[float, str], None]  # share done, 0 to 1, and what is being done; may raise to stop


def cached(card: Card) -> Path | None:
    """The checkpoint of ``card`` where all of it is on this machine already, else None; no network is asked."""
    if card.repository is None:
        return None
    folder = _folder(card.repository)
    with suppress(OSError):
        commits = sorted((folder / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        current = _read(folder / "refs" / REVISION)
        for snapshot in sorted(commits, key=lambda path: path.name != current):
            for name in card.files:
                if whole(snapshot / name):
                    return snapshot / name
    return None


def fetch(card: Card, progress: Progress | None = None) -> Path:
    """The checkpoint of ``card``, from the cache, else from the Hub; its config.json, if any, lies beside it.

    A download that was stopped or cut goes on from where it was. Whoever asks for a file that somebody else is
    downloading waits for that one.

    Args:
        card: of a model whose weights are on the Hub.
        progress: called with the share done, 0 to 1, and what is being done, several times a second; may raise to stop.

    Raises:
        InputError: it cannot be had; the sentence says what to do.
    """
    if card.repository is None:
        raise InputError(f"The weights of {card.title} are shipped with Parallax; there is nothing to download.")
    found = cached(card)
    if found is not None and (_configuration_known(found) or _offline()):
        return found
    if _offline():
        raise InputError(f"{card.title} is not on this machine and HF_HUB_OFFLINE is set; unset it, or {_instead()}.")
    with Helper() as helper:
        source = _Source(card, helper, _Report(progress, card))
        if found is None:
            with _explained(card):
                return source.fetch()
        try:
            with _explained(card):
                source.fetch_configuration(found.parent.name)
        except InputError as error:  # another program fetched the checkpoint alone; most need nothing else
            log.warning("%s of %s cannot be had: %s", CONFIGURATION, card.repository, error)
        return found


def whole(path: Path) -> bool:
    """Whether a checkpoint is there and has its end: safetensors and zip archives know their length."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
            if head[8:] == b"{":
                with safe_open(path, "np"):
                    return True
            if head.startswith(b"PK"):
                with ZipFile(file) as archive:
                    file.seek(-22 - len(archive.comment), os.SEEK_END)
                    return file.read(4) == b"PK\5\6"
        return head.startswith(b"\x80")  # what torch.save wrote before 2020 does not know
    except (OSError, SafetensorError, BadZipFile):
        return False


# --- asking and fetching -------------------------------------------------------------------------------------------


class _Source:
    """The repository of a card, and who attends to what comes from there."""

    def __init__(self, card: Card, helper: Helper, report: _Report) -> None:
        assert card.repository is not None
        self.card, self.helper, self.report = card, helper, report
        self.repository = card.repository
        self.folder = _folder(card.repository)
        self.endpoint = _endpoint()

    def fetch(self) -> Path:
        """The first of the card's files that the repository has."""
        for name in self.card.files:
            with suppress(RemoteEntryNotFoundError):
                offer = self.ask(name, REVISION)
                break
        else:
            files = " nor ".join(self.card.files)
            raise InputError(f"{self.repository} on {self.endpoint} has no {files}; update Parallax, or {_instead()}.")
        commit = str(offer.commit_hash)
        self.fetch_configuration(commit)
        path = self.bring(name, offer, self.report.start(offer.size))
        reference = self.folder / "refs" / REVISION
        with writing(self.folder):
            reference.parent.mkdir(exist_ok=True)
            _replace(reference, lambda temporary: temporary.write_text(commit))
        return path

    def fetch_configuration(self, commit: str) -> None:
        """Bring config.json of a commit into the cache, or a note that there is none."""
        try:
            offer = self.ask(CONFIGURATION, commit)
        except RemoteEntryNotFoundError:
            note = self.folder / ".no_exist" / commit / CONFIGURATION
            with writing(self.folder):
                note.parent.mkdir(parents=True, exist_ok=True)
                note.touch()
            return
        self.bring(CONFIGURATION, offer, lambda done, doing: self.report.say(f"{doing} {CONFIGURATION}"))

    def ask(self, name: str, revision: str) -> HfFileMetadata:
        """What the Hub says of a file: commit, checksum, size."""
        url = hf_hub_url(self.repository, name, revision=revision, endpoint=self.endpoint)

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

    def bring(self, name: str, offer: HfFileMetadata, tell: Callable[[int, str], None]) -> Path:
        """Bring a file into the cache, laid out as huggingface_hub does it."""
        commit, checksum = str(offer.commit_hash), str(offer.etag)
        pointer = self.folder / "snapshots" / commit / name
        blob = self.folder / "blobs" / checksum
        partial = blob.with_name(f"{checksum}.incomplete")
        lock = self.folder.parent / ".locks" / self.folder.name / f"{checksum}.lock"
        with writing(self.folder.parent):
            for path in (pointer, blob, lock):
                path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(lock, lambda: tell(size_of(partial), "Waiting for another download of the same")):
            if not _intact(pointer, name, offer.size):
                if not _intact(blob, name, offer.size):
                    url = hf_hub_url(self.repository, name, revision=commit, endpoint=self.endpoint)
                    headers = build_hf_headers(library_name=LIBRARY)
                    download(Remote(name, url, headers, offer.size, checksum), partial, self.helper, tell)
                    with writing(self.folder):
                        partial.replace(blob)
                _point(pointer, blob)
        return pointer


class _Report:
    """Turns bytes into a share and a sentence, with the speed of the last seconds."""

    def __init__(self, progress: Progress | None, card: Card) -> None:
        self._progress, self._card = progress, card
        self._fraction = 0.0
        self._samples: deque[tuple[float, int]] = deque()
        self._doing = ""

    def say(self, message: str) -> None:
        if self._progress is not None:
            self._progress(self._fraction, message)

    def start(self, size: int | None) -> Callable[[int, str], None]:
        """What is told the bytes of a file that are here."""
        total = size or self._card.download
        digits = 0 if total >= 1e8 else 1

        def tell(done: int, doing: str) -> None:
            now = time.monotonic()
            if doing != self._doing:
                self._samples.clear()
            elif now - self._samples[-1][0] < INTERVAL / 2:
                return
            self._doing = doing
            self._samples.append((now, done))
            while now - self._samples[0][0] > WINDOW:
                self._samples.popleft()
            self._fraction = min(1.0, done / max(total, 1))
            (then, before), speed = self._samples[0], ""
            if now - then > INTERVAL and done > before:
                speed = f", {(done - before) / (now - then) / 1e6:,.1f} MB/s"
            self.say(f"{doing}: {done / 1e6:,.{digits}f} of {total / 1e6:,.{digits}f} MB{speed}")

        return tell


@contextmanager
def _locked(path: Path, attend: Callable[[], None]) -> Iterator[None]:
    """Hold a lock, the one that huggingface_hub itself takes, between threads and processes."""
    with ExitStack() as stack:
        while True:
            with writing(path.parent), suppress(TimeoutError):
                stack.enter_context(WeakFileLock(path, timeout=INTERVAL))
                break
            attend()
        yield


# --- the cache -----------------------------------------------------------------------------------------------------


def _folder(repository: str) -> Path:
    """Of a repository, in huggingface_hub's cache."""
    cache = constants.HF_HUB_CACHE
    for variable, below in (("HF_HUB_CACHE", "."), ("HUGGINGFACE_HUB_CACHE", "."), ("HF_HOME", "hub")):
        if value := os.environ.get(variable):
            cache = os.path.join(os.path.expandvars(value), below)
            break
    return Path(cache).expanduser().absolute() / f"models--{repository.replace('/', '--')}"


def _endpoint() -> str:
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
        raise InputError(f"HF_ENDPOINT is '{endpoint}', which is no address: unset it, or begin it with https://.")
    return endpoint


def _offline() -> bool:
    values = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in constants.ENV_VARS_TRUE_VALUES for value in values)


def _configuration_known(checkpoint: Path) -> bool:
    commit = checkpoint.parent
    return (commit / CONFIGURATION).is_file() or (
        commit.parent.parent / ".no_exist" / commit.name / CONFIGURATION
    ).is_file()


def _intact(path: Path, name: str, size: int | None) -> bool:
    """Whether a file of the cache may stay: it is there, as long as the Hub says, and has its end."""
    return path.is_file() and size in (None, size_of(path)) and (name == CONFIGURATION or whole(path))


def _point(pointer: Path, blob: Path) -> None:
    with writing(pointer.parent):
        try:
            _replace(pointer, lambda temporary: temporary.symlink_to(os.path.relpath(blob, pointer.parent)))
        except OSError:  # no symbolic links here: then the file itself lies there, as huggingface_hub has it
            blob.replace(pointer)


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    """Let a file appear at once, in place of what was there."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    make(temporary)
    temporary.replace(path)


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


# --- sentences -----------------------------------------------------------------------------------------------------


@contextmanager
def _explained(card: Card) -> Iterator[None]:
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise InputError(f"HF_HUB_OFFLINE was set when Parallax started; unset it, or {_instead()}.") from error
    except HTTPError as error:
        raise InputError(_sentence(card, error)) from error


def _instead() -> str:
    return "give a checkpoint that you have (--weights FILE)"


def _sentence(card: Card, error: HTTPError) -> str:
    """What a user should do about an answer of the Hub, or about none."""
    endpoint = _endpoint()
    response = getattr(error, "response", None)
    if response is None:
        return (
            f"{endpoint} cannot be reached and {card.title} is not on this machine yet ({type(error).__name__}): "
            f"check the connection and the proxy and try again, or {_instead()}."
        )
    status, token = response.status_code, get_token() is not None
    if status == 401 and token:
        return (
            f"{endpoint} does not know your token: make a new one at https://huggingface.co/settings/tokens, then run "
            f"`hf auth login` or set HF_TOKEN, or {_instead()}."
        )
    if (card.gated or isinstance(error, GatedRepoError)) and status in (401, 403, 404):
        if not token:
            return (
                f"{card.title} is given to those who ask: request it at {card.licence_url}, then run `hf auth login` "
                f"or set HF_TOKEN to a token of yours, or {_instead()}."
            )
        return (
            f"Your token may not read {card.repository}: request access at {card.licence_url} and wait for the answer "
            f"(a fine-grained token must be allowed to read gated repositories), or {_instead()}."
        )
    if status in (401, 404):
        return f"{card.repository} is not on {endpoint} (any more); update Parallax, or {_instead()}."
    if status == 429:
        return f"{endpoint} has had too many requests from here; wait some minutes and try again, or {_instead()}."
    if status >= 500:
        return f"{endpoint} is in trouble (error {status}); try again later, or {_instead()}."
    return f"{endpoint} refuses {card.repository} (error {status}); open it in a browser to see why, or {_instead()}."
