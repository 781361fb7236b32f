"""What networks that see all views at once take in memory and time, by the size of a run: pure arithmetic, for plans
made before anything is loaded.

The shapes of the formulas follow from the networks (`recon.networks.vggt`, `recon.networks.mapanything`, and their
accelerated forms on CUDA): what a token keeps and what its attention costs. The factors are of a published network;
smaller ones are scaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

PATCH = 14


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Attributes:
        memory: at the peak in bytes, weights included: of the process on the CPU; on a GPU of tensors, of what lies
            between them and of CUDA itself.
        encoding: seconds of the pass over all views, the cameras included.
        dense: seconds of one dense head over all views.
    """

    memory: int
    encoding: float
    dense: float


@dataclass(frozen=True)
class Curve:
    """How a kind of device does.

    Attributes:
        process: bytes held all along beside the weights: by the process, or by CUDA.
        weight: bytes of each parameter.
        token: bytes of each token at the peak of the pass.
        working: bytes of each token more, while a block's matrix products take it.
        together: tokens that those take at a time.
        kept: bytes of each token after the pass, for the heads.
        pixel: bytes of each pixel of all views: pictures and results.
        dense: bytes of each pixel of the views that a dense head takes at a time.
        launch: seconds of a pass that do not depend on what is given.
        token_seconds: of each token.
        pair_seconds: of each pair of tokens of which one attends to the other, in one block.
        pixel_seconds: of each pixel, in one dense head.
    """

    process: float
    weight: float
    token: float
    working: float
    together: int
    kept: float
    pixel: float
    dense: float
    launch: float
    token_seconds: float
    pair_seconds: float
    pixel_seconds: float


@dataclass(frozen=True)
class Network:
    """A published network, as far as it is no matter on what device it runs.

    Attributes:
        parameters: how many.
        special: tokens of a view beside its patches.
        within: blocks whose tokens attend to those of the same view.
        across: blocks whose tokens attend to those of all views.
        curves: by kind of device, "cpu" and "cuda".
    """

    parameters: int
    special: int
    within: int
    across: int
    curves: Mapping[str, Curve]


VGGT = Network(
    parameters=1_256_537_516,
    special=5,
    within=48,
    across=24,
    curves={
        "cuda": Curve(3.5e8, 2.17, 48.7e3, 20.3e3, 1 << 16, 35.2e3, 17, 590, 0.013, 4.3e-6, 7.9e-12, 4e-9),
        "cpu": Curve(2.24e8, 4.0, 62e3, 33e3, 1 << 40, 33e3, 36, 2600, 0.5, 0.025, 4.5e-8, 1.05e-5),
    },
)
"""On one NVIDIA H200, and on one core of a server's processor.

The curve of a GPU is of a run as the app makes it, in steps, whose maps go to the host a few views at a time. Beyond
what tensors take, a twelfth and 0.35 GB are added for the gaps that torch's allocator leaves between them.
"""


MAPANYTHING = Network(
    parameters=1_228_491_222,
    special=1,
    within=32,
    across=8,
    curves={
        "cuda": Curve(3.5e8, 2.13, 40e3, 36.6e3, 1 << 16, 26.6e3, 17, 1000, 0.013, 5.4e-6, 1.2e-11, 5e-9),
        "cpu": Curve(4e8, 4.0, 120e3, 80e3, 1 << 40, 24.6e3, 36, 3200, 0.5, 0.0285, 6.7e-8, 1.3e-5),
    },
)
"""Version 1.1; version 1 is predicted as a smaller one.

The curve of the CPU was measured. That of a GPU was not: it is derived, its memory from the bytes of what is kept, its
time from that of `VGGT` by the sizes of matrices, heads and maps.
"""


def predict(
    network: Network,
    frames: int,
    height: int,
    width: int,
    device: str,
    chunk: int,
    parameters: int | None = None,
    cores: float = 1,
) -> Cost:
    """What a run over ``frames`` views takes.

    Args:
        network: that is run.
        frames: how many views.
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        device: "cpu" or "cuda".
        chunk: views that the dense heads take at a time.
        parameters: of the network, if it is smaller than the published one.
        cores: what the threads that may be used do, over what one does, on the CPU.
    """
    curve, parameters = network.curves[device], parameters or network.parameters
    share = parameters / network.parameters
    width_share = share**0.5  # of the tokens' channels, about: matrices grow with their square
    each = height // PATCH * (width // PATCH) + network.special
    tokens, pixels = frames * each, frames * height * width
    passing = tokens * curve.token + min(tokens, curve.together) * curve.working
    together = math.ceil(frames / math.ceil(frames / chunk)) if frames else 0  # as `recon.networks.vggt.slices`
    dense = tokens * curve.kept + together * height * width * curve.dense
    memory = curve.process + parameters * curve.weight + width_share * max(passing, dense) + pixels * curve.pixel
    pairs = tokens * (network.within * each + network.across * tokens)
    speed = 1 if device == "cuda" else max(1, cores)
    encoding = share * (tokens * curve.token_seconds + curve.pair_seconds * pairs) / speed
    return Cost(int(memory), curve.launch + encoding, share * pixels * curve.pixel_seconds / speed)
