"""Things: small objects that stand on floors and tables, alone or as what lies about on furniture."""

from __future__ import annotations

from recon.training.scenes.objects import (
    GROWS,
    ZERO,
    D,
    H,
    Length,
    P,
    Part,
    Place,
    Q,
    Template,
    U,
    W,
    box,
    bundle,
    card,
    ellipsoid,
    form,
    frustum,
    moved,
)

UPRIGHT = (1.5708, 0.0, 0.0)


def bottle(radius: Length = 0.035, height: Length = 0.24, look: str = "glass") -> list[Part]:
    """Body, shoulder, neck and cap."""
    r, h = form(radius), form(height)
    return [
        frustum((0, 0, 0), (r, r, 0.3 * h), look),
        frustum((0, 0, 0.6 * h), (r, r, 0.09 * h), look, (0.35, 0.4)),
        frustum((0, 0, 0.78 * h), (0.37 * r, 0.37 * r, 0.11 * h), look),
    ]


def monitor(half_width: Length = 0.27) -> list[Part]:
    """A screen on a foot, looking at +y."""
    w = form(half_width)
    return [
        box((0, 0, 0.1), (w, 0.02, 0.62 * w), "dark"),
        box((0, 0.018, 0.1 + 0.03 * w), (0.94 * w, 0.004, 0.57 * w), "screen", keep=0.5),
        box((0, 0.021, 0.1 + 0.03 * w), (0.94 * w, 0.003, 0.57 * w), "lit screen", keep=0.6),
        box((0, -0.02, 0), (0.03, 0.015, 0.08), "dark"),
        box((0, 0, 0), (0.12, 0.09, 0.008), "dark"),
    ]


def on_top(half_width: Length, half_depth: Length, height: Length, share: float = 0.55) -> list[Part]:
    """What lies about on a table: packages, cups, papers, books, bottles, each there with a chance of ``share``."""
    w, d = form(half_width), form(half_depth)
    about = (0.85 * w, 0.8 * d, 0)
    at = (0, 0, height)
    stack = [
        box((0, 0, 0), (0.12, 0.085, 0.014), "cover", sway=(0, 0, 0.3), own=True),
        box((0, 0, 0.028), (0.11, 0.08, 0.012), "cover", sway=(0, 0, 0.5), own=True),
        box((0, 0, 0.052), (0.1, 0.07, 0.011), "cover", sway=(0, 0, 0.8), own=True),
    ]
    return [
        *bundle(bottle(), at, about, 3.1, share * 0.6),
        *bundle(stack, at, about, 3.1, share * 0.7),
        box(at, (0.11, 0.08, 0.09), "package", spread=about, sway=(0, 0, 3.1), shrink=0.35, keep=share, own=True),
        box(at, (0.1, 0.05, 0.12), "package", spread=about, sway=(0, 0, 3.1), shrink=0.35, keep=share, own=True),
        box(at, (0.15, 0.11, 0.003), "paper", spread=about, sway=(0, 0, 0.6), keep=share, own=True),
        frustum(at, (0.04, 0.04, 0.05), "ceramic", (1, 1.25), spread=about, keep=share, own=True),
        frustum(at, (0.09, 0.09, 0.035), "ceramic", (1.2, 1.7), spread=about, keep=share * 0.5, own=True),
        ellipsoid(at, (0.09, 0.09, 0.08), "toy", spread=about, shrink=0.4, keep=share * 0.5, own=True),
        card(
            (*at[:2], form(height) + 0.006),
            (0.15, 0.105),
            "paper",
            anchor=0,
            spread=about,
            sway=(0, 0, 3),
            keep=share,
            own=True,
        ),
    ]


def books(half_width: Length, base: Place, half_depth: float = 0.1, half_height: Length = 0.12) -> Part:
    """A row of books."""
    half = (half_width, half_depth, half_height)
    return box(base, half, "books", shrink=0.6, keep=0.85, own=True, spread=(0.3 * (form(half_width)), 0, 0))


def leaves(
    count: int, centre: Place, reach: Place, size: Length, look: str = "leaf", share: tuple[float, float] = (0.35, 0.8)
) -> list[Part]:
    """Sheets of leaves, turned every way, about a centre; ``reach`` is how far they lie from it."""
    return [
        card(centre, (size, size), look, share, sway=(1.4, 1.4, 3.1), spread=reach, shrink=0.55, anchor=0)
        for _ in range(count)
    ]


def fronds(count: int, centre: Place, length: Length, width: Length, look: str = "leaf") -> list[Part]:
    """Long leaves that hang outwards all around."""
    result = []
    for k in range(count):
        leaf = card(
            (0, 0.75 * form(length), 0),
            (width, length),
            look,
            (0.55, 1),
            angles=(0.15 - 0.5 * (k % 3), 0, 0),
            sway=(0.35, 0.3, 0.3),
            shrink=0.7,
            anchor=0,
        )
        result += moved([leaf], centre, 6.283 * k / count)
    return result


def figure() -> list[Part]:
    """A person, or a doll, H tall."""
    return [
        frustum((0.09 * H, 0, 0), (0.045 * H, 0.05 * H, 0.235 * H), "clothes", (1.1, 1.4)),
        frustum((-0.09 * H, 0.02 * H, 0), (0.045 * H, 0.05 * H, 0.235 * H), "clothes", (1.1, 1.4)),
        ellipsoid((0, 0, 0.44 * H), (0.13 * H, 0.08 * H, 0.21 * H), "fabric"),
        frustum((0.15 * H, 0, 0.42 * H), (0.03 * H, 0.035 * H, 0.19 * H), "fabric", sway=(0.3, 0.2, 0)),
        frustum((-0.15 * H, 0, 0.42 * H), (0.03 * H, 0.035 * H, 0.19 * H), "fabric", sway=(0.3, 0.2, 0)),
        ellipsoid((0, 0, 0.86 * H), (0.06 * H, 0.07 * H, 0.07 * H), "skin"),
    ]


def statue(look: str) -> list[Part]:
    """Something carved, of many rounded pieces on a plinth; each stands on the one below and on nothing else."""
    pieces = [box((0, 0, 0), (W, D, 0.08 * H), look), box((0, 0, 0.16 * H), (0.8 * W, 0.8 * D, 0.05 * H), look)]
    for k in range(5):
        z, r = (0.22 + 0.15 * k) * H, 0.75 - 0.1 * k
        side = (0.25 * W, 0.25 * D, ZERO)
        pieces.append(ellipsoid((0, 0, z), (r * W, r * D, 0.12 * H), look, sway=(0.4, 0.4, 3), spread=side, shrink=0.6))
        pieces.append(
            frustum(
                (0, 0, z),
                (0.6 * r * W, 0.6 * r * D, 0.12 * H),
                look,
                (0.5, 1.5),
                sway=(0.35, 0.35, 3),
                spread=(0.6 * W, 0.6 * D, ZERO),
                shrink=0.4,
                keep=0.7,
                anchor=GROWS,
            )
        )
        pieces.append(
            box(
                (0, 0, z),
                (0.5 * r * W, 0.4 * r * D, 0.07 * H),
                look,
                sway=(0.6, 0.6, 3),
                spread=(0.5 * W, 0.5 * D, ZERO),
                shrink=0.4,
                keep=0.35,
                anchor=0.5,
            )
        )
    pieces.append(ellipsoid((0, 0, 0.88 * H), (0.3 * W, 0.3 * D, 0.1 * H), look, keep=0.7))
    return pieces


def pile(look: str, count: int = 6) -> list[Part]:
    """Boxes one on another, each a bit smaller and turned."""
    return [
        box(
            (0, 0, k / count * H),
            ((1 - 0.09 * k) * W, (1 - 0.09 * k) * D, 0.5 / count * H),
            look,
            sway=(0, 0, 0.1 + 0.08 * k),
            own=True,
            shrink=0.97,
        )
        for k in range(count)
    ]


def trunk() -> list[Part]:
    """An old tree's lower trunk, near by: the stem, roots, knots, holes and stubs."""
    knots = [
        ellipsoid(
            (0, 0, k * H),
            (0.55 * W, 0.55 * W, 0.14 * H),
            "bark",
            anchor=0,
            sway=(0.5, 0.5, 3),
            spread=(0.75 * W, 0.75 * W, 0.06 * H),
            shrink=0.4,
        )
        for k in (0.2, 0.3, 0.4, 0.5, 0.6, 0.75)
    ]
    holes = [
        ellipsoid(
            (0, 0.95 * W, k * H),
            (0.25 * W, 0.2 * W, 0.06 * H),
            "dark",
            anchor=0,
            shrink=0.4,
            spread=(0.5 * W, 0.1 * W, 0.05 * H),
        )
        for k in (0.35, 0.5)
    ]
    roots = [
        frustum((0.75 * W, 0, 0), (0.35 * W, 0.3 * W, 0.12 * H), "bark", (0.2, 0.6), sway=(0.3, 0.5, 0), shrink=0.6),
        frustum((-0.7 * W, 0.3 * W, 0), (0.35 * W, 0.3 * W, 0.12 * H), "bark", (0.2, 0.6), sway=(0.3, 0.5, 0)),
        frustum((0.1 * W, 0.75 * W, 0), (0.3 * W, 0.4 * W, 0.1 * H), "bark", (0.2, 0.6), sway=(0.5, 0.3, 0)),
    ]
    stub = (0.12 * W, 0.12 * W, 0.2 * H)
    stubs = [
        frustum((0, 0.6 * W, k * H), stub, "bark", (0.3, 0.7), sway=(1.2, 1.2, 3), keep=0.6, anchor=GROWS)
        for k in (0.4, 0.8)
    ]
    return [frustum((0, 0, -0.05), (W, W, 0.6 * H), "bark", (0.7, 1)), *knots, *holes, *roots, *stubs]


def toy_car() -> list[Part]:
    """A car of any size: W is half its length, D half its width."""
    wheels = [
        frustum((x * W, y * D, 0), (0.19 * W, 0.19 * W, 0.1 * D), "dark", angles=UPRIGHT)
        for x in (-0.62, 0.62)
        for y in (-0.88, 0.88)
    ]
    body = [
        box((0, 0, 0.2 * H), (W, D, 0.21 * H), "car"),
        box((-0.08 * W, 0, 0.6 * H), (0.56 * W, 0.9 * D, 0.18 * H), "pane"),
        box((-0.08 * W, 0, 0.92 * H), (0.5 * W, 0.86 * D, 0.03 * H), "car"),
        box((0.97 * W, 0, 0.38 * H), (0.05 * W, 0.85 * D, 0.06 * H), "metal"),
        ellipsoid((0.7 * W, 0, 0.46 * H), (0.31 * W, 0.93 * D, 0.12 * H), "car"),
    ]
    return [*wheels, *body]


def sphere(look: str) -> list[Part]:
    """A ball of radius W."""
    return [ellipsoid((0, 0, 0), (W, W, W), look)]


SMALL = {"W": (0.05, 0.16), "D": (0.05, 0.14), "H": (0.08, 0.3)}

THINGS = [
    Template("bottle", {"W": (0.03, 0.05), "D": (0.03, 0.05), "H": (0.2, 0.34)}, bottle(W, H), alike=0.3),
    Template("cup", {"W": (0.035, 0.06), "D": (0.035, 0.06), "H": (0.07, 0.14)}, [frustum((0, 0, 0), (W, W, 0.5 * H),
        "ceramic", (0.9, 1.3)), frustum((0, 0, 0.96 * H), (0.85 * W, 0.85 * W, 0.025 * H), "dark", (1, 1.1)),
        box((1.2 * W, 0, 0.3 * H), (0.3 * W, 0.006, 0.25 * H), "ceramic", keep=0.7)], alike=0.4),
    Template("can", {"W": (0.03, 0.06), "D": (0.03, 0.06), "H": (0.08, 0.2)}, [frustum((0, 0, 0), (W, W, 0.47 * H),
        "package"), frustum((0, 0, 0.94 * H), (W, W, 0.02 * H), "metal")], alike=0.3),
    Template("package", SMALL, [box((0, 0, 0), (W, D, 0.5 * H), "package")], alike=0.2),
    Template("packages", {"W": (0.1, 0.25), "D": (0.08, 0.2), "H": (0.15, 0.5)}, pile("package", 4), alike=0.1),
    Template("cartons", {"W": (0.15, 0.4), "D": (0.15, 0.35), "H": (0.4, 1.4)}, pile("cardboard", 4), alike=0.2),
    Template("book pile", {"W": (0.09, 0.16), "D": (0.07, 0.12), "H": (0.06, 0.25)}, pile("cover", 7), alike=0.1),
    Template("ball", {"W": (0.03, 0.16), "D": (0.03, 0.16), "H": (0.06, 0.3)}, sphere("toy"), alike=0.2),
    Template("globe", {"W": (0.1, 0.2), "D": (0.1, 0.2), "H": (0.35, 0.5)}, [frustum((0, 0, 0), (0.6 * W, 0.6 * W,
        0.01), "wood"), frustum((0, 0, 0), (0.01, 0.01, 0.06), "metal"), ellipsoid((0, 0, 0.06), (W, W, W),
        "poster")]),
    Template("fruit bowl", {"W": (0.1, 0.18), "D": (0.1, 0.18), "H": (0.1, 0.18)}, [frustum((0, 0, 0), (0.6 * W,
        0.6 * W, 0.25 * H), "ceramic", (1.4, 1.8)), *[ellipsoid((x * W, y * W, 0.45 * H), (0.3 * W, 0.3 * W, 0.3 * W),
        "fruit", own=True, shrink=0.8) for x, y in ((0.4, 0), (-0.3, 0.35), (-0.2, -0.4), (0.1, 0.1))]]),
    Template("toy car", {"W": (0.08, 0.22), "D": (0.04, 0.09), "H": (0.06, 0.14)}, toy_car(), alike=0.3),
    Template("doll", {"W": (0.05, 0.1), "D": (0.04, 0.08), "H": (0.18, 0.4)}, figure(), alike=0.2),
    Template("statue", {"W": (0.08, 0.25), "D": (0.08, 0.25), "H": (0.3, 0.9)}, statue("statue"), alike=0.1),
    Template("monument", {"W": (0.4, 1.1), "D": (0.4, 1.1), "H": (1.8, 4.5)}, statue("statue"), alike=0.1),
    Template("contraption", {"W": (0.1, 0.3), "D": (0.1, 0.3), "H": (0.2, 0.6)}, statue("anything"), alike=0.1),
    Template("trunk", {"W": (0.25, 0.6), "D": (0.25, 0.6), "H": (1.2, 2.4)}, trunk(), alike=0.1),
    Template("model house", {"W": (0.1, 0.3), "D": (0.1, 0.25), "H": (0.15, 0.4)}, [box((0, 0, 0), (W, D, 0.35 * H),
        "facade"), box((0, 0.5 * D, 0.8 * H), (1.1 * W, 0.7 * D, 0.03 * H), "roof", angles=(-0.6, 0, 0), anchor=0),
        box((0, -0.5 * D, 0.8 * H), (1.1 * W, 0.7 * D, 0.03 * H), "roof", angles=(0.6, 0, 0), anchor=0), *[box((x * W,
        1.0 * D, 0.25 * H), (0.16 * W, 0.01, 0.14 * H), "pane") for x in (-0.55, 0, 0.55)], box((0.5 * W, 0, 0.8 * H),
        (0.1 * W, 0.1 * W, 0.2 * H), "masonry", keep=0.6)]),
    Template("pot plant", {"W": (0.06, 0.14), "D": (0.06, 0.14), "H": (0.2, 0.6), "P": (0.06, 0.14)}, [frustum((0, 0,
        0), (0.75 * W, 0.75 * W, W), "ceramic", (1.1, 1.4)), frustum((0, 0, W), (0.01, 0.01, 0.3 * H), "leaf"),
        *leaves(5, (0, 0, 2 * W + 0.4 * H), (W, W, 0.35 * H), P), *fronds(4, (0, 0, 2 * W), 0.35 * H, 0.3 * W)],
        alike=0.3),
    Template("flowers", {"W": (0.05, 0.08), "D": (0.05, 0.08), "H": (0.3, 0.5), "P": (0.05, 0.12)}, [frustum((0, 0, 0),
        (0.8 * W, 0.8 * W, 0.25 * H), "glass", (0.7, 1.4)), *leaves(3, (0, 0, 0.65 * H), (1.2 * W, 1.2 * W, 0.12 * H),
        P), *leaves(3, (0, 0, 0.85 * H), (1.5 * W, 1.5 * W, 0.12 * H), 0.7 * P, "blossom")]),
    Template("camera", {"W": (0.05, 0.08), "D": (0.03, 0.05), "H": (0.08, 0.12), "P": (0.025, 0.045)}, [box((0,
        -0.2 * D, 0), (W, 0.6 * D, 0.42 * H), "dark"), box((0, 0, 0.84 * H), (0.3 * W, 0.3 * D, 0.07 * H), "dark"),
        frustum((0, D, 0.1 * H), (P, P, D), "dark", angles=UPRIGHT), frustum((0, 2 * D, 0.15 * H), (0.8 * P, 0.8 * P,
        0.1 * D), "glass", angles=UPRIGHT)]),
    Template("shoe", {"W": (0.12, 0.15), "D": (0.04, 0.06), "H": (0.1, 0.14)}, [box((0, 0, 0), (W, D, 0.08 * H),
        "ceramic"), ellipsoid((0.3 * W, 0, 0.1 * H), (0.7 * W, D, 0.25 * H), "clothes"), frustum((-0.5 * W, 0,
        0.1 * H), (0.45 * W, 0.9 * D, 0.45 * H), "clothes", (0.7, 0.9))]),
    Template("mug of pens", {"W": (0.04, 0.05), "D": (0.04, 0.05), "H": (0.18, 0.22)}, [frustum((0, 0, 0), (W, W,
        0.28 * H), "plastic"), *[frustum((0, 0, 0.1 * H), (0.004, 0.004, 0.42 * H), "toy", sway=(0.25, 0.25, 0),
        spread=(0.3 * W, 0.3 * W, ZERO), own=True) for _ in range(4)]]),
    Template("laptop", {"W": (0.15, 0.19), "D": (0.11, 0.13), "H": (0.2, 0.24)}, [box((0, 0, 0), (W, D, 0.008),
        "metal"), box((0, 0.2 * D, 0.016), (0.9 * W, 0.5 * D, 0.001), "keys"), box((0, -1.15 * D, 0.45 * H), (W, 0.005,
        0.5 * H), "metal", angles=(0.3, 0, 0), anchor=0), box((0, -1.1 * D, 0.46 * H), (0.93 * W, 0.005, 0.45 * H),
        "lit screen", angles=(0.3, 0, 0), anchor=0)]),
    Template("monitor", {"W": (0.2, 0.34), "D": (0.09, 0.09), "H": (0.5, 0.55)}, monitor(W)),
    Template("teapot", {"W": (0.07, 0.11), "D": (0.07, 0.11), "H": (0.14, 0.22)}, [ellipsoid((0, 0, 0), (W, W,
        0.4 * H), "ceramic"), frustum((0, 0, 0.75 * H), (0.4 * W, 0.4 * W, 0.05 * H), "ceramic"), frustum((W, 0,
        0.45 * H), (0.2 * W, 0.2 * W, 0.2 * H), "ceramic", (0.4, 0.6), angles=(0, 0.8, 0), anchor=0), ellipsoid((0, 0,
        0.85 * H), (0.12 * W, 0.12 * W, 0.06 * H), "ceramic")]),
    Template("table lamp", {"W": (0.09, 0.16), "D": (0.09, 0.16), "H": (0.3, 0.6)}, [frustum((0, 0, 0), (0.6 * W,
        0.6 * W, 0.02 * H), "metal"), frustum((0, 0, 0.04 * H), (0.012, 0.012, 0.3 * H), "metal"), frustum((0, 0,
        0.6 * H), (W, W, 0.2 * H), "light", (0.5, 0.9), keep=0.5), frustum((0, 0, 0.598 * H), (1.01 * W, 1.01 * W,
        0.203 * H), "fabric", (0.5, 0.9))]),
    Template("bag", {"W": (0.15, 0.25), "D": (0.08, 0.14), "H": (0.3, 0.5)}, [ellipsoid((0, 0, 0), (W, D, 0.45 * H),
        "clothes"), box((0, 0.1 * D, 0.1 * H), (0.75 * W, D, 0.28 * H), "clothes"), box((0, 0, 0.86 * H), (0.3 * W,
        0.01, 0.06 * H), "dark")], alike=0.2),
    Template("crate", {"W": (0.15, 0.35), "D": (0.12, 0.28), "H": (0.15, 0.4)}, [box((0, 0, 0), (W, D, 0.02 * H),
        "wood"), *[box((0, y * D, 0), (W, 0.01, 0.5 * H), "wood") for y in (-1, 1)], *[box((x * W, 0, 0), (0.01, D,
        0.5 * H), "wood") for x in (-1, 1)], *[ellipsoid((x * W, 0, 0.3 * H), (0.4 * W, 0.6 * D, 0.25 * H), "fruit",
        own=True, keep=0.7, shrink=0.7) for x in (-0.5, 0.5)]]),
    Template("table setting", {"W": (0.2, 0.2), "D": (0.15, 0.15), "H": (0.1, 0.1)}, on_top(0.2, 0.15, 0, 0.7),
        alike=0),
    Template("cloth", {"W": (0.2, 0.6), "D": (0.2, 0.5), "H": (0.02, 0.02), "U": (0.004, 0.01)}, [box((0, 0, 0), (W, D,
        U), "rug")], alike=0),
    Template("stacks", {"W": (0.15, 0.5), "D": (0.15, 0.5), "H": (0.3, 1.2), "Q": (0.1, 0.3)}, [box((0, 0, 0), (W, D,
        0.25 * H), "anything", own=True, shrink=0.5), *[part for k in range(3) for part in (ellipsoid((0, 0, 0), (Q, Q,
        0.2 * H), "anything", own=True, shrink=0.3, spread=(2 * W, 2 * D, ZERO), keep=0.6), frustum((0, 0, 0), (Q, Q,
        0.4 * H), "anything", (0, 1.5), own=True, shrink=0.3, spread=(2 * W, 2 * D, ZERO), keep=0.6), box((0, 0, 0),
        (Q, Q, 0.3 * H), "anything", own=True, shrink=0.3, sway=(0, 0, 3), spread=(2 * W, 2 * D, ZERO), keep=0.7))]],
        alike=0),
]  # fmt: skip
