"""Which photos a network that takes two is given together (DUSt3R: Wang et al. 2024, section 3.3).

A graph is a list of pairs ``(first, second)`` of the photos' numbers; the first sets the frame of both pointmaps. What
`complete`, `sliding_window` and `log_window` give has each pair in one order: `symmetrised` adds the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from recon.errors import InputError

Pair = tuple[int, int]

FEW = 12  # photos of which all pairs are taken, if it is left to us
GRAPHS = {
    "auto": f"every pair up to {FEW} photos, near and far ones beyond; for MonST3R every second of the next ten",
    "complete": "every pair: the best scene, but the time grows with the square of the number of photos",
    "swin": "each photo with those that follow it: for videos and photos taken in order",
    "swinstride": "each photo with every second of those that follow it: for videos in which things move",
    "swin2stride": "each photo with every third of those that follow it: the same for slow videos",
    "logwin": "each photo with those 1, 2, 4, ... after it: near ones, and far ones that hold all together",
    "oneref": "one photo with every other: the quickest, where it sees what all others see",
}
"""The graphs that may be asked for by name, a phrase each."""
STRIDES = {"swin": 1, "swinstride": 2, "swin2stride": 3}  # of windows, from one that follows to the next
WINDOW = 3  # how many follow, where the name says nothing
_NAME = re.compile(rf"({'|'.join(GRAPHS)})(?:-(\d{{1,4}}))?(?:-(noncyclic))?")


def pairs_of(graph: str, count: int, ordered: bool = False) -> list[Pair]:
    """The pairs of a graph by its name, both orders of each beside each other; each photo is reached early.

    Args:
        graph: one of `GRAPHS`; a window may say how many follow, and that the first photo does not follow the last, as
            ``"swin-5-noncyclic"``; one reference which it is, counted from 0, as ``"oneref-2"``.
        count: photos.
        ordered: they are of a video, in which the first photo does not follow the last.

    Raises:
        InputError: no such graph, or no such photo.
    """
    name, number, cyclic = read_graph(graph)
    if name == "auto":
        name = "complete" if count <= FEW else "logwin"
        number = max(1, (count // 2).bit_length())  # offsets up to half of the photos
    cyclic = cyclic and not ordered
    if name == "complete":
        pairs = complete(count)
    elif name == "oneref":
        if (number or 0) >= count:
            raise InputError(f"There is no photo {number} for the graph '{graph}': count from 0 to {count - 1}.")
        pairs = one_reference(count, number or 0)
    elif name == "logwin":
        pairs = log_window(count, number or WINDOW, cyclic)
    else:
        pairs = sliding_window(count, number or WINDOW, cyclic, STRIDES[name])
    return [each for i, j in pairs for each in ((i, j), (j, i))]


def read_graph(graph: str) -> tuple[str, int | None, bool]:
    """What the name of a graph says: which it is, a number or None, and whether the first photo follows the last.

    Raises:
        InputError: no such graph.
    """
    found = _NAME.fullmatch(graph)
    name, number, noncyclic = found.groups() if found else ("", None, None)
    sensible = {
        "auto": number is None and noncyclic is None,
        "complete": number is None and noncyclic is None,
        "oneref": noncyclic is None,
    }
    if not found or not sensible.get(name, number is None or int(number) > 0):
        raise InputError(
            f"There is no graph '{graph}': choose one of {', '.join(GRAPHS)}, or give a window as 'swin-5-noncyclic' "
            "and a reference as 'oneref-2'."
        )
    return name, None if number is None else int(number), noncyclic is None


def complete(count: int) -> list[Pair]:
    """Every photo with every other: the best scene, at a cost that grows with the square of their number."""
    return [(i, j) for i in range(count) for j in range(i)]


def sliding_window(
    count: int, width: int = 3, cyclic: bool = True, stride: int = 1, start: int = 1, itself: bool = False
) -> list[Pair]:
    """Every photo with those that follow it: for photos in the order in which they were taken.

    Args:
        count: photos.
        width: how many that follow.
        cyclic: after the last one the first follows, as on a walk around something.
        stride: from one that follows to the next, so that a window of few pairs is wide (MonST3R: Zhang et al. 2025).
        start: from a photo to the first one that follows.
        itself: keep the pairs of a photo with itself that a window gives that goes all around. They say nothing, but
            the reference implementation keeps them.
    """
    offsets = range(start, start + stride * width, stride)
    return _windows(count, offsets, cyclic, itself)


def log_window(count: int, width: int = 3, cyclic: bool = True) -> list[Pair]:
    """Every photo with those 1, 2, 4, ... after it, ``width`` of them: near ones, and far ones to hold all together."""
    return _windows(count, [2**power for power in range(width)], cyclic, itself=False)


def one_reference(count: int, reference: int = 0, itself: bool = False) -> list[Pair]:
    """One photo with every other: the quickest, when it sees what all others see; ``itself`` adds its own pair."""
    return [(reference, j) for j in range(count) if itself or j != reference]


def symmetrised(pairs: Sequence[Pair]) -> list[Pair]:
    """All pairs, then all of them in the other order: pair p of P is the reverse of pair P + p."""
    return [*pairs, *((j, i) for i, j in pairs)]


def within(pairs: Iterable[Pair], distance: int) -> list[Pair]:
    """The pairs of photos that are at most so far from each other in their order."""
    return [(i, j) for i, j in pairs if abs(i - j) <= distance]


def _windows(count: int, offsets: Iterable[int], cyclic: bool, itself: bool) -> list[Pair]:
    """Each pair once, the smaller number first, in order."""
    pairs = set()
    for i in range(count):
        for offset in offsets:
            j = (i + offset) % count if cyclic else i + offset
            if j < count and (itself or j != i):
                pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)
