"""The models of all visitors: whose weights are on this machine, which are loaded, how fast they run here.

Weights are downloaded once, however many visitors ask for them, and loaded models are shared.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import recon
from demo.session import return_memory
from recon import CARDS, Model, Options, Plan, View
from recon.models import Card

log = logging.getLogger(__name__)

KEPT = 1_500_000_000  # weights that stay loaded, of all models together: those of a large one and of the embedded one
SETTLED = 2.0  # seconds after which a download's speed tells when it will end


@dataclass(frozen=True)
class Download:
    """How far the weights of a model have come.

    Attributes:
        stage: what is being done.
        fraction: of it, what is done.
        detail: file, bytes and speed, in words.
        seconds_left: until it is done, as far as that can be told.
    """

    stage: str
    fraction: float
    detail: str
    seconds_left: float | None


Progress = Callable[[Download], None]

_local: dict[str, Path] = {}
_loaded: OrderedDict[str, Model] = OrderedDict()  # the least recently used first
_loading = threading.Lock()
_pace: dict[str, float] = {}


def use_local(weights: Mapping[str, Path]) -> None:
    """Take the checkpoints of these models from files: name of the model to path."""
    _local.update(weights)


def here(card: Card) -> bool:
    """Whether the weights are on this machine, so that nothing need be downloaded; asks no other machine."""
    return card.shipped or _on_disk(card) is not None


def _on_disk(card: Card) -> Path | None:
    if card.name in _local or card.shipped:
        return _local.get(card.name)
    from recon import hub  # here, since visitors of a shipped model never need it

    return hub.cached(card)


def route() -> tuple[str, str]:
    """The host that weights come from, and the folder on this machine that they go to."""
    from huggingface_hub import constants

    home, folder = str(Path.home()), constants.HF_HUB_CACHE
    short = folder.replace(home, "~", 1) if folder.startswith(home) else folder
    return constants.ENDPOINT.partition("://")[2], short


def fetch(name: str, progress: Progress) -> None:
    """Bring the weights of a model onto this machine, unless they are here.

    Args:
        name: of a card.
        progress: called again and again; may raise to stop, and the next try goes on from there.

    Raises:
        InputError: they cannot be had; the sentence says what to do.
    """
    card = CARDS[name]
    if here(card):
        return
    from recon import hub

    stage, first, began = "", 0.0, 0.0

    def tell(fraction: float, message: str) -> None:
        nonlocal stage, first, began
        doing, told, detail = message.partition(": ")
        now = time.monotonic()
        if doing != stage or first == 0:  # what a former try has left is no sign of today's speed
            stage, first, began = doing, fraction, now
        gained, took = fraction - first, now - began
        left = took * (1 - fraction) / gained if gained > 0 and took > SETTLED else None
        progress(Download(stage, fraction, detail, left) if told else Download("Downloading", fraction, message, None))

    hub.fetch(card, tell)


def load(name: str) -> Model:
    """The model of that name, shared by all visitors; those least recently used make room for it.

    Raises:
        InputError: its weights cannot be had, or do not fit the network.
    """
    with _loading:
        if name not in _loaded:
            card = CARDS[name]
            _make_room(card.parameters)
            _loaded[name] = recon.load(name, weights=_on_disk(card))
        _loaded.move_to_end(name)
        return _loaded[name]


def _make_room(parameters: int) -> None:
    crowded = False
    while _loaded and sum(model.card.parameters for model in _loaded.values()) + parameters > KEPT:
        name, _ = _loaded.popitem(last=False)
        log.info("the model %s makes room for another", name)
        crowded = True
    if crowded:
        return_memory()


def plan(name: str, views: Sequence[View], options: Options) -> Plan:
    """What a run will take, its time as far as the last run of the model on this machine told; loads no weights.

    A checkpoint from a file may be of another size than the published one, which is known once it is loaded.

    Raises:
        InputError: there is no such model, or there are no views.
    """
    model = _loaded.get(name)
    predicted = model.plan(views, options=options) if model else recon.plan(name, views, options=options)
    return replace(predicted, seconds=predicted.seconds * _pace.get(name, 1.0))


def learn(name: str, predicted: float, took: float) -> None:
    """Take note that a run, `plan`ned to take ``predicted`` seconds, took other ones."""
    _pace[name] = _pace.get(name, 1.0) * took / predicted
