"""Which photos of a collection MUSt3R remembers, and in which order: far from each other, each like one before it."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.networks.must3r_checkpoint import load_retrieval
from recon.networks.must3r_retrieval import Retrieval, chained, farthest_points, similarities

WORDS = "codebook.pkl"  # how the name of the file of visual words ends


class Ordering:
    """Photos compared by what they show (Tolias et al. 2016), as the checkpoint's own companions tell.

    Args:
        weights: of the retrieval.
        words: the file of its visual words.
        width: channels of the encoder's tokens.
        device: to compare on.

    Raises:
        InputError: a file that is damaged or of something else.
    """

    def __init__(self, weights: Path, words: Path, width: int, device: torch.device) -> None:
        retrieval, centroids = load_retrieval(weights, words, width)
        self.retrieval: Retrieval = retrieval.to(device)
        self.centroids = centroids.to(device)

    def features(self, tokens: Tensor) -> Tensor:
        """Of one picture, ``[1,N,C]`` as the encoder gives it: those worth comparing, ``[F,C]``."""
        return self.retrieval(tokens).features[0]

    def chosen(self, features: Sequence[Tensor], count: int) -> list[int]:
        """Which ``count`` photos to remember, in the order in which they are to enter."""
        similarity = similarities(features, self.centroids)
        first = int(np.argmax(similarity.sum(1)))  # where most can be seen
        anchors, _ = farthest_points(1 - similarity, count, first)
        return [anchors[place] for place in chained(similarity[np.ix_(np.array(anchors), np.array(anchors))])]


def companions(checkpoint: Path, cached: Callable[[], Sequence[Path]]) -> tuple[Path, Path] | None:
    """The files of the retrieval, beside a checkpoint or else among those ``cached``; None where they are not.

    Their names begin as the checkpoint's does.
    """
    begin = "_".join(checkpoint.stem.split("_")[:2])
    for paths in (list(checkpoint.parent.glob(f"{glob.escape(begin)}*retrieval*")), cached()):
        words = [path for path in paths if path.name.endswith(WORDS)]
        weights = [path for path in paths if path.suffix == ".pth"]
        if len(words) == len(weights) == 1:
            return weights[0], words[0]
    return None
