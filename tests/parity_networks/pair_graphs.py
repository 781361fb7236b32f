"""Pair graphs by the names that recordings have for them."""

from __future__ import annotations

from collections.abc import Iterable

from recon.alignment.pair_graph import (
    STRIDES,
    Pair,
    complete,
    log_window,
    one_reference,
    sliding_window,
    symmetrised,
    within,
)


def dust3r_graph(name: str, count: int, both: bool, kept: str | None = None) -> list[Pair]:
    """As DUSt3R makes it; ``both`` orders of each pair, only those ``kept`` by a filter."""
    kind, *words = name.split("-")
    numbers, cyclic = [int(word) for word in words if word.isdigit()], "noncyclic" not in words
    if kind == "complete":
        pairs = complete(count)
    elif kind == "oneref":
        pairs = one_reference(count, *numbers)
    elif kind == "logwin":
        pairs = log_window(count, *numbers, cyclic=cyclic)
    else:
        pairs = sliding_window(count, *numbers, cyclic=cyclic, stride=STRIDES[kind], itself=True)
    if both:
        pairs = symmetrised(pairs)
    if kept is None:
        return pairs
    distance = int(kept[3:])
    return within(pairs, distance) if kept.startswith("seq") else within_circle(pairs, distance, count)


def within_circle(pairs: Iterable[Pair], distance: int, count: int) -> list[Pair]:
    """As `within`, when the first of ``count`` photos follows the last."""
    return [(i, j) for i, j in pairs if min(abs(i - j), count - abs(i - j)) <= distance]


def monst3r_graph(name: str, count: int) -> list[Pair]:
    """As MonST3R makes it, in both orders but for two kinds of graphs."""
    if name.startswith("oneref"):
        return one_reference(count, int(name.split("-")[1]), itself=True)
    return dust3r_graph(name, count, both=count == 2 or not name.startswith("swin-1"))
