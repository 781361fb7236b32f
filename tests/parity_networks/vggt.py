"""VGGT's recordings: runs of the network, and the functions around it (`tests.parity_networks.vggt_functions`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recon.geometry import invert, rigid, transform, unproject
from recon.networks.vggt import VGGT, Features, Prediction, decode_cameras, read_configuration
from recon.networks.vggt_acceleration import accelerate
from tests.parity import Recording
from tests.parity_networks import TOLERANCE, Replayed, Run, outputs
from tests.parity_networks.vggt_functions import replay_functions

# The tracker turns motions into phases of almost 1000 radians a pixel: float32 itself is 4e-4 away from float64 there.
TRACKS = 1e-3


def replay(recording: Recording, run: Run) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds."""
    yield from replay_functions(recording)
    groups = recording.groups()
    if not groups:
        return
    network = run.network(lambda: VGGT(read_configuration(run.config)))
    assert isinstance(network, VGGT)
    if run.half:
        network = accelerate(network, torch.device(run.device)) if run.device.startswith("cuda") else in_half(network)
    for group in groups:
        images, queries = images_of(recording, group), queries_of(recording, group)
        modules = {stage: module for stage, module in stages(network).items() if wanted(recording, group, stage)}
        with torch.inference_mode(), outputs(modules) as kept:
            prediction = predict(network, images, queries, run)
        for name, value in intermediates(network, kept).items():
            tracked = name.startswith("track_") and not name.startswith("track_fmaps")
            yield f"{group}stage/{name}", Replayed(value, TRACKS if tracked else TOLERANCE)
        for name, replayed in results(prediction, queries, images.shape[-2], images.shape[-1]).items():
            yield f"{group}output/{name}", replayed
        yield f"{group}output/images", Replayed(images)


def predict(network: VGGT, images: Tensor, queries: Tensor | None, run: Run) -> Prediction:
    """One run; all frames at once, so that every intermediate is seen whole."""
    images = images.to(run.device, run.stored)
    return network(images, None if queries is None else queries.to(run.device, run.stored), chunk=images.shape[1])


def in_half(network: VGGT) -> VGGT:
    """The network with its aggregator in half precision on the CPU, as `accelerate` makes it on a GPU."""
    encode = network.encode

    def encode_in_half(*given: Any) -> Features:
        with torch.autocast("cpu", torch.bfloat16):
            return encode(*given)

    network.encode = encode_in_half  # type: ignore[method-assign, assignment]
    return network


def images_of(recording: Recording, group: str) -> Tensor:
    """``[B,S,3,H,W]`` in 0..1."""
    if f"{group}input/images" in recording:
        images = torch.from_numpy(recording[f"{group}input/images"])
    else:
        images = torch.from_numpy(recording[f"{group}input/image_uint8"]).movedim(-1, -3).float() / 255
    return images if images.ndim == 5 else images[None]


def queries_of(recording: Recording, group: str) -> Tensor | None:
    """``[B,N,2]``, or None if nothing was tracked."""
    if f"{group}input/query_points" not in recording:
        return None
    queries = torch.from_numpy(recording[f"{group}input/query_points"])
    return queries if queries.ndim == 3 else queries[None]


def results(prediction: Prediction, queries: Tensor | None, height: int, width: int) -> dict[str, Replayed]:
    """What the reference's run gives, by its names."""
    given: dict[str, Replayed] = {}
    if prediction.cameras is not None:
        extrinsics, intrinsics = decode_cameras(prediction.cameras[-1], height, width)
        given["pose_enc_list"] = Replayed(torch.stack(prediction.cameras))
        given["pose_enc"] = Replayed(prediction.cameras[-1])
        given["extrinsic"], given["intrinsic"] = Replayed(extrinsics), Replayed(intrinsics)
        if prediction.depth is not None:
            given["world_points_from_depth"] = Replayed(world_points(prediction.depth, extrinsics, intrinsics))
    if prediction.depth is not None and prediction.depth_confidence is not None:
        given["depth"] = Replayed(prediction.depth[..., None])
        given["depth_conf"] = Replayed(prediction.depth_confidence)
    if prediction.points is not None and prediction.points_confidence is not None:
        given["world_points"] = Replayed(prediction.points)
        given["world_points_conf"] = Replayed(prediction.points_confidence)
    if prediction.tracking is not None and queries is not None:
        tracking, origin = prediction.tracking, queries[:, None].numpy()  # motions are compared, not places
        given["track_list"] = Replayed(torch.stack(tracking.pixels), TRACKS, origin)
        given["track"] = Replayed(tracking.pixels[-1], TRACKS, origin)
        given["vis"] = Replayed(tracking.visibility, TRACKS)
        if tracking.confidence is not None:
            given["conf"] = Replayed(tracking.confidence, TRACKS)
    return given


def world_points(depth: Tensor, extrinsics: Tensor, intrinsics: Tensor) -> np.ndarray:
    """Depth ``[B,S,H,W]`` to points ``[B,S,H,W,3]`` by the project's geometry, whose pixel centres lie at +0.5."""
    half = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    views = zip(
        depth.flatten(0, 1).float().cpu().numpy(),
        extrinsics.flatten(0, 1).double().cpu().numpy(),
        intrinsics.flatten(0, 1).double().cpu().numpy(),
        strict=True,
    )
    points = [
        transform(invert(rigid(pose[:, :3], pose[:, 3])), unproject(z, matrix + half)) for z, pose, matrix in views
    ]
    return np.stack(points).reshape(*depth.shape, 3)


def wanted(recording: Recording, group: str, stage: str) -> bool:
    """Whether a module's output is needed for what was recorded."""
    name = stage.removesuffix("_iter")
    ends = ("frame_block_0", "global_block_0", "frame_block_last", "global_block_last")
    return stage in ends or any(each.startswith(f"{group}stage/{name}") for each in recording.names)


def stages(network: VGGT) -> dict[str, nn.Module]:
    """Modules whose outputs are recorded, by the recordings' names; ``_iter`` stands for one output an iteration."""
    paths = {"patch_conv": "aggregator.patch_embed.patch_embed", "vit_patchtokens": "aggregator.patch_embed.norm"}
    # The last step of a block gives what the block gives, whether or not the network runs its parts apart.
    depth = network.configuration.patch_embed.depth
    paths |= {f"vit_block_{i}": f"aggregator.patch_embed.blocks.{i}.ls2" for i in range(depth)}
    last = network.configuration.aggregator.depth - 1
    for kind in ("frame", "global"):
        paths |= {f"{kind}_block_{i}": f"aggregator.{kind}_blocks.{i}.ls2" for i in range(last + 1)}
        paths[f"{kind}_block_last"] = paths[f"{kind}_block_{last}"]
    if network.camera_head is not None:
        paths["camera_token_norm"] = "camera_head.token_norm"
    for name, head in (("depth", network.depth_head), ("point", network.point_head)):
        if head is not None:
            paths |= {f"{name}_refinenet{i}": f"{name}_head.scratch.refinenet{i}" for i in range(1, 5)}
    if network.track_head is not None:
        paths["track_fmaps"] = "track_head.feature_extractor"
        paths["track_corr_mlp_iter"] = "track_head.tracker.corr_mlp"
        paths["track_updateformer_iter"] = "track_head.tracker.updateformer"
    return {name: network.get_submodule(path) for name, path in paths.items()}


def intermediates(network: VGGT, kept: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """What was seen on the way, in the layout of the recordings; nothing for modules that were not called."""
    given: dict[str, Tensor] = {}
    for name, calls in kept.items():
        if name.endswith("_iter"):  # tracks before views
            given |= {f"{name}{i}": call.transpose(1, 2) for i, call in enumerate(calls)}
        elif name == "vit_patchtokens" and calls:
            given[name] = calls[0][:, 1 + network.configuration.patch_embed.num_register_tokens :]
        elif calls:
            given[name] = calls[0]
    for name, number in (("agg_first", "0"), ("agg_last", "last")):
        if f"frame_block_{number}" in given and f"global_block_{number}" in given:
            given[name] = torch.cat([given[f"frame_block_{number}"], given[f"global_block_{number}"]], -1)
    return given
