"""How the chosen model goes about it: its choices, of which only those are shown that it heeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.visit import Visit, defaults
from recon import CARDS, Options
from recon.alignment.pair_graph import GRAPHS, WINDOW, read_graph
from recon.models import Card
from recon.models.base import USES, Fit, Forget, Order, Points, Use

POINTS = {"depth": "Depth and camera", "head": "The network's pointmap"}
FIT = {"crop": "Crop", "pad": "Pad"}
GRAPH = {
    "auto": "Automatic",
    "complete": "All",
    "swin": "Sliding window",
    "swinstride": "Every second",
    "swin2stride": "Every third",
    "logwin": "Widening window",
    "oneref": "One reference",
}
COUNTED = ("swin", "swinstride", "swin2stride", "logwin", "oneref")  # graphs that a number belongs to
ORDER = {"auto": "Automatic", "photos": "Photos in any order", "video": "A video, in its order"}
FORGET = {"oldest": "The oldest", "crowded": "One near another"}
FOCAL = {"auto": "One for a video", "shared": "One for all", "own": "Each its own"}
SHARED = {"auto": None, "shared": True, "own": False}
USE = {"intrinsics": "Intrinsics", "poses": "Poses", "depth": "Depth", "scale": "Their scale"}


@dataclass
class Choices:
    """The widgets, in the order in which `options` takes their values."""

    points: gr.Radio
    fit: gr.Radio
    refine: gr.Checkbox
    verify: gr.Checkbox
    dense: gr.Checkbox
    graph: gr.Dropdown
    graph_number: gr.Number
    focal: gr.Radio
    use: gr.CheckboxGroup
    align: gr.Checkbox
    mask: gr.Checkbox
    agreement: gr.Checkbox
    order: gr.Radio
    keyframes: gr.Number
    forget: gr.Radio
    window: gr.Slider
    rounds: gr.Slider
    rerender: gr.Checkbox

    def restored(self, visit: Visit) -> dict[Any, Any]:
        """Updates that bring the widgets to what the visitor chose."""
        heeded, chosen = CARDS[visit.model].choices, visit.options
        graph, number, _ = read_graph(chosen.graph)
        shared = next(name for name, value in SHARED.items() if value is chosen.shared_focal)
        return {
            self.points: gr.Radio(value=chosen.points, visible="points" in heeded),
            self.fit: gr.Radio(value=chosen.fit, visible="fit" in heeded),
            self.refine: gr.Checkbox(value=chosen.refine, visible="refine" in heeded),
            self.verify: gr.Checkbox(value=bool(chosen.verify), visible="verify" in heeded),
            self.dense: gr.Checkbox(bool(chosen.dense), visible="dense" in heeded, interactive=bool(chosen.verify)),
            self.graph: gr.Dropdown(value=graph, visible="graph" in heeded),
            self.graph_number: gr.Number(number, visible="graph" in heeded and graph in COUNTED),
            self.focal: gr.Radio(value=shared, visible="shared_focal" in heeded),
            self.use: gr.CheckboxGroup(value=list(chosen.use), visible="use" in heeded),
            self.align: gr.Checkbox(chosen.align, visible="align" in heeded),
            self.mask: gr.Checkbox(chosen.mask, visible="mask" in heeded),
            self.agreement: gr.Checkbox(chosen.agreement, visible="agreement" in heeded),
            self.order: gr.Radio(value=chosen.order, visible="order" in heeded),
            self.keyframes: gr.Number(chosen.keyframes, visible="keyframes" in heeded),
            self.forget: gr.Radio(value=chosen.forget, visible="forget" in heeded),
            self.window: gr.Slider(value=chosen.window, visible="window" in heeded),
            self.rounds: gr.Slider(value=chosen.rounds, visible="rounds" in heeded),
            self.rerender: gr.Checkbox(chosen.rerender, visible="rerender" in heeded),
        }

    def coupled(self, visit: Visit) -> dict[Any, Any]:
        """Updates of those that have a meaning only where others are on."""
        counted = "graph" in CARDS[visit.model].choices and read_graph(visit.options.graph)[0] in COUNTED
        return {
            self.dense: gr.Checkbox(interactive=bool(visit.options.verify)),
            self.graph_number: gr.Number(visible=counted),
        }


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
        graphs = [(f"{title}: {GRAPHS[name]}", name) for name, title in GRAPH.items()]
        graph = gr.Dropdown(
            graphs, value="auto", label="Pairs of photos",
            visible="graph" in card.choices, elem_id="graph",
        )  # fmt: skip
        graph_number = gr.Number(
            None, label="How many follow, or which photo", precision=0, minimum=0, visible=False,
            elem_id="graph-number",
            info=f"Of the windows, {WINDOW} if left empty; of one reference its number, from 0.",
        )  # fmt: skip
        focal = gr.Radio(
            [(title, name) for name, title in FOCAL.items()], value="auto", label="Focal length",
            visible="shared_focal" in card.choices, elem_id="focal",
        )  # fmt: skip
        use = gr.CheckboxGroup(
            [(title, name) for name, title in USE.items()], value=list(chosen.use), label="Tell the network",
            info="Of what is known of the photos; it takes it as a hint.", visible="use" in card.choices, elem_id="use",
        )  # fmt: skip
        align = _switch("align", "Align to known poses", "As a whole, where poses are known.", card)
        mask = _switch("mask", "Leave out sky and edges", "Where the network says that depth means nothing.", card)
        agreement = _switch("agreement", "Confidence by agreement", "Of the other photos, on each surface.", card)
        memory = _memory(card)
    return Choices(points, fit, refine, verify, dense, graph, graph_number, focal, use, align, mask, agreement, *memory)


def _memory(card: Card) -> tuple[gr.Radio, gr.Number, gr.Radio, gr.Slider, gr.Slider, gr.Checkbox]:
    """What a network with a memory does with it."""
    order = gr.Radio(
        [(title, name) for name, title in ORDER.items()], value="auto", label="The pictures are",
        visible="order" in card.choices, elem_id="order",
    )  # fmt: skip
    keyframes = gr.Number(
        None, label="Keyframes in memory, at most", info="As many as fit, or 50, if left empty.", precision=0,
        minimum=2, visible="keyframes" in card.choices, elem_id="keyframes",
    )  # fmt: skip
    forget = gr.Radio(
        [(title, name) for name, title in FORGET.items()], value="oldest", label="Which leaves for a new one",
        info="Of a video; the first, which is the world, stays.", visible="forget" in card.choices, elem_id="forget",
    )  # fmt: skip
    window = gr.Slider(
        0, 32, 0, step=1, label="Last frames remembered too", visible="window" in card.choices, buttons=[],
        elem_id="window",
    )  # fmt: skip
    rounds = gr.Slider(
        0, 4, 0, step=1, label="Further rounds through all", visible="rounds" in card.choices, buttons=[],
        elem_id="rounds",
    )  # fmt: skip
    rerender = _switch("rerender", "Place all anew at the end", "Frames of a video, by the whole memory.", card)
    return order, keyframes, forget, window, rounds, rerender


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
    graph: str,
    graph_number: float | None,
    focal: str,
    use: Sequence[Use] = USES,
    align: bool = True,
    mask: bool = True,
    agreement: bool = False,
    order: Order = "auto",
    keyframes: float | None = None,
    forget: Forget = "oldest",
    window: float = 0,
    rounds: float = 0,
    rerender: bool = False,
) -> Options:
    """What the widgets say, as far as the model of ``card`` heeds it; the rest stays as it always is."""
    said: dict[str, Any] = {"points": points, "fit": fit, "refine": refine, "verify": verify, "dense": dense}
    said |= {"graph": numbered(graph, graph_number), "shared_focal": SHARED[focal]}
    said |= {"use": tuple(use), "align": align, "mask": mask, "agreement": agreement}
    said |= {"order": order, "keyframes": int(keyframes) if keyframes and keyframes >= 2 else None, "forget": forget}
    said |= {"window": int(window), "rounds": int(rounds), "rerender": rerender}
    return Options(**{name: value for name, value in said.items() if name in card.choices})


def numbered(graph: str, number: float | None) -> str:
    """The name of a graph with its number, if it is one that has a number and there is one that makes sense."""
    sensible = number is not None and number >= (0 if graph == "oneref" else 1)
    return f"{graph}-{int(number)}" if graph in COUNTED and sensible and number is not None else graph
