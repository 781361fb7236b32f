"""What MonST3R thresholds and minimises (Zhang et al. 2025), to judge masks and worlds by."""

from __future__ import annotations

import numpy as np

LARGEST_FLOW_LOSS = 50.0  # of a component of a pixel's flow: what is above is left out


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = (mask | truth).sum()
    return float((mask & truth).sum() / union) if union else 1.0


def normalised_error(ego: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """``[H,W]``: the distance between two flows ``[H,W,2]``, stretched to 0..1. Something moves in every picture."""
    error = np.linalg.norm(ego - flow, axis=-1)
    span = error.max() - error.min()
    return (error - error.min()) / span if span > 0 else np.zeros_like(error)


def flow_loss(ego: np.ndarray, flow: np.ndarray, resting: np.ndarray) -> float:
    """Mean smooth-L1 distance between components of flows ``[...,2]`` in pixels, where ``resting [...]`` says so."""
    difference = np.abs(ego - flow)[resting]
    loss = np.where(difference < 1, 0.5 * difference**2, difference - 0.5)
    kept = loss < LARGEST_FLOW_LOSS
    return float(loss[kept].mean()) if kept.any() else 0.0


def step_lengths(world_from_camera: np.ndarray, translation_weight: float = 1.0) -> np.ndarray:
    """``[V-1]``: how far cameras ``[V,4,4]`` turn (Frobenius norm) and move from frame to frame."""
    relative = np.linalg.inv(world_from_camera[:-1]) @ world_from_camera[1:]
    turns = np.linalg.norm(relative[:, :3, :3] - np.eye(3), axis=(1, 2))
    return turns + translation_weight * np.linalg.norm(relative[:, :3, 3], axis=1)


def depth_change(depth: np.ndarray, start: np.ndarray, moving: np.ndarray) -> float:
    """Mean squared change of log-depth ``[V,H,W]`` up to a scale of each view; twice that where it moves."""
    change = np.log(np.maximum(depth, 1e-6)) - np.log(np.maximum(start, 1e-6))
    change = change - change.mean((1, 2), keepdims=True)
    return float(((1 + moving) * change**2).mean())
