"""How the chosen model goes about it: its choices, of which only those are shown that it heeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.visit import Visit, defaults
from recon import CARDS, Options
from recon.models import Card
from recon.models.base import Fit, Points

POINTS = {"depth": "Depth and camera", "head": "The network's pointmap"}
FIT = {"crop": "Crop", "pad": "Pad"}


@dataclass
class Choices:
    """The widgets, in the order in which `options` takes their values."""

    points: gr.Radio
    fit: gr.Radio
    refine: gr.Checkbox
    verify: gr.Checkbox
    dense: gr.Checkbox

    def restored(self, visit: Visit) -> dict[Any, Any]:
        """Updates that bring the widgets to what the visitor chose."""
        heeded, chosen = CARDS[visit.model].choices, visit.options
        return {
            self.points: gr.Radio(value=chosen.points, visible="points" in heeded),
            self.fit: gr.Radio(value=chosen.fit, visible="fit" in heeded),
            self.refine: gr.Checkbox(value=chosen.refine, visible="refine" in heeded),
            self.verify: gr.Checkbox(value=bool(chosen.verify), visible="verify" in heeded),
            self.dense: gr.Checkbox(bool(chosen.dense), visible="dense" in heeded, interactive=bool(chosen.verify)),
        }

    def coupled(self, visit: Visit) -> dict[Any, Any]:
        """Updates of those that have a meaning only where others are on."""
        return {self.dense: gr.Checkbox(interactive=bool(visit.options.verify))}


def layout() -> Choices:
    """Put the choices into the present column, folded."""
    card = next(iter(CARDS.values()))
    chosen = defaults(card)
    with gr.Accordion("How", open=False, elem_id="how"):
        points = gr.Radio(
            [(title, name) for name, title in POINTS.items()], value=chosen.points, label="Points from",
            visible="points" in card.choices, elem_id="points",
        )  # fmt: skip
        fit = gr.Radio(
            [(title, name) for name, title in FIT.items()], value=chosen.fit, label="Tall photos",
            info="Crop loses top and bottom; pad keeps all, smaller.", visible="fit" in card.choices, elem_id="fit",
        )  # fmt: skip
        refine = _switch("refine", "Refine cameras", "By bundle adjustment over the network's tracks.", card)
        verify = _switch("verify", "Verify cameras", "By matches between the photos.", card)
        dense = _switch("dense", "Refine depth", "Against the other photos, where cameras are verified.", card)
    return Choices(points, fit, refine, verify, dense)


def _switch(name: str, label: str, info: str, card: Card) -> gr.Checkbox:
    value = bool(getattr(defaults(card), name))
    return gr.Checkbox(value, label=label, info=info, visible=name in card.choices, elem_id=name)


def options(
    card: Card,
    points: Points,
    fit: Fit,
    refine: bool,
    verify: bool,
    dense: bool,
) -> Options:
    """What the widgets say, as far as the model of ``card`` heeds it; the rest stays as it always is."""
    said = {"points": points, "fit": fit, "refine": refine, "verify": verify, "dense": dense}
    return Options(**{name: value for name, value in said.items() if name in card.choices})  # type: ignore[arg-type]
