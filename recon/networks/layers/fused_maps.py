"""What a dense head does between its convolutions, in one pass over memory each.

On CUDA by kernels that Triton compiles, for maps whose channels lie together; elsewhere, where Triton is not installed,
and where gradients are wanted, by torch in several passes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from recon.networks.layers import fused

if fused.AVAILABLE:
    import triton
    from triton import language as tl

    @triton.jit
    def _finish(
        maps, bias, first, second, count, period,
        CHANNELS: tl.constexpr, BIAS: tl.constexpr, FIRST: tl.constexpr, REPEATED: tl.constexpr, SECOND: tl.constexpr,
        RELU: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = place < count
        value = tl.load(maps + place, inside, 0.0).to(tl.float32)
        if BIAS:
            value += tl.load(bias + place % CHANNELS).to(tl.float32)
        if FIRST:
            value += tl.load(first + (place % period if REPEATED else place), inside, 0.0).to(tl.float32)
        if SECOND:
            value += tl.load(second + place, inside, 0.0).to(tl.float32)
        if RELU:
            value = tl.maximum(value, 0.0, tl.PropagateNan.ALL)
        tl.store(maps + place, value, inside)

    @triton.jit
    def _resize(
        maps, bias, across, down, resized, height, width, new_width, row_scale, column_scale,
        CHANNELS: tl.constexpr, BIAS: tl.constexpr, POSITIONS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        column, channel = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS), tl.arange(0, BLOCK)[None, :]
        row, image = tl.program_id(1), tl.program_id(2).to(tl.int64)
        x, y = column * column_scale, row * row_scale
        left, top = x.to(tl.int32), y.to(tl.int32)
        x, y = (x - left)[:, None], y - top
        right, bottom = tl.minimum(left + 1, width - 1) * CHANNELS, tl.minimum(top + 1, height - 1)
        left = left * CHANNELS
        inside = (column < new_width)[:, None] & (channel < CHANNELS)
        above = maps + (image * height + top) * width * CHANNELS
        below = maps + (image * height + bottom) * width * CHANNELS
        above_left = tl.load(above + left[:, None] + channel, inside, 0.0).to(tl.float32)
        above_right = tl.load(above + right[:, None] + channel, inside, 0.0).to(tl.float32)
        below_left = tl.load(below + left[:, None] + channel, inside, 0.0).to(tl.float32)
        below_right = tl.load(below + right[:, None] + channel, inside, 0.0).to(tl.float32)
        value = (1 - y) * ((1 - x) * above_left + x * above_right) + y * ((1 - x) * below_left + x * below_right)
        if BIAS:
            value += tl.load(bias + channel, channel < CHANNELS, 0.0).to(tl.float32)
        if POSITIONS:
            half: tl.constexpr = CHANNELS // 2
            value += tl.load(across + column[:, None] * half + channel, inside & (channel < half), 0.0)
            value += tl.load(down + row * half + channel - half, (channel >= half) & (channel < CHANNELS), 0.0)
        target = resized + (image * tl.num_programs(1) + row) * new_width * CHANNELS
        tl.store(target + column[:, None] * CHANNELS + channel, value, inside)

    @triton.jit
    def _read_out(
        maps, before, weight, bias, read, count,
        CHANNELS: tl.constexpr, OUTPUT: tl.constexpr, PIXELS: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        pixel, channel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS), tl.arange(0, BLOCK)
        known = channel < CHANNELS
        inside = pixel < count
        value = tl.load(maps + pixel[:, None] * CHANNELS + channel, inside[:, None] & known, 0.0).to(tl.float32)
        value += tl.load(before + channel, known, 0.0).to(tl.float32)
        value = tl.maximum(value, 0.0, tl.PropagateNan.ALL)
        for number in tl.static_range(OUTPUT):
            factors = tl.load(weight + number * CHANNELS + channel, known, 0.0).to(tl.float32)
            total = tl.sum(value * factors, 1) + tl.load(bias + number)
            tl.store(read + pixel * OUTPUT + number, total, inside)


def convolved(layer: nn.Conv2d | nn.ConvTranspose2d, maps: Tensor, *added: Tensor, relu: bool = False) -> Tensor:
    """``layer`` of ``[N,C,H,W]``, plus at most two maps, then a ReLU if wanted.

    The first map that is added may be ``[1,C,H,W]``, for all alike.
    """
    if isinstance(layer, nn.ConvTranspose2d):
        result = functional.conv_transpose2d(maps, layer.weight, None, layer.stride)
    else:
        result = functional.conv2d(maps, layer.weight, None, layer.stride, layer.padding)
    bias = layer.bias
    if not usable(result):
        result = result if bias is None else result + bias[:, None, None]
        for each in added:
            result = result + each
        return functional.relu(result) if relu else result
    result = together(result)
    if bias is None and not added and not relu:
        return result
    parts: list[Tensor | None] = [*(together(each) for each in added), None, None]
    first, second = parts[:2]
    size = 2048
    with torch.cuda.device_of(result):
        _finish[(triton.cdiv(result.numel(), size),)](
            result, result if bias is None else bias, result if first is None else first,
            result if second is None else second, result.numel(), 1 if first is None else first.numel(),
            CHANNELS=result.shape[1], BIAS=bias is not None, FIRST=first is not None,
            REPEATED=first is not None and first.numel() < result.numel(), SECOND=second is not None,
            RELU=relu, BLOCK=size, num_warps=8,
        )  # fmt: skip
    return result


def resized(
    maps: Tensor, size: tuple[int, int], bias: Tensor | None = None, positions: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """``[N,C,H,W]`` to ``[N,C,*size]``, bilinear, corner pixels onto corner pixels.

    Args:
        maps: to resize.
        size: height and width to get.
        bias: ``[C]``, added to every pixel.
        positions: codes of the columns ``[width, C / 2] float32``, added to the first half of the channels, and of the
            rows ``[height, C / 2]``, added to the second.
    """
    if not usable(maps):
        result = functional.interpolate(maps, size, mode="bilinear", align_corners=True)
        if bias is not None:
            result += bias[:, None, None]
        if positions is not None:
            across, down = (table.to(maps.dtype) for table in positions)
            half = maps.shape[1] // 2
            result[:, :half] += across.T[:, None, :]
            result[:, half:] += down.T[:, :, None]
        return result
    maps = together(maps)
    count, channels, height, width = maps.shape
    result = torch.empty(
        (count, channels, *size), dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last
    )
    across, down = (maps, maps) if positions is None else positions
    block = triton.next_power_of_2(channels)
    columns = max(1, 4096 // block)
    row_scale, column_scale = ((old - 1) / max(new - 1, 1) for old, new in zip((height, width), size, strict=True))
    with torch.cuda.device_of(maps):
        _resize[(triton.cdiv(size[1], columns), size[0], count)](
            maps, maps if bias is None else bias, across, down, result, height, width, size[1],
            row_scale, column_scale, CHANNELS=channels, BIAS=bias is not None, POSITIONS=positions is not None,
            COLUMNS=columns, BLOCK=block, num_warps=4,
        )  # fmt: skip
    return result


def read_out(maps: Tensor, layers: nn.Sequential) -> Tensor:
    """A convolution, a ReLU and a convolution of single pixels, the latter in the precision of its weights."""
    first, _, last = layers
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    if not usable(maps) or last.weight.dtype != torch.float32:
        return last(functional.relu(first(maps)).to(last.weight.dtype))
    hidden = together(functional.conv2d(maps, first.weight, None, first.stride, first.padding))
    count, channels, height, width = hidden.shape
    read = torch.empty((count, height, width, last.out_channels), dtype=torch.float32, device=maps.device)
    block = triton.next_power_of_2(channels)
    pixels = max(16, 4096 // block)
    with torch.cuda.device_of(hidden):
        _read_out[(triton.cdiv(count * height * width, pixels),)](
            hidden, first.bias, last.weight, last.bias, read, count * height * width,
            CHANNELS=channels, OUTPUT=last.out_channels, PIXELS=pixels, BLOCK=block, num_warps=4,
        )  # fmt: skip
    return read.permute(0, 3, 1, 2)


def together(maps: Tensor) -> Tensor:
    """``[N,C,H,W]`` with the channels of a pixel side by side in memory."""
    return maps.contiguous(memory_format=torch.channels_last)


def usable(maps: Tensor) -> bool:
    """Whether a kernel can work on maps."""
    return fused.compiled(maps) and not maps.requires_grad
