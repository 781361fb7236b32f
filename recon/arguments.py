"""The choices of a run as a shell has them, and the kinds of values that they take."""

from __future__ import annotations

import argparse
from pathlib import Path

from recon.alignment.pair_graph import GRAPHS
from recon.errors import InputError
from recon.models import Options, card_of
from recon.models.base import USES

OWN = (
    "points", "fit", "refine", "graph", "shared_focal", "use", "align", "mask", "agreement",
    "order", "keyframes", "forget", "window", "rounds", "rerender",
)  # fmt: skip
"""Fields of `Options` that make a difference to some models only."""


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    """Which model runs, where, and how."""
    command.add_argument("--model", default="embedded", metavar="NAME", help="a name of `parallax models` (embedded)")
    command.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    command.add_argument("--weights", type=Path, metavar="FILE", help="a checkpoint to use in place of the model's own")
    command.add_argument(
        "--verify", action=argparse.BooleanOptionalAction,
        help="check the cameras by matches and bundle adjustment, or not (default: as the model's card says)",
    )  # fmt: skip
    command.add_argument(
        "--dense", action=argparse.BooleanOptionalAction,
        help="refine depth by the other views where cameras are verified, or not (default: as the model's card says)",
    )  # fmt: skip
    _add_choices_of_networks(command)
    _add_choices_of_memories(command)


def _add_choices_of_networks(command: argparse.ArgumentParser) -> None:
    """What some networks can be told."""
    command.add_argument(
        "--points", choices=["depth", "head"], default="depth",
        help="take points from depth and cameras, or from the network's own pointmap, where it has one (depth)",
    )  # fmt: skip
    command.add_argument(
        "--fit", choices=["crop", "pad"], default="crop",
        help="bring tall photos to the network's size by cropping or by padding, where that is asked (crop)",
    )  # fmt: skip
    command.add_argument(
        "--refine", action="store_true", help="adjust the cameras by bundle adjustment over the network's tracks"
    )
    phrases = "; ".join(f"{name}, {phrase}" for name, phrase in GRAPHS.items())
    command.add_argument(
        "--graph", default="auto", metavar="NAME",
        help=f"which photos a network of pairs is given together (auto): {phrases}; or with a number, as swin-5, "
        "swin-5-noncyclic, oneref-2",
    )  # fmt: skip
    command.add_argument(
        "--shared-focal", action=argparse.BooleanOptionalAction,
        help="all photos were taken with one lens at one zoom, or not (default: only where they are one video's)",
    )  # fmt: skip
    command.add_argument(
        "--use", type=kinds, default=USES, metavar="KIND,KIND,...",
        help=f"what the network is told of that which is known of the photos: among {', '.join(USES)}, or none (all)",
    )  # fmt: skip
    command.add_argument(
        "--align", action=argparse.BooleanOptionalAction, default=True,
        help="move the scene to where it meets the poses that are known (default)",
    )  # fmt: skip
    command.add_argument(
        "--mask", action=argparse.BooleanOptionalAction, default=True,
        help="leave out what the network calls ambiguous, and torn edges (default)",
    )  # fmt: skip
    command.add_argument(
        "--agreement", action="store_true", help="judge confidence by how many other photos see the same surface"
    )


def _add_choices_of_memories(command: argparse.ArgumentParser) -> None:
    """What networks with a memory can be told."""
    command.add_argument(
        "--order", choices=["auto", "photos", "video"], default="auto",
        help="for a network with a memory: photos in any order, or the frames of a video in theirs; a video alone is "
        "then read while it is reconstructed, all of it or --fps frames a second (auto)",
    )  # fmt: skip
    command.add_argument(
        "--keyframes", type=positive, metavar="N", help="its memory holds at most N views (default: what fits, or 50)"
    )
    command.add_argument(
        "--forget", choices=["oldest", "crowded"], default="oldest",
        help="of a video's keyframes, which leaves for a new one: the oldest, or one that is near another (oldest)",
    )  # fmt: skip
    command.add_argument(
        "--window", type=int, default=0, metavar="N", help="of a video, remember the last N frames too (0)"
    )
    command.add_argument(
        "--rounds", type=int, default=0, metavar="N", help="go through the views N times more, which closes loops (0)"
    )
    command.add_argument(
        "--rerender", action="store_true", help="place all frames of a video anew at the end, by the whole memory"
    )


def options_of(arguments: argparse.Namespace, maximum_views: int | None = None) -> Options:
    """The choices of a run.

    Raises:
        InputError: a choice that makes no difference to the model, or a value that there is not.
    """
    options = Options(
        maximum_views, arguments.verify, arguments.dense, **{name: getattr(arguments, name) for name in OWN}
    )
    card, plain = card_of(arguments.model), Options()
    for name in OWN:
        if getattr(options, name) != getattr(plain, name) and name not in card.choices:
            flag = name.replace("_", "-")
            raise InputError(f"{card.title} knows no --{flag}: leave it out, or choose another model.")
    return options


def positive(text: str) -> int:
    """A number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 up")
    return int(text)


def kinds(text: str) -> tuple[str, ...]:
    """Words between commas, or none."""
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def size(text: str) -> tuple[int, int]:
    """Height and width in pixels."""
    height, _, width = text.lower().partition("x")
    return positive(height), positive(width)


def counts(text: str) -> list[int]:
    """Numbers from 1 up between commas."""
    return [positive(part.strip()) for part in text.split(",")]
