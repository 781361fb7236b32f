"""Buildings: the grounds outdoors, houses and great fronts, and what stands far behind them."""

from __future__ import annotations

from recon.training.scenes.objects import (
    ONE,
    D,
    H,
    Length,
    P,
    Part,
    Q,
    Template,
    W,
    box,
    bundle,
    card,
    ellipsoid,
    form,
    frustum,
    moved,
)
from recon.training.scenes.things import UPRIGHT


def backdrop() -> list[Part]:
    """Hills, woods and high houses, far off on all sides."""
    ways = [(70, 10), (-80, -15), (10, 75), (-15, -85)]
    hills = [
        ellipsoid((x, y, -3), (35, 35, 13), "leaf", spread=(15, 15, 0), shrink=0.35, anchor=0, keep=0.75)
        for x, y in ways
    ]
    blocks = [
        box((-y, x, 0), (9, 6, 8), "far facade", spread=(25, 25, 0), shrink=0.4, keep=0.6, own=True) for x, y in ways
    ]
    return [*hills, *blocks]


def street() -> list[Part]:
    """Of half-length W: a road of half-width D between kerbs and pavements, on far ground."""
    parts = [
        box((0, 0, -0.3), (250, 250, 0.13), "grass", keep=0.4),
        box((0, 0, -0.3), (250, 250, 0.12), "asphalt"),
        box((0, 0, -0.12), (2 * W, D, 0.06), "paving", keep=0.45),
        box((0, 0, -0.12), (2 * W, D, 0.059), "asphalt"),
        box((0, 0, 0), (2 * W, 0.06, 0.002), "marking", keep=0.3),
    ]
    for side in (-1, 1):
        parts.append(box((0, side * (D + 2.5), 0), (2 * W, 2.5, 0.06), "paving", keep=0.9))
        parts.append(box((0, side * (D + 0.08), 0), (2 * W, 0.08, 0.07), "stone", keep=0.9))
    return [*parts, *backdrop()]


def square() -> list[Part]:
    """Paved or green, with a lawn and a path."""
    return [
        box((0, 0, -0.2), (250, 250, 0.1), "soil", keep=0.3),
        box((0, 0, -0.2), (250, 250, 0.099), "paving", keep=0.6),
        box((0, 0, -0.2), (250, 250, 0.098), "asphalt"),
        box((0, 0, 0), (0.4 * W, 0.3 * D, 0.015), "grass", spread=(0.5 * W, 0.3 * D, 0), keep=0.6),
        box((0, 0, 0), (W, 0.06 * D, 0.06), "stone", spread=(0.3 * W, 0.5 * D, 0), keep=0.4),
        *backdrop(),
    ]


def ground(look: str) -> list[Part]:
    """Far ground with patches."""
    return [
        box((0, 0, -0.2), (250, 250, 0.1), look),
        box((0, 0, 0), (2 * W, 0.25 * D, 0.008), "paving", spread=(0, 0.5 * D, 0), sway=(0, 0, 0.5), keep=0.4),
        ellipsoid((0, 0, 0), (0.4 * W, 0.4 * D, 0.03), "soil", spread=(W, D, 0), anchor=0, keep=0.5),
        *backdrop(),
    ]


def opening(half_width: Length, half_height: Length, *, framed: bool = True, keep: float = 1) -> list[Part]:
    """A window in a wall that faces +y: pane, frame and sill; stands on its sill."""
    w, h = form(half_width), form(half_height)
    pane = box((0, 0.02, 0), (w, 0.03, h), "pane", own=True, keep=keep)
    if not framed:
        return [pane]
    return [pane, box((0, 0, -0.08), (w + 0.1, 0.03, h + 0.1), "trim", keep=keep)]


def gable(pitch: float = 0.65, eaves: Length = H) -> list[Part]:
    """Two slabs that lean against each other over a body of W by D."""
    from math import cos, sin, tan

    half = 0.5 / cos(pitch) * (1.08 * D)
    rise = form(eaves) + 0.5 * tan(pitch) * D
    return [
        box((0, y * 0.52 * D, rise), (1.02 * W, half, 0.07), "roof", angles=(-y * pitch, 0, 0), anchor=0)
        for y in (-1, 1)
    ] + [box((0, 0, form(eaves)), (0.98 * W, 0.45 * D, 0.5 * sin(pitch) * D), "facade")]


def grid(columns: int, rows: int, first_row: int, height: Length, *, framed: bool) -> list[Part]:
    """Windows over a front; P and Q are half their width and height."""
    return [
        part
        for row in range(first_row, rows)
        for column in range(columns)
        for part in moved(
            opening(P, Q, framed=framed, keep=0.95),
            ((2 * (column + 0.5) / columns - 1) * 0.94 * W, D, (row + 0.28) / rows * (form(height))),
        )
    ]


def house(columns: int, rows: int, *, roof: bool, framed: bool) -> list[Part]:
    """A front with a grid of windows, a door, plinth, cornice and roof."""
    door = (0.5 / columns * 2 * W - W) * 0.94
    parts = [
        box((0, 0, 0), (W, D, 0.5 * H), "facade"),
        *(gable() if roof else []),
        box((door, D, 0), (0.5, 0.05, 1.05), "door"),
        *grid(columns, rows, 0, H, framed=framed)[2 if framed else 1 :],
        box((0, 0, 0), (W + 0.04, D + 0.04, 0.3), "masonry", keep=0.6),
        box((0, D, H), (W + 0.05, 0.15, 0.15), "trim", anchor=-1, keep=0.7),
    ]
    if roof:
        parts.append(box((0.5 * W, -0.2 * D, H), (0.3, 0.3, 0.5 * D + 0.4), "masonry", keep=0.6))
        dormer = [box((0, 0, 0), (0.55, 0.8, 0.55), "roof"), box((0, 0.8, 0.2), (0.4, 0.03, 0.35), "pane")]
        parts += bundle(dormer, (0.1 * W, 0.4 * D, H + 0.25 * D), (0.6 * W, 0, 0), 0, 0.5)
    else:
        rail = card((0, 1, 0.55), (1.0, 0.5), "metal", (0.5, 0.9), angles=UPRIGHT, anchor=0)
        balcony = [box((0, 0.5, 0), (1.0, 0.5, 0.06), "stone"), rail]
        parts += bundle(balcony, (0, D, 0.4 * H), (0.7 * W, 0, 0), 0, 0.6)
    return parts


def great_front(columns: int, *, church: bool) -> list[Part]:
    """Of a church or palace: steps, a portal under an arch, columns, storeys of windows, cornices, statues."""
    arch = 0.2 if church else 0.1
    parts = [
        box((0, -D, 0), (W, 2 * D, 0.5 * H), "masonry"),
        frustum((0, D, 0.42 * H), (arch * W, arch * W, 0.5), "stone", angles=UPRIGHT, anchor=0),
        frustum((0, D, 0.42 * H), (0.82 * arch * W, 0.82 * arch * W, 0.55), "relief", angles=UPRIGHT, anchor=0),
        box((0, D, 0), (arch * W, 0.5, 0.21 * H), "stone"),
        box((0, D, 0), (0.7 * arch * W, 0.56, 0.19 * H), "door"),
        box((0, D, 0.6 * H), (W, 0.45, 0.02 * H), "stone"),
        box((0, D, H), (1.03 * W, 0.6, 0.025 * H), "stone", anchor=-1),
        *[box((0, D + 1.2 - 0.4 * k, 0), (0.5 * W, 1.6, 0.09 + 0.08 * k), "stone") for k in range(3)],
    ]
    for k in range(columns + 1):
        x = (2 * k / columns - 1) * 0.97 * W
        stout = 0.2 + 0.012 * H
        parts.append(frustum((x, D + 0.45, 0.03 * H), (stout, stout, 0.27 * H), "stone", (0.8, 0.95), keep=0.9))
        parts.append(box((x, D + 0.45, 0.57 * H), (stout + 0.15, stout, 0.015 * H), "stone", keep=0.9))
    for k in range(columns):
        x = (2 * (k + 0.5) / columns - 1) * 0.97 * W
        middle = columns % 2 == 1 and k == columns // 2
        if not middle and not (church and columns % 2 == 0 and k in (columns // 2 - 1, columns // 2)):
            parts += moved(opening(P, Q), (x, D, 0.17 * H))
        parts += moved(opening(P, 0.8 * Q), (x, D, 0.68 * H))
    if church:
        gable_ = box((0, 0, H), (0.45 * W, 0.7 * D, 0.45 * W), "masonry", angles=(0, 0.7854, 0), anchor=0, keep=0.7)
        rose = frustum((0, D, 0.78 * H), (0.11 * W, 0.11 * W, 0.12), "relief", angles=UPRIGHT, anchor=0, keep=0.7)
        parts += [gable_, rose]
    else:
        parts.append(box((0, -0.35 * D, H), (W, 0.75 * D, 0.1), "roof", angles=(-0.9, 0, 0)))
        for share in (-0.66, -0.33, 0, 0.33, 0.66):
            parts.append(box((share * W, 0.6 * D, H), (0.6, 0.5, 0.8), "stone"))
            parts.append(box((share * W, 0.6 * D + 0.5, H + 0.3), (0.4, 0.05, 0.5), "pane"))
    parts += [ellipsoid((x * W, D + 0.6, H), (0.45, 0.4, 1.1), "statue", keep=0.6) for x in (-0.9, -0.45, 0, 0.45, 0.9)]
    return parts


def tower(kind: str) -> list[Part]:
    """Beside a great front: a shaft with bands and openings, under a cone, a dome or a spire."""
    tops = {
        "cone": [frustum((0, 0, H), (1.05 * W, 1.05 * W, 0.2 * H), "roof", (0, 0.1))],
        "dome": [
            ellipsoid((0, 0, H), (W, W, 1.1 * W), "roof", anchor=0),
            frustum((0, 0, H + W), (0.15 * W, 0.15 * W, 0.5 * W), "metal", (0.3, 1)),
        ],
        "flat": [box((0, 0, H), (1.1 * W, 1.1 * W, 0.3), "stone")],
    }
    shaft = (
        frustum((0, 0, 0), (W, W, 0.5 * H), "masonry") if kind == "cone" else box((0, 0, 0), (W, W, 0.5 * H), "masonry")
    )
    bands = [box((0, 0, z * H), (1.04 * W, 1.04 * W, 0.012 * H), "stone") for z in (0.35, 0.65, 0.98)]
    holes = [part for z in (0.12, 0.42, 0.75) for part in moved(opening(0.25 * W, 0.07 * H, keep=0.8), (0, W, z * H))]
    return [shaft, *(bands if kind != "cone" else []), *holes, *tops[kind]]


HOUSE = {"W": (3.5, 7), "D": (3.5, 5), "H": (5.5, 10), "P": (0.4, 0.6), "Q": (0.55, 0.85)}
COTTAGE = {"W": (3.5, 7), "D": (3, 4.5), "H": (2.6, 3.8), "P": (0.35, 0.55), "Q": (0.5, 0.7)}

GROUNDS = [
    Template("street", {"W": (40, 40), "D": (3, 4), "H": (1, 1)}, street()),
    Template("square", {"W": (15, 30), "D": (10, 20), "H": (1, 1)}, square()),
    *[Template(f"ground of {look}", {"W": (4, 8), "D": (4, 8), "H": (1, 1)}, ground(look)) for look in ("grass",
        "soil", "paving", "asphalt")],
    Template("table top", {"W": (0.5, 1.1), "D": (0.4, 0.7), "H": (0.75, 0.75)}, [box((0, 0, 0), (W, D, 0.02), "wood",
        anchor=-1), *[box((x * 0.9 * W, y * 0.9 * D, -0.04), (0.03, 0.03, 0.355), "wood", anchor=-1) for x in (-1,
        1) for y in (-1, 1)]]),
    Template("counter", {"W": (0.9, 1.8), "D": (0.4, 0.6), "H": (0.75, 0.75)}, [box((0, 0, 0), (W, D, 0.02), "stone",
        anchor=-1), box((0, -0.05, -0.04), (0.98 * W, 0.95 * D, 0.355), "furniture", anchor=-1)]),
]  # fmt: skip

BUILDINGS = [
    Template("cottage", COTTAGE, house(4, 1, roof=True, framed=True), alike=0),
    Template("plain cottage", COTTAGE, house(3, 1, roof=True, framed=False), alike=0),
    Template("house", HOUSE, house(3, 2, roof=True, framed=True), alike=0),
    Template("plain house", HOUSE, house(4, 2, roof=True, framed=False), alike=0),
    Template("town house", HOUSE | {"H": (8, 13)}, house(4, 3, roof=False, framed=False), alike=0.1),
    Template("block", HOUSE | {"W": (6, 12), "H": (9, 20)}, house(5, 4, roof=False, framed=False), alike=0.1),
    Template("far block", {"W": (5, 12), "D": (4, 10), "H": (5, 22)}, [box((0, 0, 0), (W, D, 0.5 * H), "far facade"),
        *[part for part in gable() if part.look == "roof"]], alike=0),
    Template("garage", {"W": (1.6, 3.2), "D": (2, 3), "H": (2.3, 2.9)}, [box((0, 0, 0), (W, D, 0.5 * H), "facade"),
        box((0, D, 0), (0.8 * W, 0.02, 1.0), "door"), box((0, 0, H), (1.05 * W, 1.05 * D, 0.08), "roof")]),
    Template("garden wall", {"W": (3, 7), "D": (0.12, 0.2), "H": (0.8, 2.2)}, [box((0, 0, 0), (W, D, 0.5 * H),
        "masonry"), box((0, 0, H), (W, D + 0.05, 0.04), "stone"), *[box((x * W, 0, 0), (0.22, 0.22, 0.5 * H + 0.15),
        "masonry") for x in (-1, 1)]]),
    Template("church front", {"W": (7, 12), "D": (2, 4), "H": (11, 20), "P": (0.4, 0.8), "Q": (0.8, 1.5)},
        great_front(4, church=True), alike=0),
    Template("palace front", {"W": (10, 20), "D": (2, 4), "H": (9, 14), "P": (0.5, 0.8), "Q": (0.9, 1.4)},
        great_front(7, church=False), alike=0),
    Template("round tower", {"W": (1.6, 3), "D": (1.6, 3), "H": (10, 18)}, tower("cone"), alike=1),
    Template("domed tower", {"W": (1.8, 3.4), "D": (1.8, 3.4), "H": (13, 24)}, tower("dome"), alike=1),
    Template("tower", {"W": (1.8, 3.4), "D": (1.8, 3.4), "H": (12, 24)}, tower("flat"), alike=1),
    Template("arcade", {"W": (4, 8), "D": (0.5, 0.8), "H": (4, 6)}, [*[frustum((x * W, 0, 0), (0.25, 0.25, 0.5 * H),
        "stone", (0.8, 1)) for x in (-1, -0.5, 0, 0.5, 1)], box((0, 0, H), (1.1 * W, D, 0.4), "masonry"), *[box((x * W,
        0, 0), (0.4, 0.4, 0.15), "stone") for x in (-1, -0.5, 0, 0.5, 1)]]),
    Template("steps", {"W": (1, 4), "D": (0.8, 1.2), "H": (0.7, 0.7)}, [box((0, -0.16 * k, 0), (W, D - 0.16 * k * ONE,
        0.08 * (k + 1)), "stone") for k in range(5)]),
]  # fmt: skip
