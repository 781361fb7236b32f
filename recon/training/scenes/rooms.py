"""Rooms: floors, windows and doors, what hangs on walls and from ceilings."""

from __future__ import annotations

from recon.training.scenes.furniture import cabinet
from recon.training.scenes.objects import ONE, ZERO, D, H, P, Part, Template, W, box, ellipsoid, frustum
from recon.training.scenes.things import UPRIGHT, books, leaves


def window(columns: int) -> list[Part]:
    """A bright opening with its frame, bars and sill; W half its width, H its height; stands on its sill."""
    frame = [box((x * W, 0, 0), (0.035, 0.03, 0.5 * H), "trim") for x in (-1, 1)]
    frame += [box((0, 0, z), (W, 0.03, 0.035), "trim") for z in (ZERO, H - 0.07 * ONE)]
    bars = [box(((2 * k / columns - 1) * W, 0, 0), (0.025, 0.025, 0.5 * H), "trim") for k in range(1, columns)]
    bars.append(box((0, 0, 0.68 * H), (W, 0.025, 0.02), "trim", keep=0.5))
    sill = box((0, 0.08, -0.03), (W + 0.06, 0.1, 0.015), "trim", keep=0.8)
    return [box((0, -0.01, 0), (W, 0.012, 0.5 * H), "daylight"), *frame, *bars, sill]


def curtains() -> list[Part]:
    """To both sides of a window, in folds, and their rod."""
    folds = [
        frustum((s * (W + (0.05 + 0.11 * k) * ONE), 0.12, -0.6), (0.065, 0.04, 0.5 * H + 0.35), "curtain", (0.8, 1))
        for s in (-1, 1)
        for k in range(2)
    ]
    rod = frustum((0, 0.12, H + 0.1), (0.012, 0.012, W + 0.3), "metal", angles=(0, 1.5708, 0))
    return [*folds, rod]


def door() -> list[Part]:
    """A leaf in its frame, with a handle."""
    return [
        box((0, 0, 0), (W, 0.015, 0.5 * H), "door"),
        *[box((x * (W + 0.04), 0, 0), (0.045, 0.03, 0.5 * H + 0.04), "trim") for x in (-1, 1)],
        box((0, 0, H), (W, 0.03, 0.04), "trim"),
        *[box((0, 0.02, z), (0.68 * W, 0.008, 0.2 * H), "door", keep=0.4) for z in (0.08 * H, 0.54 * H)],
        box((0.82 * W, 0.045, 0.48 * H), (0.05, 0.012, 0.012), "metal"),
    ]


def floor(look: str, *, panels: bool = False) -> list[Part]:
    """Of a room of half-sizes W and D and height H: the floor, skirting, a wall that differs, perhaps beams."""
    skirting = [box((0, y * D, 0), (W, 0.015, 0.045), "trim", keep=0.8) for y in (-1, 1)]
    skirting += [box((x * W, 0, 0), (0.015, D, 0.045), "trim", keep=0.8) for x in (-1, 1)]
    walls = [
        box((0, D, 0), (W, 0.008, 0.5 * H), "wallpaper", keep=0.15),
        box((-W, 0, 0), (0.008, D, 0.5 * H), "paint", keep=0.3),
        box((0, -D, 0), (W, 0.008, 0.5 * H), "facade", keep=0.08),
    ]
    top = box((0, 0, H), (W, D, 0.01), "panels" if panels else "ceiling", anchor=-1, keep=0.85)
    beams = [box((k * W, 0, H), (0.07, D, 0.09), "wood", anchor=-1, keep=0.12) for k in (-0.5, 0.5)]
    return [box((0, 0, 0), (W, D, 0.005), look), *skirting, *walls, top, *beams]


ROOM = {"W": (2.0, 4.0), "D": (2.0, 4.0), "H": (2.3, 3.1)}
PICTURE = {"W": (0.15, 0.6), "D": (0.01, 0.02), "H": (0.3, 1.1), "P": (0.9, 1.4)}

FLOORS = [
    Template(f"floor of {look}", ROOM, floor(look, panels=look in ("carpet", "linoleum")))
    for look in ("parquet", "floor tiles", "carpet", "linoleum")
]

HANGING = [
    Template("poster", PICTURE, [box((0, 0, 0), (W, 0.004, 0.5 * H), "poster")], alike=0),
    Template("picture", PICTURE, [box((0, 0, 0), (W, D, 0.5 * H), "trim"), box((0, D, 0.03), (W - 0.03, 0.004,
        0.5 * H - 0.03), "poster")], alike=0.2),
    Template("pictures", {"W": (0.5, 0.9), "D": (0.02, 0.02), "H": (0.4, 0.6)}, [part for x in (-0.75, 0,
        0.75) for part in (box((x * W, 0, 0), (0.28 * W, 0.012, 0.5 * H), "trim"), box((x * W, 0.015, 0.02),
        (0.28 * W - 0.02, 0.003, 0.5 * H - 0.02), "poster", own=True))], alike=0),
    Template("notes", {"W": (0.3, 0.7), "D": (0.01, 0.01), "H": (0.5, 0.8)}, [box((0, 0, 0), (W, 0.008, 0.5 * H),
        "cardboard", keep=0.6), *[box((x * W, 0.012, z * H), (0.1, 0.001, 0.13), "paper", own=True, sway=(0, 0.1, 0),
        spread=(0.12 * W, 0, 0.05 * H), shrink=0.5, keep=0.8) for x in (-0.6, 0, 0.6) for z in (0.1, 0.55)]]),
    Template("whiteboard", {"W": (0.5, 1.1), "D": (0.02, 0.02), "H": (0.8, 1.2)}, [box((0, 0, 0), (W, D, 0.5 * H),
        "metal"), box((0, D, 0.02), (W - 0.02, 0.003, 0.5 * H - 0.02), "paper"), box((0, 0.05, -0.02), (0.6 * W, 0.04,
        0.01), "metal")]),
    Template("wall shelf", {"W": (0.3, 0.7), "D": (0.1, 0.14), "H": (0.3, 0.4)}, [box((0, 0, 0), (W, D, 0.012),
        "furniture"), books(0.55 * W, (-0.2 * W, 0, 0.024), 0.09, 0.14), frustum((0.75 * W, 0, 0.024), (0.05, 0.05,
        0.09), "ceramic", (0.5, 1.4), keep=0.7)]),
    Template("clock", {"W": (0.12, 0.2), "D": (0.02, 0.02), "H": (0.3, 0.4)}, [frustum((0, 0, 0), (W, W, 0.015),
        "trim", angles=UPRIGHT), frustum((0, 0.016, 0.01), (0.9 * W, 0.9 * W, 0.003), "paper", angles=UPRIGHT)]),
    Template("hanging cupboard", {"W": (0.4, 0.9), "D": (0.16, 0.2), "H": (0.6, 0.8)}, cabinet(3)),
    Template("switches", {"W": (0.04, 0.08), "D": (0.01, 0.01), "H": (0.08, 0.08)}, [box((0, 0, 0), (W, D, 0.5 * H),
        "ceramic")]),
    Template("window", {"W": (0.4, 0.9), "D": (0.02, 0.02), "H": (1.1, 1.7)}, window(2), alike=0.9),
    Template("wide window", {"W": (0.9, 1.6), "D": (0.02, 0.02), "H": (1.1, 1.8)}, window(3), alike=0.9),
    Template("curtained window", {"W": (0.45, 0.8), "D": (0.02, 0.02), "H": (1.2, 1.8)}, [*window(2), *curtains()],
        alike=0.9),
]  # fmt: skip

STANDING_AT_WALLS = [
    Template("door", {"W": (0.38, 0.48), "D": (0.02, 0.02), "H": (1.95, 2.15)}, door(), alike=0.8),
    Template("radiator", {"W": (0.4, 0.9), "D": (0.06, 0.06), "H": (0.6, 0.7)}, [box((0, 0, 0.12), (W, 0.05,
        0.5 * H - 0.06), "trim"), *[box(((k / 4.5 - 1) * W, 0.05, 0.14), (0.03 * W, 0.015, 0.5 * H - 0.08),
        "trim") for k in range(10)]], alike=0.9),
    Template("pipes", {"W": (0.1, 0.4), "D": (0.05, 0.05), "H": (3.0, 3.0), "P": (0.015, 0.05)}, [frustum((0, 0, 0),
        (P, P, 0.5 * H), "metal"), frustum((W, 0, 0), (0.7 * P, 0.7 * P, 0.5 * H), "metal"), frustum((0, 0, 0.3), (P,
        P, 0.7), "metal", angles=(0, 1.5708, 0))]),
    Template("glass wall", {"W": (1.0, 1.8), "D": (0.02, 0.02), "H": (2.2, 2.4)}, window(4)),
    Template("curtain", {"W": (0.4, 1.0), "D": (0.06, 0.06), "H": (2.0, 2.4)}, [frustum((x * W, 0, 0.02), (0.2 * W,
        0.05, 0.5 * H), "curtain", (0.8, 1)) for x in (-0.8, -0.4, 0, 0.4, 0.8)]),
]  # fmt: skip

LAMPS = [
    Template("ceiling panels", {"W": (0.3, 1.2), "D": (0.15, 0.3), "H": (0.05, 0.05)}, [box((0, 0, 0), (W, D, 0.02),
        "light", anchor=-1), box((0, 2.5, 0), (W, D, 0.02), "light", anchor=-1, keep=0.6)]),
    Template("pendant", {"W": (0.1, 0.3), "D": (0.1, 0.3), "H": (0.5, 1.0)}, [frustum((0, 0, 0), (0.006, 0.006,
        0.5 * H), "dark", anchor=-1), frustum((0, 0, -H), (W, W, 0.6 * W), "light", (0.2, 0.8), anchor=0)]),
    Template("globe lamp", {"W": (0.12, 0.25), "D": (0.12, 0.25), "H": (0.2, 0.2)}, [ellipsoid((0, 0, -0.02), (W, W,
        0.6 * W), "light", anchor=-1)]),
    Template("track", {"W": (0.8, 1.8), "D": (0.05, 0.05), "H": (0.3, 0.3)}, [box((0, 0, 0), (W, 0.02, 0.02), "dark",
        anchor=-1), *[frustum((x * W, 0, -0.12), (0.045, 0.045, 0.08), "dark", sway=(0.6, 0.6, 0),
        anchor=0) for x in (-0.8, -0.3, 0.3, 0.8)]]),
    Template("hanging plant", {"W": (0.12, 0.12), "D": (0.12, 0.12), "H": (0.9, 0.9)}, [frustum((0, 0, -0.7), (0.08,
        0.08, 0.08), "ceramic", (1.2, 1.5)), frustum((0, 0, 0), (0.004, 0.004, 0.3), "dark", anchor=-1), *leaves(6, (0,
        0, -0.65), (0.15, 0.15, 0.2), 0.14)]),
]  # fmt: skip
