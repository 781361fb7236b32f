"""Photos in any order to MUSt3R: some of them are remembered, then all are placed beside that memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from recon.models.must3r_looking import Looker
from recon.networks.must3r import Encoded, Pointmaps

Encode = Callable[[Sequence[int]], list[Encoded]]
"""Photos of those numbers, each by itself."""


@dataclass
class Told:
    """What was said of some photos.

    Attributes:
        numbers: of the photos.
        maps: one of each, on the device.
        last: whether no more will be said of them.
    """

    numbers: list[int]
    maps: list[Pointmaps]
    last: bool


def batches(count: int) -> list[list[int]]:
    """Numbers of those that are remembered, as they enter: two of them, then one by one."""
    return [list(range(min(2, count))), *([number] for number in range(2, count))]


def go_through(
    looker: Looker, encode: Encode, sizes: Sequence[tuple[int, int]], remembered: int, rounds: int = 0, batch: int = 1
) -> Iterator[Told]:
    """Photos of which the first few are remembered, then all are rendered.

    Args:
        looker: begins anew.
        encode: gives photos; it is asked once for those that are remembered, and for the others.
        sizes: of all photos; those of one size are rendered together.
        remembered: how many.
        rounds: how often those that are remembered look at each other once more, all but the first to be remembered as
            they are seen then.
        batch: photos that are rendered at a time.
    """
    remembered = min(len(sizes), max(remembered, 1))
    known: list[Encoded] = []
    for numbers in batches(remembered):
        known += encode(numbers)
        if numbers[0] == 0:
            maps = looker.begin(known)
        else:
            maps = looker.look(known[-1:])
            looker.keep(0, numbers[0])
        yield Told(numbers, maps, last=False)
    for _ in range(rounds):
        for numbers in batches(remembered):
            maps = looker.look([known[number] for number in numbers])
            for i, number in enumerate(numbers):
                if number != 0:
                    looker.keep(i, number, instead=number)
            yield Told(numbers, maps, last=False)
    for numbers in parts(sizes, remembered, batch):
        images = Encoded.joined([known[i] for i in numbers] if numbers[0] < remembered else encode(numbers))
        rendered = looker.render(images)
        yield Told(numbers, [rendered[i : i + 1] for i in range(len(numbers))], last=True)


def parts(sizes: Sequence[tuple[int, int]], remembered: int, batch: int) -> Iterator[list[int]]:
    """Numbers of all photos, at most ``batch`` of one size at a time; those that are remembered first."""
    for group in (range(remembered), range(remembered, len(sizes))):
        waiting: dict[tuple[int, int], list[int]] = {}
        for number in group:
            alike = waiting.setdefault(sizes[number], [])
            alike.append(number)
            if len(alike) == batch:
                yield waiting.pop(sizes[number])
        yield from waiting.values()
