"""Bundle adjustment through pycolmap: cameras, points and what was seen where, as arrays in and out.

pycolmap's adjuster knows no prior on the focal length. One is stated in its own terms: an extra picture at rest sees
fixed points close to its axis where a camera of the expected focal length would see them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pycolmap

pycolmap.logging.minloglevel = int(pycolmap.logging.Level.FATAL)  # it would write to the user's terminal

LOSS_SCALE = 1.0  # of the Cauchy loss, in working pixels
CALIBRATION_POINTS = 100  # so many that each stays where the robust loss is quadratic


@dataclass
class Mapping:
    """Cameras and points, as far as they are known, of a set of views.

    Attributes:
        group: ``[V] int``, which camera took each view.
        size: ``[V,2]`` of each view in working pixels.
        focal: ``[G]`` of each camera in working pixels.
        focal_prior: ``[G]``, what it was expected to be.
        focal_deviation: ``[G]``, standard deviation of the logarithm of that expectation.
        view: ``[O] int``, the view of each observation.
        point: ``[O] int``, its point.
        pixels: ``[O,2]``, where it was seen.
        poses: ``camera_from_world [4,4]`` of each registered view.
        points: ``[P,3]`` in the world, nan where not triangulated.
        used: ``[O] bool``, observations that agree with their point and camera.
    """

    group: np.ndarray
    size: np.ndarray
    focal: np.ndarray
    focal_prior: np.ndarray
    focal_deviation: np.ndarray
    view: np.ndarray
    point: np.ndarray
    pixels: np.ndarray
    points: np.ndarray
    used: np.ndarray
    poses: dict[int, np.ndarray] = field(default_factory=dict)

    def camera(self, view: int) -> pycolmap.Camera:
        """The pycolmap camera of a view."""
        return pinhole(self.focal[self.group[view]], self.size[view], int(self.group[view]) + 1)

    def registered(self) -> np.ndarray:
        """``[V] bool``: views whose pose is known."""
        return np.isin(np.arange(len(self.group)), list(self.poses))

    def pose_array(self) -> np.ndarray:
        """``camera_from_world [V,4,4]``, nan where not registered."""
        poses = np.full((len(self.group), 4, 4), np.nan)
        for view, pose in self.poses.items():
            poses[view] = pose
        return poses

    def seen_by(self, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Where a registered view sees points in agreement: working pixels ``[N,2]`` and their z-depths ``[N]``."""
        rows = np.flatnonzero(self.used & (self.view == view))
        pose = self.poses[view]
        return self.pixels[rows], self.points[self.point[rows]] @ pose[2, :3] + pose[2, 3]

    def in_camera(self) -> np.ndarray:
        """``[O,3]``: the point of each observation in its camera, nan where either is unknown."""
        poses = self.pose_array()[self.view]
        return np.einsum("nij,nj->ni", poses[:, :3, :3], self.points[self.point]) + poses[:, :3, 3]

    def errors(self) -> np.ndarray:
        """``[O]`` reprojection errors in working pixels, infinite where unknown or behind the camera."""
        local = self.in_camera()
        with np.errstate(divide="ignore", invalid="ignore"):
            projected = local[:, :2] / local[:, 2:] * self.focal[self.group[self.view], None]
            error = np.linalg.norm(projected + self.size[self.view] / 2 - self.pixels, axis=1)
        return np.where(np.isfinite(error) & (local[:, 2] > 0), error, np.inf)


def pinhole(focal: float, size: np.ndarray, identity: int = 1) -> pycolmap.Camera:
    """A pycolmap camera with its principal point in the centre."""
    return pycolmap.Camera(
        model="SIMPLE_PINHOLE", width=int(np.ceil(size[0])), height=int(np.ceil(size[1])),
        params=[float(focal), size[0] / 2, size[1] / 2], camera_id=identity,
    )  # fmt: skip


def adjust(mapping: Mapping, refine_focal: bool, iterations: int = 20, loss_scale: float = LOSS_SCALE) -> None:
    """Refine poses, points and, on request, focal lengths of what is registered and used, in place.

    ``loss_scale``, of the Cauchy loss in working pixels, should be larger where the start is far off.
    """
    chosen = np.flatnonzero(mapping.used & mapping.registered()[mapping.view])
    counts = np.bincount(mapping.point[chosen], minlength=len(mapping.points))
    chosen = chosen[counts[mapping.point[chosen]] >= 2]
    chosen = chosen[np.argsort(mapping.point[chosen], kind="stable")]
    if len(chosen) == 0 or len(mapping.poses) < 2:
        return
    scene, config, views = pycolmap.Reconstruction(), pycolmap.BundleAdjustmentConfig(), sorted(mapping.poses)
    groups = sorted({int(mapping.group[view]) for view in views})
    for group in groups:
        scene.add_camera_with_trivial_rig(mapping.camera(next(v for v in views if mapping.group[v] == group)))
        if not refine_focal:
            config.set_constant_cam_intrinsics(group + 1)
    slot = np.zeros(len(mapping.view), int)
    for view in views:
        seen = chosen[mapping.view[chosen] == view]
        slot[seen] = np.arange(len(seen))
        image = pycolmap.Image(
            name=str(view), keypoints=mapping.pixels[seen], camera_id=int(mapping.group[view]) + 1, image_id=view + 1
        )
        scene.add_image_with_trivial_frame(image, pycolmap.Rigid3d(mapping.poses[view][:3]))
        config.add_image(view + 1)
    points, starts = np.unique(mapping.point[chosen], return_index=True)
    identities = []
    for point, seen in zip(points, np.split(chosen, starts[1:]), strict=True):
        elements = [
            pycolmap.TrackElement(int(v) + 1, int(s)) for v, s in zip(mapping.view[seen], slot[seen], strict=True)
        ]
        identities.append(scene.add_point3D(mapping.points[point], pycolmap.Track(elements)))
    if refine_focal:
        for group in groups:
            _expect_focal(scene, config, mapping, group, next(v for v in views if mapping.group[v] == group))

    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.refine_focal_length, options.refine_extra_params = refine_focal, False
    options.ceres.loss_function_type, options.ceres.loss_function_scale = pycolmap.LossFunctionType.CAUCHY, loss_scale
    solver = options.ceres.solver_options
    solver.max_num_iterations, solver.function_tolerance, solver.num_threads = iterations, 1e-5, 1
    pycolmap.create_default_ceres_bundle_adjuster(options, config, scene).solve()

    for view in views:
        mapping.poses[view] = np.vstack([scene.images[view + 1].cam_from_world().matrix(), [0, 0, 0, 1]])
    mapping.points[points] = np.array([scene.points3D[identity].xyz for identity in identities])
    for group in groups:
        mapping.focal[group] = scene.cameras[group + 1].params[0]


def _expect_focal(
    scene: pycolmap.Reconstruction, config: pycolmap.BundleAdjustmentConfig, mapping: Mapping, group: int, view: int
) -> None:
    """State the prior of one camera's focal length: the residuals' squares sum to ((f - prior) / deviation)²."""
    prior = mapping.focal_prior[group]
    slope = 1 / (prior * mapping.focal_deviation[group] * np.sqrt(CALIBRATION_POINTS))
    pixels = np.tile(mapping.size[view] / 2 + [prior * slope, 0], (CALIBRATION_POINTS // 2, 1))
    identities = [len(mapping.group) + 2 * group + twin for twin in (1, 2)]  # a point must be seen twice
    for identity in identities:
        name = f"prior {identity}"
        image = pycolmap.Image(name=name, keypoints=pixels, camera_id=group + 1, image_id=identity)
        scene.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
        config.add_image(identity)
        config.set_constant_rig_from_world_pose(scene.images[identity].frame_id)
    for index in range(CALIBRATION_POINTS // 2):
        track = pycolmap.Track([pycolmap.TrackElement(identity, index) for identity in identities])
        config.add_constant_point(scene.add_point3D([slope, 0, 1], track))
