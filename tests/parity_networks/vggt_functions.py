"""The functions around VGGT, replayed: pictures, pose encoding, unprojection, COLMAP export."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import islice, permutations
from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional

from recon.alignment.keyframes import farthest_first, swapped
from recon.export.colmap import rescale_camera, rescale_pixels
from recon.geometry import invert, project, rigid, transform, unproject
from recon.models.fitting import Fit, Fitted, fit, square
from recon.networks.layers.pose_encoding import quaternion_from_rotation, rotation_from_quaternion
from recon.networks.vggt import decode_cameras, encode_cameras
from tests.parity_networks import Replayed


def replay_functions(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds of them."""
    heads = {name.split("/")[0] for name in recording.names}
    parts = {
        "pose": poses,
        "unproject": unprojections,
        "load": pictures,
        "colmap": rescalings,
        "rank": rankings,
        "project": projections,
    }
    for head, replayed in parts.items():
        if head in heads:
            yield from replayed(recording)


def poses(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Quaternions, and cameras as nine numbers and back."""

    def read(name: str) -> torch.Tensor:
        return torch.from_numpy(recording[f"pose/{name}"])

    def recorded(*names: str) -> bool:
        return all(f"pose/{name}" in recording for name in names)

    if recorded("quat_xyzw_in"):
        rotations = rotation_from_quaternion(read("quat_xyzw_in"))
        yield "pose/matrix_from_quat", Replayed(rotations)
        yield "pose/quat_from_matrix", Replayed(quaternion_from_rotation(rotations))
    if recorded("special_matrices"):
        yield "pose/special_quats", Replayed(quaternion_from_rotation(read("special_matrices")))
    if recorded("extrinsics", "intrinsics", "image_hw"):
        height, width = (int(side) for side in read("image_hw"))
        encoding = encode_cameras(read("extrinsics"), read("intrinsics"), height, width)
        yield "pose/encoding", Replayed(encoding)
        extrinsics, intrinsics = decode_cameras(encoding, height, width)
        yield "pose/decoded_extrinsics", Replayed(extrinsics)
        yield "pose/decoded_intrinsics", Replayed(intrinsics)


def unprojections(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Depth to points, by the project's geometry, whose pixel centres lie at +0.5."""
    depth, extrinsics = recording["unproject/depth"][..., 0], recording["unproject/extrinsics"].astype(np.float64)
    intrinsics = recording["unproject/intrinsics"] + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    world_from_camera = [invert(rigid(pose[:, :3], pose[:, 3])) for pose in extrinsics]
    points = [unproject(z, matrix) for z, matrix in zip(depth, intrinsics, strict=True)]
    yield "unproject/inverse_se3", Replayed(np.stack(world_from_camera))
    for index, part in enumerate(points):
        yield f"unproject/cam_points_{index}", Replayed(part)
        yield f"unproject/mask_{index}", Replayed(part[..., 2] > 1e-8, 0.0)
    world = [transform(pose, part) for pose, part in zip(world_from_camera, points, strict=True)]
    yield "unproject/world_points", Replayed(np.stack(world))


def pictures(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Crop, pad and square, to the pixel: they depend on Pillow's filter, so its version is recorded too."""
    if "load/pillow_version" in recording:
        recording["load/pillow_version"]
    names = [match[1] for name in recording.names if (match := re.fullmatch(r"load/(\w+)/file_uint8", name))]
    files = {name: recording[f"load/{name}/file_uint8"] for name in names}
    runs = [match for name in recording.names if (match := re.fullmatch(r"load/(\w+)/(crop|pad)/shape", name))]
    for match in runs:
        name, mode = match[1], cast(Fit, match[2])
        prefix = f"load/{name}/{mode}"
        if name in files:
            batch = channels_first(fit([files[name]], mode))
        else:
            batch = found_together(files, mode, recording, prefix)
        yield from recorded_batch(batch, prefix)
    for name in recording.names:
        if match := re.fullmatch(r"load/square(\d+)/order", name):
            side, prefix = int(match[1]), f"load/square{match[1]}"
            ordered = [files[str(each)] for each in recording[name]]
            fitted = [square(file, side) for file in ordered]
            sizes = [(file.shape[1], file.shape[0]) for file in ordered]
            yield f"{prefix}/coords", Replayed(np.array([(*f.content, *s) for f, s in zip(fitted, sizes, strict=True)]))
            batch = channels_first(fitted)
            yield from recorded_batch(batch, prefix)
            for found in re.findall(rf"{prefix}/resized(\d+)", "\n".join(recording.names)):
                size = (int(found), int(found))
                resized = functional.interpolate(torch.from_numpy(batch).float() / 255, size, mode="bilinear")
                yield f"{prefix}/resized{found}", Replayed(resized)


def rescalings(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Cameras and pixels of squares to those of the original pictures.

    The reference takes the pictures' corners in pixels of the larger square whatever square the pixels are of, and
    the first picture's ratio for all where they share a camera. Neither is done by the project's export; here both
    are given to its functions, to compare the functions.
    """
    coords = recording["colmap/coords"].astype(np.float64)
    corners, sizes = coords[:, :2], coords[:, 4:]
    for name in recording.names:
        if match := re.fullmatch(r"(colmap/(\d+)_\w+_(separate|shared))/in_params", name):
            prefix, side, kind = match.groups()
            params, pixels = recording[name], recording[f"{prefix}/in_xy"]
            ratios = sizes.max(1) / int(side)
            used = ratios if kind == "separate" else ratios[:1].repeat(len(ratios))
            cameras = zip(params, ratios, sizes, strict=False)
            yield f"{prefix}/out_params", Replayed(np.stack([rescale_camera(*camera) for camera in cameras]))
            yield f"{prefix}/out_size_wh", Replayed(sizes[: len(params)])
            moved = zip(pixels, corners, used, strict=True)
            yield f"{prefix}/out_xy", Replayed(np.stack([rescale_pixels(*part) for part in moved]))


def rankings(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """Which frames to query, and the order of frames for a query."""
    for name in recording.names:
        if match := re.fullmatch(r"rank/fps_from_(\d+)_n(\d+)", name):
            order = farthest_first(recording["rank/distance"], int(match[1]), int(match[2]), from_last=True)
            yield name, Replayed(np.array(order), 0.0)
        elif match := re.fullmatch(r"rank/swap_(\d+)_of_(\d+)", name):
            yield name, Replayed(swapped(int(match[2]), int(match[1])), 0.0)


def projections(recording: Any) -> Iterator[tuple[str, Replayed]]:
    """World points to cameras and to pixels."""
    points, extrinsics = recording["project/points"], recording["project/extrinsics"]
    name = "project/intrinsics" if "project/intrinsics" in recording else "colmap/K518"
    intrinsics = recording[name][: len(extrinsics)]
    local = [transform(rigid(pose[:, :3], pose[:, 3]), points) for pose in extrinsics]
    yield "project/points_cam", Replayed(np.stack(local).transpose(0, 2, 1))
    pixels = [project(part, matrix) for part, matrix in zip(local, intrinsics, strict=True)]
    yield "project/points2d", Replayed(np.stack(pixels))


def recorded_batch(batch: np.ndarray, prefix: str) -> Iterator[tuple[str, Replayed]]:
    """What is recorded of ``[N,3,H,W] uint8``."""
    yield f"{prefix}/shape", Replayed(np.array(batch.shape), 0.0)
    yield f"{prefix}/sha256_uint8_nchw", Replayed(hashlib.sha256(batch.tobytes()).hexdigest())
    yield f"{prefix}/uint8", Replayed(batch, 0.0)


def found_together(files: dict[str, np.ndarray], mode: Fit, recording: Any, prefix: str) -> np.ndarray:
    """Pictures of different sizes in one call; which ones, and in which order, is known by their digest alone."""
    count = int(recording.arrays[f"{prefix}/shape"][0])
    wanted = str(recording.arrays[f"{prefix}/sha256_uint8_nchw"])
    batch = np.empty(0, np.uint8)
    for chosen in islice(permutations(files.values(), count), 1000):
        batch = channels_first(fit(chosen, mode))
        if hashlib.sha256(batch.tobytes()).hexdigest() == wanted:
            break
    return batch


def channels_first(fitted: Sequence[Fitted]) -> np.ndarray:
    """``[N,3,H,W] uint8``."""
    return np.ascontiguousarray(np.stack([one.image for one in fitted]).transpose(0, 3, 1, 2))
