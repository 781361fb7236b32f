"""Places for views that mapping leaves out: by the aligned depth of others, by a pair, or by the network's own word."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon import geometry
from recon.alignment.depth import sample
from recon.alignment.matching import Features, transform_pixels
from recon.alignment.twoview import Pair, meaningful
from recon.scene import Frame

DEPTH_ERROR = 10.0  # of an inlier, in working pixels: depth maps are rougher than triangulated points
INLIERS = 10
SMALL_ANGLE = 1.0  # degrees: below, a pair's matches do not tell how far apart its cameras are


@dataclass(frozen=True)
class Evidence:
    """What is known of all views, whether placed or not.

    Attributes:
        frames: with their depth; the cameras and the unit of placed ones are the world's.
        features: in working pixels.
        frame_from_working: ``[3,3]`` each, working pixels to pixels of the frame.
        working_intrinsics: ``[3,3]`` each, in working pixels.
    """

    frames: Sequence[Frame]
    features: Sequence[Features]
    frame_from_working: Sequence[np.ndarray]
    working_intrinsics: Sequence[np.ndarray]

    def depth(self, view: int, pixels: np.ndarray) -> np.ndarray:
        """Z-depth ``[N]`` of a view at working pixels ``[N,2]``, nan where unknown."""
        return sample(self.frames[view].depth, transform_pixels(self.frame_from_working[view], pixels))

    def rays(self, view: int, pixels: np.ndarray) -> np.ndarray:
        """Directions ``[N,3]`` in the view's camera, with z = 1, of working pixels ``[N,2]``."""
        return np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(self.working_intrinsics[view]).T


def by_depth(
    view: int, placed: Sequence[int], evidence: Evidence, matches: Dictionary[tuple[int, int], np.ndarray]
) -> np.ndarray | None:
    """``world_from_camera [4,4]`` by PnP from matches to placed views, whose depth says where the matches are.

    Args:
        view: the view to place.
        placed: views whose frames stand in the world, with aligned depth.
        evidence: of all views.
        matches: of pairs of views, the lower index first, ``[M,2]``.

    Returns:
        None where too few matches agree.
    """
    points, pixels = [], []
    for other in placed:
        joined = matches.get((min(view, other), max(view, other)))
        if joined is None or len(joined) == 0:
            continue
        here, there = (joined[:, 0], joined[:, 1]) if view < other else (joined[:, 1], joined[:, 0])
        seen = evidence.features[other].pixels[there]
        depth = evidence.depth(other, seen)
        good = np.isfinite(depth)
        points_in_camera = evidence.rays(other, seen[good]) * depth[good, None]
        points.append(geometry.transform(evidence.frames[other].camera.world_from_camera, points_in_camera))
        pixels.append(evidence.features[view].pixels[here[good]])
    if not points:
        return None
    all_points, all_pixels = np.concatenate(points), np.concatenate(pixels)
    found = geometry.pnp(all_points, all_pixels, evidence.working_intrinsics[view], DEPTH_ERROR, INLIERS)
    if found is None:
        return None
    # A camera has six unknowns where a pair has five, but a place is a point and not a line: the test is generous.
    if not meaningful(int(found[1].sum()), len(all_points), evidence.features[view].size, DEPTH_ERROR / 4):
        return None
    return found[0]


def by_pair(view: int, placed: Sequence[int], evidence: Evidence, pairs: Sequence[Pair]) -> np.ndarray | None:
    """``world_from_camera [4,4]`` by the pair with most matches to a placed view, None where there is no such pair.

    Rotation and direction are the pair's. How far, which a pair cannot tell, comes from the placed view's depth: the
    median ratio to the depth that the matches have for a baseline of 1.

    Args:
        view: the view to place.
        placed: views whose frames stand in the world, with aligned depth.
        evidence: of all views.
        pairs: verified pairs of any views.
    """
    joined = [
        pair
        for pair in pairs
        if pair.angle > SMALL_ANGLE
        and ((pair.first == view and pair.second in placed) or (pair.second == view and pair.first in placed))
    ]
    if not joined:
        return None
    pair = max(joined, key=lambda pair: len(pair.matches))
    if pair.second == view:
        other, view_from_other, columns = pair.first, pair.second_from_first, pair.matches
    else:
        other, view_from_other, columns = pair.second, geometry.invert(pair.second_from_first), pair.matches[:, ::-1]
    there = evidence.features[other].pixels[columns[:, 0]]
    rays_there = evidence.rays(other, there)
    rays_here = evidence.rays(view, evidence.features[view].pixels[columns[:, 1]])
    rotation, direction = view_from_other[:3, :3], view_from_other[:3, 3]
    # The depth z along the ray of the placed view: (z R r + t) x r' = 0, least squares for each match.
    turned = np.cross(rays_there @ rotation.T, rays_here)
    fixed = np.cross(direction, rays_here)
    unit_depth = -(turned * fixed).sum(1) / np.maximum((turned**2).sum(1), 1e-18)
    depth = evidence.depth(other, there)
    good = np.isfinite(depth) & (unit_depth > 0)
    if good.sum() < 5:
        return None
    distance = float(np.median(depth[good] / unit_depth[good]))
    other_from_view = geometry.invert(geometry.rigid(rotation, direction * distance))
    return np.asarray(evidence.frames[other].camera.world_from_camera, np.float64) @ other_from_view


def by_network(view: int, placed: Sequence[int], network: np.ndarray, world: np.ndarray) -> np.ndarray:
    """``world_from_camera [4,4]`` as the network sees the view relative to the nearest placed one.

    Args:
        view: the view to place.
        placed: views whose place is known, not empty.
        network: ``[V,4,4]``, all cameras as the network has them, in units of the world.
        world: ``[V,4,4]``, cameras in the world, meaningless where not placed.
    """
    turn = geometry.rotation_angle(np.swapaxes(network[list(placed), :3, :3], 1, 2) @ network[view, :3, :3])
    step = np.linalg.norm(network[list(placed), :3, 3] - network[view, :3, 3], axis=1)
    spread = np.median(step) + 1e-9
    nearest = placed[int(np.argmin(turn / 30 + step / spread))]
    return world[nearest] @ geometry.invert(network[nearest]) @ network[view]
