"""Indoor styles: living rooms, offices, bedrooms, kitchens, corridors, halls; single things on tables and floors."""

from __future__ import annotations

from typing import Any

from recon.training.scenes.spots import Options, Range, Spot, Style, even, whole

WALL_ART = even("poster", "picture", "pictures", "notes", "wall shelf", "clock", "switches", none=1.5)
WINDOWS = {"window": 2.0, "wide window": 1.5, "curtained window": 1.5}
LIGHTS = even("pendant", "globe lamp", "ceiling panels", "track", none=1.5)
SMALL = ("bin", "plant", "floor lamp", "stools", "cartons", "bag", "chair", "crate", "ball")
ITEMS = even(
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
CENTREPIECES = even(
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

OUTDOOR_PIECES = even("statue", "contraption", "crate", "bench", "litter bin", "pots", "stones", "car", "bush") | {
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
        Spot(even("radiator", none=0.7), (1,), places[0]),
        Spot({"door": 1.0}, (3,), (0.55, 0.85)),
    ]


def hung(count: int) -> list[Spot]:
    """Things on the walls that have no windows."""
    return [Spot(WALL_ART, (0, 2, 3), height=(1.2, 1.6), along=(-0.8, 0.8)) for _ in range(count)]


def _loose(options: Options, count: int) -> list[Spot]:
    return [Spot(options, along=(-0.85, 0.85), back=(0.2, 0.85), snap=0, turn=3.1) for _ in range(count)]


def _above(options: Options, height: Range = (0, 0)) -> Spot:
    return Spot(options, (0, 1), (-0.3, 0.3), (-0.3, 0.3), snap=0, hangs=True, height=height)


MIDDLE: dict[str, Any] = {"along": (-0.3, 0.3), "back": (-0.3, 0.3), "snap": 0}

INDOOR_STYLES = [
    Style(0, 0.09, ((1.6, 2.9), (1.5, 2.5), (2.3, 3.0)), [
        whole("floor of parquet", "floor of carpet", "floor of floor tiles"),
        Spot(even("sofa"), (0,), (-0.4, 0.4), turn=0.05),
        Spot(even("low table", "round table"), (0,), (-0.2, 0.2), (0.1, 0.4), snap=0, turn=0.1),
        Spot(even("television", "sideboard", "piano"), (2,), (-0.4, 0.4)),
        *_openings(),
        Spot(even("tall shelf", "low shelf", "wardrobe", none=0.3), (3,), (-0.7, -0.2)),
        Spot(even("armchair", "dining for two", "chair", none=0.3), (1, 3), (-0.4, 0.3), (0.2, 0.6), snap=0,
            turn=0.6),
        Spot(even("rug", none=0.6), (0,), **MIDDLE),
        *hung(3),
        *_loose(even(*SMALL, none=3), 2),
        _above(LIGHTS),
    ]),
    Style(0, 0.11, ((1.6, 3.2), (1.5, 2.7), (2.4, 3.1)), [
        whole("floor of carpet", "floor of linoleum", "floor of parquet"),
        Spot(even("desk"), (0,), (-0.75, -0.35), turn=0.05),
        Spot(even("desk", "filing cabinet", "low shelf"), (0,), (0.35, 0.75), turn=0.05),
        Spot(even("desk", "writing desk", "tall shelf", "wardrobe"), (2,), (-0.75, -0.35), turn=0.05),
        *_openings(),
        Spot(even("partition", "desk", none=1), (0, 2), (-0.3, 0.3), (0.0, 0.5), snap=0, turn=0.05),
        Spot(even("tall shelf", "filing cabinet", "wardrobe", "plant", none=0.5), (2,), (0.35, 0.75)),
        Spot(even("low shelf", "filing cabinet", "sideboard", "whiteboard", none=0.5), (3,), (-0.6, 0.0)),
        Spot(even("whiteboard", "notes", "poster", none=0.5), (0, 2, 3), (-0.5, 0.5), height=(0.95, 1.2)),
        *hung(2),
        *_loose(even("office chair", "bin", "plant", "cartons", "bag", none=2), 3),
        _above(even("ceiling panels", "track", none=0.4)),
    ]),
    Style(0, 0.06, ((1.4, 2.2), (1.5, 2.3), (2.3, 2.8)), [
        whole("floor of parquet", "floor of carpet"),
        Spot({"bed": 1.0}, (0,), (-0.4, 0.4)),
        Spot(even("wardrobe", "chest of drawers"), (2,), (-0.75, -0.3)),
        *_openings(),
        Spot(even("writing desk", "desk", "chest of drawers", "low shelf", none=0.4), (2,), (0.3, 0.75)),
        Spot(even("tall shelf", "chair", "armchair", "clothes rail", none=0.6), (3,), (-0.6, 0.1)),
        Spot(even("rug", none=1), (0,), **MIDDLE),
        *hung(3),
        *_loose(even("bag", "ball", "crate", "bin", "shoe", none=2), 2),
        _above(LIGHTS),
    ]),
    Style(0, 0.07, ((1.5, 2.6), (1.3, 2.2), (2.3, 3.0)), [
        whole("floor of floor tiles", "floor of linoleum", "floor of parquet"),
        Spot({"kitchen": 1.0}, (0,), (-0.2, 0.2)),
        Spot(even("fridge"), (0,), (0.9, 1)),
        Spot(even("dining for two", "dining for four", "round table"), (0, 2), (-0.3, 0.3), (-0.4, 0.1), snap=0,
            turn=0.1),
        *_openings(count=1),
        Spot(even("sideboard", "low shelf", "radiator", "wardrobe", none=0.5), (2,), (-0.7, 0.7)),
        Spot(even("hanging cupboard", "wall shelf", "notes", none=1), (2, 3), (-0.5, 0.2), height=(1.3, 1.5)),
        *hung(2),
        *_loose(even("bin", "stools", "chair", "crate", "plant", none=2), 2),
        _above(LIGHTS),
        _above(even("pendant", "track", none=1)),
    ]),
    Style(0, 0.04, ((3.0, 7.0), (0.75, 1.2), (2.3, 2.9)), [
        whole("floor of carpet", "floor of linoleum", "floor of floor tiles", "floor of parquet"),
        *[Spot({"door": 1.0, "": 0.3}, (0,), place) for place in ((-0.8, -0.4), (-0.2, 0.1), (0.4, 0.8))],
        *[Spot({"door": 1.0, "": 0.5, "glass wall": 0.3}, (2,), place) for place in ((-0.8, -0.4), (0.2, 0.7))],
        Spot(even("window", "wide window", "door", none=0.3), (1,), height=(0, 0.9), along=(0, 0)),
        Spot(even("poster", "picture", "door", none=0.3), (3,), height=(0, 0), along=(0, 0)),
        Spot(even("filing cabinet", "low shelf", "plant", "cartons", none=1), (0, 2), (-0.9, 0.9)),
        Spot(even("radiator", "bin", "pipes", "sideboard", none=1), (0, 2), (-0.9, 0.9)),
        *hung(3),
        _above(even("ceiling panels", "globe lamp", "track")),
        Spot(even("ceiling panels", "globe lamp"), (0,), (-0.8, -0.5), (0, 0), snap=0, hangs=True),
    ], extent=0.5),
    Style(0, 0.05, ((3.5, 7.0), (3.0, 5.0), (2.7, 4.2)), [
        whole("floor of parquet", "floor of linoleum", "floor of carpet", "floor of floor tiles"),
        Spot(even("dining for four", "desk", "table football", "round table", "kitchen"), (0, 2), (-0.6, -0.2), (0.1,
            0.4), snap=0, turn=0.1),
        Spot(even("dining for four", "dining for two", "desk", "sofa", "round table"), (0, 2), (0.2, 0.6), (0.1, 0.4),
            snap=0, turn=0.1),
        *_openings(count=3),
        Spot(even("kitchen", "sofa", "tall shelf", "sideboard"), (0,), (-0.5, 0.5)),
        Spot(even("pillar", "plant", "partition"), (0, 1, 2, 3), (0.3, 0.6), (0.3, 0.6), snap=0),
        Spot(even("plant", "whiteboard", "tall shelf", "wardrobe"), (2,), (-0.7, 0.7)),
        *hung(2),
        *_loose(even("plant", "chair", "partition", "stools", none=1), 2),
        _above(even("track", "pendant", "ceiling panels")),
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
    Spot(even("tall shelf", "sofa", "sideboard", "desk", "wardrobe", none=0.5), (0,), (-0.6, 0.0)),
    Spot(even("low shelf", "chair", "armchair", "kitchen", "door", none=0.5), (2,), (-0.5, 0.5)),
    Spot(WINDOWS | {"": 1.0}, (1,), (-0.5, 0.5), height=(0.8, 1)),
    Spot(even("plant", "door", "curtain", "radiator", none=0.5), (3,), (-0.6, 0.6)),
    *hung(2),
]  # fmt: skip

TABLE_STYLES = [
    Style(1, 0.09, ((1.6, 3.2), (1.6, 3.0), (2.4, 3.0)), [
        Spot(even("table top", "counter"), (0,), (0, 0), (0, 0), snap=0, on_table=True, fills=True),
        _centre(CENTREPIECES),
        *_on_table(ITEMS, 5),
        Spot(even("cloth", none=2), (0,), (-0.3, 0.3), (-0.3, 0.3), snap=0, on_table=True, turn=0.3),
        whole("floor of parquet", "floor of carpet", "floor of linoleum"),
        *FURNISHED,
        *[Spot(even("chair", "office chair", none=0.5), (side,), (-0.3, 0.3), (0.42, 0.5), snap=0,
            turn=0.5) for side in (0, 2)],
    ], table=((0.45, 0.95), (0.35, 0.6)), focuses=4, floor=-0.75, cameras=(0.8, 2.2), extent=0.75),
    Style(1, 0.05, ((1.2, 3.0), (1.2, 3.0), (2.3, 3.0)), [
        whole("floor of parquet", "floor of carpet", "floor of floor tiles", "floor of linoleum"),
        _centre(CENTREPIECES | {"chair": 1.0, "office chair": 1.0, "plant": 1.0, "cartons": 1.0}),
        *_on_table(ITEMS | {"": 12.0}, 4, 1.0),
        Spot(even("rug", "cloth", none=1), (0,), (-0.3, 0.3), (-0.3, 0.3), snap=0, on_table=True, turn=0.6),
        *FURNISHED,
    ], table=((0.3, 0.8), (0.3, 0.7)), focuses=3, cameras=(0.05, 1.8), extent=0.8),
    Style(1, 0.06, ((4, 9), (4, 9), (3, 5)), [
        whole("ground of grass", "ground of soil", "ground of paving", "ground of asphalt"),
        _centre(OUTDOOR_PIECES),
        *_on_table(even("stones", "tall grass", "pots", "log", "flower bed", none=4), 3, 1.6),
        *[Spot(even("tree", "bush", "hedge", "fence", "conifer", "bare trunk", none=0.4), (side,), (-0.8, 0.8), (0.6,
            1.1), snap=0, turn=0.4) for side in (0, 1, 2, 3)],
        *[Spot(even("cottage", "garden wall", "far block", "dense tree", "palace front", none=0.5), (side,), (-0.5,
            0.5), snap=-1, clear=(1, 8)) for side in (0, 1, 2)],
        Spot(even("bench", "person", "car", "stones", "railing", none=1), along=(-0.7, 0.7), back=(0.4, 0.8), snap=0,
            turn=1),
    ], walled=0.0, table=((0.6, 1.6), (0.6, 1.6)), focuses=2, cameras=(0.15, 2.6), extent=1.2),
]  # fmt: skip
