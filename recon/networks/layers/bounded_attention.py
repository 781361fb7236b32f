"""Exact attention where scores are small enough, so that softmax needs no maximum.

Softmax takes the largest score off all others first, lest an exponential overflow; finding it as the keys go by costs a
GPU about a seventh of its time. Queries and keys that LayerNorm has normed (query-key normalisation: Dehghani et al.
2023, section 2.1) have a length that its weights bound, and rotary positions keep lengths. Where the bound is below
`LARGEST`, sums of exponentials fit into float32, and without the maximum the result is the same but for rounding.

Where no norm bounds scores they are mostly as small. Then each sum can tell: between `LEAST_SUM` and `LARGEST_SUM`
nothing that counts was lost, and what else there is becomes no number, for all to see.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers import fused

LARGEST = 80.0  # of a score to the base 2: leaves 2 ** 47 for the number of keys and the size of values
LEAST_SUM, LARGEST_SUM = 2.0**-60, 2.0**100  # of up to 2 ** 20 exponentials; float32 ends at 2 ** -126 and 2 ** 128
KEYS = 64  # of a step
FEW = 40_000  # tokens; up to here steps of fewer queries are faster: they fill the GPU more evenly

if fused.AVAILABLE:
    import triton
    from triton import language as tl

    @triton.jit
    def _attend(
        queries, keys, values, attended, count, least, largest,
        HEADS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, CHECK: tl.constexpr,
    ):  # fmt: skip
        stride: tl.constexpr = HEADS * WIDTH
        start = (tl.program_id(1) // HEADS).to(tl.int64) * count * stride + tl.program_id(1) % HEADS * WIDTH
        row, key, channel = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, KEYS), tl.arange(0, WIDTH)
        inside = row[:, None] < count
        place = start + row[:, None].to(tl.int64) * stride + channel[None, :]
        query = tl.load(queries + place, inside, 0.0)
        keys += start + key[None, :] * stride + channel[:, None]
        values += start + key[:, None] * stride + channel[None, :]
        total = tl.zeros([ROWS], tl.float32)
        result = tl.zeros([ROWS, WIDTH], tl.float32)
        whole = count // KEYS
        for _ in range(0, whole):
            each, value = tl.load(keys), tl.load(values)
            weight = tl.exp2(tl.dot(query, each))
            total += tl.sum(weight, 1)
            result = tl.dot(weight.to(value.dtype), value, result)
            keys += KEYS * stride
            values += KEYS * stride
        if whole * KEYS < count:
            known = whole * KEYS + key < count
            each, value = tl.load(keys, known[None, :], 0.0), tl.load(values, known[:, None], 0.0)
            weight = tl.where(known[None, :], tl.exp2(tl.dot(query, each)), 0.0)
            total += tl.sum(weight, 1)
            result = tl.dot(weight.to(value.dtype), value, result)
        result = result / total[:, None]
        if CHECK:
            result = tl.where(((total > least) & (total < largest))[:, None], result, float("nan"))
        tl.store(attended + place, result.to(attended.dtype.element_ty), inside)


def factor(width: int) -> float:
    """What queries are to be multiplied by for `attend`: the scale of the scores, to the base 2."""
    return math.log2(math.e) / math.sqrt(width)


def largest_score(query: nn.Module, key: nn.Module) -> float:
    """What no score to the base 2 exceeds, by the norms of queries and of keys; infinite without LayerNorms.

    A normed head has at most the length ``sqrt(width)`` before the weights. Rotary positions turn channel i of the
    first quarter with that of the second, and so with the third and the fourth: lengths of those pairs stay.
    """
    if not isinstance(query, nn.LayerNorm) or not isinstance(key, nn.LayerNorm):
        return math.inf
    width = query.weight.numel()
    pairs = [
        part.detach().double().unflatten(0, (2, 2, -1)) for part in (query.weight, query.bias, key.weight, key.bias)
    ]
    query_weight, key_weight = (part.abs().amax(1) for part in pairs[::2])
    query_bias, key_bias = (part.norm(dim=1) for part in pairs[1::2])
    product = width * (query_weight * key_weight).max() + (query_bias * key_bias).sum()
    product += math.sqrt(width) * ((query_weight * key_bias).norm() + (key_weight * query_bias).norm())
    return product.item() * factor(width)


def attend(query: Tensor, key: Tensor, value: Tensor, dtype: torch.dtype | None = None, check: bool = False) -> Tensor:
    """See `recon.networks.layers.transformer.attend`; no score may exceed `LARGEST`, unless it is checked.

    Args:
        query: ``[B, N, heads, head_width]``, multiplied by `factor` already; contiguous.
        key: the same shape; contiguous.
        value: the same shape; contiguous. In bfloat16 or float32, whose exponents sums of exponentials need; so are
            the exponentials themselves. Queries and keys may be in any precision.
        dtype: of what comes out; None for that of queries.
        check: give NaN for queries whose scores are out of range.
    """
    batch, count, heads, width = query.shape
    if not fused.compiled(query):
        query, key, value = (part.transpose(1, 2).to(query.dtype) for part in (query, key, value))
        attended = functional.scaled_dot_product_attention(query, key, value, scale=math.log(2))
        return attended.transpose(1, 2).flatten(2).to(dtype)
    attended = torch.empty_like(query, dtype=dtype)
    rows = 64 if batch * count <= FEW else 128
    with torch.cuda.device_of(query):
        _attend[(triton.cdiv(count, rows), batch * heads)](
            query, key, value, attended, count, LEAST_SUM, LARGEST_SUM,
            HEADS=heads, WIDTH=width, ROWS=rows, KEYS=KEYS, CHECK=check, num_warps=4, num_stages=3,
        )  # fmt: skip
    return attended.flatten(2)
