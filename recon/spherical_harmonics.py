"""Real spherical harmonics up to degree 4, with the order and signs of Gaussian splatting (Kerbl et al. 2023).

Of degree l, orders -l .. l; each is the usual orthonormal one times (-1) to the power of its order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

DEGREES = 4


def basis(directions: Tensor, count: int) -> Tensor:
    """The first ``count`` harmonics ``[...,count]`` of unit vectors ``[...,3]``.

    Raises:
        ValueError: a count that is not 1, 4, 9, 16 or 25.
    """
    if count not in [(degree + 1) ** 2 for degree in range(DEGREES + 1)]:
        raise ValueError(f"there are no {count} harmonics")
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    one = torch.ones_like(x)
    terms = [0.28209479177387814 * one]
    if count > 1:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if count > 4:
        terms += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * zz - 1),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if count > 9:
        terms += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (5 * zz - 1),
            0.3731763325901154 * z * (5 * zz - 3),
            -0.4570457994644658 * x * (5 * zz - 1),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    if count > 16:
        terms += [
            2.5033429417967046 * x * y * (xx - yy),
            -1.7701307697799304 * y * z * (3 * xx - yy),
            0.9461746957575601 * x * y * (7 * zz - 1),
            -0.6690465435572892 * y * z * (7 * zz - 3),
            0.10578554691520431 * (35 * zz * zz - 30 * zz + 3),
            -0.6690465435572892 * x * z * (7 * zz - 3),
            0.47308734787878004 * (xx - yy) * (7 * zz - 1),
            -1.7701307697799304 * x * z * (xx - 3 * yy),
            0.6258357354491761 * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
        ]
    return torch.stack(terms, -1)


def colours(harmonics: Tensor, directions: Tensor) -> Tensor:
    """``[...,3]``, at least 0, of harmonics ``[...,3,K]`` as seen along unit vectors ``[...,3]`` from the camera."""
    return (0.5 + (harmonics * basis(directions, harmonics.shape[-1])[..., None, :]).sum(-1)).clamp_min(0)


def rotated(harmonics: Tensor, rotation: Tensor) -> Tensor:
    """Harmonics ``[...,K]`` of the same colours in a world that is turned by ``b_from_a [3,3]``.

    Each degree is a space of its own that rotations keep, so its matrix is what the basis does at enough directions.
    """
    count = harmonics.shape[-1]
    directions = functional.normalize(torch.randn(4 * count, 3, generator=torch.Generator().manual_seed(0)).double())
    turn = rotation.double().cpu()
    matrix = torch.linalg.lstsq(basis(directions @ turn.T, count), basis(directions, count)).solution
    return harmonics @ matrix.T.to(harmonics)
