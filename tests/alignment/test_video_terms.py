"""What flow and smoothness add to the alignment: their derivatives, and what they do to a camera's way."""

import numpy as np
import pytest

from recon.alignment.flow_term import FlowSamples, FlowTerm
from recon.alignment.pair_adjustment import Equations, Term
from recon.alignment.pair_model import State, rotations
from recon.alignment.smooth_term import SmoothTerm

VIEWS, SAMPLES, PAIRS = 4, 20, 3
UNKNOWNS = 7 * VIEWS + 4 * PAIRS


def state(turning: float = 0.2, centres: np.ndarray | None = None) -> State:
    random = np.random.default_rng(0)
    return State(
        rotations(turning * random.normal(size=(VIEWS, 3))),
        0.3 * random.normal(size=(VIEWS, 3)) if centres is None else centres,
        np.log(random.uniform(60, 80, VIEWS)),
        np.tile(np.eye(3), (PAIRS, 1, 1)),
        np.zeros(PAIRS),
        random.uniform(3, 5, (VIEWS, SAMPLES)),
    )


def flow_term() -> FlowTerm:
    random = np.random.default_rng(1)
    views = np.arange(VIEWS)
    targets = random.uniform(-30, 30, (VIEWS, SAMPLES, 2))
    samples = FlowSamples(views, (views + 1) % VIEWS, targets, np.ones((VIEWS, SAMPLES)))
    return FlowTerm(samples, random.uniform(-30, 30, (VIEWS, SAMPLES, 2)), largest=np.inf)


def equations_of(term: Term, at: State) -> Equations:
    empty = [np.zeros(0, int)] * VIEWS, [np.zeros((SAMPLES, 0))] * VIEWS
    zeros = np.zeros((UNKNOWNS, UNKNOWNS)), np.zeros(UNKNOWNS), *np.zeros((2, VIEWS, SAMPLES))
    equations = Equations(*zeros, *empty)
    term.add_to(equations, at)
    return equations


def slopes(term: Term, at: State) -> np.ndarray:
    """Of half of the cost, by all unknowns."""
    still, steps = np.zeros((VIEWS, SAMPLES)), 1e-5 * np.eye(UNKNOWNS)
    return np.array([(term.cost(at.moved(s, still)) - term.cost(at.moved(-s, still))) / 4e-5 for s in steps])


def test_the_derivatives_of_flow_are_those_of_its_cost():
    term, at = flow_term(), state()
    term.follow(at)
    equations = equations_of(term, at)
    np.testing.assert_allclose(equations.vector, slopes(term, at), atol=1e-5)
    step = np.zeros((VIEWS, SAMPLES))
    step[2, 5] = 1e-5
    slope = (term.cost(at.moved(np.zeros(UNKNOWNS), step)) - term.cost(at.moved(np.zeros(UNKNOWNS), -step))) / 4e-5
    assert equations.depth_vector[2, 5] == pytest.approx(slope, abs=1e-6)
    assert (np.linalg.eigvalsh(equations.matrix) > -1e-6).all()


def test_flow_that_has_nothing_to_do_with_the_cameras_costs_nothing():
    term, at = flow_term(), state()
    term.largest = 1.0
    term.follow(at)
    assert not term.used.any()
    assert term.cost(at) == 0
    assert not equations_of(term, at).matrix.any()


def test_the_derivatives_of_smoothness_are_those_of_its_cost_where_turns_are_small():
    term, at = SmoothTerm([0.0, 1.0, 2.5, 3.2]), state(turning=0.01)
    term.follow(at)
    found, true = equations_of(term, at).vector, slopes(term, at)
    np.testing.assert_allclose(found, true, atol=0.02 * np.abs(true).max())


def test_a_steady_way_costs_nothing_however_uneven_the_times():
    times = [0.0, 0.1, 0.4, 0.5]
    way = np.outer(times, [1.0, 0.2, 0.0])
    term, steady = SmoothTerm(times), state(turning=0.0, centres=way)
    term.follow(steady)
    assert term.cost(steady) == pytest.approx(0, abs=1e-9)
    jerk = np.zeros_like(way)
    jerk[1, 1] = 0.05
    assert term.cost(state(turning=0.0, centres=way + jerk)) > 0.1


def test_two_frames_and_equal_times_are_taken():
    at = state()
    for times in ([0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 2.0]):
        term = SmoothTerm(times)
        term.follow(at)
        assert np.isfinite(term.cost(at))
