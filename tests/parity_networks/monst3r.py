"""MonST3R's recordings: those of DUSt3R's network, which it is, and of its own graphs of pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from tests.parity import Recording
from tests.parity_networks import Replayed, Run, dust3r
from tests.parity_networks.pair_graphs import monst3r_graph


def replay(recording: Recording, run: Run) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds, so far."""
    for name in recording.names:
        if match := re.fullmatch(r"pairs_(.*)_n(\d+)", name):
            pairs = np.array(monst3r_graph(match[1], int(match[2])))
            yield name, Replayed(pairs[np.lexsort(pairs.T[::-1])], 0.0)  # recorded as a set, in order
    yield from dust3r.replay(recording, run)
