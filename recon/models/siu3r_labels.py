"""What SIU3R recognises: the twenty classes of ScanNet's benchmark (Dai et al. 2017), and its colours for them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from recon.scene import Labels, Segment

CLASSES = {
    "wall": (174, 199, 232),
    "floor": (152, 223, 138),
    "cabinet": (31, 119, 180),
    "bed": (255, 187, 120),
    "chair": (188, 189, 34),
    "sofa": (140, 86, 75),
    "table": (255, 152, 150),
    "door": (214, 39, 40),
    "window": (197, 176, 213),
    "bookshelf": (148, 103, 189),
    "picture": (196, 156, 148),
    "counter": (23, 190, 207),
    "desk": (247, 182, 210),
    "curtain": (219, 219, 141),
    "refrigerator": (255, 127, 14),
    "shower curtain": (158, 218, 229),
    "toilet": (44, 160, 44),
    "sink": (112, 128, 144),
    "bathtub": (227, 119, 194),
    "other furniture": (82, 84, 163),
}
STUFF = (0, 1)  # wall and floor: all of it is one segment each


def labels(segments: Iterable[Segment]) -> Labels:
    """What segments are, each id once, by its surest."""
    surest: dict[int, Segment] = {}
    for segment in segments:
        if segment.id not in surest or segment.score > surest[segment.id].score:
            surest[segment.id] = segment
    colours = np.array(list(CLASSES.values()), np.uint8)
    return Labels(tuple(CLASSES), colours, [surest[key] for key in sorted(surest)])
