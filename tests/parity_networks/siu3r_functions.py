"""SIU3R's recordings of what comes before and after the network, and of its parts by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recon.models.panoptic import Panoptic, aggregate, panoptic
from recon.models.siu3r_fitting import fit
from recon.networks.siu3r import read_configuration
from recon.networks.siu3r_gaussians import covariances
from recon.networks.siu3r_text import TextSegmentation
from recon.scene import Segment
from recon.splatting import INRIA, Splats, render_colours
from tests.parity import Recording
from tests.parity_networks import Replayed, Run

STUFF = (0, 1)  # walls and floors
THROUGH = (256, 256)  # where the reference turns logits to probabilities, whatever the size
NEARER = 10.0  # of the world's units in those that the reference renders in

Pairs = Iterator[tuple[str, Replayed]]


def functions(recording: Recording, run: Run) -> Pairs:
    """All of them that the recording holds."""
    yield from preparation(recording)
    if "post/class_logits" in recording:
        yield from post_processing(recording)
    if "text/feat1" in recording:
        with torch.inference_mode():
            yield from text_branch(recording, run)
    if "agg/rendered_query_class_logits" in recording:
        yield from aggregation(recording)
    if "render/means" in recording:
        yield from rendering(recording)


def preparation(recording: Recording) -> Pairs:
    """Photos as the network is given them."""
    for name in recording.names:
        if name.startswith("prep/") and name.endswith("_raw"):
            shown = fit(recording[name]).image[::2, ::2].transpose(2, 0, 1)
            yield name.replace("_raw", "_out_u8"), Replayed(shown, 0.0)


def post_processing(recording: Recording) -> Pairs:
    """Segments of logits: two batch items at two sizes, and asked by words."""
    classes, masks, words = (
        torch.from_numpy(recording[f"post/{name}"]) for name in ("class_logits", "mask_logits", "word_logits")
    )
    for case in ("a", "b"):
        height, width = recording[f"post/{case}_target_size"].tolist()
        step = int(recording[f"post/{case}_stride"])
        for item in range(len(classes)):
            found = panoptic(classes[item], masks[item], (height, width), STUFF, THROUGH)
            yield from segments(f"post/{case}{item}_", found)
            yield f"post/{case}{item}_query_scores", Replayed(rounded([each.score for each in found.segments]), 1e-6)
            yield f"post/{case}{item}_query_class_logits", Replayed(found.query_classes()[..., ::step, ::step])
    height, width = recording["post/a_target_size"].tolist()
    for item in range(len(classes)):
        found = panoptic(classes[item], masks[item], (height, width), STUFF, THROUGH, words[item])
        yield from segments(f"post/words{item}_", found)


def segments(start: str, found: Panoptic) -> Pairs:
    """Ids of pixels, and what they are."""
    yield f"{start}segmentation", Replayed(found.segmentation, 0.0)
    yield f"{start}info", Replayed(table(found.segments, 0), 1e-6)


def table(found: Sequence[Segment], first: int) -> np.ndarray:
    """Id, class from ``first`` on, whether it is stuff, and score."""
    return np.array([(each.id, each.label + first, not each.thing, each.score) for each in found])


def rounded(values: Sequence[float]) -> np.ndarray:
    """To six digits, as they are recorded."""
    return np.round(values, 6)


def text_branch(recording: Recording, run: Run) -> Pairs:
    """The segmentation that is asked by words, by itself."""
    configuration = read_configuration(run.config)

    def build() -> nn.Module:
        width, labels = configuration.croco.enc_embed_dim, configuration.num_labels
        made = TextSegmentation(width, configuration.mask2former, labels)
        return nn.ModuleDict({"model": nn.ModuleDict({"mask2former": made})})

    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    keys = {name: run.keys.get(name) or stand_in(name, shape) for name, shape in shapes.items()}
    built = replace(run, keys=keys).network(build).get_submodule("model.mask2former")
    assert isinstance(built, TextSegmentation)
    maps = [torch.from_numpy(recording[f"text/feat{level}"]).to(run.device, run.stored) for level in range(1, 5)]
    words = torch.from_numpy(recording["text/word_embeddings"]).to(run.device, run.stored)
    queries = built(maps)
    yield "text/word_query_logits", Replayed(built.words(words, queries.hidden))
    yield "text/class_logits", Replayed(built.classes(queries.states[-1]))
    yield "text/mask_logits", Replayed(queries.masks[-1])


def stand_in(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Moments of the stand-in for a weight that configurations do not list: those of its kind."""
    if len(shape) > 1:
        return {"shape": shape, "mean": 0.0, "std": 0.8 / math.sqrt(math.prod(shape[1:]))}
    normed = name.endswith("weight")
    return {"shape": shape, "mean": float(normed), "std": 0.1 if normed else 0.05}


def aggregation(recording: Recording) -> Pairs:
    """Queries and classes of pixels, by rendered Gaussians."""
    rendered = torch.from_numpy(recording["agg/rendered_query_class_logits"])
    found = aggregate(rendered, recording["agg/scores"].tolist(), STUFF)
    places = np.searchsorted(recording["agg/target_ids"], recording["agg/context_ids"])
    yield "agg/target_semantic", Replayed(found.semantic, 0.0)
    yield "agg/target_instance", Replayed(found.instance, 0.0)
    yield "agg/context_semantic", Replayed(found.semantic[places], 0.0)
    yield "agg/context_instance", Replayed(found.instance[places], 0.0)
    yield "agg/info", Replayed(table(found.segments, 1), 1e-6)


def rendering(recording: Recording) -> Pairs:
    """Colour, depth and what is covered, as the reference's rasteriser of colours has them."""

    def given(name: str) -> Tensor:
        return torch.from_numpy(recording[f"render/{name}"]).double()

    height, width = recording.arrays["render/depth"].shape
    shapes = covariances(given("scales"), given("quaternions_xyzw"))
    yield "render/covariances", Replayed(shapes)
    splats = Splats(NEARER * given("means"), NEARER**2 * given("covariances"), given("opacities"))
    pose = given("camera_to_world")
    pose[:3, 3] *= NEARER
    intrinsics = given("intrinsics") * torch.tensor([width, height, 1])[:, None]
    found = render_colours(splats, given("harmonics"), intrinsics[None], pose[None], (width, height), INRIA)
    for name, value in (("color", found.features), ("depth", found.depth), ("alpha", found.alpha)):
        yield f"render/{name}", Replayed(value[0])
