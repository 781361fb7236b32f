"""The training loop: it learns a scene by heart, and a run that stops and goes on is the run that never stopped."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recon import cli
from recon.errors import InputError
from recon.quantization import opened
from recon.training.config import read_configuration
from recon.training.loop import prepare, steps, train
from recon.training.metrics import metrics
from recon.training.team import Team
from tests.training.room import configure, write_room


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return write_room(tmp_path_factory.mktemp("room") / "scene")


def read_log(folder, kind):
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def test_a_tiny_network_learns_a_procedural_scene_by_heart(tmp_path):
    """The issue's bar for continuous integration: AbsRel below 0.05, AUC@30 of the poses above 0.8."""
    configuration = read_configuration(Path("tiny.toml"))
    run = prepare(configuration, tmp_path, Team(0, 1, torch.device("cpu")))
    steps(run, None, None)
    (height, width, _), (views, _) = configuration.data.shapes[0], configuration.data.views[0]
    batch = run.source.batch(0, configuration.data.batch // views, views, height, width)
    errors = metrics(run.learner.judge(batch), batch)
    assert errors["absolute_relative"] < 0.05
    assert errors["auc30"] > 0.8


def test_a_run_that_stops_and_goes_on_is_the_run_that_never_stopped(room, tmp_path):
    configuration = configure(room, "schedule.steps=6", "reports.save_every=0.5")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(configuration, whole, device="cpu")
    half = prepare(configuration, parts, Team(0, 1, torch.device("cpu")))
    stop_after(half, 3)
    train(configuration, parts, resume=True, device="cpu")

    ours, theirs = (torch.load(folder / "state.pt", weights_only=True) for folder in (whole, parts))
    assert ours["progress"]["step"] == theirs["progress"]["step"] == 6
    assert ours["progress"]["views"] == theirs["progress"]["views"] == 12
    for name in ("network", "average"):
        for key, value in ours["learner"][name].items():
            assert torch.equal(value, theirs["learner"][name][key]), key
    for index, moments in ours["learner"]["optimiser"]["state"].items():
        for key, value in moments.items():
            assert torch.equal(value, theirs["learner"]["optimiser"]["state"][index][key])


def stop_after(run, count):
    """Take some steps of a run as the loop takes them, and leave its state behind."""
    from recon.training.checkpoint import save_state
    from recon.training.loop import next_batch
    from recon.training.schedule import draw_shape, learning_rate

    configuration, progress = run.configuration, run.progress
    for step in range(count):
        shape = draw_shape(configuration.data, configuration.seed, step)
        fraction = step / configuration.schedule.steps
        run.learner.rate = learning_rate(configuration.schedule, configuration.optimiser.rate, fraction, step)
        run.learner.step(next_batch(run, shape))
        progress.step += 1
        progress.views += shape.scenes * shape.views
    run.folder.mkdir()
    save_state(run.folder, run.learner, progress)


def test_a_run_leaves_weights_log_curves_and_pictures(room, tmp_path):
    configuration = configure(
        room,
        "schedule.steps=4",
        "reports.log_every=2",
        "reports.evaluate_views=[2]",
        "reports.snapshots=[0.5]",
        "seed=3",
    )
    weights = train(configuration, tmp_path / "out", device="cpu")
    with opened(weights) as file:
        metadata = file.metadata()
    made = json.loads(metadata["training"])
    assert metadata["network"] == "parallax-small"
    assert json.loads(metadata["configuration"])["width"] == 96
    assert (made["seed"], made["steps"], made["views"]) == (3, 4, 8)
    assert made["configuration"]["schedule"]["steps"] == 4
    assert [line["step"] for line in read_log(weights.parent, "train")] == [2, 4]
    assert {"absolute_relative", "auc30"} <= read_log(weights.parent, "held out, 2 views")[-1].keys()
    names = {path.name for path in weights.parent.iterdir()}
    assert {"held-out-2-views.png", "configuration.json", "snapshots", "tensorboard", "state.pt"} <= names
    assert (weights.parent / "snapshots" / "050.safetensors").is_file()


def test_a_schedule_by_time_follows_the_file_that_says_how_long(room, tmp_path):
    control = tmp_path / "seconds"
    control.write_text("1.5")
    configuration = configure(room, "schedule.steps=0", "schedule.seconds=1000", f"schedule.control={control}")
    train(configuration, tmp_path / "out", device="cpu")
    last = read_log(tmp_path / "out", "train")[-1]
    assert 1.5 <= last["seconds"] < 20
    assert last["rate"] < 0.2 * configuration.optimiser.rate


def test_two_processes_keep_the_same_weights(room, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29713"]
    command += ["-m", "recon", "train", "--config", "tiny.toml", "--out", out, "--device", "cpu"]
    sets = ["schedule.steps=3", "reports.evaluate_views=[2]", "data.batch=2", f"data.folders=['{room}']"]
    sets += ["data.shapes=[[48, 64, 1.0]]", "data.views=[[2, 1.0]]"]
    command += [word for change in sets for word in ("--set", change)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    state = torch.load(out / "state.pt", weights_only=True)
    assert state["progress"]["views"] == 3 * 2 * 2


def test_what_cannot_be_done_is_told_in_one_sentence(room, tmp_path, capsys):
    configuration = configure(room, "schedule.steps=1")
    with pytest.raises(InputError, match="nothing to resume"):
        train(configuration, tmp_path / "none", resume=True, device="cpu")
    train(configuration, tmp_path / "out", device="cpu")
    with pytest.raises(InputError, match="--resume"):
        train(configuration, tmp_path / "out", device="cpu")
    wrong = replace(configuration, network=replace(configuration.network, arguments={"wings": 2}))
    with pytest.raises(InputError, match=r"network\.arguments"):
        train(wrong, tmp_path / "new", device="cpu")
    assert (
        cli.main(["train", "--config", "tiny.toml", "--set", "network.name=other", "--out", str(tmp_path / "o")]) == 2
    )
    assert "the networks are: embedded" in capsys.readouterr().err


def test_a_step_is_profiled_in_place_of_a_run(room, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    smaller = [f"data.folders=['{room}']", "data.shapes=[[48, 64, 1.0]]", "data.views=[[2, 1.0]]", "data.batch=2"]
    words = [word for change in smaller for word in ("--set", change)]
    assert cli.main(["train", "--config", "tiny.toml", "--profile", "--device", "cpu", *words]) == 0
    told = capsys.readouterr().out
    assert "| views | 2 a step" in told
    assert "convolution" in told
    assert not list(tmp_path.iterdir())
