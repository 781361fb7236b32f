from collections import Counter

import numpy as np
import pytest

from recon.alignment.pair_graph import (
    FEW,
    GRAPHS,
    complete,
    log_window,
    one_reference,
    pairs_of,
    sliding_window,
    symmetrised,
    within,
)
from recon.errors import InputError
from tests.parity import RECORDINGS, Recording, described_in, replay
from tests.parity_networks import Run
from tests.parity_networks.pair_graphs import dust3r_graph

RECORDED = described_in(RECORDINGS / "dust3r" / "pairs.json.gz")


def test_graphs_are_those_of_dust3r():
    for name, expected in RECORDED.items():
        count, graph, both, kept = name.split("|")
        given = dust3r_graph(graph, int(count), both.endswith("True"), None if kept.endswith("None") else kept[10:])
        pairs = [tuple(pair) for pair in expected]
        if graph.startswith(("complete", "oneref")):
            assert given == pairs, name
        else:  # recorded in the order of a set
            assert Counter(given) == Counter(pairs), name


def test_graphs_are_those_of_monst3r():
    recording = RECORDINGS / "monst3r" / "pairs.npz"
    found = list(replay("monst3r", Recording(recording), Run({}, {})))
    assert len(found) == len(np.load(recording).files)
    assert [str(line) for line in found if line.verdict != "ok"] == []


def test_each_pair_of_a_symmetrised_graph_has_its_reverse_half_the_list_away():
    pairs = symmetrised(sliding_window(7, 3))
    half = len(pairs) // 2
    assert all(pairs[p + half] == (j, i) for p, (i, j) in enumerate(pairs[:half]))
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("graph", [complete, sliding_window, log_window, one_reference])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_graphs_hold_all_photos_together_and_none_with_itself(graph, count):
    pairs = graph(count)
    assert all(i != j for i, j in pairs)
    reached = {0}
    for _ in range(count):
        reached |= {k for pair in pairs if reached & {*pair} for k in pair}
    assert reached == set(range(max(count, 1)))


def test_a_window_that_does_not_go_around_keeps_the_ends_apart():
    assert (0, 8) in sliding_window(9, 2)
    assert (0, 8) not in sliding_window(9, 2, cyclic=False)
    assert (0, 8) not in log_window(9, 3, cyclic=False)
    assert within(complete(9), 2) == sorted(((j, i) for i, j in sliding_window(9, 2, cyclic=False)))


@pytest.mark.parametrize("graph", [*GRAPHS, "swin-1", "swin-4-noncyclic", "logwin-2", "oneref-2"])
@pytest.mark.parametrize("count", [3, 7, 30])
def test_named_graphs_reach_each_photo_by_those_before_and_have_both_orders(graph, count):
    pairs = pairs_of(graph, count)
    assert all(pairs[place + 1] == (j, i) for place, (i, j) in enumerate(pairs) if place % 2 == 0)
    assert len(set(pairs)) == len(pairs)
    reached = set(pairs[0])
    for pair in pairs:
        assert reached & {*pair}
        reached |= {*pair}
    assert reached == set(range(count))


def test_names_of_graphs_say_what_they_are():
    def unordered(graph, count, ordered=False):
        return {(min(pair), max(pair)) for pair in pairs_of(graph, count, ordered)}

    assert unordered("swin-2-noncyclic", 9) == {*sliding_window(9, 2, cyclic=False)} == unordered("swin-2", 9, True)
    assert unordered("swin", 9) == {*sliding_window(9, 3)}
    assert unordered("oneref-4", 9) == {(min(4, j), max(4, j)) for j in range(9) if j != 4}
    assert unordered("auto", FEW) == unordered("complete", FEW)
    assert len(unordered("auto", 30)) == 30 * 4  # 1, 2, 4, 8 after each
    with pytest.raises(InputError, match="no photo 9"):
        pairs_of("oneref-9", 9)


@pytest.mark.parametrize(
    "graph", ["", "swim", "swin-0", "swin--2", "oneref-1-noncyclic", "complete-3", "swin-2-cyclic"]
)
def test_graphs_that_there_are_not(graph):
    with pytest.raises(InputError, match="swin-5-noncyclic"):
        pairs_of(graph, 5)
