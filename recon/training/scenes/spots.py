"""Spots and styles: how it is said what stands where in a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Range = tuple[float, float]
Options = dict[str, float]


@dataclass(frozen=True)
class Spot:
    """Where one thing stands on a stage, a rectangle of half-sizes X and Y about the origin.

    A thing on side 0 has its back towards -y and looks at +y; on sides 1, 2, 3 all is turned by that many right
    angles. Fractions are of the stage's half-sizes, as that side sees them.

    Attributes:
        options: how likely each template is; "" is nothing.
        sides: which one is drawn from, of 0 to 3; twice is twice as likely.
        along: fractions of the stage along the side, kept inside unless it stands outside.
        back: fractions of the stage back towards the side.
        snap: 1 puts the thing's back against the stage's edge, -1 its front there from outside, 0 its middle.
        clear: metres further back.
        height: metres above the stage, or below the ceiling where ``hangs``.
        turn: radians it may be turned by, to both sides.
        on_table: the stage is the style's table, not its room.
        fills: the thing takes over the stage's W, D and H.
        widens: where above 0, W becomes this fraction of the stage's length along the side.
    """

    options: Options
    sides: Sequence[int] = (0, 1, 2, 3)
    along: Range = (-1, 1)
    back: Range = (1, 1)
    snap: int = 1
    clear: Range = (0, 0)
    height: Range = (0, 0)
    hangs: bool = False
    turn: float = 0.0
    on_table: bool = False
    fills: bool = False
    widens: float = 0.0


@dataclass(frozen=True)
class Style:
    """A kind of place.

    Attributes:
        kind: of World: 0 room, 1 tabletop, 2 street, 3 clutter.
        share: of all scenes, before normalising.
        room: between which the room's half-sizes and its height lie; the stage's, where there is none.
        walled: how likely there is a room to be seen.
        table: half-sizes of the smaller stage in it, if any.
        floor: height of the room's floor; the table's surface is at 0.
        spots: what stands where; those that come first are sure of their slots.
        cameras: metres above the floor between which cameras stand.
        corridor: the part of the stage's half-sizes in which cameras stand.
        extent: how far the things that matter reach, as a fraction of the longer half-size (of the table if any).
        tumble: radians by which things may lie turned any way, and how far they float, as a part of the height.
        depth: of how many parts of a thing one part of the next thing comes first, where slots are short.
        first_focus, focuses: the first spot worth looking at, and how many are.
    """

    kind: int
    share: float
    room: tuple[Range, Range, Range]
    spots: list[Spot]
    walled: float = 1.0
    table: tuple[Range, Range] = ((0.0, 0.0), (0.0, 0.0))
    floor: float = 0.0
    cameras: Range = (0.4, 2.0)
    corridor: tuple[float, float] = (0.92, 0.92)
    extent: float = 0.9
    tumble: float = 0.0
    depth: int = 64
    first_focus: int = 1
    focuses: int = 8


def even(*names: str, none: float = 0.0) -> Options:
    """Each as likely as the others, and so likely nothing."""
    return dict.fromkeys(names, 1.0) | {"": none}


def whole(*names: str) -> Spot:
    """The stage itself: one of several floors or grounds."""
    return Spot(even(*names), sides=(0,), fills=True, snap=0, back=(0, 0), along=(0, 0))
