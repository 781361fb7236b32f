"""What is known at few pixels spreads over all of them, up to the edges."""

from __future__ import annotations

import numpy as np

from recon.alignment.screened import spread


def links(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.ones((height - 1, width), np.float32), np.ones((height, width - 1), np.float32)


def test_between_two_known_columns_the_field_is_a_ramp() -> None:
    target, weight = np.zeros((60, 81), np.float32), np.zeros((60, 81), np.float32)
    target[:, 80] = 8
    weight[:, [0, 80]] = 1000
    field = spread(target, weight, links(60, 81), steps=60)
    np.testing.assert_allclose(field, np.broadcast_to(np.arange(81) / 10, field.shape), atol=0.02)


def test_nothing_crosses_a_cut() -> None:
    target, weight = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    target[10, 10], target[10, 50] = 1, -1
    weight[10, [10, 50]] = 1
    below, right = links(64, 64)
    right[:, 31] = 1e-6
    field = spread(target, weight, (below, right), steps=60)
    np.testing.assert_allclose(field[:, :32], 1, atol=0.05)
    np.testing.assert_allclose(field[:, 32:], -1, atol=0.05)


def test_few_steps_are_close_to_the_solution() -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(size=(96, 128)).astype(np.float32)
    weight = (generator.random((96, 128)) < 0.02).astype(np.float32) + np.float32(1e-5)
    solution = spread(target, weight, links(96, 128), steps=300)
    assert np.abs(spread(target, weight, links(96, 128)) - solution).max() < 0.1
