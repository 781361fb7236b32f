"""Measurements of real runs."""

import cv2
import numpy as np
import pytest

from recon import cli
from recon.bench.process import peak_memory
from recon.bench.runs import enlarged, largest_set, photos_in
from recon.media import read
from tests.helpers import synthetic_scene


@pytest.fixture
def folder(tmp_path):
    for frame in synthetic_scene(frames=2, height=240, width=320).frames:
        cv2.imwrite(str(tmp_path / frame.name), frame.image[..., ::-1])
    return tmp_path


def test_each_number_of_photos_is_measured_in_a_process_of_its_own(folder, capsys):
    assert cli.main(["bench", str(folder), "--frames", "1,2", "--repeat", "2", "--no-verify"]) == 0
    header, rule, *rows = capsys.readouterr().out.splitlines()
    names = [cell.strip() for cell in header.split("|")[1:-1]]
    assert names[:2] == ["photos", "reading"]
    assert names[-3:] == ["first points", "whole scene", "peak memory"]
    assert rule.count("---:") == len(names)
    table = [dict(zip(names, map(float, _numbers(row)), strict=True)) for row in rows[:2]]
    assert [row["photos"] for row in table] == [1, 2]
    for row in table:
        assert 0 < row["first points"] <= row["whole scene"]
        stages = sum(row[name] for name in names[1:-3])
        assert stages == pytest.approx(row["whole scene"], rel=0.25, abs=0.05)  # medians, each of its own
        assert 0.2 < row["peak memory"] < 3
    assert "cores" in rows[-1]


def _numbers(row):
    return [cell.split()[0] for cell in row.split("|")[1:-1]]


def test_photos_of_one_place_are_taken(tmp_path):
    names = ["desk/1.jpg", "room/2.jpg", "room/10.jpg", "room/notes.txt", "room/3.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    chosen = largest_set(photos_in(tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path in chosen] == ["room/2.jpg", "room/3.png", "room/10.jpg"]


def test_enlarged_photos_are_different_and_as_heavy_as_those_of_a_camera(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("enlarged")
    paths = enlarged(photos_in(folder), 3, target)
    media = read(paths, maximum_side=400)
    assert media.notes == []  # nothing is the same as another, nothing left out
    for path, view in zip(paths, media.views, strict=True):
        assert np.prod(view.original_size) == pytest.approx(12e6, rel=0.01)
        assert 2e6 < path.stat().st_size < 12e6


def test_peak_memory_remembers_what_was_given_back():
    before = peak_memory()
    block = np.ones(before + 50_000_000, np.uint8)  # larger than all that is resident now
    del block
    assert peak_memory() >= before + 50_000_000
