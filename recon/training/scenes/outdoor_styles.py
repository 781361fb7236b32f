"""Outdoor styles: streets, squares, gardens; and clutter that is no place at all."""

from __future__ import annotations

from typing import Any

from recon.training.scenes.indoor_styles import MIDDLE, WINDOWS, hung
from recon.training.scenes.spots import Options, Spot, Style, even, whole

HOUSES = even(
    "cottage", "plain cottage", "house", "plain house", "town house", "block", "garage", "garden wall", "far block"
)
TOWN = even("town house", "block", "house", "plain house", "far block", "arcade")
KERBSIDE = even(
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
        Spot(even("far block", "dense tree", "church front", none=0.3), (1,), (-0.5, 0.5), snap=-1, clear=(5, 40)),
        Spot(even("far block", "dense tree", "town house", none=0.3), (3,), (-0.5, 0.5), snap=-1, clear=(5, 40)),
        Spot(even("wires", "hedge", none=1), (0, 2), (-0.5, 0.5), snap=0, clear=(0.5, 1)),
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
        Spot(even("church front", "palace front", "block", "town house"), (0,), (-0.05, 0.05), snap=-1),
        *[Spot(even("round tower", "domed tower", "tower", none=0.6), (0,), place, snap=-1, clear=(0,
            1)) for place in ((-0.75, -0.65), (0.65, 0.75))],
        *[Spot(TOWN | {"dense tree": 2.0}, (side,), (-0.4, 0.4), snap=-1, clear=(2, 10)) for side in (1, 3)],
        *[Spot(KERBSIDE | {"": 0.5}, (0, 1, 3), (-0.8, 0.8), (0.0, 0.9), snap=0, turn=0.5) for _ in range(4)],
        Spot(even("monument", "overhanging branch", "railing", none=0.5), (0,), (-0.6, 0.6), (-0.9, 0.3), snap=0),
        *[Spot(even("far block", "dense tree", none=0.5), (0,), place, snap=-1, clear=(3, 15)) for place in ((-1.8,
            -1.4), (1.4, 1.8))],
        Spot(even("far block", "palace front", none=0.5), (2,), (-0.5, 0.5), snap=-1, clear=(5, 20)),
    ], walled=0.0, cameras=(1.2, 3.5), corridor=(0.8, 1.0), focuses=3, depth=3, extent=1.0),
    Style(2, 0.07, ((5, 11), (4, 9), (3, 3)), [
        whole("ground of grass", "ground of grass", "ground of soil"),
        Spot(even("cottage", "house", "garden wall", "garage", none=0.5), (0,), (-0.3, 0.3), snap=-1, clear=(0, 4)),
        Spot(even("fence", "hedge", "paling", "garden wall", "railing"), (1,), (-0.3, 0.3), turn=0.05),
        Spot(even("fence", "hedge", "paling", "pergola"), (2,), (-0.3, 0.3), turn=0.05),
        *_green(even("tree", "dense tree", "conifer", "bare trunk"), 3),
        *_green(even("bush", "blossoming bush", "flower bed", "stones", "tall grass", "pots", "log", "monument"), 6),
        *_green(even("bench", "table", "person", "stones", "chair", "crate", "toy car", none=1), 2),
        *[Spot(even("dense tree", "far block", "conifer"), (side,), (-0.7, 0.7), snap=-1, clear=(3,
            15)) for side in (2, 3)],
        Spot(even("overhanging branch", none=1.5), **MIDDLE),
    ], walled=0.0, cameras=(0.6, 2.4), corridor=(0.85, 0.85), depth=4, extent=0.6),
]  # fmt: skip

EVERYTHING = even(
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
        whole("floor of linoleum", "floor of carpet", "floor of parquet", "floor of floor tiles"),
        *[Spot(EVERYTHING | {"": 1.0}, **SCATTERED) for _ in range(9)],
        *hung(2),
        Spot(WINDOWS, (0, 1), height=(0.8, 1)),
    ], cameras=(0.2, 2.5), extent=0.7),
    Style(3, 0.03, ((2, 6), (2, 6), (2.5, 5)), [
        whole("ground of asphalt", "ground of soil", "ground of paving", "ground of grass"),
        *[Spot(EVERYTHING | {"": 1.0}, **SCATTERED) for _ in range(9)],
    ], walled=0.0, cameras=(0.2, 2.5), extent=0.7),
]  # fmt: skip
