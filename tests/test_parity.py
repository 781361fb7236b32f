from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.parity import RECORDINGS, Line, Recording, described_in, main, replay
from tests.parity_networks import Run

VGGT = RECORDINGS / "vggt"


def lines(config: Path, recording: Path, **changes) -> list[Line]:
    described = described_in(config)
    run = replace(Run(described["config"], described["keys"]), **changes)
    return list(replay("vggt", Recording(recording), run))


@pytest.mark.parametrize("name", ["small", "preprocess", "colmap"])
def test_vggt_gives_the_numbers_of_its_reference(name):
    wrong = [str(line) for line in lines(VGGT / "small.json.gz", VGGT / f"{name}.npz") if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_vggt_of_the_published_size_gives_the_numbers_of_its_reference():
    wrong = [str(line) for line in lines(VGGT / "manifest.json.gz", VGGT / "full.npz") if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)


def test_one_wrong_epsilon_shows():
    described = described_in(VGGT / "small.json.gz")
    described["config"]["patch_embed"]["norm_eps"] = 1e-5
    changed = Run(described["config"], described["keys"])
    found = {line.name: line for line in replay("vggt", Recording(VGGT / "small.npz"), changed)}
    assert not found["output/world_points_stride3"].fine


@pytest.mark.parametrize(
    ("change", "status", "said"), [(None, 0, "14 of 14 fine"), ("value", 1, "OVER"), ("name", 1, "MISSING")]
)
def test_the_command_fails_where_numbers_differ_or_are_missing(tmp_path, capsys, change, status, said):
    arrays = dict(np.load(VGGT / "colmap.npz"))
    if change == "value":
        arrays["project/points2d"] = arrays["project/points2d"] + 1e-2
    if change == "name":
        arrays["rank/unheard_of"] = np.zeros(3)
    np.savez(tmp_path / "recording.npz", **arrays)
    assert main(["vggt", str(VGGT / "small.json.gz"), str(tmp_path / "recording.npz")]) == status
    assert said in capsys.readouterr().out
