"""What holds of the runs of every model."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from recon import Model, Options, View
from recon.models import Update


def stages_of(updates: Iterable[Update]) -> list[str]:
    """The stages that updates tell of, each once; they rise from 0 to 1."""
    told = list(updates)
    fractions = [update.fraction for update in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    return list(dict.fromkeys(update.stage for update in told))


def assert_stops_at_any_update(model: Model, views: Sequence[View], stages: Sequence[str]) -> None:
    """A run that is closed at the start, where a stage begins, or at the end leaves nothing behind."""
    threads = threading.active_count()
    told = [update.stage for update in model.stream(views)]
    for stop in (1, *(told.index(stage) for stage in stages), len(told) - 1):
        stream = model.stream(views)
        for _ in range(stop + 1):
            scene = weakref.ref(next(stream).scene)
        stream.close()
        del stream
        gc.collect()
        assert scene() is None
        assert threading.active_count() == threads
        assert not torch.is_inference_mode_enabled()


def assert_frames_know_a_bright_box(model: Model, others: Sequence[View], options: Options | None = None) -> None:
    """The first frame's pixels are those of the untouched photo, of which the view is half as large."""
    image = np.full((500, 1600, 3), 90, np.uint8)
    image[200:300, 700:900] = 255
    wide = View(image, "wide.png", original_size=(3200, 1000), original_from_view=np.diag(np.float32([2, 2, 1])))
    frame = model.reconstruct([wide, *others], options or Options()).frames[0]
    rows, columns = np.nonzero(frame.image[..., 0] > 200)
    edges = [[columns.min(), columns.max() + 1], [rows.min(), rows.max() + 1], [1, 1]]
    np.testing.assert_allclose((frame.original_from_processed @ edges)[:2], [[1400, 1800], [400, 600]], atol=8)
