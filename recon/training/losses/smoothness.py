"""Understanding helps reconstruction: depth is to be smooth within what is one segment (SIU3R: Xu et al. 2025)."""

from __future__ import annotations

from torch import Tensor


def mask_guided_smoothness(depth: Tensor, segments: Tensor) -> Tensor:
    """Mean step of depth between neighbours of one segment, across and down; steps between segments count as none.

    Gaussians whose depth is rendered learn from it; gradients do not pass edges of segments, where depth may jump.

    Args:
        depth: ``[...,H,W]``, rendered.
        segments: ``[...,H,W]`` ids as predicted, -1 for where nothing is asked; 0, not assigned, is a segment.
    """
    steps = []
    for axis in (-1, -2):
        length = depth.shape[axis] - 1
        earlier, later = (segments.narrow(axis, start, length) for start in (0, 1))
        step = depth.float().diff(dim=axis).abs()
        steps.append((step * ((earlier == later) & (later != -1))).mean())
    return steps[0] + steps[1]
