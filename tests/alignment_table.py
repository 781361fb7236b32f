"""How good and how fast is the global alignment beside its reference implementation, on the scene recorded of that?

    python tests/alignment_table.py [RECORDING.npz]

Without a recording it takes the one in the repository, of half the resolution. Prints a Markdown table: for each run of
the reference that was recorded its figures, then ours with the same things known.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon import geometry  # before numpy, which reads when it is imported how many threads it may use

# isort: split
import numpy as np
import torch

from recon.alignment.global_alignment import Alignment, align
from recon.alignment.pair_maps import Known, PairMaps
from tests.helpers import drained

RECORDING = Path(__file__).parent / "recordings" / "dust3r" / "alignment.npz"
Figures = tuple[float, float, float, float, float, float, float]
NAMES = (
    "camera centres (RMSE)",
    "rotation after a fit of points (deg)",
    "rotation between cameras (deg)",
    "focal length (%)",
    "depth (relative)",
    "points (RMSE)",
    "CPU seconds",
)
# 300 iterations each, one thread; what was known is in the names.
REFERENCE: dict[str, Figures] = {
    "nothing known, linear": (0.02605, 0.5852, 0.8605, 1.515, 0.01657, 0.03004, 4.364),
    "nothing known, cosine": (0.02746, 0.5867, 0.8626, 1.596, 0.01734, 0.03007, 3.905),
    "nothing known, modular": (0.0269, 0.5852, 0.8605, 1.558, 0.01698, 0.03005, 6.127),
    "nothing known, linear, repaired start": (0.01085, 0.6042, 0.8837, 0.2393, 0.004004, 0.02967, 3.725),
    "nothing known, cosine, repaired start": (0.01042, 0.6045, 0.884, 0.2409, 0.003684, 0.02966, 4.075),
    "focal lengths known": (0.008275, 0.609, 0.8895, 1.114e-05, 0.003441, 0.02966, 4.082),
    "poses 0 and 3 known": (0.01825, 0.6897, 0.9032, 4.941, 0.05173, 0.03119, 5.306),
    "poses and focal lengths known": (3.71e-08, 0.1022, 0.0, 1.114e-05, 0.002588, 0.01252, 3.801),
}


def recorded_pairs(recording: Mapping[str, np.ndarray]) -> list[PairMaps]:
    """The pairs that the reference was given."""
    names = ("pts3d_1", "conf_1", "pts3d_in_other_view_2", "conf_2")
    return [
        PairMaps(int(i), int(j), *(recording[name][index] for name in names))
        for index, (i, j) in enumerate(recording["edges"])
    ]


def known_of(run: str, recording: Mapping[str, np.ndarray]) -> Known:
    """What a run of `REFERENCE` knew; the recording counts pixels from their centres, half a pixel off."""
    height, width = recording["gt_depth"].shape[1:]
    poses = dict(enumerate(recording["gt_poses"])) if "poses" in run else {}
    if "0 and 3" in run:
        poses = {view: poses[view] for view in (0, 3)}
    focal = dict(enumerate(recording["gt_focals"].tolist())) if "focal lengths" in run else {}
    return Known(poses, focal, {view: np.array([width / 2 + 0.5, height / 2 + 0.5]) for view in range(4)})


def solve(pairs: Sequence[PairMaps], known: Known | None = None) -> Alignment:
    """The alignment, drained."""
    return drained(align(pairs, known))


@contextmanager
def one_thread() -> Iterator[None]:
    """As the reference had: threads that wait for one another would count as work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def figures(run: str, recording: Mapping[str, np.ndarray]) -> Figures:
    """Ours, as `NAMES` has them."""
    pairs, known = recorded_pairs(recording), known_of(run, recording)
    with one_thread():
        start = time.process_time()
        result = solve(pairs, known)
        seconds = time.process_time() - start
    truth = recording["gt_poses"]
    points, true_points = (
        np.concatenate([
            geometry.transform(pose, unprojected(depth, focal)).reshape(-1, 3)
            for pose, depth, focal in zip(poses, depths, focals, strict=True)
        ])
        for poses, depths, focals in (
            (result.world_from_camera, result.depth, result.focal),
            (truth, recording["gt_depth"], recording["gt_focals"]),
        )
    )  # fmt: skip
    fit = geometry.similarity(true_points, points)
    fitted = geometry.apply_similarity(fit, result.world_from_camera)
    turns = geometry.rotation_angle(np.swapaxes(fitted[:, :3, :3], 1, 2) @ truth[:, :3, :3])
    return (
        centre_error(result.world_from_camera, truth),
        float(turns.mean()),
        turn_error(result.world_from_camera, truth),
        float(100 * abs(result.focal / recording["gt_focals"] - 1).mean()),
        depth_error(result, recording["gt_depth"]),
        float(np.sqrt(np.square(geometry.transform(fit, points) - true_points).sum(1).mean())),
        seconds,
    )


def unprojected(depth: np.ndarray, focal: float) -> np.ndarray:
    """``[H,W,3]`` in the camera, as the recording counts pixels."""
    height, width = depth.shape
    intrinsics = geometry.intrinsics_from_focal(float(focal), width + 1, height + 1)
    return geometry.unproject(np.asarray(depth, np.float64), intrinsics)


def centre_error(world_from_camera: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the cameras' places after a similarity fit."""
    places, true_places = world_from_camera[:, :3, 3], truth[:, :3, 3]
    moved = geometry.transform(geometry.similarity(true_places, places), places)
    return float(np.sqrt(np.square(moved - true_places).sum(1).mean()))


def turn_error(world_from_camera: np.ndarray, truth: np.ndarray) -> float:
    """Mean error in degrees of the rotations between cameras."""
    one, two = np.triu_indices(len(truth), 1)
    found, true = (np.swapaxes(poses[one, :3, :3], 1, 2) @ poses[two, :3, :3] for poses in (world_from_camera, truth))
    return float(geometry.rotation_angle(np.swapaxes(found, 1, 2) @ true).mean())


def depth_error(result: Alignment, truth: Sequence[np.ndarray]) -> float:
    """Mean relative error after one scale for all."""
    ratios = [depth / true for depth, true in zip(result.depth, truth, strict=True)]
    scale = np.median([np.median(ratio) for ratio in ratios])
    return float(np.mean([abs(ratio / scale - 1).mean() for ratio in ratios]))


def main() -> int:
    """The command; gives its exit status."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDING
    with np.load(path) as values:
        recording = dict(values)
    solve(recorded_pairs(recording))  # what is done once is done
    lines = [f"| known | | {' | '.join(NAMES)} |", "| --- | --- |" + " ---: |" * len(NAMES)]
    for run, theirs in REFERENCE.items():
        for who, found in (("reference", theirs), ("ours", figures(run, recording))):
            lines.append(f"| {run} | {who} | {' | '.join(f'{value:.3g}' for value in found)} |")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
