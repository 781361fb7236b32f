"""SIU3R's recordings: runs of the network for two views and for more, and of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recon.models.panoptic import panoptic
from recon.networks.siu3r import Prediction, Siu3r, read_configuration
from recon.networks.siu3r_gaussians import covariances
from recon.networks.siu3r_query_decoder import space_positions
from tests.parity import Recording
from tests.parity_networks import Replayed, Run, outputs
from tests.parity_networks.siu3r_functions import STUFF, THROUGH, functions

# Modules whose outputs are recorded, by the recordings' names.
PATHS = {
    "intrinsics_token": "backbone.intrinsic_encoder",
    "patch_embed": "backbone.patch_embed",
    "enc_norm": "backbone.enc_norm",
    "decoder_embed": "backbone.decoder_embed",
    "spm_stem": "adapter.spm.stem",
    "spm_c2": "adapter.spm.fc2",
    "spm_c3": "adapter.spm.fc3",
    "spm_c4": "adapter.spm.fc4",
    "interaction0": "adapter.interactions.0",
    "interaction3": "adapter.interactions.3",
    "adapter_f1": "adapter.norm1",
    "adapter_f2": "adapter.norm2",
    "adapter_f3": "adapter.norm3",
    "adapter_f4": "adapter.norm4",
    "pixel_encoder": "mask2former.model.pixel_decoder.encoder",
    "pixel_decoder": "mask2former.model.pixel_decoder",
    "center_raw1": "downstream_head1",
    "center_raw2": "downstream_head2",
    "gs_raw1": "gaussian_param_head1",
    "gs_raw2": "gaussian_param_head2",
}
CHANNELS_CUT = ("adapter_f1", "mask_features")
APART = ("decoder_embed", "adapter_f3", "adapter_f4")  # the reference takes one view after the other


def replay(recording: Recording, run: Run) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds; what it says of strides is read where it is needed."""
    recording.read.update(name for name in recording.names if "meta/" in name)
    yield from functions(recording, run)
    for start in ("", "multi/"):
        if f"{start}output/means" in recording:
            with torch.inference_mode():
                yield from prediction(recording, run, start)


def network(run: Run, multiple: bool = False) -> Siu3r:
    """With stand-in weights, whose names begin with ``model.``; that for many views has one more, which is not read."""
    configuration = replace(read_configuration(run.config), multiple=multiple)
    keys = dict(run.keys)
    if multiple:
        keys["model.backbone.mask_token"] = {"shape": [1, 1, configuration.croco.dec_embed_dim], "mean": 0, "std": 0}
    whole = replace(run, keys=keys).network(lambda: nn.ModuleDict({"model": Siu3r(configuration)}))
    found = whole.get_submodule("model")
    assert isinstance(found, Siu3r)
    return found


def prediction(recording: Recording, run: Run, start: str) -> Iterator[tuple[str, Replayed]]:
    """One run: what came of it, and what was seen on the way."""
    built = network(run, multiple=bool(start))
    images = torch.from_numpy(recording[f"{start}input/image_u8"]).movedim(-1, 2).float() / 255
    intrinsics = torch.from_numpy(recording[f"{start}input/intrinsics"])
    blocks = {
        name.format(number): f"backbone.{path}.{number}"
        for name, path in (("enc_block{:02}", "enc_blocks"), ("dec1_block{:02}", "dec_blocks"),
                           ("dec2_block{:02}", "dec_blocks2"))
        for number in range(len(built.backbone.get_submodule(path)))
    }  # fmt: skip
    modules = {name: built.get_submodule(path) for name, path in (PATHS | blocks).items()}
    with outputs(modules) as kept:
        given = built(images.to(run.device, run.stored), intrinsics.to(run.device, run.stored))
    for name, value in results(recording, start, given).items():
        yield f"{start}output/{name}", Replayed(value)
    size = (images.shape[-2], images.shape[-1])
    found = panoptic(given.classes[0].float(), given.masks[0].float(), size, STUFF, THROUGH)
    yield f"{start}output/segmentation", Replayed(found.segmentation, 0.0)
    yield f"{start}output/instance_labels", Replayed(found.segmentation.flatten(), 0.0)
    labels = {0: 0} | {segment.id: segment.label + 1 for segment in found.segments}
    yield (
        f"{start}output/semantic_labels",
        Replayed(found.segmentation.flatten().clone().apply_(labels.__getitem__), 0.0),
    )
    for name, value in stages(kept, given).items():
        if f"{start}stage/{name}" in recording:
            yield f"{start}stage/{name}", Replayed(cut(recording, start, name, value))


def results(recording: Recording, start: str, given: Prediction) -> dict[str, Tensor]:
    """What the reference gives, by its names, as the recording was cut."""
    made = given.gaussians
    maps = vars(made) | {"covariances": covariances(made.scales, made.rotations)}
    step = int(recording[f"{start}meta/pixel_stride"])
    wider = f"{start}meta/pixel_stride_harmonics_covariances"
    steps = dict.fromkeys(maps, step)
    if wider in recording:
        steps |= dict.fromkeys(("harmonics", "covariances"), int(recording[wider]))
    found = {name: value.flatten(1, 3)[:, :: steps[name]] for name, value in maps.items()}
    queries = int(recording["meta/mask_query_stride"]) if "meta/mask_query_stride" in recording else 1
    return found | {"class_logits": given.classes, "mask_logits": given.masks[:, ::queries]}


def stages(kept: Mapping[str, list[Any]], given: Prediction) -> dict[str, Tensor]:
    """What was seen on the way, in the layout of the recordings."""
    found = {name: calls[0] for name, calls in kept.items()}
    levels, features = found.pop("pixel_decoder")
    found["pixel_level0"], found["mask_features"] = levels[0][None], features[None]
    for name in APART:
        found[f"{name}#1"] = found[name][1:2]
    for name in (*APART, "spm_stem", "interaction0", "interaction3", "adapter_f1", "adapter_f2"):
        found[name] = found[name][:1]
    for name in ("spm_c2", "spm_c3", "spm_c4"):
        found[name] = found[name][:1].flatten(2).transpose(1, 2)
    for name, level in (("pos3d", levels[0]), ("pos3d#1", levels[1])):
        views, channels, height, width = level.shape
        found[name] = space_positions(views, height, width, channels, level.device).movedim(-1, 1)[None]
    found["query_states"] = torch.stack(given.queries.states).transpose(1, 2)
    found["mask_logits_all"] = torch.stack(given.queries.masks)
    return found


def cut(recording: Recording, start: str, name: str, value: Tensor) -> Tensor:
    """An intermediate as it was recorded, by the strides that are named beside it."""
    if name in CHANNELS_CUT:
        channel = 1 if name == "adapter_f1" else 2
        step = int(recording[f"{start}meta/channel_stride_adapter_f1_mask_features"])
        return value.index_select(channel, torch.arange(0, value.shape[channel], step, device=value.device))
    if name.startswith(("center_raw", "gs_raw")):
        step = int(recording[f"{start}meta/raw_head_stride"])
        return value[..., ::step, ::step]
    if name == "mask_logits_all":
        queries, rows, columns = recording[f"{start}meta/mask_logits_all_stride"]
        return value[:, :, ::queries, :, ::rows, ::columns]
    return value
