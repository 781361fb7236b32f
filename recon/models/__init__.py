"""What a user picks: models by the names of their cards, planned and loaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recon.errors import InputError
from recon.models.base import Card, Direct, Model, Options, Plan, Update
from recon.models.cards import CARDS
from recon.scene import View

if TYPE_CHECKING:
    import torch


def plan(name: str, views: Sequence[View], device: str | None = None, options: Options = Options()) -> Plan:
    """What a run of a model over ``views`` will take, without loading its weights (see `Model.predict`).

    Raises:
        InputError: no model of that name, or fewer views than it can do with.
    """
    card = card_of(name)
    return _class(card).predict(card, views, device_of(device).type, options)


def load(
    name: str = "embedded",
    device: str | None = None,
    weights: str | Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Model:
    """Load a model, fetching its weights if they are neither shipped nor in the cache of the Hugging Face Hub.

    Args:
        name: of a card in `CARDS`.
        device: a torch device; None takes CUDA where there is one, else the CPU.
        weights: a checkpoint file to use in place of the card's own.
        progress: called with the share of the download done, 0 to 1, and what is being done; may raise to stop.

    Raises:
        InputError: no model of that name, no such device, weights that cannot be fetched, or a file that does not fit
            the network.
    """
    card = card_of(name)
    chosen = device_of(device)
    path = None if weights is None else Path(weights)
    if path is None and not card.shipped:
        from recon import hub  # here, since most runs need no network

        path = hub.fetch(card, progress)
    return _class(card)(card, chosen, path)  # type: ignore[call-arg]


def card_of(name: str) -> Card:
    """The card of that name.

    Raises:
        InputError: there is none.
    """
    if name not in CARDS:
        raise InputError(f"There is no model called '{name}'; the models are: {', '.join(CARDS)}.")
    return CARDS[name]


def unheeded(card: Card, views: Sequence[View]) -> str:
    """A sentence where the model of ``card`` does not take for known what is known of some of ``views``; else empty."""
    parts = {"intrinsics": "intrinsics", "poses": "world_from_camera", "depth": "depth"}
    known = {kind for kind, part in parts.items() if any(getattr(view, part) is not None for view in views)}
    lost = [kind for kind in parts if kind in known.difference(card.heeds)]
    if not lost:
        return ""
    able = [other.title for other in CARDS.values() if other.commercial and set(lost) <= set(other.heeds)]
    words = " and ".join([", ".join(lost[:-1]), lost[-1]]) if len(lost) > 1 else lost[0]
    return f"{card.title} does not heed known {words}; {able[0] if able else 'no model here'} does."


def _class(card: Card) -> type[Model]:
    module, _, attribute = card.code.partition(":")
    return getattr(importlib.import_module(module), attribute)


def device_of(wanted: str | None) -> torch.device:
    """The torch device of that name; None takes CUDA where there is one, else the CPU.

    Raises:
        InputError: there is no such device.
    """
    import torch  # here, since the page must open before those seconds are spent

    chosen = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device '{chosen}' cannot be used here; leave it out to let Parallax choose.") from error
    return torch.device(chosen)


__all__ = [
    "CARDS",
    "Card",
    "Direct",
    "Model",
    "Options",
    "Plan",
    "Update",
    "card_of",
    "device_of",
    "load",
    "plan",
    "unheeded",
]
