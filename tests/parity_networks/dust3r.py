"""DUSt3R's recordings: runs of the network, and pictures as it is given them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from recon import geometry
from recon.models.pair_fitting import fit
from recon.networks.dust3r import Dust3r, Pointmaps, read_configuration
from recon.networks.layers.rotary import rotary_angles, rotate
from tests.alignment_table import known_of, recorded_pairs, solve
from tests.parity import Recording
from tests.parity_networks import Replayed, Run, outputs

# Pictures of each recorded run, by the start of its names; "d" is in landscape layout.
CASES = {"": ((0,), (1,)), "a/": ((0,), (1,)), "b/": ((0,), (2,)), "c/": ((0, 1), (1, 0))}


def replay(recording: Recording, run: Run) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds."""
    yield from pictures(recording)
    if "stage/rope/in" in recording:
        heads, positions = (torch.from_numpy(recording[f"stage/rope/{name}"]) for name in ("in", "pos"))
        angles = rotary_angles(positions[0], heads.shape[-1])
        yield "stage/rope/out", Replayed(rotate(heads.transpose(1, 2), angles).transpose(1, 2))
    if "pts3d_1" in recording:
        yield from alignment(recording)
    recorded = {case for case in (*CASES, "d/") if recording.cuts(f"output/{case}conf_1")}
    if not recorded:
        return
    network = run.network(lambda: Dust3r(read_configuration(run.config)))
    assert isinstance(network, Dust3r)
    for case in sorted(recorded & CASES.keys()):
        first, second = (torch.cat([picture(recording, i) for i in side]) for side in CASES[case])
        paths = stages(recording, case)
        modules = {stage: network.get_submodule(path) for stage, path in paths.items()}
        with torch.inference_mode(), outputs(modules) as kept:
            yield from results(case, predict(network, first, second, run))
        for stage, calls in kept.items():
            yield f"stage/{case}{stage}", Replayed(seen(stage, calls))
    if "d/" in recorded:
        with torch.inference_mode():
            yield from results("d/", predict_landscape(network, recording, run))
    if "stride" in recording and recording["stride"] != 1:
        raise ValueError("a recording of part of the pixels")


def alignment(recording: Recording) -> Iterator[tuple[str, Replayed]]:
    """The world of the recorded pairs beside the true one: what the reference made of them is no goal."""
    everything = {name: recording[name] for name in recording.names}
    result = solve(recorded_pairs(everything), known_of("nothing known", everything))
    truth = everything["gt_poses"]
    fit = geometry.similarity(truth[:, :3, 3], result.world_from_camera[:, :3, 3])
    yield "gt_poses", Replayed(geometry.apply_similarity(fit, result.world_from_camera), 0.02)
    yield "gt_focals", Replayed(result.focal, 0.002)
    yield "gt_depth", Replayed(np.stack(result.depth) * np.cbrt(np.linalg.det(fit[:3, :3])), 0.005)


def predict(network: Dust3r, first: Tensor, second: Tensor, run: Run) -> tuple[Pointmaps, Pointmaps]:
    """One run; pictures of one size are encoded together, so that every intermediate is seen whole."""
    count = len(first)
    first, second = first.to(run.device, run.stored), second.to(run.device, run.stored)
    with torch.autocast(torch.device(run.device).type, torch.bfloat16, enabled=run.half):
        if first.shape != second.shape:
            return network(first, second)
        views = network.encode(torch.cat([first, second]))
        return network.decode(views[:count], views[count:])


def predict_landscape(network: Dust3r, recording: Recording, run: Run) -> tuple[Pointmaps, Pointmaps]:
    """The run of pictures that lie in landscape layout."""
    images, portrait = [], []
    for side in (1, 2):
        images.append(((torch.from_numpy(recording[f"input/d/img_{side}"]) + 1) / 2).to(run.device, run.stored))
        shapes = torch.from_numpy(recording[f"input/d/true_shape_{side}"])
        portrait.append(shapes[:, 0] > shapes[:, 1])
    return network.forward_landscape(images[0], images[1], portrait[0], portrait[1])


def results(case: str, given: tuple[Pointmaps, Pointmaps]) -> Iterator[tuple[str, Replayed]]:
    """What the reference's run gives, by its names."""
    for name, side in zip(("pts3d_1", "pts3d_in_other_view_2"), given, strict=True):
        yield f"output/{case}{name}", Replayed(side.points)
        yield f"output/{case}conf_{name[-1]}", Replayed(side.confidence)


def picture(recording: Recording, number: int) -> Tensor:
    """``[1,3,H,W]`` in 0..1."""
    return torch.from_numpy(recording[f"input/raw_{number}"]).movedim(-1, 0)[None].float() / 255


def stages(recording: Recording, case: str) -> dict[str, str]:
    """Intermediates that were recorded of a run, and the modules whose output they are."""
    start = f"stage/{case}"
    names = [name.removeprefix(start) for name in recording.names if case and name.startswith(start)]
    # A block of the encoder is run in parts, and so is its attention: their last steps give what they give.
    last = {r"(enc_blocks\.\d+)\.attn": r"\1.attn.proj", r"(enc_blocks\.\d+)": r"\1.ls2", r"(.*)#\d": r"\1"}
    paths = {}
    for name in names:
        path = name
        for pattern, replacement in last.items():
            if re.fullmatch(pattern, name):
                path = re.sub(f"^{pattern}$", replacement, name)
                break
        paths[name] = path
    return paths


def seen(stage: str, calls: list[Tensor]) -> Tensor:
    """An intermediate as it was recorded: of the encoder for both pictures, else for the one that it is of."""
    if "#" not in stage:
        return calls[0][:1] if stage.startswith("downstream_head1") else calls[0]
    number = int(stage.rsplit("#", 1)[1])
    return calls[number] if len(calls) > 1 else calls[0][number : number + 1]


def pictures(recording: Recording) -> Iterator[tuple[str, Replayed]]:
    """Photos as the network is given them."""
    for name in recording.names:
        if name.startswith("true_shape/"):
            key = name.removeprefix("true_shape/")
            stride = int(recording[f"stride/{key}"])
            fitted = fit(
                recording[f"input/{key}"],
                size=224 if "_224_" in key else 512,
                square_ok="square_ok" in key,
                patch=14 if "patch14" in key else 16,
            )
            yield f"output/{key}", Replayed(fitted.image[::stride, ::stride], 0.0)
            yield name, Replayed(np.array([fitted.size[::-1]]), 0.0)
