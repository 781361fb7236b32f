"""The functions around MapAnything, replayed: pictures and what is known of them, poses, masks, confidence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.models.mapanything_confidence import multiview_confidence
from recon.models.mapanything_fitting import (
    Placement,
    common_size,
    common_size_within,
    place_depth,
    place_image,
    place_intrinsics,
    placement,
)
from recon.models.mapanything_masks import confident, depth_edges, edges, normal_edges, normals
from recon.networks.layers.pose_encoding import quaternion_from_rotation, rotation_from_quaternion
from recon.networks.layers.vision_transformer import DEVIATION, MEAN
from recon.networks.mapanything_configuration import PATCH
from recon.networks.mapanything_inputs import (
    along_rays,
    normalised_depth,
    normalised_translations,
    rays_of,
    relative_poses,
)
from recon.networks.mapanything_outputs import intrinsics_from_rays, pose_matrices
from tests.parity_networks import TOLERANCE, Replayed

# The reference solves uncentred normal equations in float32, 4e-5 away from their solution in float64; ours is at 1e-7.
INTRINSICS = 1e-4
HALF = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # pixel centres lie at integers in the recordings


def replay_functions(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds of them."""
    heads = {name.split("/")[0] for name in recording.names}
    parts = {"resolution": sizes, "pre": pictures, "geo": geometry, "post": masks}
    for head, replayed in parts.items():
        if head in heads:
            yield from replayed(recording)


def sizes(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Of pictures of some aspects; there are checkpoints of other networks for the other tables."""
    aspects = recording["resolution/aspect_ratios"]
    for other in {"resolution/512", "resolution/504"} & set(recording.names):
        recording[other]
    chosen = [common_size([(float(aspect), 1)]) for aspect in aspects]  # type: ignore[list-item]
    yield "resolution/518", Replayed(np.array(chosen), 0.0)


def pictures(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Pictures, depth and intrinsics at the size of the network, to the pixel."""
    count = sum(bool(re.fullmatch(r"pre/raw/\d+/image_uint8", name)) for name in recording.names)
    raw = [recording[f"pre/raw/{index}/image_uint8"] for index in range(count)]
    originals = [(image.shape[1], image.shape[0]) for image in raw]
    stride = int(recording["pre/fixed_mapping_stride"])
    found = (re.fullmatch(r"pre/(.+)/(images|intrinsics_depth|rays)/0/shape_hw", name) for name in recording.names)
    for match in found:
        if match is None:
            continue
        mode, kind = match.groups()
        step = stride if mode.startswith("fixed_mapping") else 1
        for index, image in enumerate(raw):
            prefix = f"pre/{mode}/{kind}/{index}"
            size = size_of(mode, originals) or tuple(recording.arrays[f"{prefix}/shape_hw"][::-1].tolist())
            placed = placement(originals[index], size, calibrated=kind != "images")
            picture = place_image(image, placed)
            yield f"{prefix}/shape_hw", Replayed(np.array(picture.shape[:2]), 0.0)
            yield f"{prefix}/image_uint8", Replayed(picture[::step, ::step], 0.0)
            normed = (picture / np.float32(255) - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
            if f"{prefix}/img_normalised" in recording.names:
                yield f"{prefix}/img_normalised", Replayed(normed.transpose(2, 0, 1)[None])
            if kind != "images":
                yield from calibrated(recording, index, kind, placed, prefix, step)
    if "pre/load_images/im1_uint8" in recording.names:
        for name in ("order", "true_shape", "shape_hw"):  # of files, which the project's own reader has put in order
            recording[f"pre/load_images/{name}"]
        height, width = recording.arrays["pre/load_images/im1_uint8"].shape[:2]
        yield "pre/load_images/im1_uint8", Replayed(place_image(raw[1], placement(originals[1], (width, height))), 0.0)


def size_of(mode: str, originals: list[tuple[int, int]]) -> tuple[int, int] | None:
    """What a way to choose the size gives; None for a table that is not of this network's checkpoints."""
    if mode == "fixed_mapping_518":
        return common_size(originals)
    if match := re.fullmatch(r"longest_side_(\d+)", mode):
        return common_size_within(originals, int(match[1]))
    if match := re.fullmatch(r"square_(\d+)", mode):
        return (int(match[1]) // PATCH * PATCH,) * 2
    if match := re.match(r"fixed_size_(?:upscale_)?(\d+)x(\d+)", mode):
        return int(match[1]) // PATCH * PATCH, int(match[2]) // PATCH * PATCH
    return None


def calibrated(
    recording: Any, index: int, kind: str, placed: Placement, prefix: str, step: int
) -> Iterator[tuple[str, Replayed]]:
    """What is known of a picture, at the size of the network."""
    intrinsics, tolerance = recording[f"pre/raw/{index}/intrinsics"], TOLERANCE
    if kind == "rays":
        rays = rays_of(torch.from_numpy(intrinsics), placed.original[1], placed.original[0])
        intrinsics, tolerance = intrinsics_from_rays(rays).numpy(), INTRINSICS
    moved = place_intrinsics(intrinsics + HALF, placed) - HALF
    yield f"{prefix}/intrinsics", Replayed(moved[None], tolerance)
    if f"{prefix}/depth_z" in recording.names:
        depth = place_depth(recording[f"pre/raw/{index}/depth_z"], placed)
        yield f"{prefix}/depth_z", Replayed(depth[None, ::step, ::step], 0.0)


def geometry(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Poses, rays and what is normalised."""

    def read(name: str) -> Tensor:
        return torch.from_numpy(recording[f"geo/{name}"])

    rotations = rotation_from_quaternion(read("quats_xyzw"))
    yield "geo/rotation_matrices", Replayed(rotations)
    yield "geo/quats_back", Replayed(quaternion_from_rotation(rotations))
    pairs = [part.unflatten(0, (2, -1)).transpose(0, 1) for part in (read("quats_xyzw"), read("trans"))]
    quaternions, translations = relative_poses(pairs[0], pairs[1], torch.ones(6, 2, dtype=torch.bool))
    yield "geo/relative_quats_of_last6_in_first6", Replayed(quaternions[:, 1])
    yield "geo/relative_trans_of_last6_in_first6", Replayed(translations[:, 1])
    depth = read("depth_z")
    rays = rays_of(read("K"), *depth.shape[1:])
    yield "geo/rays_unit", Replayed(rays[:, ::5, ::5])
    yield "geo/K_from_rays", Replayed(intrinsics_from_rays(rays), INTRINSICS)
    if "geo/rays_noisy" in recording.names:
        yield "geo/K_from_noisy", Replayed(intrinsics_from_rays(read("rays_noisy")), INTRINSICS)
    along = along_rays(depth, rays)
    yield "geo/depth_along_ray", Replayed(along[..., None])
    logarithm, mean = normalised_depth(along)
    yield "geo/depth_log", Replayed(logarithm[..., None])
    yield "geo/depth_norm_factor", Replayed(mean)
    shares, length = normalised_translations(read("translations"))
    yield "geo/translations_normalised", Replayed(shares)
    yield "geo/translation_norm_factor", Replayed(length)


def masks(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Which pixels are believed, of made-up predictions for three views."""
    raw: dict[str, np.ndarray] = {}
    for name in recording.names:
        if match := re.fullmatch(r"post/raw/0/(\w+)", name):
            raw[match[1]] = np.concatenate([recording[f"post/raw/{index}/{match[1]}"] for index in range(3)])
        elif re.match(r"post/views/|.*(img_no_norm|mask_from_float64)$", name):
            recording[name]  # pictures as they came, and what is known not to depend on rounding
    clear, depth = raw["non_ambiguous_mask_logits"] > 0, raw["pts3d_cam"][..., 2]
    intrinsics = intrinsics_from_rays(torch.from_numpy(raw["ray_directions"]))
    poses = pose_matrices(torch.from_numpy(raw["cam_quats"]), torch.from_numpy(raw["cam_trans"]))
    agreed = {
        name: multiview_confidence(torch.from_numpy(depth), intrinsics, poses, torch.from_numpy(clear), *tolerance)
        for name, tolerance in {"multiview": (), "multiview_loose_conf20": (0.1, 0.1)}.items()
    }
    found, has_normal = normals(raw["pts3d"][1], clear[1])
    yield "post/normals_view1", Replayed(found)
    yield "post/normals_mask_view1", Replayed(has_normal, 0.0)
    yield "post/depth_edge_view1", Replayed(depth_edges(depth[1], clear[1]), 0.0)
    yield "post/normals_edge_view1", Replayed(normal_edges(found, has_normal), 0.0)
    for index in range(3):
        whole = raw["pts3d"][index], depth[index], clear[index]
        kept = {
            "default": clear[index] & ~edges(*whole),
            "edges_15deg_8pct": clear[index] & ~edges(*whole, 15.0, 0.08),
            "no_edges": clear[index],
            "multiview": clear[index],
            "conf10": clear[index] & confident(raw["conf"][index]),
            "conf35": clear[index] & confident(raw["conf"][index], 35),
            "multiview_loose_conf20": clear[index] & confident(agreed["multiview_loose_conf20"][index].numpy(), 20),
        }
        for name, mask in kept.items():
            yield f"post/{name}/{index}/mask", Replayed(mask[None, ..., None], 0.0)
        for name, confidence in agreed.items():
            yield f"post/{name}/{index}/conf", Replayed(confidence[index][None], 0.0)
        yield f"post/default/{index}/intrinsics", Replayed(intrinsics[index][None], INTRINSICS)
        yield f"post/default/{index}/camera_poses", Replayed(poses[index][None])
        yield f"post/default/{index}/depth_z", Replayed((depth[index] * kept["default"])[None, ..., None])
