"""The measures of MonST3R, by its own recordings, and how they behave where there is nothing to measure."""

import numpy as np

from tests.parity import RECORDINGS, Recording, replay
from tests.parity_networks import Run
from tests.parity_networks.monst3r_motion import flow_loss, normalised_error, overlap


def test_flows_and_losses_are_those_of_the_reference():
    lines = list(replay("monst3r", Recording(RECORDINGS / "monst3r" / "functions.npz"), Run({}, {})))
    assert len(lines) == 8
    assert all(line.verdict == "ok" for line in lines), [str(line) for line in lines]


def test_nothing_to_measure_is_no_error():
    still = np.zeros((3, 4, 2))
    assert normalised_error(still, still).max() == 0
    assert flow_loss(still, still + 1e6, np.ones((3, 4), bool)) == 0
    empty = np.zeros((3, 4), bool)
    assert overlap(empty, empty) == 1
    assert overlap(empty, ~empty) == 0
