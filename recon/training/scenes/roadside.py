"""Roadside: cars, signs, benches and people along streets; and things of no use at all, to lie about."""

from __future__ import annotations

from recon.training.scenes.objects import D, H, P, Template, U, W, box, card, ellipsoid, frustum, moved
from recon.training.scenes.things import UPRIGHT, figure, toy_car

ROADSIDE = [
    Template("car", {"W": (1.9, 2.3), "D": (0.82, 0.92), "H": (1.4, 1.65)}, toy_car(), alike=0.1),
    Template("van", {"W": (2.2, 2.8), "D": (0.9, 1.0), "H": (1.9, 2.4)}, [*toy_car()[:4], box((0, 0, 0.14 * H), (W, D,
        0.42 * H), "car"), box((0.78 * W, 0, 0.5 * H), (0.23 * W, 0.93 * D, 0.17 * H), "pane")], alike=0.1),
    Template("street lamp", {"W": (0.06, 0.09), "D": (0.06, 0.09), "H": (3.5, 7)}, [frustum((0, 0, 0), (W, W, 0.5 * H),
        "metal", (0.6, 0.9)), box((0, 0.4, H - 0.1), (0.04, 0.45, 0.03), "metal", keep=0.6), ellipsoid((0, 0.6,
        H - 0.1), (0.15, 0.3, 0.08), "ceramic")], alike=1),
    Template("sign", {"W": (0.2, 0.45), "D": (0.03, 0.03), "H": (2.0, 2.8), "P": (0.2, 0.4)}, [frustum((0, 0, 0),
        (0.03, 0.03, 0.5 * H), "metal"), box((0, 0.05, H), (W, 0.012, P), "sign", anchor=-1)], alike=0.2),
    Template("round sign", {"W": (0.25, 0.35), "D": (0.03, 0.03), "H": (2.1, 2.6)}, [frustum((0, 0, 0), (0.03, 0.03,
        0.5 * H), "metal"), frustum((0, 0.05, H), (W, W, 0.012), "sign", angles=UPRIGHT, anchor=-1)], alike=0.2),
    Template("bollards", {"W": (2, 4), "D": (0.08, 0.12), "H": (0.7, 1.0)}, [frustum((x * W, 0, 0), (D, D, 0.5 * H),
        "metal", (0.8, 1)) for x in (-1, -0.5, 0, 0.5, 1)], alike=1),
    Template("bench", {"W": (0.7, 0.95), "D": (0.25, 0.3), "H": (0.8, 0.85)}, [*[box((0, 0.1 - 0.14 * k, 0.42), (W,
        0.05, 0.02), "wood") for k in range(3)], *[box((0, -0.27, z), (W, 0.015, 0.05), "wood", angles=(0.15, 0,
        0)) for z in (0.55, 0.7)], *[box((x * W, -0.05, 0), (0.03, 0.22, 0.21), "metal") for x in (-0.8, 0.8)]]),
    Template("litter bin", {"W": (0.18, 0.28), "D": (0.18, 0.28), "H": (0.7, 1.1)}, [frustum((0, 0, 0), (W, W,
        0.45 * H), "metal", (1, 1.1)), frustum((0, 0, 0.9 * H), (1.1 * W, 1.1 * W, 0.05 * H), "dark", (0.7, 1))]),
    Template("wheeled bins", {"W": (0.6, 0.9), "D": (0.3, 0.35), "H": (1.0, 1.2)}, [box((x * W, 0, 0), (0.27, D,
        0.5 * H), "plastic", own=True, keep=0.8) for x in (-0.9, 0, 0.9)]),
    Template("person", {"W": (0.22, 0.25), "D": (0.15, 0.15), "H": (1.55, 1.9)}, figure(), alike=0),
    Template("people", {"W": (0.8, 1), "D": (0.3, 0.3), "H": (1.6, 1.8)}, [*figure(), *moved(figure(), (0.75, 0.2, 0),
        1)], alike=0),
    Template("stall", {"W": (1, 1.8), "D": (0.7, 1), "H": (2.2, 2.6)}, [box((0, 0, 0.75), (W, D, 0.03), "wood"),
        box((0, 0, H), (1.1 * W, 1.1 * D, 0.03), "clothes", angles=(-0.15, 0, 0)), *[frustum((x * W, y * D, 0), (0.025,
        0.025, 0.5 * H), "metal") for x in (-1, 1) for y in (-1, 1)], *[box((x * W, 0, 0.81), (0.2 * W, 0.6 * D, 0.12),
        "package", own=True, shrink=0.4) for x in (-0.7, -0.2, 0.3, 0.75)]]),
    Template("hoarding", {"W": (0.8, 1.8), "D": (0.1, 0.1), "H": (2, 3.2)}, [box((0, 0, 0.6), (W, 0.05, 0.5 * H - 0.3),
        "poster"), *[box((x * W, 0, 0), (0.05, 0.05, 0.35), "metal") for x in (-0.8, 0.8)]]),
    Template("wires", {"W": (12, 12), "D": (0.1, 0.1), "H": (6, 8)}, [frustum((0, y, H), (0.015, 0.015, 14), "dark",
        angles=(0, 1.5708, 0), sway=(0, 0.02, 0.1), anchor=0) for y in (0, 0.4)] + [frustum((0, 0, 0), (0.09, 0.09,
        0.5 * H + 0.3), "bark")]),
]  # fmt: skip

CLUTTER = [
    Template("box", {"W": (0.2, 0.8), "D": (0.2, 0.8), "H": (0.3, 1.6)}, [box((0, 0, 0), (W, D, 0.5 * H), "anything")],
        alike=0),
    Template("pipes and boxes", {"W": (0.3, 0.8), "D": (0.3, 0.8), "H": (0.5, 1.6), "P": (0.03, 0.12)}, [box((0, 0, 0),
        (0.5 * W, 0.6 * D, 0.35 * H), "anything", own=True), *[frustum((x * W, 0, 0), (P, P, 0.5 * H), "anything",
        (0.6, 1), spread=(0, D, 0), sway=(0.4, 0.4, 0), own=True) for x in (-1, -0.3, 0.6)], frustum((0, 0, 0.5 * H),
        (P, P, W), "metal", angles=(0, 1.5708, 0), sway=(0, 0.4, 1)), ellipsoid((0, 0, 0.7 * H), (0.35 * W, 0.35 * D,
        0.15 * H), "anything", own=True)], alike=0),
    Template("sheets", {"W": (0.3, 1.0), "D": (0.3, 1), "H": (0.5, 1.4), "P": (0.2, 0.7)}, [card((0, 0, 0.5 * H), (P,
        0.7 * P), "anything", (0.4, 1.6), spread=(W, D, 0.4 * H), sway=(1.5, 1.5, 3), shrink=0.5, anchor=0,
        own=True) for _ in range(5)], alike=0),
    Template("slabs", {"W": (0.4, 1.4), "D": (0.3, 1), "H": (0.4, 1.6), "U": (0.01, 0.05)}, [box((0, 0, 0.5 * H), (W,
        U, 0.5 * H), "anything", spread=(0.3 * W, D, 0), sway=(0.3, 0.3, 3), shrink=0.5, own=True,
        anchor=0) for _ in range(3)], alike=0),
    Template("frame", {"W": (0.5, 1.2), "D": (0.3, 0.8), "H": (0.8, 1.8), "P": (0.015, 0.05)}, [*[box((x * W, y * D,
        0), (P, P, 0.5 * H), "furniture") for x in (-1, 1) for y in (-1, 1)], *[box((0, y * D, z * H), (W, P, P),
        "furniture") for y in (-1, 1) for z in (0.05, 0.95)]], alike=0.3),
]  # fmt: skip
