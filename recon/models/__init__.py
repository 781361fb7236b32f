"""The registry: one card a model, and `load`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from recon.errors import InputError
from recon.models.base import USES, Card, Direct, Model, Options, Plan, Update
from recon.scene import View

if TYPE_CHECKING:
    import torch

EMBEDDED = Card(
    name="embedded",
    title="Parallax small",
    summary="Ours, shipped with the app: no download, no GPU, no network; geometry verifies its cameras.",
    gives=("cameras", "depth", "points"),
    licence="Apache-2.0",
    licence_url="https://www.apache.org/licenses/LICENSE-2.0",
    commercial=True,
    metric=False,
    parameters=25_400_000,
    download=0,
    resolution=256,
    maximum_views=64,
    code="recon.models.embedded:Embedded",
)
VGGT = Card(
    name="vggt",
    title="VGGT",
    summary="Meta AI's 1.26-billion-parameter network: cameras, depth, points and tracks in one pass.",
    gives=("cameras", "depth", "points", "tracks"),
    licence="CC-BY-NC-4.0",
    licence_url="https://huggingface.co/facebook/VGGT-1B",
    commercial=False,
    metric=False,
    parameters=1_256_537_516,
    download=5_026_000_000,
    resolution=518,
    maximum_views=1000,
    paper="https://arxiv.org/abs/2503.11651",
    code="recon.models.vggt:Vggt",
    repository="facebook/VGGT-1B",
    files=("model.safetensors", "model.pt"),
    choices=("points", "fit", "refine", "verify", "dense"),
    defaults=(),
)
VGGT_COMMERCIAL = replace(
    VGGT,
    name="vggt-commercial",
    title="VGGT (commercial licence)",
    summary="The same network, trained anew: commercial use is allowed, military use is not.",
    licence="LicenseRef-VGGT-License-v1",
    licence_url="https://huggingface.co/facebook/VGGT-1B-Commercial",
    commercial=True,
    repository="facebook/VGGT-1B-Commercial",
    gated=True,
    files=("vggt_1B_commercial.pt",),
)
DUST3R = Card(
    name="dust3r",
    title="DUSt3R",
    summary="Naver Labs' network of two photos at a time; all its pairs are then aligned to one world.",
    gives=("cameras", "depth", "points"),
    licence="CC-BY-NC-SA-4.0",
    licence_url="https://github.com/naver/dust3r/blob/main/LICENSE",
    commercial=False,
    metric=False,
    parameters=571_171_208,
    download=2_284_700_000,
    resolution=512,
    maximum_views=100,
    paper="https://arxiv.org/abs/2312.14132",
    code="recon.models.dust3r:Dust3r",
    repository="naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt",
    files=("model.safetensors",),
    choices=("graph", "shared_focal", "verify", "dense"),
    heeds=("intrinsics", "poses"),
    defaults=(),
)
DUST3R_LINEAR = replace(
    DUST3R,
    name="dust3r-linear",
    title="DUSt3R (linear head)",
    summary="The same with a simpler head: a little faster and coarser.",
    parameters=532_342_784,
    download=2_129_400_000,
    repository="naver/DUSt3R_ViTLarge_BaseDecoder_512_linear",
)
DUST3R_SMALL = replace(
    DUST3R_LINEAR,
    name="dust3r-224",
    title="DUSt3R (224 pixels)",
    summary="The same for small square pictures: a fifth of the time, for a first look or a laptop.",
    resolution=224,
    repository="naver/DUSt3R_ViTLarge_BaseDecoder_224_linear",
)
MONST3R = replace(
    DUST3R,
    name="monst3r",
    title="MonST3R",
    summary="DUSt3R for videos in which things move: it tells what moves, and where it is at each time.",
    licence_url="https://huggingface.co/Junyi42/MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt",
    maximum_views=1000,
    paper="https://arxiv.org/abs/2410.03825",
    code="recon.models.monst3r:Monst3r",
    repository="Junyi42/MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt",
)
MAPANYTHING_APACHE = Card(
    name="mapanything-apache",
    title="MapAnything",
    summary="Metric cameras and depth in one pass; heeds intrinsics, poses and depth that are known.",
    gives=("cameras", "depth", "points"),
    licence="Apache-2.0",
    licence_url="https://huggingface.co/facebook/map-anything-apache",
    commercial=True,
    metric=True,
    parameters=1_228_491_222,
    download=4_914_000_000,
    resolution=518,
    maximum_views=2000,
    paper="https://arxiv.org/abs/2509.13414",
    code="recon.models.mapanything:MapAnything",
    repository="facebook/map-anything-apache",
    files=("model.safetensors",),
    choices=("points", "use", "align", "mask", "agreement", "verify", "dense"),
    heeds=USES,
    defaults=(),
)
MAPANYTHING = replace(
    MAPANYTHING_APACHE,
    name="mapanything",
    title="MapAnything (more training data)",
    summary="The same network, trained on more scenes: not for commercial use.",
    licence="CC-BY-NC-4.0",
    licence_url="https://huggingface.co/facebook/map-anything",
    commercial=False,
    repository="facebook/map-anything",
)
MAPANYTHING_V1_APACHE = replace(
    MAPANYTHING_APACHE,
    name="mapanything-v1-apache",
    title="MapAnything 1",
    summary="The first version, half as large.",
    licence_url="https://huggingface.co/facebook/map-anything-apache-v1",
    parameters=563_335_382,
    download=2_253_000_000,
    repository="facebook/map-anything-apache-v1",
)
MAPANYTHING_V1 = replace(
    MAPANYTHING,
    name="mapanything-v1",
    title="MapAnything 1 (more training data)",
    summary="The first version, half as large, trained on more scenes: not for commercial use.",
    licence_url="https://huggingface.co/facebook/map-anything-v1",
    parameters=563_335_382,
    download=2_253_000_000,
    repository="facebook/map-anything-v1",
)
SIU3R = Card(
    name="siu3r",
    title="SIU3R",
    summary="Two photos of a room become 3D Gaussians that know what they are part of: walls, chairs, doors, ... "
    "It sees the middle square of each photo.",
    gives=("cameras", "depth", "points", "gaussians", "segments"),
    licence="",
    licence_url="https://huggingface.co/datasets/insomnia7/SIU3R",
    commercial=False,
    metric=True,
    parameters=655_509_825,
    download=5_464_307_091,
    resolution=256,
    maximum_views=16,
    paper="https://arxiv.org/abs/2507.02705",
    code="recon.models.siu3r:Siu3r",
    repository="insomnia7/SIU3R",
    repository_type="dataset",
    files=("siu3r_epoch100.ckpt",),
    choices=(),
    defaults=(),
    heeds=("intrinsics",),
)
NAVER = "https://download.europe.naverlabs.com/ComputerVision/MUSt3R/"
MUST3R = Card(
    name="must3r",
    title="MUSt3R",
    summary="Naver Labs' network with a memory: photos in any order, or a video of any length, as its frames come.",
    gives=("cameras", "depth", "points"),
    licence="LicenseRef-MUSt3R-Non-Commercial-License",
    licence_url="https://github.com/naver/must3r/blob/main/LICENSE",
    commercial=False,
    metric=True,
    parameters=423_430_144,
    download=1_693_900_000,
    resolution=512,
    maximum_views=10_000,
    paper="https://arxiv.org/abs/2503.01661",
    code="recon.models.must3r:Must3r",
    choices=(
        *("points", "shared_focal", "order", "keyframes", "forget", "window", "rounds", "rerender"),
        *("verify", "dense"),
    ),
    defaults=(),
    streams=True,
    direct=(
        Direct(NAVER + "MUSt3R_512.pth", "8854f948a8674fb1740258c1872f80dc"),
        Direct(NAVER + "MUSt3R_512_retrieval_trainingfree.pth", "f7c133906bcfd4fe6ee157a9ffa85a23"),
        Direct(NAVER + "MUSt3R_512_retrieval_codebook.pkl", "1125d80b9de940de2655d19b3ff78bb5"),
    ),
)
MUST3R_CVPR = replace(
    MUST3R,
    name="must3r-512-cvpr",
    title="MUSt3R (as in the paper)",
    summary="The network before it was trained on longer sequences, as its paper describes it.",
    direct=(Direct(NAVER + "MUSt3R_512_cvpr.pth", "43808705f381a8724aafcd27c88ece35"), *MUST3R.direct[1:]),
)
MUST3R_SMALL = replace(
    MUST3R,
    name="must3r-224",
    title="MUSt3R (224 pixels)",
    summary="The same for small square pictures: several times faster, for a live video or a laptop.",
    resolution=224,
    direct=(
        Direct(NAVER + "MUSt3R_224_cvpr.pth", "ac176abd2b2c3bc5f2aea664d82e9ffa"),
        Direct(NAVER + "MUSt3R_224_retrieval_trainingfree.pth", "2a82597c3317efac40657d4f881c71f0"),
        Direct(NAVER + "MUSt3R_224_retrieval_codebook.pkl", "e675ec36c7c40d512ef321fdd289bdbe"),
    ),
)
CARDS = {
    card.name: card
    for card in (
        EMBEDDED,
        VGGT,
        VGGT_COMMERCIAL,
        DUST3R,
        DUST3R_LINEAR,
        DUST3R_SMALL,
        MONST3R,
        MAPANYTHING_APACHE,
        MAPANYTHING,
        MAPANYTHING_V1_APACHE,
        MAPANYTHING_V1,
        SIU3R,
        MUST3R,
        MUST3R_CVPR,
        MUST3R_SMALL,
    )
}


def plan(name: str, views: Sequence[View], device: str | None = None, options: Options = Options()) -> Plan:
    """What a run of a model over ``views`` will take, without loading its weights (see `Model.predict`).

    Raises:
        InputError: no model of that name, or no views.
    """
    card = card_of(name)
    return _class(card).predict(card, views, device_of(device).type, options)


def load(
    name: str = "embedded",
    device: str | None = None,
    weights: str | Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Model:
    """Load a model, fetching its weights if they are neither shipped nor in the cache of the Hugging Face Hub.

    Args:
        name: of a card in `CARDS`.
        device: a torch device; None takes CUDA where there is one, else the CPU.
        weights: a checkpoint file to use in place of the card's own.
        progress: called with the share of the download done, 0 to 1, and what is being done; may raise to stop.

    Raises:
        InputError: no model of that name, no such device, weights that cannot be fetched, or a file that does not fit
            the network.
    """
    card = card_of(name)
    chosen = device_of(device)
    path = None if weights is None else Path(weights)
    if path is None and not card.shipped:
        from recon import hub  # here, since most runs need no network

        path = hub.fetch(card, progress)
    return _class(card)(card, chosen, path)  # type: ignore[call-arg]


def card_of(name: str) -> Card:
    """The card of that name.

    Raises:
        InputError: there is none.
    """
    if name not in CARDS:
        raise InputError(f"There is no model called '{name}'; the models are: {', '.join(CARDS)}.")
    return CARDS[name]


def _class(card: Card) -> type[Model]:
    module, _, attribute = card.code.partition(":")
    return getattr(importlib.import_module(module), attribute)


def device_of(wanted: str | None) -> torch.device:
    """The torch device of that name; None takes CUDA where there is one, else the CPU.

    Raises:
        InputError: there is no such device.
    """
    import torch  # here, since the page must open before those seconds are spent

    chosen = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device '{chosen}' cannot be used here; leave it out to let Parallax choose.") from error
    return torch.device(chosen)


__all__ = ["CARDS", "Card", "Direct", "Model", "Options", "Plan", "Update", "card_of", "device_of", "load", "plan"]
