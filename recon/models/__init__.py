"""The registry: one card a model, and `load`."""

from __future__ import annotations

import importlib
from pathlib import Path

from recon.errors import InputError
from recon.models.base import Card, Model, Options, Plan, Update

CARDS: dict[str, Card] = {
    card.name: card
    for card in [
        Card(
            name="embedded",
            title="Parallax small",
            summary="Ours, shipped with the app: no download, no GPU, no network; geometry verifies its cameras.",
            gives=("cameras", "depth", "points"),
            licence="Apache-2.0",
            licence_url="https://www.apache.org/licenses/LICENSE-2.0",
            commercial=True,
            metric=False,
            parameters=25_400_000,
            download=0,
            resolution=256,
            maximum_views=64,
            code="recon.models.embedded:Embedded",
        ),
    ]
}


def load(name: str = "embedded", device: str | None = None, weights: str | Path | None = None) -> Model:
    """Load a model.

    Args:
        name: of a card in `CARDS`.
        device: a torch device; None takes CUDA where there is one, else the CPU.
        weights: a checkpoint file to use in place of the card's own.

    Raises:
        InputError: no model of that name, no such device, or a file that does not fit the network.
    """
    if name not in CARDS:
        raise InputError(f"There is no model called '{name}'; the models are: {', '.join(CARDS)}.")
    import torch  # here, since the page must open before those seconds are spent

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device '{chosen}' cannot be used here; leave it out to let Parallax choose.") from error
    module, _, attribute = CARDS[name].code.partition(":")
    model_class = getattr(importlib.import_module(module), attribute)
    return model_class(CARDS[name], torch.device(chosen), None if weights is None else Path(weights))


__all__ = ["CARDS", "Card", "Model", "Options", "Plan", "Update", "load"]
