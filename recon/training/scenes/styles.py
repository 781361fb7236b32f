"""Styles of places: which things stand where in a living room, a kitchen, on a table, along a street, in a garden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def _even(*names: str, none: float = 0.0) -> Options:
    return dict.fromkeys(names, 1.0) | {"": none}


def _floor(*names: str) -> Spot:
    return Spot(_even(*names), sides=(0,), fills=True, snap=0, back=(0, 0), along=(0, 0))


WALL_ART = _even("poster", "picture", "pictures", "notes", "wall shelf", "clock", "switches", none=1.5)
WINDOWS = {"window": 2.0, "wide window": 1.5, "curtained window": 1.5}
LIGHTS = _even("pendant", "globe lamp", "ceiling panels", "track", none=1.5)
SMALL = ("bin", "plant", "floor lamp", "stools", "cartons", "bag", "chair", "crate", "ball")
ITEMS = _even(
    "bottle",
    "cup",
    "can",
    "package",
    "packages",
    "book pile",
    "ball",
    "globe",
    "fruit bowl",
    "toy car",
    "doll",
    "statue",
    "contraption",
    "model house",
    "pot plant",
    "flowers",
    "camera",
    "shoe",
    "mug of pens",
    "laptop",
    "monitor",
    "teapot",
    "table lamp",
    "crate",
    "table setting",
)
CENTREPIECES = _even(
    "statue",
    "contraption",
    "model house",
    "pot plant",
    "globe",
    "packages",
    "fruit bowl",
    "toy car",
    "doll",
    "teapot",
    "shoe",
    "flowers",
    "crate",
    "camera",
    "table lamp",
    "stacks",
) | {"statue": 4.0, "contraption": 3.0}

OUTDOOR_PIECES = _even("statue", "contraption", "crate", "bench", "litter bin", "pots", "stones", "car", "bush") | {
    "monument": 5.0,
    "trunk": 4.0,
}


def _walls(first: Options, second: Options, third: Options, fourth: Options) -> list[Spot]:
    """Furniture along the four walls, two pieces on the longer pieces of them, never in one place."""
    wide, apart = (-0.75, -0.35), (0.35, 0.75)
    return [
        Spot(first, (0,), wide, turn=0.02),
        Spot(second, (0,), apart, turn=0.02),
        Spot(third, (1,), (-0.3, 0.3), turn=0.02),
        Spot(fourth, (2,), wide, turn=0.02),
        Spot(second, (2,), apart, turn=0.02),
        Spot(third, (3,), (-0.6, 0.0), turn=0.02),
    ]


def _openings(windows: Options = WINDOWS, count: int = 2) -> list[Spot]:
    """A wall of windows, with a radiator below, and a door."""
    places = [(-0.75, -0.35), (0.35, 0.75), (0.0, 0.1)][:count]
    return [
        *[Spot(windows, (1,), place, height=(0.8, 1.0)) for place in places],
        Spot(_even("radiator", none=0.7), (1,), places[0]),
        Spot({"door": 1.0}, (3,), (0.55, 0.85)),
    ]


def _hung(count: int) -> list[Spot]:
    return [Spot(WALL_ART, (0, 2, 3), height=(1.2, 1.6), along=(-0.8, 0.8)) for _ in range(count)]


def _loose(options: Options, count: int) -> list[Spot]:
    return [Spot(options, along=(-0.85, 0.85), back=(0.2, 0.85), snap=0, turn=3.1) for _ in range(count)]


def _above(options: Options, height: Range = (0, 0)) -> Spot:
    return Spot(options, (0, 1), (-0.3, 0.3), (-0.3, 0.3), snap=0, hangs=True, height=height)


MIDDLE: dict[str, Any] = {"along": (-0.3, 0.3), "back": (-0.3, 0.3), "snap": 0}

INDOOR_STYLES = [
    Style(0, 0.09, ((1.6, 2.9), (1.5, 2.5), (2.3, 3.0)), [
        _floor("floor of parquet", "floor of carpet", "floor of floor tiles"),
        Spot(_even("sofa"), (0,), (-0.4, 0.4), turn=0.05),
        Spot(_even("low table", "round table"), (0,), (-0.2, 0.2), (0.1, 0.4), snap=0, turn=0.1),
        Spot(_even("television", "sideboard", "piano"), (2,), (-0.4, 0.4)),
        *_openings(),
        Spot(_even("tall shelf", "low shelf", "wardrobe", none=0.3), (3,), (-0.7, -0.2)),
        Spot(_even("armchair", "dining for two", "chair", none=0.3), (1, 3), (-0.4, 0.3), (0.2, 0.6), snap=0,
            turn=0.6),
        Spot(_even("rug", none=0.6), (0,), **MIDDLE),
        *_hung(3),
        *_loose(_even(*SMALL, none=3), 2),
        _above(LIGHTS),
    ]),
    Style(0, 0.11, ((1.6, 3.2), (1.5, 2.7), (2.4, 3.1)), [
        _floor("floor of carpet", "floor of linoleum", "floor of parquet"),
        Spot(_even("desk"), (0,), (-0.75, -0.35), turn=0.05),
        Spot(_even("desk", "filing cabinet", "low shelf"), (0,), (0.35, 0.75), turn=0.05),
        Spot(_even("desk", "writing desk", "tall shelf", "wardrobe"), (2,), (-0.75, -0.35), turn=0.05),
        *_openings(),
        Spot(_even("partition", "desk", none=1), (0, 2), (-0.3, 0.3), (0.0, 0.5), snap=0, turn=0.05),
        Spot(_even("tall shelf", "filing cabinet", "wardrobe", "plant", none=0.5), (2,), (0.35, 0.75)),
        Spot(_even("low shelf", "filing cabinet", "sideboard", "whiteboard", none=0.5), (3,), (-0.6, 0.0)),
        Spot(_even("whiteboard", "notes", "poster", none=0.5), (0, 2, 3), (-0.5, 0.5), height=(0.95, 1.2)),
        *_hung(2),
        *_loose(_even("office chair", "bin", "plant", "cartons", "bag", none=2), 3),
        _above(_even("ceiling panels", "track", none=0.4)),
    ]),
    Style(0, 0.06, ((1.4, 2.2), (1.5, 2.3), (2.3, 2.8)), [
        _floor("floor of parquet", "floor of carpet"),
        Spot({"bed": 1.0}, (0,), (-0.4, 0.4)),
        Spot(_even("wardrobe", "chest of drawers"), (2,), (-0.75, -0.3)),
        *_openings(),
        Spot(_even("writing desk", "desk", "chest of drawers", "low shelf", none=0.4), (2,), (0.3, 0.75)),
        Spot(_even("tall shelf", "chair", "armchair", "clothes rail", none=0.6), (3,), (-0.6, 0.1)),
        Spot(_even("rug", none=1), (0,), **MIDDLE),
        *_hung(3),
        *_loose(_even("bag", "ball", "crate", "bin", "shoe", none=2), 2),
        _above(LIGHTS),
    ]),
    Style(0, 0.07, ((1.5, 2.6), (1.3, 2.2), (2.3, 3.0)), [
        _floor("floor of floor tiles", "floor of linoleum", "floor of parquet"),
        Spot({"kitchen": 1.0}, (0,), (-0.2, 0.2)),
        Spot(_even("fridge"), (0,), (0.9, 1)),
        Spot(_even("dining for two", "dining for four", "round table"), (0, 2), (-0.3, 0.3), (-0.4, 0.1), snap=0,
            turn=0.1),
        *_openings(count=1),
        Spot(_even("sideboard", "low shelf", "radiator", "wardrobe", none=0.5), (2,), (-0.7, 0.7)),
        Spot(_even("hanging cupboard", "wall shelf", "notes", none=1), (2, 3), (-0.5, 0.2), height=(1.3, 1.5)),
        *_hung(2),
        *_loose(_even("bin", "stools", "chair", "crate", "plant", none=2), 2),
        _above(LIGHTS),
        _above(_even("pendant", "track", none=1)),
    ]),
    Style(0, 0.04, ((3.0, 7.0), (0.75, 1.2), (2.3, 2.9)), [
        _floor("floor of carpet", "floor of linoleum", "floor of floor tiles", "floor of parquet"),
        *[Spot({"door": 1.0, "": 0.3}, (0,), place) for place in ((-0.8, -0.4), (-0.2, 0.1), (0.4, 0.8))],
        *[Spot({"door": 1.0, "": 0.5, "glass wall": 0.3}, (2,), place) for place in ((-0.8, -0.4), (0.2, 0.7))],
        Spot(_even("window", "wide window", "door", none=0.3), (1,), height=(0, 0.9), along=(0, 0)),
        Spot(_even("poster", "picture", "door", none=0.3), (3,), height=(0, 0), along=(0, 0)),
        Spot(_even("filing cabinet", "low shelf", "plant", "cartons", none=1), (0, 2), (-0.9, 0.9)),
        Spot(_even("radiator", "bin", "pipes", "sideboard", none=1), (0, 2), (-0.9, 0.9)),
        *_hung(3),
        _above(_even("ceiling panels", "globe lamp", "track")),
        Spot(_even("ceiling panels", "globe lamp"), (0,), (-0.8, -0.5), (0, 0), snap=0, hangs=True),
    ], extent=0.5),
    Style(0, 0.05, ((3.5, 7.0), (3.0, 5.0), (2.7, 4.2)), [
        _floor("floor of parquet", "floor of linoleum", "floor of carpet", "floor of floor tiles"),
        Spot(_even("dining for four", "desk", "table football", "round table", "kitchen"), (0, 2), (-0.6, -0.2), (0.1,
            0.4), snap=0, turn=0.1),
        Spot(_even("dining for four", "dining for two", "desk", "sofa", "round table"), (0, 2), (0.2, 0.6), (0.1, 0.4),
            snap=0, turn=0.1),
        *_openings(count=3),
        Spot(_even("kitchen", "sofa", "tall shelf", "sideboard"), (0,), (-0.5, 0.5)),
        Spot(_even("pillar", "plant", "partition"), (0, 1, 2, 3), (0.3, 0.6), (0.3, 0.6), snap=0),
        Spot(_even("plant", "whiteboard", "tall shelf", "wardrobe"), (2,), (-0.7, 0.7)),
        *_hung(2),
        *_loose(_even("plant", "chair", "partition", "stools", none=1), 2),
        _above(_even("track", "pendant", "ceiling panels")),
    ], extent=0.7),
]  # fmt: skip


def _on_table(options: Options, count: int, reach: float = 0.85) -> list[Spot]:
    return [
        Spot(options, (0, 1, 2, 3), (-reach, reach), (-reach, reach), snap=0, turn=0.6, on_table=True)
        for _ in range(count)
    ]


def _centre(options: Options) -> Spot:
    return Spot(options, (0, 1, 2, 3), (-0.15, 0.15), (-0.15, 0.15), snap=0, turn=3.1, on_table=True)


FURNISHED = [
    Spot(_even("tall shelf", "sofa", "sideboard", "desk", "wardrobe", none=0.5), (0,), (-0.6, 0.0)),
    Spot(_even("low shelf", "chair", "armchair", "kitchen", "door", none=0.5), (2,), (-0.5, 0.5)),
    Spot(WINDOWS | {"": 1.0}, (1,), (-0.5, 0.5), height=(0.8, 1)),
    Spot(_even("plant", "door", "curtain", "radiator", none=0.5), (3,), (-0.6, 0.6)),
    *_hung(2),
]  # fmt: skip

TABLE_STYLES = [
    Style(1, 0.09, ((1.6, 3.2), (1.6, 3.0), (2.4, 3.0)), [
        Spot(_even("table top", "counter"), (0,), (0, 0), (0, 0), snap=0, on_table=True, fills=True),
        _centre(CENTREPIECES),
        *_on_table(ITEMS, 5),
        Spot(_even("cloth", none=2), (0,), (-0.3, 0.3), (-0.3, 0.3), snap=0, on_table=True, turn=0.3),
        _floor("floor of parquet", "floor of carpet", "floor of linoleum"),
        *FURNISHED,
        *[Spot(_even("chair", "office chair", none=0.5), (side,), (-0.3, 0.3), (0.42, 0.5), snap=0,
            turn=0.5) for side in (0, 2)],
    ], table=((0.45, 0.95), (0.35, 0.6)), focuses=4, floor=-0.75, cameras=(0.8, 2.2), extent=0.75),
    Style(1, 0.05, ((1.2, 3.0), (1.2, 3.0), (2.3, 3.0)), [
        _floor("floor of parquet", "floor of carpet", "floor of floor tiles", "floor of linoleum"),
        _centre(CENTREPIECES | {"chair": 1.0, "office chair": 1.0, "plant": 1.0, "cartons": 1.0}),
        *_on_table(ITEMS | {"": 12.0}, 4, 1.0),
        Spot(_even("rug", "cloth", none=1), (0,), (-0.3, 0.3), (-0.3, 0.3), snap=0, on_table=True, turn=0.6),
        *FURNISHED,
    ], table=((0.3, 0.8), (0.3, 0.7)), focuses=3, cameras=(0.05, 1.8), extent=0.8),
    Style(1, 0.06, ((4, 9), (4, 9), (3, 5)), [
        _floor("ground of grass", "ground of soil", "ground of paving", "ground of asphalt"),
        _centre(OUTDOOR_PIECES),
        *_on_table(_even("stones", "tall grass", "pots", "log", "flower bed", none=4), 3, 1.6),
        *[Spot(_even("tree", "bush", "hedge", "fence", "conifer", "bare trunk", none=0.4), (side,), (-0.8, 0.8), (0.6,
            1.1), snap=0, turn=0.4) for side in (0, 1, 2, 3)],
        *[Spot(_even("cottage", "garden wall", "far block", "dense tree", "palace front", none=0.5), (side,), (-0.5,
            0.5), snap=-1, clear=(1, 8)) for side in (0, 1, 2)],
        Spot(_even("bench", "person", "car", "stones", "railing", none=1), along=(-0.7, 0.7), back=(0.4, 0.8), snap=0,
            turn=1),
    ], walled=0.0, table=((0.6, 1.6), (0.6, 1.6)), focuses=2, cameras=(0.15, 2.6), extent=1.2),
]  # fmt: skip

HOUSES = _even(
    "cottage", "plain cottage", "house", "plain house", "town house", "block", "garage", "garden wall", "far block"
)
TOWN = _even("town house", "block", "house", "plain house", "far block", "arcade")
KERBSIDE = _even(
    "car",
    "van",
    "tree",
    "street lamp",
    "sign",
    "round sign",
    "bollards",
    "bench",
    "litter bin",
    "wheeled bins",
    "person",
    "people",
    "pots",
    "hoarding",
    "bush",
    "stall",
    none=1.5,
) | {"car": 4.0, "tree": 3.0}


def _row(options: Options, side: int, count: int, widens: float) -> list[Spot]:
    """Houses side by side, fronts to the road, the middle ones first."""
    order = sorted(range(count), key=lambda k: abs(2 * k - count + 1))
    return [
        Spot(options, (side,), ((2 * k + 1) / count - 1,) * 2, snap=-1, clear=(2.6, 4.2), widens=widens) for k in order
    ]


def _street(options: Options) -> list[Spot]:
    return [
        Spot({"street": 1.0}, (0,), (0, 0), (0, 0), snap=0, fills=True),
        *[spot for pair in zip(_row(options, 0, 3, 1 / 3), _row(options, 2, 3, 1 / 3), strict=True) for spot in pair],
        *[
            Spot(KERBSIDE, (side,), along, (1, 1), snap=0, clear=(-0.9, 1.2), turn=0.05)
            for along in ((-0.9, -0.45), (-0.45, 0.0), (0.0, 0.45), (0.45, 0.9))
            for side in (0, 2)
        ],
        Spot(_even("far block", "dense tree", "church front", none=0.3), (1,), (-0.5, 0.5), snap=-1, clear=(5, 40)),
        Spot(_even("far block", "dense tree", "town house", none=0.3), (3,), (-0.5, 0.5), snap=-1, clear=(5, 40)),
        Spot(_even("wires", "hedge", none=1), (0, 2), (-0.5, 0.5), snap=0, clear=(0.5, 1)),
    ]


def _green(options: Options, count: int) -> list[Spot]:
    return [Spot(options, along=(-0.9, 0.9), back=(0.35, 1.1), snap=0, turn=0.6) for _ in range(count)]


OUTDOOR_STYLES = [
    Style(2, 0.07, ((13, 24), (3, 5), (4, 4)), _street(HOUSES), walled=0.0, cameras=(1.2, 3.0), corridor=(0.9, 1.25),
        depth=2, extent=0.8),
    Style(2, 0.05, ((16, 30), (3.5, 7), (4, 4)), _street(TOWN), walled=0.0, cameras=(1.2, 3.5), corridor=(0.9, 1.25),
        depth=2, extent=0.8),
    Style(2, 0.08, ((12, 24), (9, 18), (4, 4)), [
        Spot({"square": 1.0}, (0,), (0, 0), (0, 0), snap=0, fills=True),
        Spot(_even("church front", "palace front", "block", "town house"), (0,), (-0.05, 0.05), snap=-1),
        *[Spot(_even("round tower", "domed tower", "tower", none=0.6), (0,), place, snap=-1, clear=(0,
            1)) for place in ((-0.75, -0.65), (0.65, 0.75))],
        *[Spot(TOWN | {"dense tree": 2.0}, (side,), (-0.4, 0.4), snap=-1, clear=(2, 10)) for side in (1, 3)],
        *[Spot(KERBSIDE | {"": 0.5}, (0, 1, 3), (-0.8, 0.8), (0.0, 0.9), snap=0, turn=0.5) for _ in range(4)],
        Spot(_even("monument", "overhanging branch", "railing", none=0.5), (0,), (-0.6, 0.6), (-0.9, 0.3), snap=0),
        *[Spot(_even("far block", "dense tree", none=0.5), (0,), place, snap=-1, clear=(3, 15)) for place in ((-1.8,
            -1.4), (1.4, 1.8))],
        Spot(_even("far block", "palace front", none=0.5), (2,), (-0.5, 0.5), snap=-1, clear=(5, 20)),
    ], walled=0.0, cameras=(1.2, 3.5), corridor=(0.8, 1.0), focuses=3, depth=3, extent=1.0),
    Style(2, 0.07, ((5, 11), (4, 9), (3, 3)), [
        _floor("ground of grass", "ground of grass", "ground of soil"),
        Spot(_even("cottage", "house", "garden wall", "garage", none=0.5), (0,), (-0.3, 0.3), snap=-1, clear=(0, 4)),
        Spot(_even("fence", "hedge", "paling", "garden wall", "railing"), (1,), (-0.3, 0.3), turn=0.05),
        Spot(_even("fence", "hedge", "paling", "pergola"), (2,), (-0.3, 0.3), turn=0.05),
        *_green(_even("tree", "dense tree", "conifer", "bare trunk"), 3),
        *_green(_even("bush", "blossoming bush", "flower bed", "stones", "tall grass", "pots", "log", "monument"), 6),
        *_green(_even("bench", "table", "person", "stones", "chair", "crate", "toy car", none=1), 2),
        *[Spot(_even("dense tree", "far block", "conifer"), (side,), (-0.7, 0.7), snap=-1, clear=(3,
            15)) for side in (2, 3)],
        Spot(_even("overhanging branch", none=1.5), **MIDDLE),
    ], walled=0.0, cameras=(0.6, 2.4), corridor=(0.85, 0.85), depth=4, extent=0.6),
]  # fmt: skip

EVERYTHING = _even(
    "box",
    "pipes and boxes",
    "sheets",
    "slabs",
    "frame",
    "stacks",
    "contraption",
    "packages",
    "statue",
    "bush",
    "chair",
    "crate",
    "tall shelf",
    "cartons",
    "railing",
    "plant",
    "monument",
)

SCATTERED: dict[str, Any] = {"along": (-0.7, 0.7), "back": (-0.2, 0.75), "snap": 0, "turn": 3.1}

CLUTTER_STYLES = [
    Style(3, 0.07, ((2, 5), (2, 5), (2.5, 5)), [Spot(EVERYTHING, **SCATTERED) for _ in range(11)], walled=0.6,
        cameras=(0.2, 3.0), extent=0.7, tumble=1.0, first_focus=0),
    Style(3, 0.05, ((2, 5), (2, 5), (2.5, 4)), [
        _floor("floor of linoleum", "floor of carpet", "floor of parquet", "floor of floor tiles"),
        *[Spot(EVERYTHING | {"": 1.0}, **SCATTERED) for _ in range(9)],
        *_hung(2),
        Spot(WINDOWS, (0, 1), height=(0.8, 1)),
    ], cameras=(0.2, 2.5), extent=0.7),
    Style(3, 0.03, ((2, 6), (2, 6), (2.5, 5)), [
        _floor("ground of asphalt", "ground of soil", "ground of paving", "ground of grass"),
        *[Spot(EVERYTHING | {"": 1.0}, **SCATTERED) for _ in range(9)],
    ], walled=0.0, cameras=(0.2, 2.5), extent=0.7),
]  # fmt: skip

STYLES = [*INDOOR_STYLES, *TABLE_STYLES, *OUTDOOR_STYLES, *CLUTTER_STYLES]
