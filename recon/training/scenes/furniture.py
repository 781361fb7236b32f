"""Furniture: what stands on the floors of rooms, with what lies about on it."""

from __future__ import annotations

from recon.training.scenes.objects import (
    ONE,
    D,
    H,
    Length,
    P,
    Part,
    Template,
    W,
    box,
    bundle,
    ellipsoid,
    form,
    frustum,
    moved,
)
from recon.training.scenes.things import UPRIGHT, bottle, fronds, leaves, monitor, on_top

CORNERS = [(x, y) for x in (-1, 1) for y in (-1, 1)]


def legs(
    half_width: Length, half_depth: Length, height: Length, thick: float = 0.025, look: str = "furniture"
) -> list[Part]:
    """Four."""
    w, d, h = form(half_width) - thick, form(half_depth) - thick, form(height)
    return [box((x * w, y * d, 0), (thick, thick, 0.5 * h), look) for x, y in CORNERS]


def chair() -> list[Part]:
    """With four legs and a back."""
    return [
        box((0, 0, 0.43), (0.21, 0.21, 0.02), "fabric"),
        box((0, -0.2, 0.62), (0.2, 0.015, 0.14), "fabric", angles=(0.12, 0, 0)),
        *[box((x * 0.19, y * 0.19, 0), (0.014, 0.014, 0.22 if y > 0 else 0.44), "metal") for x, y in CORNERS],
    ]


def office_chair() -> list[Part]:
    """On a star of castors, perhaps with arms."""
    star = [box((0, 0, 0.07), (0.3, 0.022, 0.018), "dark", angles=(0, 0, k * 1.047)) for k in range(3)]
    arms = [box((x, 0, 0.64), (0.025, 0.14, 0.015), "dark", keep=0.6) for x in (-0.27, 0.27)]
    return [
        *star,
        frustum((0, 0, 0.1), (0.03, 0.03, 0.17), "metal"),
        box((0, 0, 0.44), (0.24, 0.23, 0.035), "fabric"),
        box((0, -0.23, 0.62), (0.22, 0.03, 0.26), "fabric", angles=(0.12, 0, 0)),
        *arms,
    ]


def stool() -> list[Part]:
    """A round seat on a pole."""
    return [
        frustum((0, 0, 0.62), (0.18, 0.18, 0.02), "fabric"),
        frustum((0, 0, 0), (0.02, 0.02, 0.31), "metal"),
        frustum((0, 0, 0), (0.2, 0.2, 0.01), "metal"),
    ]


def table(look: str = "furniture") -> list[Part]:
    """W by D, H tall."""
    return [box((0, 0, H - 0.04), (W, D, 0.02), look), *legs(W, D, H - 0.04, 0.03, look)]


def desk(chair_parts: list[Part], seat: Length = 0.35) -> list[Part]:
    """A desk at the wall with a screen or two and what belongs to it; the chair stands before it."""
    return [
        box((0, 0, H - 0.04), (W, D, 0.02), "furniture"),
        *[box((x * (W - 0.03), 0, 0), (0.025, 0.9 * D, 0.5 * H - 0.02), "furniture") for x in (-1, 1)],
        box((0.6 * W, 0, 0.1), (0.2, 0.8 * D, 0.27), "furniture", keep=0.4),
        *bundle(monitor(), (0, -0.3 * D, H), (0.2 * W, 0.05, 0), 0.4, 0.8),
        box((0, 0.35 * D, H), (0.21, 0.07, 0.012), "keys", spread=(0.2 * W, 0.1 * D, 0), sway=(0, 0, 0.2), keep=0.8),
        ellipsoid((0.32, 0.4 * D, H), (0.03, 0.05, 0.018), "dark", spread=(0.05, 0.1 * D, 0), keep=0.7),
        *on_top(W, 0.8 * D, H, 0.45),
        *bundle(chair_parts, (0, D + seat, 0), (0.4 * W, 0.25, 0), 1.2, 0.85),
    ]


def dining(chairs: int) -> list[Part]:
    """A table laid with things, and chairs around it."""
    seats: list[Part] = []
    for k in range(chairs):
        side, along = (1, -1)[k % 2], (-0.5, 0.5)[k // 2 % 2] if chairs > 2 else 0.0
        turn = 3.1416 if side > 0 else 0.0
        seats += bundle(moved(chair(), (0, 0, 0), turn), (along * W, side * (D + 0.12), 0), (0.1, 0.18, 0), 0.35, 0.9)
    return [*table("wood"), *on_top(W, D, H), *seats]


def shelf(boards: int, share: float = 0.85) -> list[Part]:
    """Open, with books and things on its boards."""
    gap = 1 / (boards - 1)
    parts = [box((x * W, 0, 0), (0.015, D, 0.5 * H), "furniture") for x in (-1, 1)]
    parts += [box((0, 0, k * gap * (H - 0.03)), (W, D, 0.012), "furniture") for k in range(boards)]
    parts.append(box((0, -0.95 * D, 0), (W, 0.006, 0.5 * H), "furniture", keep=0.6))
    for k in range(boards - 1):
        z = k * gap * (H - 0.03) + 0.024 * ONE
        room = 0.36 * gap * H
        parts.append(box((-0.35 * W, 0, z), (0.58 * W, 0.75 * D, room), "books", shrink=0.6, keep=share, own=True))
        parts.append(box((0.6 * W, 0, z), (0.3 * W, 0.7 * D, room), "books", shrink=0.45, keep=share * 0.6, own=True))
        parts.append(
            frustum(
                (0.6 * W, 0.1 * D, z),
                (0.5 * D, 0.5 * D, 0.7 * room),
                "ceramic",
                (0.5, 1.3),
                shrink=0.5,
                keep=0.3,
                own=True,
            )
        )
    return parts


def cabinet(doors: int, look: str = "furniture") -> list[Part]:
    """A closed body with doors that stand proud of it, and handles."""
    parts = [box((0, -0.01, 0), (W, D - 0.01, 0.5 * H), look)]
    for k in range(doors):
        x = (2 * (k + 0.5) / doors - 1) * W
        parts.append(box((x, D, 0.05 * H), (0.97 / doors * W, 0.008, 0.45 * H), look))
        parts.append(box((x + 0.75 / doors * W, D + 0.02, 0.5 * H), (0.008, 0.012, 0.07), "metal", keep=0.8))
    return parts


def drawers(count: int) -> list[Part]:
    """A chest of drawers with things on it."""
    parts = [box((0, -0.01, 0), (W, D - 0.01, 0.5 * H), "furniture")]
    for k in range(count):
        z = (k + 0.06) / count * H
        parts.append(box((0, D, z), (0.96 * W, 0.008, 0.44 / count * H), "furniture"))
        parts.append(box((0, D + 0.015, z + 0.4 / count * H), (0.3 * W, 0.01, 0.008), "metal"))
    return parts


def sofa(seats: int) -> list[Part]:
    """With a back, arms and cushions."""
    parts = [
        box((0, 0, 0.06), (W, D, 0.12), "fabric"),
        box((0, -0.75 * D, 0.2), (W, 0.22 * D, 0.28), "fabric"),
        *[box((x * (W - 0.09), 0, 0.06), (0.09, D, 0.26), "fabric") for x in (-1, 1)],
    ]
    for k in range(seats):
        x = (2 * (k + 0.5) / seats - 1) * (W - 0.18)
        parts.append(box((x, 0.15 * D, 0.3), (0.97 / seats * (W - 0.18), 0.8 * D, 0.07), "fabric"))
        parts.append(
            box(
                (x, -0.35 * D, 0.5),
                (0.2, 0.07, 0.2),
                "bedding",
                angles=(0.35, 0, 0),
                sway=(0.2, 0.3, 0.4),
                anchor=0,
                spread=(0.1, 0.03, 0.03),
                keep=0.6,
                own=True,
            )
        )
    return parts


def bed() -> list[Part]:
    """Head at the wall."""
    return [
        box((0, 0, 0.05), (W, D, 0.12), "furniture"),
        box((0, 0.03, 0.28), (0.97 * W, 0.97 * D, 0.1), "bedding"),
        box((0, -D + 0.03, 0), (W, 0.03, 0.5 * H), "furniture", keep=0.8),
        *[ellipsoid((x * W, -0.75 * D, 0.47), (0.4 * W, 0.22, 0.09), "bedding", keep=0.9) for x in (-0.48, 0.48)],
        box((0, 0.3 * D, 0.32), (1.02 * W, 0.66 * D, 0.09), "bedding", keep=0.9, own=True),
        ellipsoid((0, 0.5 * D, 0.48), (0.8 * W, 0.3 * D, 0.06), "bedding", keep=0.6, own=True, sway=(0, 0, 1)),
        *[box((x * (W + 0.28), -0.8 * D, 0), (0.22, 0.2, 0.25), "furniture", keep=0.6) for x in (-1, 1)],
        *[frustum((x * (W + 0.28), -0.8 * D, 0.6), (0.11, 0.11, 0.1), "light", (0.5, 0.9), keep=0.5) for x in (-1, 1)],
        *[frustum((x * (W + 0.28), -0.8 * D, 0.5), (0.02, 0.02, 0.07), "metal") for x in (-1, 1)],
    ]


def plant() -> list[Part]:
    """A big one in a pot: long fronds or bushels of leaves."""
    return [
        frustum((0, 0, 0), (0.75 * W, 0.75 * W, 0.9 * W), "ceramic", (1.1, 1.4)),
        frustum((0, 0, 1.7 * W), (0.8 * W, 0.8 * W, 0.04), "soil"),
        frustum((0, 0, W), (0.015, 0.015, 0.4 * H), "bark", sway=(0.06, 0.06, 0)),
        *fronds(6, (0, 0, 0.55 * H), P, 0.22 * P),
        *fronds(6, (0, 0, 0.85 * H), 0.85 * P, 0.2 * P),
        *leaves(5, (0, 0, 0.75 * H), (0.6 * P, 0.6 * P, 0.2 * H), 0.4 * P),
    ]


def kitchen() -> list[Part]:
    """A row of cupboards under a worktop, splashback, hanging cupboards, sink, hob and what stands on it."""
    parts = [
        box((0, -0.02, 0), (W, D - 0.02, 0.43), "furniture"),
        box((0, 0, 0.86), (W, D + 0.01, 0.02), "stone"),
        box((0, -D + 0.01, 0.9), (W, 0.01, 0.27), "wall tiles"),
        box((-0.45 * W, 0, 0.895), (0.25, 0.2, 0.006), "metal"),
        frustum((-0.45 * W, -0.22, 0.9), (0.012, 0.012, 0.13), "metal"),
        box((0.4 * W, 0.02, 0.9), (0.29, 0.24, 0.006), "screen"),
        box((0.4 * W, D, 0.2), (0.28, 0.01, 0.28), "screen", keep=0.7),
    ]
    for k in range(4):
        x = (k / 2 - 0.75) * W
        hanging = (x, -D + 0.35 * ONE, 1.42)
        parts.append(box((x, D - 0.01, 0.08), (0.24 * W, 0.012, 0.37), "furniture"))
        parts.append(box((x, D + 0.015, 0.76), (0.1 * W, 0.01, 0.007), "metal"))
        parts.append(box((x, -D + 0.17 * ONE, 1.42), (0.245 * W, 0.17, 0.35), "furniture", keep=0.75))
        parts.append(box((hanging[0] + 0.2 * W, hanging[1] + 0.01, 1.47), (0.007, 0.01, 0.07), "metal", keep=0.6))
    return [*parts, *on_top(0.9 * W, 0.6 * D, 0.9, 0.6), *bundle(bottle(), (0, -0.3, 0.9), (0.8 * W, 0.1, 0), 0, 0.6)]


FURNITURE = [
    Template("desk", {"W": (0.55, 1.0), "D": (0.3, 0.45), "H": (0.7, 0.78)}, desk(moved(office_chair(), (0, 0, 0),
        3.1416)), alike=0.7),
    Template("writing desk", {"W": (0.5, 0.9), "D": (0.25, 0.4), "H": (0.7, 0.78)}, desk(moved(chair(), (0, 0, 0),
        3.1416), 0.2)),
    Template("chair", {"W": (0.25, 0.25), "D": (0.25, 0.25), "H": (0.85, 0.9)}, chair(), alike=0.85),
    Template("office chair", {"W": (0.3, 0.3), "D": (0.3, 0.3), "H": (1.0, 1.1)}, office_chair(), alike=0.85),
    Template("stools", {"W": (0.5, 0.8), "D": (0.2, 0.2), "H": (0.65, 0.65)}, [*stool(), *moved(stool(), (W, 0, 0)),
        *moved(stool(), (-W, 0, 0))]),
    Template("table", {"W": (0.4, 0.9), "D": (0.35, 0.5), "H": (0.68, 0.78)}, [*table(), *on_top(W, D, H, 0.7)]),
    Template("low table", {"W": (0.4, 0.65), "D": (0.25, 0.4), "H": (0.35, 0.48)}, [*table("wood"), *on_top(W, D, H,
        0.6)]),
    Template("round table", {"W": (0.4, 0.65), "D": (0.4, 0.65), "H": (0.5, 0.78)}, [frustum((0, 0, H - 0.04), (W, W,
        0.02), "wood"), frustum((0, 0, 0.03), (0.05, 0.05, 0.5 * H - 0.035), "metal"), frustum((0, 0, 0), (0.6 * W,
        0.6 * W, 0.015), "metal"), *on_top(0.6 * W, 0.6 * W, H, 0.6)]),
    Template("dining for two", {"W": (0.4, 0.6), "D": (0.35, 0.45), "H": (0.72, 0.77)}, dining(2)),
    Template("dining for four", {"W": (0.6, 1.1), "D": (0.4, 0.5), "H": (0.72, 0.77)}, dining(4)),
    Template("tall shelf", {"W": (0.35, 0.6), "D": (0.13, 0.2), "H": (1.6, 2.2)}, shelf(6)),
    Template("low shelf", {"W": (0.35, 0.8), "D": (0.15, 0.22), "H": (0.7, 1.2)}, [*shelf(3), *on_top(W, D, H, 0.5)]),
    Template("wardrobe", {"W": (0.45, 1.0), "D": (0.27, 0.32), "H": (1.8, 2.3)}, cabinet(3)),
    Template("sideboard", {"W": (0.5, 1.0), "D": (0.2, 0.26), "H": (0.6, 0.95)}, [*cabinet(3), *on_top(W, D, H, 0.5)]),
    Template("chest of drawers", {"W": (0.35, 0.55), "D": (0.2, 0.26), "H": (0.7, 1.1)}, [*drawers(4), *on_top(W, D, H,
        0.45)]),
    Template("filing cabinet", {"W": (0.2, 0.25), "D": (0.25, 0.32), "H": (0.6, 1.35)}, drawers(3)),
    Template("sofa", {"W": (0.85, 1.15), "D": (0.4, 0.48), "H": (0.75, 0.8)}, sofa(3)),
    Template("armchair", {"W": (0.4, 0.48), "D": (0.38, 0.45), "H": (0.75, 0.8)}, sofa(1)),
    Template("bed", {"W": (0.5, 0.95), "D": (1.0, 1.08), "H": (0.7, 1.2)}, bed()),
    Template("television", {"W": (0.6, 0.95), "D": (0.18, 0.22), "H": (0.4, 0.55)}, [*cabinet(2),
        *moved(monitor(0.55 * ONE), (0, 0, H)), *bundle([box((0, 0, 0), (0.08, 0.1, 0.15), "dark")], (0.8 * W, 0, H),
        keep=0.5)]),
    Template("plant", {"W": (0.12, 0.22), "D": (0.12, 0.22), "H": (0.6, 1.9), "P": (0.25, 0.5)}, plant(), alike=0.4),
    Template("floor lamp", {"W": (0.15, 0.15), "D": (0.15, 0.15), "H": (1.4, 1.8), "P": (0.12, 0.22)}, [frustum((0, 0,
        0), (W, W, 0.012), "metal"), frustum((0, 0, 0.02), (0.012, 0.012, 0.5 * H - 0.15), "metal"), frustum((0, 0,
        H - 0.3), (P, P, 0.15), "light", (0.5, 0.9))]),
    Template("bin", {"W": (0.12, 0.17), "D": (0.12, 0.17), "H": (0.28, 0.4)}, [frustum((0, 0, 0), (W, W, 0.5 * H),
        "plastic", (1.1, 1.35)), frustum((0, 0, H - 0.02), (W, W, 0.012), "dark", (1, 1))]),
    Template("kitchen", {"W": (1.0, 1.9), "D": (0.29, 0.32), "H": (0.9, 0.9)}, kitchen()),
    Template("fridge", {"W": (0.28, 0.35), "D": (0.28, 0.33), "H": (1.4, 2.0)}, [box((0, -0.02, 0), (W, D - 0.02,
        0.5 * H), "metal"), box((0, D - 0.01, 0.02), (W, 0.02, 0.31 * H), "metal"), box((0, D - 0.01, 0.66 * H), (W,
        0.02, 0.16 * H), "metal"), *[box((-0.85 * W, D + 0.03, z * H), (0.01, 0.012, 0.1 * H), "dark") for z in (0.4,
        0.7)], box((0.2 * W, D + 0.011, 0.75 * H), (0.08, 0.001, 0.05 * H), "paper", keep=0.5)]),
    Template("partition", {"W": (0.5, 0.9), "D": (0.03, 0.04), "H": (1.1, 1.7)}, [box((0, 0, 0.08), (W, 0.8 * D,
        0.5 * H - 0.04), "fabric"), box((0, 0, H), (W, D, 0.015), "metal"), *[box((x * W, 0, 0), (0.02, D, 0.5 * H),
        "metal") for x in (-1, 1)], *[box((x * W, 0, 0), (0.02, 0.2, 0.015), "metal") for x in (-0.9, 0.9)],
        box((0.3 * W, D, 0.6 * H), (0.12, 0.002, 0.16), "paper", keep=0.5, spread=(0.4 * W, 0, 0.1 * H))]),
    Template("pillar", {"W": (0.12, 0.3), "D": (0.12, 0.3), "H": (3.2, 3.2)}, [box((0, 0, 0), (W, D, 0.5 * H),
        "paint")]),
    Template("piano", {"W": (0.7, 0.75), "D": (0.25, 0.32), "H": (1.1, 1.25)}, [box((0, -0.4 * D, 0), (W, 0.6 * D,
        0.5 * H), "wood"), box((0, 0.4 * D, 0.6), (W, 0.6 * D, 0.06), "wood"), box((0, 0.55 * D, 0.72), (0.92 * W,
        0.4 * D, 0.005), "keys"), *[box((x * (W - 0.05), 0.8 * D, 0), (0.03, 0.03, 0.3), "wood") for x in (-1, 1)],
        *moved(stool(), (0, D + 0.35, -0.12))]),
    Template("table football", {"W": (0.6, 0.7), "D": (0.35, 0.4), "H": (0.88, 0.95), "P": (0.42, 0.52)}, [*legs(W, D,
        0.7, 0.05, "dark"), box((0, 0, 0.65), (W, D, 0.06), "dark"), box((0, 0, 0.77), (0.92 * W, 0.9 * D, 0.003),
        "rug"), *[box((0, y * D, 0.7), (W, 0.03, 0.5 * H - 0.35), "wood") for y in (-1, 1)], *[box((x * W, 0, 0.7),
        (0.03, D, 0.5 * H - 0.35), "wood") for x in (-1, 1)], *[frustum((x * W, 0, H - 0.07), (0.008, 0.008, D + 0.2),
        "metal", angles=UPRIGHT, anchor=0, spread=(0, 0.1, 0)) for x in (-0.75, -0.45, -0.15, 0.15, 0.45, 0.75)]]),
    Template("rug", {"W": (0.6, 1.5), "D": (0.5, 1.1), "H": (0.01, 0.01)}, [box((0, 0, 0), (W, D, 0.01), "rug")]),
    Template("clothes rail", {"W": (0.45, 0.7), "D": (0.2, 0.2), "H": (1.4, 1.6)}, [*[frustum((x * W, 0, 0), (0.012,
        0.012, 0.5 * H), "metal") for x in (-1, 1)], frustum((0, 0, H), (0.012, 0.012, W), "metal", angles=(0, 1.5708,
        0)), *[box((x * W, 0, H - 0.05), (0.03, 0.2, 0.4), "clothes", anchor=-1, own=True, shrink=0.6, sway=(0, 0.05,
        0.2)) for x in (-0.8, -0.6, -0.35, -0.1, 0.1, 0.35, 0.6, 0.8)]]),
]  # fmt: skip
