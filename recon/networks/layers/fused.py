"""What a transformer block does between its matrix products, in one pass over memory each.

On CUDA by kernels that Triton compiles; elsewhere, and where Triton is not installed, by torch in several passes.
"""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor, nn

from recon.networks.layers.rotary import rotate
from recon.networks.layers.transformer import Rotary

AVAILABLE = importlib.util.find_spec("triton") is not None  # not on Windows, nor beside the CPU builds of torch

if AVAILABLE:
    import triton
    from triton import language as tl

    @triton.jit
    def _add_norm(
        tokens, update, scale, total, weight, bias, normed, width, eps,
        ADD: tl.constexpr, SCALE: tl.constexpr, NORM: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        start = tl.program_id(0).to(tl.int64) * width
        column = tl.arange(0, BLOCK)
        inside = column < width
        value = tl.load(tokens + start + column, inside, 0.0).to(tl.float32)
        if ADD:
            change = tl.load(update + start + column, inside, 0.0).to(tl.float32)
            if SCALE:
                change *= tl.load(scale + column, inside, 0.0)
            value += change
            tl.store(total + start + column, value, inside)
        if NORM:
            mean = tl.sum(value, 0) / width
            centred = tl.where(inside, value - mean, 0.0)
            centred *= tl.rsqrt(tl.sum(centred * centred, 0) / width + eps)
            value = centred * tl.load(weight + column, inside, 0.0) + tl.load(bias + column, inside, 0.0)
            tl.store(normed + start + column, value, inside)

    @triton.jit
    def _norm_rotate(
        heads_in, heads_out, weight, bias, cosines, sines, positions, row_stride, eps, factor,
        NORM: tl.constexpr, ROTATE: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
    ):  # fmt: skip
        row = tl.program_id(0).to(tl.int64)
        head, channel = tl.arange(0, BLOCK)[:, None], tl.arange(0, WIDTH)[None, :]
        inside = (head < HEADS) & (channel < WIDTH)
        source = heads_in + row * row_stride + head * WIDTH
        value = tl.load(source + channel, inside, 0.0).to(tl.float32)
        # The other coordinate of the point that turns stands a quarter of the head away (see `rotary_angles`).
        partner = channel ^ (WIDTH // 4)
        other = tl.load(source + partner, inside, 0.0).to(tl.float32)
        if NORM:
            mean = tl.sum(value, 1)[:, None] / WIDTH
            value -= mean
            deviation = tl.rsqrt(tl.sum(value * value, 1)[:, None] / WIDTH + eps)
            value = value * deviation * tl.load(weight + channel) + tl.load(bias + channel)
            other = (other - mean) * deviation * tl.load(weight + partner) + tl.load(bias + partner)
        if ROTATE:
            angle = (row % positions) * WIDTH + channel
            value = value * tl.load(cosines + angle) + other * tl.load(sines + angle)
        tl.store(heads_out + row * (HEADS * WIDTH) + head * WIDTH + channel, value * factor, inside)


def norm(tokens: Tensor, layer: nn.LayerNorm, dtype: torch.dtype) -> Tensor:
    """``layer`` of ``[..., C] float32``, computed in float32 and given in ``dtype``."""
    if not compiled(tokens):
        return layer(tokens).to(dtype)
    normed = torch.empty_like(tokens, dtype=dtype)
    launch_add_norm(tokens, None, None, None, layer, normed)
    return normed


def add_norm(
    tokens: Tensor, update: Tensor, scale: Tensor | None, layer: nn.LayerNorm, total: Tensor, dtype: torch.dtype
) -> Tensor:
    """Add ``scale * update`` to ``tokens [..., C] float32``, into ``total``; return ``layer`` of that in ``dtype``.

    No scale stands for 1 everywhere. All are contiguous.
    """
    if not compiled(tokens):
        torch.add(tokens, update if scale is None else update * scale, out=total)
        return layer(total).to(dtype)
    normed = torch.empty_like(tokens, dtype=dtype)
    launch_add_norm(tokens, update, scale, total, layer, normed)
    return normed


def add_(tokens: Tensor, update: Tensor, scale: Tensor | None) -> None:
    """Add ``scale * update`` to ``tokens [..., C] float32`` in place; no scale stands for 1 everywhere."""
    if not compiled(tokens):
        tokens += update if scale is None else update * scale
        return
    launch_add_norm(tokens, update, scale, tokens, None, None)


def norm_rotate(heads: Tensor, layer: nn.Module, rotary: Rotary | None, factor: float = 1.0) -> Tensor:
    """Queries or keys, normed, turned and scaled, in float32 but for what comes in and goes out.

    Args:
        heads: ``[B, N, heads, head_width]``; the heads of a token are contiguous, and tokens evenly spaced.
        layer: a LayerNorm over a head, or `nn.Identity` for none.
        rotary: of the N tokens (see `rotary_angles`); None for none.
        factor: that all is multiplied by.

    Returns:
        ``[B, N, heads, head_width]`` contiguous, of the dtype of ``heads``.
    """
    batch, count, number, width = heads.shape
    if not compiled(heads) or width & (width - 1):
        turned = layer(heads.float())
        turned = turned if rotary is None else rotate(turned, rotary)
        return (turned * factor).to(heads.dtype).contiguous()
    turned = torch.empty(heads.shape, dtype=heads.dtype, device=heads.device)
    normed = isinstance(layer, nn.LayerNorm)
    weight, bias, eps = (layer.weight, layer.bias, layer.eps) if normed else (heads, heads, 0.0)
    cosines, sines = rotary if rotary is not None else (heads, heads)
    with torch.cuda.device_of(heads):
        _norm_rotate[(batch * count,)](
            heads, turned, weight, bias, cosines, sines, count, heads.stride(1), eps, factor,
            NORM=normed, ROTATE=rotary is not None,
            HEADS=number, BLOCK=triton.next_power_of_2(number), WIDTH=width, num_warps=4,
        )  # fmt: skip
    return turned


def launch_add_norm(
    tokens: Tensor,
    update: Tensor | None,
    scale: Tensor | None,
    total: Tensor | None,
    layer: nn.LayerNorm | None,
    normed: Tensor | None,
) -> None:
    """Add where there is an update, norm where there is a layer; what is None is neither read nor written."""
    width = tokens.shape[-1]
    update_, scale_, total_, normed_ = (tokens if part is None else part for part in (update, scale, total, normed))
    weight, bias, eps = (tokens, tokens, 0.0) if layer is None else (layer.weight, layer.bias, layer.eps)
    with torch.cuda.device_of(tokens):
        _add_norm[(tokens.numel() // width,)](
            tokens, update_, scale_, total_, weight, bias, normed_, width, eps,
            ADD=update is not None, SCALE=scale is not None, NORM=layer is not None,
            BLOCK=triton.next_power_of_2(width), num_warps=4,
        )  # fmt: skip


def compiled(tensor: Tensor) -> bool:
    """Whether a kernel can work on ``tensor``: on CUDA, or where Triton is told to interpret its kernels."""
    return AVAILABLE and (tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1")
