"""From what SIU3R says of some views to frames, Gaussians and labels of a scene whose world is the first one's camera.

A checkpoint for two views sees more of them in pairs, each with the first photo. All pairs are in that photo's camera
already, so two of them differ by a scale alone, which the first photo's pixels tell: they are in both. The same pixels
tell which of their segments are the same; a thing that the first photo does not show is a new one in each pair.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recon import geometry
from recon.media import listed
from recon.models.fitting import Fitted, framed
from recon.models.panoptic import STUFF as MERGED
from recon.models.panoptic import as_segments, merged, panoptic, segments_seen, winners
from recon.models.siu3r_cameras import LEAST_OVERLAP, place
from recon.models.siu3r_labels import CLASSES, STUFF, labels
from recon.networks.siu3r_gaussians import GaussianMaps, covariances
from recon.scene import Camera, Frame, Gaussians, Scene, Segment, View
from recon.splatting import Splats, render

SAME_THING = 0.3  # intersection over union of two segments of one thing, at the first photo's pixels
OPAQUE = 0.1  # opacity of a pixel that a scale is found by


@dataclass(frozen=True)
class Member:
    """A photo of a run.

    Attributes:
        view: what the user gave.
        index: of it among the user's.
        fitted: the network's input.
        intrinsics: ``[3,3]`` in pixels of that.
    """

    view: View
    index: int
    fitted: Fitted
    intrinsics: np.ndarray


@dataclass(frozen=True)
class Seen:
    """What one pass of the network says of V views, the first photo first.

    Attributes:
        members: the views.
        gaussians: ``[1,V,H,W,...]``.
        classes: logits ``[Q,L + 1]``.
        masks: logits ``[Q,V,h,w]``.
    """

    members: Sequence[Member]
    gaussians: GaussianMaps
    classes: Tensor
    masks: Tensor


class World:
    """A scene that grows, pass by pass."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.first: GaussianMaps | None = None
        self.parts: list[Gaussians] = []
        self.segments: list[Segment] = []
        self.lost: list[str] = []
        self.guessed: list[str] = []

    def add(self, seen: Seen) -> tuple[int, ...]:
        """Put the views of a pass into the scene; the first photo only once. Gives the indices of the new frames."""
        poses = self._poses(seen)
        segments, found = recognised(seen, poses)
        scale = 1.0
        if self.first is None:
            self.first = seen.gaussians
        else:
            scale = scale_between(self.first, seen.gaussians)
            segments, found = self._renamed(segments, found)
        self.segments += found
        changed = []
        for number, (member, pose) in enumerate(zip(seen.members, poses, strict=True)):
            if pose is not None and (number or not self.scene.frames):
                changed.append(len(self.scene.frames))
                frame = frame_of(member, seen.gaussians, number, pose, scale, segments[number])
                self.parts.append(gaussians_of(seen.gaussians, number, scale, frame, changed[-1]))
                self.scene.frames.append(frame)
        self.scene.gaussians = Gaussians.joined(self.parts)
        self.scene.labels = labels(self.segments)
        return tuple(changed)

    def _poses(self, seen: Seen) -> list[np.ndarray | None]:
        """``world_from_camera [4,4]`` of each view, in this pass's own scale; None where there is none."""
        points = seen.gaussians.means[0].float().cpu().numpy()
        first, *others = seen.members
        poses: list[np.ndarray | None] = [np.eye(4, dtype=np.float32)]
        for number, member in enumerate(others, 1):
            found = place(points[number], points[0], member.intrinsics, first.intrinsics)
            poses.append(None if found is None else found.world_from_camera)
            if found is None:
                self.lost.append(member.view.name)
            elif found.overlap < LEAST_OVERLAP:
                self.guessed.append(member.view.name)
        return poses

    def notes(self, first: str) -> list[str]:
        """What is to be said of the places of photos; ``first`` is the name of the one that all are seen with."""
        notes = []
        if self.lost:
            were = "was" if len(self.lost) == 1 else "were"
            notes.append(
                f"{listed(self.lost)} {were} left out: no place was found. Take photos that show much of what "
                f"'{first}' shows."
            )
        if self.guessed:
            one = len(self.guessed) == 1
            show, place = ("shows", "its place is a guess") if one else ("show", "their places are guesses")
            notes.append(f"{listed(self.guessed)} {show} little of what '{first}' shows: {place}.")
        return notes

    def _renamed(self, segments: np.ndarray, found: list[Segment]) -> tuple[np.ndarray, list[Segment]]:
        """Segments of a pass ``[V,H,W]`` under the ids that the scene has for the same things, or new ones."""
        known = self.scene.frames[0].segments
        assert known is not None
        following = max([MERGED + len(CLASSES), *(segment.id for segment in self.segments)]) + 1
        names = {-1: -1} | {segment.id: segment.id for segment in found if not segment.thing}
        for segment in found:
            if segment.thing:
                alike = {each.id for each in self.segments if each.thing and each.label == segment.label}
                same = same_thing(segments[0] == segment.id, known, alike - set(names.values()))
                names[segment.id] = following if same is None else same
                following += same is None
        ids = np.unique(segments)
        renamed = np.array([names[int(number)] for number in ids], np.int32)
        return renamed[np.searchsorted(ids, segments)], [replace(each, id=names[each.id]) for each in found]


def same_thing(mask: np.ndarray, known: np.ndarray, ids: Collection[int]) -> int | None:
    """Which of the segments ``ids`` of a photo ``known [H,W]`` is the one that lies at ``mask``, if any is."""
    shares = {number: (mask & (known == number)).sum() / max((mask | (known == number)).sum(), 1) for number in ids}
    best = max(shares, key=lambda number: shares[number], default=None)
    return best if best is not None and shares[best] > SAME_THING else None


def recognised(seen: Seen, poses: Sequence[np.ndarray | None]) -> tuple[np.ndarray, list[Segment]]:
    """Segment ids ``[V,H,W] int32``, -1 for none, and what they are.

    Each Gaussian carries the masks of its pixel, and what the views see of all Gaussians decides (the paper's
    "reconstruction helps understanding"). Nothing is told of a view without a pose.
    """
    maps = seen.gaussians
    height, width = maps.opacities.shape[2:]
    found = panoptic(seen.classes, seen.masks, (height, width), STUFF)
    if not found.segments:
        return np.full(found.segmentation.shape, -1, np.int32), []
    placed = [number for number, pose in enumerate(poses) if pose is not None]
    device = maps.means.device
    poses_there = torch.stack([torch.as_tensor(poses[number], device=device) for number in placed])
    lenses = torch.stack([torch.as_tensor(seen.members[number].intrinsics, device=device) for number in placed])
    shapes = covariances(maps.scales, maps.rotations)
    flat = (part[0, placed].flatten(0, 2) for part in (maps.means, shapes, maps.opacities))
    carried = found.masks[:, placed].flatten(1).T
    rendered = render(Splats(*flat), carried, lenses, poses_there, (width, height)).features
    # Blending is linear: masks are rendered, and only then multiplied by the classes of their queries.
    best = [winners(torch.einsum("hwk,kl->klhw", view, found.classes)[None]) for view in rendered]
    semantic, query = (torch.cat(parts) for parts in zip(*best, strict=True))
    instance = merged(semantic, query, STUFF)
    everywhere = torch.zeros_like(found.segmentation)
    everywhere[placed] = instance
    scores = [segment.score for segment in found.segments]
    return as_segments(everywhere), segments_seen(semantic, query, instance, scores)


def scale_between(reference: GaussianMaps, other: GaussianMaps) -> float:
    """By what the points of ``other`` are to be multiplied to be in the units of ``reference``, by their first view."""
    depths = [maps.means[0, 0, ..., 2] for maps in (reference, other)]
    sure = (reference.opacities[0, 0] > OPAQUE) & (other.opacities[0, 0] > OPAQUE)
    good = (depths[0] > 0) & (depths[1] > 0)
    good = good & sure if (good & sure).any() else good
    return float((depths[0][good] / depths[1][good]).median()) if good.any() else 1.0


def frame_of(
    member: Member, maps: GaussianMaps, number: int, pose: np.ndarray, scale: float, segments: np.ndarray
) -> Frame:
    """The frame of one view of a pass."""
    points = scale * maps.means[0, number].float().cpu().numpy()
    pose = pose.copy()
    pose[:3, 3] *= scale
    depth = geometry.transform(geometry.invert(pose), points)[..., 2].astype(np.float32)
    known = np.isfinite(points).all(-1) & (depth > 0)
    depth[~known], points[~known] = 0, 0
    confidence = maps.opacities[0, number].float().cpu().numpy()
    camera = Camera(member.intrinsics, pose)
    return framed(member.view, member.index, member.fitted, camera, depth, confidence, points, segments=segments)


def gaussians_of(maps: GaussianMaps, number: int, scale: float, frame: Frame, index: int) -> Gaussians:
    """One for each pixel that is known of a view of a pass, which became the frame of that index."""
    known = frame.known()
    row, column = np.nonzero(known)

    def chosen(part: Tensor) -> np.ndarray:
        return part[0, number].float().cpu().numpy()[known]

    assert frame.points is not None
    rotations = np.roll(chosen(maps.rotations), 1, axis=1)  # xyzw to wxyz
    length = np.linalg.norm(rotations, axis=1, keepdims=True)
    return Gaussians(
        frame.points[known],
        scale * chosen(maps.scales),
        np.where(length > 1e-8, rotations / np.maximum(length, 1e-8), [1, 0, 0, 0]).astype(np.float32),
        chosen(maps.opacities),
        chosen(maps.harmonics),
        np.full(len(row), index, np.int32),
        np.stack([column, row], 1).astype(np.int32),
    )
