"""SIU3R: unposed views to Gaussians that know what they are part of (Xu et al. 2025, "SIU3R", NeurIPS).

One pass gives a 3D Gaussian for each pixel of every view, all in the first view's camera, and queries, each with a
class and one mask over all views together; pixel and Gaussian are one, so a mask labels Gaussians. Loads the published
checkpoint key for key, without the prefix ``model.``.

Conventions of the network: pictures in 0..1, sides that are multiples of 32; intrinsics whose first row is divided by
the width and the second by the height; OpenCV axes; metres or so; quaternions xyzw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recon.errors import InputError
from recon.networks.layers.vision_adapter import VisionAdapter
from recon.networks.siu3r_backbone import Backbone
from recon.networks.siu3r_configuration import COARSEST, Configuration, read_configuration
from recon.networks.siu3r_gaussians import CentreHead, GaussianMaps, ParameterHead, gaussians
from recon.networks.siu3r_query_decoder import Queries
from recon.networks.siu3r_segmentation import Segmentation
from recon.networks.siu3r_text import TextSegmentation

__all__ = ["Configuration", "Prediction", "Siu3r", "read_configuration"]

LOOKING = 0.6  # share of the work that the backbone is, roughly


@dataclass
class Prediction:
    """What the network says of V views.

    Attributes:
        gaussians: one for each pixel.
        classes: logits ``[B,Q,L + 1]``; the last class is none.
        masks: logits ``[B,Q,V,H/4,W/4]``.
        queries: the same before each layer and after the last, and what the queries have become.
    """

    gaussians: GaussianMaps
    classes: Tensor
    masks: Tensor
    queries: Queries


class Siu3r(nn.Module):
    """All of it. Names are those of the checkpoints."""

    def __init__(self, configuration: Configuration = Configuration()) -> None:
        super().__init__()
        self.configuration = configuration
        adapter, width = configuration.adapter, configuration.croco.enc_embed_dim
        self.backbone = Backbone(
            configuration.croco,
            configuration.rotary_base,
            adapter.interaction_indexes,
            configuration.taps,
            configuration.multiple,
        )
        self.adapter = VisionAdapter(
            width, adapter.conv_inplane, adapter.deform_num_heads, adapter.n_points, adapter.cffn_ratio
        )
        segmentation = TextSegmentation if configuration.text else Segmentation
        self.mask2former = segmentation(width, configuration.mask2former, configuration.num_labels)
        self.downstream_head1, self.downstream_head2 = CentreHead(configuration), CentreHead(configuration)
        self.gaussian_param_head1, self.gaussian_param_head2 = (
            ParameterHead(configuration),
            ParameterHead(configuration),
        )

    def forward(
        self, images: Tensor, intrinsics: Tensor, progress: Callable[[float], None] | None = None
    ) -> Prediction:
        """All that there is to know of some views.

        Args:
            images: ``[B,V,3,H,W]`` in 0..1; two views, or any number from two on with weights for that.
            intrinsics: ``[B,V,3,3]``, the first row divided by W, the second by H.
            progress: called with the share done, several times; may raise to stop.

        Raises:
            InputError: a size or a number of views that the network cannot take.
        """
        self._check(images)
        report = progress or (lambda fraction: None)
        blocks, levels = self.backbone(images, intrinsics, lambda fraction: report(LOOKING * fraction))
        made = self._gaussians(images, levels)
        report(0.8)
        queries = self.mask2former(self._maps(images, blocks))
        report(1.0)
        return Prediction(made, self.mask2former.classes(queries.states[-1]), queries.masks[-1], queries)

    def _gaussians(self, images: Tensor, levels: list[Tensor]) -> GaussianMaps:
        """Of the decoders' levels; the first view has heads of its own."""
        rows, columns = (side // self.backbone.patch for side in images.shape[-2:])
        centres, parameters = [], []
        for head, parameter_head, part in (
            (self.downstream_head1, self.gaussian_param_head1, slice(0, 1)),
            (self.downstream_head2, self.gaussian_param_head2, slice(1, None)),
        ):
            views = images[:, part].shape[:2]
            tokens = [level[:, part].flatten(0, 1) for level in levels]
            centres.append(head(tokens, rows, columns).unflatten(0, views))
            given = parameter_head(tokens, images[:, part].flatten(0, 1), rows, columns)
            parameters.append(given.unflatten(0, views))
        return gaussians(torch.cat(centres, 1), torch.cat(parameters, 1))

    def _maps(self, images: Tensor, blocks: list[Tensor]) -> list[Tensor]:
        """Of the encoder's blocks: four maps of each view for the segmentation."""
        maps = self.adapter(images.flatten(0, 1), [block.flatten(0, 1) for block in blocks])
        return [part.unflatten(0, images.shape[:2]) for part in maps]

    def _check(self, images: Tensor) -> None:
        views, height, width = images.shape[1], *images.shape[-2:]
        if height < COARSEST or width < COARSEST or height % COARSEST or width % COARSEST:
            raise InputError(
                f"The network takes pictures whose width and height are multiples of {COARSEST} pixels, "
                f"not {width} x {height}; resize them first."
            )
        if views < 2 or (views > 2 and not self.configuration.multiple):
            most = "two views or more" if self.configuration.multiple else "exactly two views"
            raise InputError(f"This checkpoint takes {most}, not {views}; give others.")
