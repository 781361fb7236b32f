"""Which photos of a collection show the same: the encoder's tokens, whitened, and compared by aggregated kernels.

ASMK (Tolias, Avrithis and Jegou 2016), in its binary form: a photo is described by the sums of what its features differ
from their visual word, one sum for each word that it has, and of these sums by the signs alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recon.networks.configuration import check, converted

QUERIED = 5  # visual words for a feature of the photo that asks; one for those of the photos that answer
POWER = 3.0  # of the similarity of two words (section 3.3)
BLOCK = 4096  # features compared with all words at a time
# What a retrieval checkpoint's arguments must say, as far as they say it.
SUPPORTED: dict[str, tuple[Any, ...]] = {"featweights": ("l2norm",), "hdims": ("", None), "residual": (False, None)}


@dataclass(frozen=True)
class Selected:
    """Features of V pictures that are worth comparing, the strongest first.

    Attributes:
        features: ``[V,F,C]``.
        strength: ``[V,F]``, their lengths before the last whitening.
        places: ``[V,F] int64``, which tokens they are.
    """

    features: Tensor
    strength: Tensor
    places: Tensor


class Whitener(nn.Module):
    """A shift and a linear map in float64, back to what was given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.zeros(1, width, dtype=torch.float64))
        self.p = nn.Parameter(torch.zeros(width, width, dtype=torch.float64))

    def forward(self, tokens: Tensor) -> Tensor:
        """``[...,width]`` to the same."""
        return ((tokens.double() - self.m) @ self.p).to(tokens.dtype)


class Retrieval(nn.Module):
    """Tokens of the encoder to features. The names of the parts are those of the checkpoints.

    Args:
        width: channels of the tokens.
        before: whiten before the strongest are chosen.
        after: whiten after that.
        count: features of a picture; a negative one is a fraction of all its tokens.
    """

    def __init__(self, width: int, before: bool = True, after: bool = False, count: float = 300) -> None:
        super().__init__()
        self.count = count
        self.prewhiten = Whitener(width) if before else None
        self.postwhiten = Whitener(width) if after else None

    def forward(self, tokens: Tensor) -> Selected:
        """The features of ``tokens [V,N,width]`` that are strongest."""
        total = tokens.shape[1]
        count = min(total, int(-self.count * total) if self.count < 0 else int(self.count))
        features = tokens if self.prewhiten is None else self.prewhiten(tokens)
        strength, places = features.norm(dim=-1).topk(count, dim=1)
        features = features if self.postwhiten is None else self.postwhiten(features)
        return Selected(features.gather(1, places[..., None].expand(-1, -1, features.shape[-1])), strength, places)


def similarities(features: Sequence[Tensor], centroids: Tensor) -> np.ndarray:
    """How much each of V pictures, asking, shows of what each other shows: ``[V,V] float64``, not symmetric.

    Args:
        features: of each picture ``[F,C]``.
        centroids: of the visual words ``[W,C]``.
    """
    answers = [described(each, centroids, 1) for each in features]
    matrix = np.zeros((len(features), len(features)))
    for row, each in enumerate(features):
        words, signs = described(each, centroids, QUERIED)
        for column, (other_words, other_signs) in enumerate(answers):
            shared, here, there = np.intersect1d(words, other_words, assume_unique=True, return_indices=True)
            if len(shared):
                alike = word_similarity(signs[here], other_signs[there])
                matrix[row, column] = alike.sum() / np.sqrt(len(words) * len(other_words))
    return matrix


def described(features: Tensor, centroids: Tensor, nearest: int) -> tuple[np.ndarray, np.ndarray]:
    """The visual words of a picture's features ``[F,C]``, ascending, and the signs of their sums ``[words,C] bool``."""
    nearest = min(nearest, len(centroids))
    words = torch.cat(
        [torch.cdist(part, centroids).topk(nearest, largest=False).indices for part in features.split(BLOCK)]
    )
    unique, inverse = words.flatten().unique(return_inverse=True)
    rests = (features[:, None] - centroids[words]).flatten(0, 1)
    sums = torch.zeros(len(unique), features.shape[1], dtype=rests.dtype, device=rests.device)
    sums.index_add_(0, inverse, rests)
    return unique.cpu().numpy(), (sums > 0).cpu().numpy()


def word_similarity(signs: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of binary sums ``[N,C]``, each with its other: the cosine that their signs leave to guess, cubed, 0 if negative.

    Signs fill words of 32 bits, whose rest is equal: that makes the similarity a little larger.
    """
    bits = 32 * -(-signs.shape[1] // 32)
    cosine = 1 - 2 * (signs != others).sum(1) / bits
    return np.where(cosine >= 0, cosine, 0) ** POWER


def farthest_points(distances: np.ndarray, count: int, first: int) -> tuple[list[int], list[float]]:
    """``count`` pictures of ``[V,V]`` distances that are far from each other, and how far each was when it was chosen.

    Args:
        distances: from those in a row to those in a column.
        count: at most V.
        first: the one to begin with; its distance is 0.
    """
    chosen, reached, least = [first], [0.0], distances[first].copy()
    while len(chosen) < min(count, len(distances)):
        least[chosen] = -np.inf  # a photo is not quite like itself
        following = int(np.argmax(least))
        chosen.append(following)
        reached.append(float(least[following]))
        least = np.minimum(least, distances[following])
    return chosen, reached


def chained(similarity: np.ndarray) -> list[int]:
    """All of V pictures of ``[V,V]`` similarities, each one like any before it: from the one most like the others."""
    open_rows = similarity.copy()
    np.fill_diagonal(open_rows, 0)
    order = [int(np.argmax(open_rows.sum(1)))]
    left = np.ones(len(similarity), bool)
    left[order] = False
    while left.any():
        candidates = np.flatnonzero(left)
        among = open_rows[order][:, candidates]
        order.append(int(candidates[np.argmax(among) % len(candidates)]))
        left[order[-1]] = False
    return order


def read_retrieval(arguments: Mapping[str, Any], width: int) -> Retrieval:
    """The module that the arguments of a retrieval checkpoint's training describe.

    Raises:
        InputError: something that this module does not know, such as a learned projection.
    """
    for name, values in SUPPORTED.items():
        value = arguments.get(name, values[0])
        check(value in values, f"{name} must be {values[0]!r}, not {value!r}")
    count = converted(float, arguments.get("nfeat", 300), "nfeat")
    return Retrieval(width, bool(arguments.get("prewhiten")), bool(arguments.get("postwhiten")), count)
