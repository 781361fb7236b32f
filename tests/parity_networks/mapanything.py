"""MapAnything's recordings: runs of the network on pictures, and on what is known beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recon.networks.layers.pose_encoding import quaternion_from_rotation
from recon.networks.layers.vision_transformer import DEVIATION, MEAN
from recon.networks.mapanything import Known, MapAnything, Prediction, read_configuration
from recon.networks.mapanything_configuration import PATCH, ImageEncoder
from recon.networks.mapanything_inputs import along_rays, rays_of, relative_poses
from recon.networks.mapanything_outputs import intrinsics_from_rays, pose_matrices
from tests.parity import Recording
from tests.parity_networks import TOLERANCE, Replayed, Run, outputs
from tests.parity_networks.mapanything_functions import INTRINSICS, replay_functions

IGNORED = re.compile(r"(?P<inputs>.+)_ignore_(?P<kind>all|\w+_inputs)")
FORGOTTEN: dict[str, dict[str, None]] = {
    "calibration_inputs": {"rays": None},
    "depth_inputs": {"depth": None},
    "pose_inputs": {"quaternions": None},
    "all": {"rays": None, "depth": None, "quaternions": None},
}


def replay(recording: Recording, run: Run) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds."""
    yield from replay_functions(recording)
    found = (re.match(r"output/(\w+)/", name) for name in recording.names)
    cases = list(dict.fromkeys(match[1].removesuffix("_infer") for match in found if match))
    if not cases:
        return
    for name in {"seed", "dense_stride"} & set(recording.names):
        recording[name]
    encoder = encoder_of(run.keys)
    network = run.network(lambda: MapAnything(replace(read_configuration(run.config), encoder=encoder)))
    assert isinstance(network, MapAnything)
    if run.half:  # as the reference does: what is fused and what the heads read stays in float32
        for part in (network.encoder, network.info_sharing):
            half = torch.autocast(run.device.partition(":")[0], torch.bfloat16)
            part.forward = half(part.forward)  # type: ignore[method-assign]
    for case in cases:
        ignored = IGNORED.fullmatch(case)
        views = views_of(recording, ignored["inputs"] if ignored else case)
        known = known_of(views)
        for name, value in conversions(views, known).items():
            yield f"stage/{case}/{name}", Replayed(value)
        if ignored:
            known = without(known, ignored["kind"])
        images = torch.stack([view["image"] for view in views], 1).to(run.device, run.stored)
        with torch.inference_mode(), outputs(stages(network)) as kept:
            told = known.to(images.device, images.dtype)
            prediction = network(images, told, chunk=len(views))
        for name, value in intermediates(kept, len(views), images.shape[-2] // PATCH).items():
            yield from thinned(recording, f"stage/{case}/{name}", value)
        for index in range(len(views)):
            for name, value in results(prediction, index).items():
                yield from thinned(recording, f"output/{case}/{index}/{name}", value)
            for name, value in cameras(prediction, index).items():
                tolerance = INTRINSICS if name == "intrinsics" else TOLERANCE
                yield f"output/{case}_infer/{index}/{name}", Replayed(value, tolerance)


def thinned(recording: Recording, name: str, value: Tensor) -> Iterator[tuple[str, Replayed]]:
    """What was recorded of it: every k-th along each axis, which the names do not tell."""
    if name in recording.names:
        counts = zip(value.shape, recording.arrays[name].shape, strict=True)
        value = value[tuple(slice(None, None, -(-count // kept)) for count, kept in counts)]
        yield name, Replayed(value)


def encoder_of(keys: Mapping[str, Mapping[str, Any]]) -> ImageEncoder:
    """The image encoder of a table of weights: the files of reduced networks name a larger one."""
    gated = "encoder.model.blocks.0.mlp.w3.weight" in keys
    width, hidden = keys[f"encoder.model.blocks.0.mlp.{'w3' if gated else 'fc2'}.weight"]["shape"]
    depth = sum(bool(re.fullmatch(r"encoder\.model\.blocks\.\d+\.norm1\.bias", name)) for name in keys)
    return ImageEncoder(width, depth, width // 64, hidden, gated, "encoder.model.norm.bias" in keys)


def views_of(recording: Recording, case: str) -> list[dict[str, Tensor]]:
    """What each view was given, by the reference's names, but for the picture: ``image [B,3,H,W]`` in 0..1."""
    views: dict[str, dict[str, Tensor]] = {}
    for name in recording.names:
        if match := re.fullmatch(rf"input/{case}/(\d+)/(\w+)", name):
            views.setdefault(match[1], {})[match[2]] = torch.from_numpy(recording[name])
    mean, deviation = torch.tensor([MEAN, DEVIATION])[..., None, None]
    for view in views.values():
        if "image_uint8" in view:
            view["image"] = view["image_uint8"].movedim(-1, 1).float() / 255
        else:
            view["image"] = view["img"] * deviation + mean
    return list(views.values())


def known_of(views: Sequence[Mapping[str, Tensor]]) -> Known:
    """What the reference was given, as the network takes it."""
    batch = len(views[0]["image"])
    rays, has_rays = gathered([rays_in(view) for view in views], batch)
    depth, has_depth = gathered([depth_in(view) for view in views], batch)
    poses = [pose_in(view) for view in views]
    nowhere = torch.tensor([0.0, 0, 0, 1]).expand(batch, 4), torch.zeros(batch, 3)
    quaternions, translations = (
        torch.stack(parts, 1) for parts in zip(*(pose or nowhere for pose in poses), strict=True)
    )
    has_pose = torch.tensor([pose is not None for pose in poses]).expand(batch, -1)
    metric = torch.stack([view.get("is_metric_scale", torch.ones(batch, dtype=torch.bool)) for view in views], 1)
    return Known(rays, has_rays, depth, has_depth, quaternions, translations, has_pose, metric, metric)


def gathered(parts: Sequence[Tensor | None], batch: int) -> tuple[Tensor | None, Tensor]:
    """What there is of the views of each sample, and which have it ``[B,V]``."""
    there = [part for part in parts if part is not None]
    has = torch.tensor([part is not None for part in parts]).expand(batch, -1)
    return (torch.stack(there, 1).flatten(0, 1) if there else None), has


def rays_in(view: Mapping[str, Tensor]) -> Tensor | None:
    """``[B,H,W,3]`` of unit length, or None."""
    if "intrinsics" in view:
        return rays_of(view["intrinsics"], *view["image"].shape[-2:])
    if "ray_directions" in view:
        return view["ray_directions"] / view["ray_directions"].norm(dim=-1, keepdim=True)
    return view.get("ray_directions_cam")


def depth_in(view: Mapping[str, Tensor]) -> Tensor | None:
    """``[B,H,W]`` along the rays, or None."""
    if "depth_along_ray" in view:
        return view["depth_along_ray"][..., 0]
    rays = rays_in(view)
    return along_rays(view["depth_z"], rays) if "depth_z" in view and rays is not None else None


def pose_in(view: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    """Quaternions ``[B,4]`` and translations ``[B,3]``, or None."""
    for name in ("camera_poses", "camera_pose"):
        if f"{name}_quats" in view:
            return view[f"{name}_quats"], view[f"{name}_trans"]
    if "camera_poses" in view:
        return quaternion_from_rotation(view["camera_poses"][:, :3, :3]), view["camera_poses"][:, :3, 3]
    return None


def without(known: Known, kind: str) -> Known:
    """What is left where the reference is told to ignore some of it."""
    if kind.endswith("_scale_inputs"):
        name = f"metric_{kind.removesuffix('_scale_inputs')}"
        return replace(known, **{name: torch.zeros_like(getattr(known, name))})
    return replace(known, **FORGOTTEN[kind])


def conversions(views: Sequence[Mapping[str, Tensor]], known: Known) -> dict[str, Tensor]:
    """What the reference makes of its inputs before it looks at the pictures."""
    given: dict[str, Tensor] = {}
    for index, view in enumerate(views):
        depth, pose = depth_in(view), pose_in(view)
        if depth is not None:
            given[f"internal/{index}/depth_along_ray"] = depth[..., None]
        if pose is not None:
            given[f"internal/{index}/camera_pose_quats"], given[f"internal/{index}/camera_pose_trans"] = pose
        assert known.metric_pose is not None
        given[f"internal/{index}/is_metric_scale"] = known.metric_pose[:, index]
    assert known.quaternions is not None
    assert known.translations is not None
    assert known.has_pose is not None
    if known.has_pose.any():
        relative = relative_poses(known.quaternions, known.translations, known.has_pose)
        given["relative_quats"], given["relative_trans"] = (part.transpose(0, 1).flatten(0, 1) for part in relative)
        given["pose_mask"] = known.has_pose.T.flatten()
    return given


def stages(network: MapAnything) -> dict[str, nn.Module]:
    """Modules whose outputs are recorded, by the recordings' names."""
    names = ("cam_rot_encoder", "cam_trans_encoder", "cam_trans_scale_encoder")
    paths = {
        "fused_channels_last": "fusion_norm_layer",
        "block0_global": "info_sharing.self_attention_blocks.0",
        "block1_frame": "info_sharing.self_attention_blocks.1",
        "shared": "info_sharing",
        "dpt_features": "dense_head.0",
        "dense_raw6": "dense_head.1",
        "pose_raw7": "pose_head",
        "scale_raw": "scale_head.output_proj",
        "encoder": "encoder",
    } | {name: name for name in names}
    return {name: network.get_submodule(path) for name, path in paths.items()}


def intermediates(kept: Mapping[str, Sequence[Any]], views: int, rows: int) -> dict[str, Tensor]:
    """What was seen on the way, in the layout of the recordings; nothing for modules that were not called."""

    def mapped(tokens: Tensor) -> Tensor:
        return tokens.flatten(0, -3).transpose(1, 2).unflatten(2, (rows, -1))

    given = {name: calls[0] for name, calls in kept.items() if calls}
    patches, classes = given.pop("encoder")
    given["encoder_features"], given["encoder_class_token"] = mapped(patches), classes[..., None]
    given["fused_channels_last"] = mapped(given["fused_channels_last"]).movedim(1, -1)
    layers, scale = given.pop("shared")
    given |= {name: mapped(layer) for name, layer in zip(("tap1", "tap2", "final"), layers, strict=True)}
    given["final_scale_token"] = scale[..., None]
    given["pose_raw7"] = torch.cat(given["pose_raw7"], -1)
    given["scale_raw"] = given["scale_raw"][..., None]
    if "cam_trans_scale_encoder" in given:
        given["cam_trans_scale_encoder"] = given["cam_trans_scale_encoder"].expand(views, -1)
    return given


def results(prediction: Prediction, index: int) -> dict[str, Tensor]:
    """What the reference gives for a view, by its names."""
    return {
        "pts3d": prediction.points[:, index],
        "pts3d_cam": prediction.points_in_camera[:, index],
        "ray_directions": prediction.rays[:, index],
        "depth_along_ray": prediction.depth[:, index, ..., None],
        "cam_trans": prediction.translations[:, index],
        "cam_quats": prediction.quaternions[:, index],
        "metric_scaling_factor": prediction.scale[:, None],
        "conf": prediction.confidence[:, index],
        "non_ambiguous_mask": prediction.clear[:, index] > 0,
        "non_ambiguous_mask_logits": prediction.clear[:, index],
    }


def cameras(prediction: Prediction, index: int) -> dict[str, Tensor]:
    """What the reference makes of it for those who want matrices."""
    return {
        "intrinsics": intrinsics_from_rays(prediction.rays[:, index]),
        "camera_poses": pose_matrices(prediction.quaternions[:, index], prediction.translations[:, index]),
    }
