"""Plants: trees, bushes and hedges, and what stands in gardens: fences, stones, pots."""

from __future__ import annotations

from recon.training.scenes.objects import GROWS, ONE, ZERO, D, H, P, Part, Template, W, box, card, ellipsoid, frustum
from recon.training.scenes.things import UPRIGHT, leaves


def tree(crown: int) -> list[Part]:
    """Trunk, boughs, and a crown of leafy sheets about a darker middle; H tall, crown of radius P."""
    boughs = [
        frustum(
            (0, 0, 0.42 * H),
            (0.35 * W, 0.35 * W, 0.2 * H),
            "bark",
            (0.3, 0.6),
            angles=(a, b, 0),
            sway=(0.3, 0.3, 0),
            spread=(0, 0, 0.06 * H),
            anchor=GROWS,
        )
        for a, b in ((0.5, 0.3), (-0.5, 0.4), (0.1, -0.7))
    ]
    middle = ellipsoid((0, 0, 0.68 * H), (0.6 * P, 0.6 * P, 0.2 * H), "leaf", anchor=0, shrink=0.6, keep=0.6)
    tops = [
        ellipsoid(
            (0, 0, 0.7 * H),
            (0.5 * P, 0.5 * P, 0.15 * H),
            "leaf",
            anchor=0,
            shrink=0.5,
            keep=0.6,
            spread=(0.6 * P, 0.6 * P, 0.15 * H),
        )
        for _ in range(2)
    ]
    sheets = leaves(crown, (0, 0, 0.7 * H), (0.65 * P, 0.65 * P, 0.22 * H), 0.7 * P)
    return [
        frustum((0, 0, -0.05), (W, W, 0.3 * H), "bark", (0.6, 0.8), sway=(0.05, 0.05, 0)),
        *boughs,
        middle,
        *tops,
        *sheets,
    ]


def conifer() -> list[Part]:
    """Cones of needles under sheets of them that stick out."""
    cones = [
        frustum(
            (0, 0, (0.16 + 0.25 * k) * H), ((0.75 - 0.22 * k) * P, (0.75 - 0.22 * k) * P, 0.16 * H), "leaf", (0, 0.15)
        )
        for k in range(3)
    ]
    tiers = [
        part
        for k in range(3)
        for part in leaves(
            3, (0, 0, (0.25 + 0.2 * k) * H), ((0.6 - 0.17 * k) * P, (0.6 - 0.17 * k) * P, 0.08 * H), 0.6 * P
        )
    ]
    return [frustum((0, 0, 0), (W, W, 0.2 * H), "bark"), *cones, *tiers]


def bush(count: int) -> list[Part]:
    """Leafy sheets about a dark heart."""
    heart = ellipsoid((0, 0, 0), (0.8 * W, 0.8 * D, 0.38 * H), "leaf")
    return [heart, *leaves(count, (0, 0, 0.5 * H), (0.6 * W, 0.6 * D, 0.35 * H), 0.6 * W)]


def fence(posts: int, rails: int) -> list[Part]:
    """Posts and rails, thin."""
    parts = [box(((2 * k / (posts - 1) - 1) * W, 0, 0), (0.03, 0.03, 0.5 * H), "furniture") for k in range(posts)]
    return parts + [box((0, 0, (k + 0.7) / rails * 0.95 * H), (W, 0.015, 0.03), "furniture") for k in range(rails)]


def railing(bars: int) -> list[Part]:
    """Round bars under a handrail."""
    parts = [frustum(((2 * k / (bars - 1) - 1) * W, 0, 0), (P, P, 0.5 * H), "metal") for k in range(bars)]
    return [*parts, box((0, 0, H), (W, 0.03, 0.02), "metal"), box((0, 0, 0.12), (W, 0.02, 0.012), "metal")]


TREE = {"W": (0.09, 0.28), "D": (0.1, 0.3), "H": (4, 9), "P": (1.2, 3)}

PLANTS = [
    Template("tree", TREE, tree(7), alike=0.3),
    Template("dense tree", TREE, tree(11), alike=0.2),
    Template("conifer", TREE | {"P": (0.8, 1.8), "H": (4, 10)}, conifer(), alike=0.2),
    Template("bare trunk", {"W": (0.1, 0.35), "D": (0.1, 0.35), "H": (4, 10)}, [frustum((0, 0, -0.1), (W, W, 0.5 * H),
        "bark", (0.5, 0.9), sway=(0.08, 0.08, 0)), frustum((0, 0, 0.5 * H), (0.3 * W, 0.3 * W, 0.15 * H), "bark", (0.2,
        0.5), sway=(1, 1, 0), anchor=GROWS)], alike=0.1),
    Template("bush", {"W": (0.5, 1.4), "D": (0.5, 1.3), "H": (0.6, 1.8)}, bush(7), alike=0.3),
    Template("blossoming bush", {"W": (0.4, 1.0), "D": (0.4, 1.0), "H": (0.5, 1.3)}, [*bush(4), *leaves(4, (0, 0,
        0.6 * H), (0.6 * W, 0.6 * D, 0.35 * H), 0.4 * W, "blossom")], alike=0.3),
    Template("hedge", {"W": (1.5, 5), "D": (0.3, 0.6), "H": (0.8, 2)}, [box((0, 0, 0), (W, D, 0.5 * H), "leaf"),
        *leaves(5, (0, D, 0.6 * H), (0.8 * W, 0.05 * ONE, 0.3 * H), 0.45 * ONE)]),
    Template("tall grass", {"W": (0.3, 0.8), "D": (0.3, 0.8), "H": (0.4, 1.2)}, [card((0, 0, 0), (0.5 * W, 0.5 * H),
        "leaf", (0.35, 0.6), angles=UPRIGHT, sway=(0.3, 0.2, 3), spread=(W, D, ZERO)) for _ in range(7)]),
    Template("overhanging branch", {"W": (1, 1.5), "D": (1, 1.5), "H": (3, 4), "P": (0.5, 0.9)}, [frustum((0, 0, H),
        (0.04, 0.04, 1.6), "bark", (0.4, 0.7), angles=(0, 1.5, 0), sway=(0.2, 0.2, 3), anchor=0), *leaves(7, (0, 0, H),
        (W, D, 0.35 * ONE), P)]),
    Template("flower bed", {"W": (0.6, 1.8), "D": (0.3, 0.6), "H": (0.3, 0.5)}, [box((0, 0, 0), (W, D, 0.04), "soil"),
        *leaves(4, (0, 0, 0.5 * H), (0.8 * W, 0.7 * D, 0.2 * H), 0.35 * ONE), *leaves(3, (0, 0, 0.8 * H), (0.8 * W,
        0.7 * D, 0.1 * H), 0.25 * ONE, "blossom")]),
    Template("stones", {"W": (0.3, 1), "D": (0.3, 0.8), "H": (0.2, 0.8)}, [ellipsoid((0, 0, -0.05), (0.7 * W, 0.6 * D,
        0.5 * H), "stone", spread=(W, D, ZERO), sway=(0, 0, 3), shrink=0.35) for _ in range(4)]),
    Template("log", {"W": (0.8, 2), "D": (0.15, 0.3), "H": (0.3, 0.5)}, [frustum((0, 0, 0), (D, D, W), "bark", (0.7,
        1), angles=(0, 1.5708, 0)), frustum((0.3 * W, 0, D), (0.3 * D, 0.3 * D, 0.3), "bark", (0.3, 0.7), sway=(0.5,
        0.5, 0))]),
    Template("fence", {"W": (1.5, 4), "D": (0.05, 0.05), "H": (0.9, 1.6)}, fence(5, 3), alike=1),
    Template("paling", {"W": (1.2, 2), "D": (0.05, 0.05), "H": (0.9, 1.5)}, [box(((k / 5 - 1) * W, 0, 0), (0.06, 0.012,
        0.5 * H), "furniture") for k in range(11)] + [box((0, -0.02, z * H), (W, 0.012, 0.03),
        "furniture") for z in (0.25, 0.75)], alike=1),
    Template("railing", {"W": (0.8, 2.5), "D": (0.05, 0.05), "H": (0.9, 1.1), "P": (0.008, 0.02)}, railing(9),
        alike=0.8),
    Template("pergola", {"W": (1.2, 2), "D": (0.8, 1.4), "H": (2.1, 2.6)}, [*[box((x * W, y * D, 0), (0.06, 0.06,
        0.5 * H), "wood") for x in (-1, 1) for y in (-1, 1)], *[box((0, (k - 2) / 2 * D, H), (1.15 * W, 0.03, 0.06),
        "wood") for k in range(5)], *leaves(4, (0, 0, H + 0.1), (W, D, 0.1 * ONE), 0.5 * ONE)]),
    Template("pots", {"W": (0.4, 0.8), "D": (0.2, 0.3), "H": (0.5, 0.9)}, [part for x in (-0.8, 0,
        0.8) for part in (frustum((x * W, 0, 0), (0.17, 0.17, 0.16), "ceramic", (1.1, 1.4), own=True, shrink=0.7),
        *leaves(2, (x * W, 0, 0.5), (0.08, 0.08, 0.12), 0.22 * ONE), ellipsoid((x * W, 0, 0.3), (0.18, 0.18, 0.14),
        "leaf", shrink=0.6))]),
]  # fmt: skip
