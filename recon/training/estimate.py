"""Estimate: what a network says of a batch, in the terms of the batch. Every part is optional, so that any family of
networks learns by the same losses."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recon.networks.parallax import Prediction


@dataclass
class CameraEstimate:
    """Cameras of all views.

    Attributes:
        rotation: ``[S,V,3,3]`` world_from_camera, OpenCV axes.
        translation: ``[S,V,3]`` centres in the world.
        tangents: ``[S,V,2]`` of half the horizontal and vertical field of view.
    """

    rotation: Tensor
    translation: Tensor
    tangents: Tensor


@dataclass
class Estimate:
    """Of S scenes of V views; the world is the first view's camera, and the unit that of `Batch.normalised`.

    Attributes:
        depth: ``[S,V,H,W]`` z-depth, above 0.
        depth_confidence: ``[S,V,H,W]``, at least 1.
        points: ``[S,V,H,W,3]`` in the world.
        points_confidence: ``[S,V,H,W]``, at least 1.
        cameras: after each step of refinement, the last the best; empty where the network tells none.
        descriptors: ``[S,V,h,w,C]`` unit length, of large cells (16 pixels).
        fine_descriptors: ``[S,V,h,w,C]`` unit length, of small cells (4 pixels).
    """

    depth: Tensor | None = None
    depth_confidence: Tensor | None = None
    points: Tensor | None = None
    points_confidence: Tensor | None = None
    cameras: tuple[CameraEstimate, ...] = ()
    descriptors: Tensor | None = None
    fine_descriptors: Tensor | None = None

    @classmethod
    def from_parallax(cls, prediction: Prediction) -> Estimate:
        """What the embedded network predicted."""
        return cls(
            depth=prediction.depth,
            depth_confidence=prediction.depth_confidence,
            points=prediction.points,
            points_confidence=prediction.points_confidence,
            cameras=tuple(
                CameraEstimate(
                    rotation_from_quaternion(camera.quaternion),
                    camera.translation,
                    (camera.fields_of_view / 2).tan(),
                )
                for camera in prediction.cameras
            ),
            descriptors=prediction.descriptors,
            fine_descriptors=prediction.fine_descriptors,
        )

    def in_a_row(self) -> Estimate:
        """What is said of each view, as if all were of one scene, ``[1, S V, ...]``; without the cameras."""
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "cameras"}
        return Estimate(**{name: part.flatten(0, 1)[None] for name, part in parts.items() if part is not None})

    def tensors(self) -> list[Tensor]:
        """All that the network said, in no order that matters."""
        parts = [getattr(self, field.name) for field in fields(self) if field.name != "cameras"]
        parts += [getattr(camera, field.name) for camera in self.cameras for field in fields(camera)]
        return [part for part in parts if part is not None]


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """``[...,3,3]`` from unit quaternions ``[...,4]``, wxyz."""
    w, x, y, z = quaternion.unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(entries, -1).unflatten(-1, (3, 3))
