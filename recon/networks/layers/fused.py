"""What a transformer block does between its matrix products, in one pass over memory each.

On CUDA by kernels that Triton compiles; elsewhere, and where Triton is not installed, by torch in several passes.
"""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers.rotary import rotate
from recon.networks.layers.transformer import Heads, Rotary

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
    def _gate(packed, gated, count, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
        place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = place < count
        source = packed + place // WIDTH * (2 * WIDTH) + place % WIDTH
        gate = tl.load(source, inside, 0.0).to(tl.float32)
        value = tl.load(source + WIDTH, inside, 0.0).to(tl.float32)
        tl.store(gated + place, gate * tl.sigmoid(gate) * value, inside)

    @triton.jit
    def _turn(
        source, target, weight, bias, cosine, sine, factor, eps, inside, low,
        NORM: tl.constexpr, ROTATE: tl.constexpr, WIDTH: tl.constexpr,
    ):  # fmt: skip
        # Two coordinates of a point that turns stand a quarter of the head apart (see `rotary_angles`).
        high = low + WIDTH // 4
        first = tl.load(source + low, inside, 0.0).to(tl.float32)
        second = tl.load(source + high, inside, 0.0).to(tl.float32)
        if NORM:
            mean = (tl.sum(first, 1) + tl.sum(second, 1))[:, None] / WIDTH
            first, second = first - mean, second - mean
            squares = (tl.sum(first * first, 1) + tl.sum(second * second, 1))[:, None]
            deviation = tl.rsqrt(squares / WIDTH + eps)
            first = first * deviation * tl.load(weight + low) + tl.load(bias + low)
            second = second * deviation * tl.load(weight + high) + tl.load(bias + high)
        if ROTATE:
            first, second = first * cosine - second * sine, second * cosine + first * sine
        tl.store(target + low, first * factor, inside)
        tl.store(target + high, second * factor, inside)

    @triton.jit
    def _norm_rotate(
        packed, query, key, value, query_weight, query_bias, key_weight, key_bias, cosines, sines,
        tokens, positions, query_eps, key_eps, factor,
        NORM: tl.constexpr, ROTATE: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    ):  # fmt: skip
        row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]  # heads of tokens
        inside = row < tokens * HEADS
        token = row // HEADS
        source = packed + token.to(tl.int64) * (3 * HEADS * WIDTH) + row % HEADS * WIDTH
        place = row.to(tl.int64) * WIDTH
        channel = tl.arange(0, WIDTH)[None, :]
        tl.store(value + place + channel, tl.load(source + 2 * HEADS * WIDTH + channel, inside, 0.0), inside)
        pair = tl.arange(0, WIDTH // 2)[None, :]
        low = pair // (WIDTH // 4) * (WIDTH // 2) + pair % (WIDTH // 4)
        cosine, sine = 1.0, 0.0
        if ROTATE:
            angle = token % positions * WIDTH + low
            cosine = tl.load(cosines + angle, inside, 1.0)
            sine = -tl.load(sines + angle, inside, 0.0)
        _turn(
            source, query + place, query_weight, query_bias, cosine, sine, factor, query_eps, inside, low,
            NORM, ROTATE, WIDTH,
        )  # fmt: skip
        source += HEADS * WIDTH
        _turn(
            source, key + place, key_weight, key_bias, cosine, sine, 1.0, key_eps, inside, low,
            NORM, ROTATE, WIDTH,
        )  # fmt: skip


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


def gated(packed: Tensor) -> Tensor:
    """The second half of the channels of ``[..., 2 C]``, contiguous, times the first through a SiLU."""
    if not compiled(packed) or packed.requires_grad:
        gate, value = packed.chunk(2, -1)
        return functional.silu(gate) * value
    width, size = packed.shape[-1] // 2, 2048
    result = torch.empty((*packed.shape[:-1], width), dtype=packed.dtype, device=packed.device)
    with torch.cuda.device_of(packed):
        _gate[(triton.cdiv(result.numel(), size),)](
            packed, result, result.numel(), WIDTH=width, BLOCK=size, num_warps=8
        )
    return result


def norm_rotate(
    packed: Tensor, layers: tuple[nn.Module, nn.Module], rotary: Rotary | None, factor: float, heads: Heads
) -> None:
    """Queries and keys, normed, turned and queries scaled, in float32 but for what comes in and goes out.

    Args:
        packed: queries, keys and values ``[B, N, 3, heads, head_width]``, contiguous.
        layers: the LayerNorms over a query and over a key, or two `nn.Identity` for none.
        rotary: of the N tokens (see `rotary_angles`); None for none.
        factor: that queries are multiplied by.
        heads: where queries, keys and values go, each ``[B, N, heads, head_width]``, contiguous, of any precision.
    """
    batch, count, _, number, width = packed.shape
    normed = isinstance(layers[0], nn.LayerNorm)
    if not compiled(packed) or width & (width - 1):
        for part, layer, scale, target in zip(packed.unbind(2), (*layers, None), (factor, 1, 1), heads, strict=True):
            turned = part if layer is None else layer(part.float())
            target.copy_((turned if layer is None or rotary is None else rotate(turned, rotary)) * scale)
        return
    query, key = layers
    query_parts = (query.weight, query.bias, query.eps) if isinstance(query, nn.LayerNorm) else (packed, packed, 0.0)
    key_parts = (key.weight, key.bias, key.eps) if isinstance(key, nn.LayerNorm) else (packed, packed, 0.0)
    cosines, sines = rotary if rotary is not None else (packed, packed)
    rows = 32
    with torch.cuda.device_of(packed):
        _norm_rotate[(triton.cdiv(batch * count * number, rows),)](
            packed, *heads, *query_parts[:2], *key_parts[:2], cosines, sines,
            batch * count, cosines.shape[0], query_parts[2], key_parts[2], factor,
            NORM=normed, ROTATE=rotary is not None, HEADS=number, WIDTH=width, ROWS=rows, num_warps=4,
        )  # fmt: skip


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
