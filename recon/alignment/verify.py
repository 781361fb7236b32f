"""Verify a model's cameras by what its photos share, and make its depth agree with them.

The model's scene is a prior: SIFT matches, verified in pairs, are mapped to cameras and points (`mapping`); views that
mapping leaves out are placed by aligned depth, by a pair, or as the model saw them (`placement`); each depth map is
fitted to the points seen in it (`depth`). The world stays the camera of the first frame, in the model's unit.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from recon import geometry
from recon.alignment import depth as depth_fit
from recon.alignment import mapping as mapper
from recon.alignment import placement
from recon.alignment.bundle import Mapping
from recon.alignment.dense_matching import Description
from recon.alignment.loops import consistent
from recon.alignment.matching import (
    LONG_SIDE,
    Features,
    candidate_pairs,
    extract,
    transform_pixels,
    working_size,
)
from recon.alignment.pairing import Joined, Seen, join, merge
from recon.alignment.twoview import Pair
from recon.scene import Frame, Scene, View

CONFIDENCE = {"mapped": 1.0, "pair": 0.5, "depth": 0.5, "guess": 0.2}  # times the network's, by how a view was placed
USUAL_FOCAL = 0.9 * LONG_SIDE  # of phones and cameras that do not say
SEEDS = 3  # pairs to start mapping from, in turn, until all views are mapped
Progress = Generator[tuple[float, str], None, None]


def verify(
    scene: Scene,
    views: Sequence[View],
    *,
    described: Sequence[Description] | None = None,
    exif_deviation: float = 0.05,
    focal_deviation: float = 0.2,
) -> Generator[tuple[float, str], None, tuple[int, ...]]:
    """Correct cameras, depth and confidence of a scene in place, yielding ``(fraction, message)``.

    Sets ``scene.sparse_points``, adds to ``scene.notes``, and writes to ``scene.settings["placement"]`` how each frame
    was placed: "mapped" (bundle adjustment), "pair" (relative pose to a placed view), "depth" (PnP against aligned
    depth), "guess" (as the model saw it) or "alone" (the only one). The confidence of a frame is multiplied by
    `CONFIDENCE` of that.

    Args:
        scene: of any model; ``frame.view`` indexes ``views``.
        views: the views given to the model.
        described: how each frame looks to the model, by which places that show the same thing are alike; None where
            the model cannot tell. It guides the matching.
        exif_deviation: of the logarithm of a focal length that the file states.
        focal_deviation: of the logarithm of one that it does not.

    Returns:
        Indices of the frames that changed.
    """
    stage = _Stage(scene, views, described, exif_deviation, focal_deviation)
    yield from stage.find_features()
    yield from stage.match_pairs()
    yield from stage.map_views()
    yield 0.9, "Fitting depth"
    return stage.finish()


class _Stage:
    """The state of one run; everything is indexed by frame."""

    def __init__(
        self,
        scene: Scene,
        views: Sequence[View],
        described: Sequence[Description] | None,
        exif_deviation: float,
        focal_deviation: float,
    ) -> None:
        self.scene, self.frames, self.described = scene, scene.frames, described
        self.views = [views[frame.view] for frame in scene.frames]
        self.network = np.array([frame.camera.world_from_camera for frame in self.frames], np.float64)
        self.frame_from_working = [
            _frame_from_working(frame, view) for frame, view in zip(self.frames, self.views, strict=True)
        ]
        self.features: list[Features] = []
        self.matches: dict[tuple[int, int], np.ndarray] = {}
        self.pairs: list[Pair] = []
        self.scale = 1.0  # the network's unit over the mapping's
        self.mapping = self._empty_mapping(exif_deviation, focal_deviation)

    def _empty_mapping(self, exif_deviation: float, focal_deviation: float) -> Mapping:
        """Group the views by camera and say what each camera's focal length probably is."""
        keys = [(view.size, round(view.focal_prior or 0)) for view in self.views]
        cameras = list(dict.fromkeys(keys))
        group = np.array([cameras.index(key) for key in keys], int)
        prior, deviation = np.zeros(len(cameras)), np.zeros(len(cameras))
        for index in range(len(cameras)):
            members = np.flatnonzero(group == index)
            view = self.views[members[0]]
            if view.focal_prior:
                prior[index] = view.focal_prior * LONG_SIDE / max(view.size)
                deviation[index] = exif_deviation
            else:
                seen = np.median([np.log(self._network_focal(int(member))) for member in members])
                prior[index] = np.exp((seen + np.log(USUAL_FOCAL)) / 2)
                deviation[index] = focal_deviation
        return Mapping(
            group=group, size=np.array([working_size(view) for view in self.views]).reshape(-1, 2), focal=prior.copy(),
            focal_prior=prior, focal_deviation=deviation, view=np.zeros(0, int), point=np.zeros(0, int),
            pixels=np.zeros((0, 2)), points=np.zeros((0, 3)), used=np.zeros(0, bool),
        )  # fmt: skip

    def _network_focal(self, index: int) -> float:
        intrinsics = np.linalg.inv(self.frame_from_working[index]) @ self.frames[index].camera.intrinsics
        return float(np.sqrt(intrinsics[0, 0] * intrinsics[1, 1]))

    def _working_intrinsics(self, index: int) -> np.ndarray:
        return geometry.intrinsics_from_focal(
            float(self.mapping.focal[self.mapping.group[index]]), *self.mapping.size[index]
        ).astype(float)

    def find_features(self) -> Progress:
        with ThreadPoolExecutor(2) as pool:
            for view, features in zip(self.views, pool.map(extract, self.views), strict=True):
                self.features.append(features)
                fraction = 0.3 * len(self.features) / len(self.views)
                yield fraction, f"Found {len(features.pixels)} features in {view.name}"

    def match_pairs(self) -> Progress:
        wanted = candidate_pairs(len(self.views))
        seen = [
            Seen(
                self.features[index],
                None if self.described is None else self.described[index],
                self.mapping.camera(index),
                self.network[index],
                self.frames[index].depth,
                self.frame_from_working[index],
            )
            for index in range(len(self.views))
        ]
        joined: list[tuple[tuple[int, int], Joined]] = []
        with ThreadPoolExecutor(2) as pool:
            for pair, found in zip(wanted, pool.map(lambda pair: join(pair[0], pair[1], seen), wanted), strict=True):
                joined.append((pair, found))
                yield 0.3 + 0.4 * len(joined) / len(wanted), f"Matched {len(joined)} of {len(wanted)} pairs"
        self.features, self.matches, pairs = merge(self.features, joined)
        self.pairs = consistent(pairs, self.network)

    def map_views(self) -> Progress:
        mapping = self.mapping
        mapping.view, mapping.point, mapping.pixels, count = mapper.tracks(self.features, self.pairs)
        mapping.points, mapping.used = np.full((count, 3), np.nan), np.zeros(len(mapping.view), bool)
        if not self.pairs:
            return
        views = set(range(len(self.views)))
        seeds = mapper.seed_pairs(self.pairs)
        best, fraction = (0, 0), 0.7
        for _ in range(min(SEEDS, len(seeds))):
            # Next to the strongest pair, one that shows what the best mapping so far leaves out.
            seed = next((pair for pair in seeds if {pair.first, pair.second} - self.mapping.poses.keys()), seeds[0])
            seeds.remove(seed)
            trial = replace(mapping, focal=mapping.focal_prior.copy(), points=mapping.points.copy(), poses={})
            for _ in mapper.grow(trial, seed, views):
                fraction = max(fraction, 0.7 + 0.2 * len(trial.poses) / len(views))
                yield fraction, f"Mapped {len(trial.poses)} of {len(views)} views"
            merit = len(trial.poses), int(trial.used.sum())
            if merit > best:
                best, self.mapping = merit, trial
            if len(trial.poses) == len(views):
                break

    def finish(self) -> tuple[int, ...]:
        if len(self.frames) < 2:
            self.scene.settings["placement"] = ["alone"] * len(self.frames)
            return ()
        self._apply_focals()
        how = {}
        world = self.network.copy()
        if self.mapping.poses:
            how = self._apply_mapping(world)
        if not how:
            how = {0: "guess"}
        self._place_rest(how, world)
        self._express_in_first(world)
        for index, frame in enumerate(self.frames):
            frame.camera.world_from_camera = world[index].astype(np.float32)
            frame.points = None
            frame.confidence = (frame.confidence * CONFIDENCE[how[index]]).astype(np.float32)
        self.scene.settings["placement"] = [how[index] for index in range(len(self.frames))]
        self._note(how)
        return tuple(range(len(self.frames)))

    def _apply_focals(self) -> None:
        for index, frame in enumerate(self.frames):
            intrinsics = self.frame_from_working[index] @ self._working_intrinsics(index)
            frame.camera.intrinsics = intrinsics.astype(np.float32)

    def _points_in_frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the frame and z-depths of the points that mapping has in it, in the mapping's unit."""
        pixels, depth = self.mapping.seen_by(index)
        return transform_pixels(self.frame_from_working[index], pixels), depth

    def _apply_mapping(self, world: np.ndarray) -> dict[int, str]:
        """Bring the mapping to the network's unit and fit the depth of its frames to it."""
        mapping = self.mapping
        scale = depth_fit.common_scale(
            (self.frames[index].depth, *self._points_in_frame(index)) for index in mapping.poses
        )
        if scale is None:
            first, second = sorted(mapping.poses)[:2]
            scale = float(np.linalg.norm(self.network[first, :3, 3] - self.network[second, :3, 3]))
        for index, pose in mapping.poses.items():
            world[index] = geometry.invert(pose)
            world[index, :3, 3] *= scale
        self.scale = scale
        for index in mapping.poses:
            self.frames[index].camera.world_from_camera = world[index]
            self._fit_depth(index)
        return {index: "mapped" for index in mapping.poses}

    def _fit_depth(self, index: int) -> None:
        pixels, depth = self._points_in_frame(index)
        fitted = depth_fit.fit(self.frames[index].depth, pixels, depth * self.scale)
        if fitted is not None:
            self.frames[index].depth = fitted

    def _place_rest(self, how: dict[int, str], world: np.ndarray) -> None:
        """Place what mapping left out, the best connected first; each placed view helps the next.

        A view placed relative to a guess is a guess too, though the two may fit each other.
        """
        intrinsics = [self._working_intrinsics(index) for index in range(len(self.frames))]
        evidence = placement.Evidence(self.frames, self.features, self.frame_from_working, intrinsics)
        strength = np.zeros(len(self.frames))
        for pair in self.pairs:
            strength[[pair.first, pair.second]] += len(pair.matches)
        while len(how) < len(self.frames):
            rest = sorted(set(range(len(self.frames))) - how.keys(), key=lambda index: -strength[index])
            sure = [index for index in sorted(how) if how[index] != "guess"]
            unsure = [index for index in sorted(how) if how[index] == "guess"]
            found = self._connect(rest, sure, evidence)
            if found is None:
                found = self._connect(rest, unsure, evidence)
                if found is None:
                    known = sure or unsure
                    near = min(rest, key=lambda index: min(abs(index - other) for other in known))
                    found = near, "guess", placement.by_network(near, known, self.network, world)
                found = found[0], "guess", found[2]
            index, way, pose = found
            world[index], how[index] = pose, way
            self.frames[index].camera.world_from_camera = pose
            if way != "guess" and self.mapping.used.any():  # without a point its unit is unknown
                in_mapping = geometry.rigid(pose[:3, :3], pose[:3, 3] / self.scale)
                self.mapping.poses[index] = geometry.invert(in_mapping)
                mapper.triangulate(self.mapping)
                self._fit_depth(index)

    def _connect(
        self, rest: Sequence[int], placed: Sequence[int], evidence: placement.Evidence
    ) -> tuple[int, str, np.ndarray] | None:
        """The first view of ``rest`` that a pair or depth ties to a placed one, how, and its ``world_from_camera``."""
        for index in rest:
            pose = placement.by_pair(index, placed, evidence, self.pairs)
            if pose is not None:
                return index, "pair", pose
            pose = placement.by_depth(index, placed, evidence, self.matches)
            if pose is not None:
                return index, "depth", pose
        return None

    def _express_in_first(self, world: np.ndarray) -> None:
        first_from_world = geometry.invert(world[0])
        world[:] = first_from_world @ world
        if self.mapping.poses:
            points = self.mapping.points[np.isfinite(self.mapping.points[:, 0])] * self.scale
            self.scene.sparse_points = geometry.transform(first_from_world, points).astype(np.float32)

    def _note(self, how: dict[int, str]) -> None:
        guessed = [self.frames[index].name for index in sorted(how) if how[index] == "guess"]
        if len(guessed) == len(self.frames) or not self.mapping.poses:
            self.scene.notes.append("The photos share too little to check their places: confidence is low.")
        elif len(guessed) == 1:
            self.scene.notes.append(f"{guessed[0]} shares too little with the others: its place is a guess.")
        elif guessed:
            names = ", ".join(guessed)
            self.scene.notes.append(f"{names} share too little with the others: their places are guesses.")


def _frame_from_working(frame: Frame, view: View) -> np.ndarray:
    """``[3,3]``: working pixels of a view to pixels of its frame."""
    width, _ = working_size(view)
    view_from_working = np.diag([view.size[0] / width, view.size[0] / width, 1.0])
    frame_from_view = np.linalg.inv(np.asarray(frame.original_from_processed, float)) @ view.original_from_view
    return frame_from_view @ view_from_working
