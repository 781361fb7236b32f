"""Configurations: what is shipped, what is changed on the command line, and what a mistake is told."""

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest

from recon.errors import InputError
from recon.training.config import SHIPPED, ScheduleSettings, read_configuration
from recon.training.schedule import draw_shape, learning_rate


@pytest.mark.parametrize("name", [path.name for path in SHIPPED.glob("*.toml")])
def test_every_shipped_configuration_is_sound(name):
    configuration = read_configuration(Path(name))
    assert configuration.schedule.steps or configuration.schedule.seconds
    assert sum(share for *_, share in configuration.data.shapes) == pytest.approx(1)
    assert sum(share for _, share in configuration.data.views) == pytest.approx(1)


def test_a_change_replaces_what_the_file_says():
    changes = [
        "schedule.steps=7",
        "data.folders=['a', 'b']",
        "network.initial=some/file.safetensors",
        "losses.normal=2",
    ]
    configuration = read_configuration(Path("tiny.toml"), changes)
    assert configuration.schedule.steps == 7
    assert configuration.data.folders == ("a", "b")
    assert configuration.network.initial == "some/file.safetensors"
    assert configuration.losses.normal == 2.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("schedule.stepps=7", "There is no setting 'schedule.stepps'"),
        ("schedule.steps=many", "'schedule.steps' is 'many'"),
        ("schedule.steps=0", "either schedule.steps or schedule.seconds"),
        ("schedule.seconds=5", "either schedule.steps or schedule.seconds"),
        ("data.shapes=[[100, 96, 1.0]]", "multiples of 16"),
        ("data.shapes=[[96, 1.0]]", "data.shapes"),
        ("data.batch=2", "data.batch"),
        ("seed", "write section.key=value"),
        ("seed.more=1", "'seed' has no parts"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(change, told):
    with pytest.raises(InputError, match=told.replace("[", r"\[")):
        read_configuration(Path("tiny.toml"), ["seed=1", change])


def test_a_file_that_is_not_there_names_those_that_are():
    with pytest.raises(InputError, match=r"tiny\.toml"):
        read_configuration(Path("nowhere.toml"))


def test_the_rate_warms_up_stays_and_falls_to_its_floor():
    schedule = ScheduleSettings(steps=100, warm_up=10, constant=0.5, floor=0.01)
    rates = [learning_rate(schedule, 2.0, step / 100, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9:51] == pytest.approx([2.0] * 42)
    assert all(later < sooner for sooner, later in itertools.pairwise(rates[51:]))
    assert rates[75] == pytest.approx(2 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 2))))
    assert rates[100] == pytest.approx(0.02)


def test_shapes_are_drawn_by_their_shares_and_alike_everywhere():
    data = read_configuration(Path("parallax-small.toml")).data
    shapes = [draw_shape(data, 0, step) for step in range(2000)]
    assert shapes[:50] == [draw_shape(data, 0, step) for step in range(50)]
    assert shapes[:50] != [draw_shape(data, 1, step) for step in range(50)]
    assert {shape.scenes * shape.views for shape in shapes} == {data.batch}
    sizes = Counter((shape.height, shape.width) for shape in shapes)
    for height, width, share in data.shapes:
        assert sizes[height, width] / 2000 == pytest.approx(share, abs=0.04)
