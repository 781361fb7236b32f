"""SIU3R's segmentation: maps of each view to queries, each with a class and a mask over all views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recon.networks.siu3r_configuration import Mask2former
from recon.networks.siu3r_pixel_decoder import PixelDecoder
from recon.networks.siu3r_query_decoder import Queries, QueryDecoder


class Decoders(nn.Module):
    """Both decoders, under the checkpoints' names."""

    def __init__(self, width: int, settings: Mask2former) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(width, settings)
        self.transformer_module = QueryDecoder(settings)


class Criterion(nn.Module):
    """What training needs to know, which checkpoints hold: how much each class counts, that of nothing little."""

    empty_weight: Tensor

    def __init__(self, labels: int, nothing: float) -> None:
        super().__init__()
        weight = torch.ones(labels + 1, device="cpu")  # a value, wherever the network is built
        weight[-1] = nothing
        self.register_buffer("empty_weight", weight)


class Segmentation(nn.Module):
    """The segmentation by itself. Names are those of the checkpoints.

    Args:
        width: channels of the maps that come.
        settings: of the decoders.
        labels: classes, without the one that means none.
    """

    def __init__(self, width: int, settings: Mask2former, labels: int) -> None:
        super().__init__()
        self.model = Decoders(width, settings)
        self.class_predictor = nn.Linear(settings.hidden_dim, labels + 1)
        self.criterion = Criterion(labels, settings.no_object_weight)

    def forward(self, maps: Sequence[Tensor]) -> Queries:
        """Maps of all views, ``[B,V,width,H/s,W/s]``, s = 4, 8, 16, 32, to queries; see `classes`."""
        views = maps[0].shape[:2]
        levels, features = self.model.pixel_decoder([part.flatten(0, 1) for part in maps])
        return self.model.transformer_module(
            [level.unflatten(0, views) for level in levels], features.unflatten(0, views)
        )

    def classes(self, states: Tensor) -> Tensor:
        """``[B,Q,C]``, normed, to logits ``[B,Q,labels + 1]``; the last class is none."""
        return self.class_predictor(states)
