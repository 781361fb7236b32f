"""COLMAP: a sparse model and its pictures, as COLMAP itself and trainers of Gaussian splats read them.

``sparse/0/{cameras,images,points3D}.bin`` and ``images/``, in the scene's own frame and unit: COLMAP's axes and pixel
centres are ours. Pictures and cameras have the size of the untouched photos (`originals.picture`). The binary format is
written here (colmap.github.io/format.html): three tables are less than the library, and a full disk is noticed.
"""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon import geometry
from recon.export.archive import Add, archive
from recon.export.originals import Picture, picture, unique_name
from recon.export.sparse import SparsePoints, sparse_points
from recon.filters import Filters
from recon.scene import Frame, Scene

MOST_POINTS = 100_000
PINHOLE = 1


def write_zip(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write what `write_folder` writes as one zip file."""
    with archive(path) as add:
        _write(scene, filters, masks, add)


def write_folder(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the chosen frames' cameras and pictures, and at most `MOST_POINTS` of the masked points, to a folder.

    Points are those that the scene's tracks give, with their real observations, and, to start splats from, confident
    pixels with depth spread evenly over the pictures, observed once. Filters and hidden frames count for both.
    """

    def add(name: str, content: Path | bytes) -> None:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, file)
        else:
            file.write_bytes(content)

    _write(scene, filters, masks, add)


def _write(scene: Scene, filters: Filters, masks: list[np.ndarray], add: Add) -> None:
    images: dict[int, _Image] = {}
    cameras: list[tuple[float, ...]] = []
    taken: set[str] = set()
    for index, frame in enumerate(scene.frames):
        if filters.shows(index):
            shown = picture(frame)
            image = _Image.of(frame, shown, unique_name(frame, shown.suffix, taken), len(images) + 1, cameras)
            add(f"images/{image.name}", shown.content)
            images[index] = image
    points = sparse_points(scene, masks, MOST_POINTS)
    seen = {index: np.flatnonzero(points.frame == index) for index in images}
    pixels, slot = np.zeros((len(points.frame), 2)), np.zeros(len(points.frame), int)
    for index, image in images.items():
        pixels[seen[index]] = rescale_pixels(points.pixels[seen[index]], image.corner, image.ratio)
        slot[seen[index]] = np.arange(len(seen[index]))
    add("sparse/0/cameras.bin", _table([struct.pack("<IiQQ4d", i, PINHOLE, *c) for i, c in enumerate(cameras, 1)]))
    rows = [image.record(pixels[seen[index]], points.point[seen[index]] + 1) for index, image in images.items()]
    add("sparse/0/images.bin", _table(rows))
    add("sparse/0/points3D.bin", _points(points, images, cameras, pixels, slot))


# --- coordinates of the original ------------------------------------------------------------------------------------


def corner_and_ratio(original_from_processed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the original's top-left corner lies in the processed picture, and how much larger the original is.

    Args:
        original_from_processed: ``[3,3]``, a scaling of each axis and a shift.

    Returns:
        ``[2]`` in processed pixels, ``[2]``.
    """
    matrix = np.asarray(original_from_processed, np.float64)
    ratio = np.diag(matrix)[:2]
    return -matrix[:2, 2] / ratio, ratio


def rescale_pixels(pixels: np.ndarray, corner: np.ndarray, ratio: float | np.ndarray) -> np.ndarray:
    """Pixels ``[...,2]`` of a processed picture to those of the original.

    Args:
        corner: ``[2]``, where the original's top-left corner lies, in the same processed pixels.
        ratio: how much larger the original is, one number or one an axis.
    """
    return (pixels - corner) * ratio


def rescale_camera(
    params: np.ndarray,
    ratio: float | np.ndarray,
    original_size: tuple[float, float] | np.ndarray,
    principal_point: np.ndarray | None = None,
) -> np.ndarray:
    """Parameters of a camera of a processed picture to those of the original's camera.

    Args:
        params: ``[...,4]`` (fx, fy, cx, cy: PINHOLE) or ``[...,3]`` (f, cx, cy: SIMPLE_PINHOLE).
        ratio: how much larger the original is: one number, or for PINHOLE one an axis.
        original_size: ``(width, height)``.
        principal_point: ``[2]`` in the original; None for its middle, where VGGT has it.
    """
    rescaled = params * (np.append(ratio, np.ones(2)) if np.ndim(ratio) else ratio)
    rescaled[..., -2:] = np.divide(original_size, 2) if principal_point is None else principal_point
    return rescaled


# --- the tables -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Image:
    """One picture of the model; ``corner`` and ``ratio`` see `corner_and_ratio`, of the frame's pixels."""

    identity: int
    name: str
    camera: int
    camera_from_world: np.ndarray
    corner: np.ndarray
    ratio: np.ndarray

    @staticmethod
    def of(frame: Frame, shown: Picture, name: str, identity: int, cameras: list[tuple[float, ...]]) -> _Image:
        """The picture of a frame; its camera is added to ``cameras`` (size, then parameters) unless it is there."""
        corner, ratio = corner_and_ratio(shown.picture_from_frame)
        intrinsics = frame.camera.intrinsics.astype(np.float64)
        params = np.concatenate([np.diag(intrinsics)[:2], intrinsics[:2, 2]])
        params = rescale_camera(params, ratio, shown.size, rescale_pixels(params[2:], corner, ratio))
        camera = (*shown.size, *params.tolist())
        if camera not in cameras:
            cameras.append(camera)
        pose = geometry.invert(frame.camera.world_from_camera.astype(np.float64))
        return _Image(identity, name, cameras.index(camera) + 1, pose, corner, ratio)

    def record(self, pixels: np.ndarray, points: np.ndarray) -> bytes:
        """Its row, with what it sees: ``pixels [N,2]`` of ``points [N]``."""
        quaternion = geometry.quaternion_from_rotation(self.camera_from_world[:3, :3])
        observed = np.zeros(len(points), [("pixel", "<f8", 2), ("point", "<i8")])
        observed["pixel"], observed["point"] = pixels, points
        head = struct.pack("<I7dI", self.identity, *quaternion, *self.camera_from_world[:3, 3], self.camera)
        return head + self.name.encode() + b"\0" + struct.pack("<Q", len(points)) + observed.tobytes()


def _points(
    points: SparsePoints,
    images: dict[int, _Image],
    cameras: list[tuple[float, ...]],
    pixels: np.ndarray,
    slot: np.ndarray,
) -> bytes:
    """Points with the mean of their reprojection errors, and where they are observed."""
    image = np.zeros(len(points.frame), "<u4")
    error = np.zeros(len(points.frame))
    for index, shown in images.items():
        here = points.frame == index
        _, _, *params = cameras[shown.camera - 1]
        local = geometry.transform(shown.camera_from_world, points.positions[points.point[here]])
        projected = local[:, :2] / local[:, 2:] * params[:2] + params[2:]
        image[here], error[here] = shown.identity, np.linalg.norm(projected - pixels[here], axis=1)
    starts = np.searchsorted(points.point, np.arange(len(points.positions) + 1))
    error = np.add.reduceat(error, starts[:-1]) / np.diff(starts) if len(error) else error
    elements = np.column_stack([image, slot]).astype("<u4")
    rows = []
    for index, (position, colour) in enumerate(zip(points.positions.tolist(), points.colours.tolist(), strict=True)):
        observed = elements[starts[index] : starts[index + 1]]
        head = struct.pack("<Q3d3BdQ", index + 1, *position, *colour, error[index], len(observed))
        rows.append(head + observed.tobytes())
    return _table(rows)


def _table(rows: list[bytes]) -> bytes:
    return struct.pack("<Q", len(rows)) + b"".join(rows)
