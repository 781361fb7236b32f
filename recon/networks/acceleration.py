"""VGGT on a GPU: matrices in half precision, few passes over memory, the fastest exact attention that there is.

What is not mentioned is as in `recon.networks.vggt`, in float32: the tokens that blocks add to, all norms, what the
cameras are read off. On the CPU nothing is changed at all.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from recon.networks.layers import bounded_attention, fused
from recon.networks.layers.dpt import Dpt
from recon.networks.layers.transformer import Block, Heads, LayerScale, Rotary, attend
from recon.networks.recording import Graph, aside, recording, timed_convolutions
from recon.networks.vggt import VGGT, Features, Prediction

log = logging.getLogger(__name__)

# Each gives the same numbers but for rounding; the first that takes the shapes on this card is the fastest one.
ATTENTION = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
ROWS = 1 << 16  # tokens that a block's matrix products take at a time: enough to fill a GPU, few enough to save memory
GRAPH_TOKENS = 1 << 15  # up to here launching the kernels takes longer than running them
GRAPHS = 4  # kept at a time


def accelerate(network: VGGT, device: torch.device) -> VGGT:
    """The network on a device, as fast as it can be there.

    On CUDA that is `Accelerated`, which shares the parts of ``network``: use the result, not ``network`` itself, after
    this. Weights go to the device one by one and in their final precision, so that loading takes no more memory than
    running does. On any other device it is ``network`` itself, moved.

    Args:
        network: with its weights, on any device but "meta".
        device: where to run it.
    """
    network = network.eval().requires_grad_(False)
    if device.type != "cuda":
        return network.to(device)
    if not fused.AVAILABLE:
        log.warning("Triton is not installed: VGGT runs without fused kernels, which takes about twice the time.")
    # Without a running maximum exponents must be float32's; on other cards it has not been seen to be faster.
    bounded = fused.AVAILABLE and torch.cuda.get_device_capability(device) == (9, 0)
    return Accelerated(network, half_precision(device), bounded).to(device)


def half_precision(device: torch.device) -> torch.dtype:
    """bfloat16, or float16 on cards that are older than it."""
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


class Accelerated(VGGT):
    """`VGGT` with the blocks of its aggregator replaced.

    Where few tokens are to be looked at, launching the kernels would take longer than running them: `forward` then
    records its launches at the second call with a size, and replays them from there on. The results are its callers'.

    Args:
        network: gives its parts away.
        dtype: of the matrices of the aggregator's blocks, and of what they multiply, where float16 cannot hold it.
        bounded: use `bounded_attention` in those blocks whose weights allow it.
        dense: precision of the dense heads' convolutions but for the last.
    """

    def __init__(
        self, network: VGGT, dtype: torch.dtype, bounded: bool = False, dense: torch.dtype = torch.float16
    ) -> None:
        nn.Module.__init__(self)
        self.configuration = network.configuration
        self.aggregator = aggregator = network.aggregator
        for blocks in (aggregator.patch_embed.blocks, aggregator.frame_blocks, aggregator.global_blocks):
            for index, block in enumerate(blocks):
                blocks[index] = FusedBlock(block, dtype, bounded)  # type: ignore[arg-type]
        link(aggregator.patch_embed.blocks)
        link(block for *_, block in aggregator.blocks())
        self.camera_head, self.track_head = network.camera_head, network.track_head
        self.depth_head, self.point_head = network.depth_head, network.point_head
        if self.camera_head is not None:
            for index, block in enumerate(self.camera_head.trunk):
                # Else in float32: bfloat16 would show in the cameras.
                if dtype == torch.bfloat16 and fits_float16(block):  # type: ignore[arg-type]
                    self.camera_head.trunk[index] = FusedBlock(block, dtype, False)  # type: ignore[arg-type]
        for head in (self.depth_head, self.point_head):
            if head is not None:
                lighten(head, dense)
        self._graphs: OrderedDict[tuple[object, ...], Graph | None] = OrderedDict()
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, queries: Tensor | None = None, chunk: int = 8) -> Prediction:
        """See `VGGT.forward`."""
        tokens = (
            images.shape[0]
            * images.shape[1]
            * (images.shape[-1] * images.shape[-2] // self.configuration.patch_size**2)
        )
        if queries is not None or not images.is_cuda or tokens > GRAPH_TOKENS:
            return self._eagerly(images, queries, chunk)
        key = (*images.shape, images.dtype, chunk)
        if key not in self._graphs:
            self._graphs[key] = None
            while len(self._graphs) > GRAPHS:
                self._graphs.popitem(last=False)
            with timed_convolutions():
                return self._eagerly(images, None, chunk)
        graph = self._graphs[key]
        if graph is None:
            graph = self._graphs[key] = Graph(lambda pictures: self._eagerly(pictures, None, chunk), images)
        self._graphs.move_to_end(key)
        prediction = graph(images)
        dense = (prediction.depth, prediction.depth_confidence, prediction.points, prediction.points_confidence)
        if finite(*(maps for maps in dense if maps is not None)):
            return prediction
        self._graphs.clear()
        return self._eagerly(images, None, chunk)

    def _eagerly(self, images: Tensor, queries: Tensor | None, chunk: int) -> Prediction:
        return super().forward(images, queries, chunk)

    def read(self, readings: Sequence[Callable[[], None]]) -> None:
        """See `VGGT.read`; in a recording they stand beside each other.

        Many launches are small and wait for each other, those of the cameras most, and leave much of a GPU to others.
        """
        if not recording():
            return super().read(readings)
        here = torch.cuda.current_stream()
        streams = [aside(torch.cuda.current_device(), number) for number in range(len(readings))]
        for stream, reading in zip(streams, readings, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                reading()
        for stream in streams:
            here.wait_stream(stream)

    def depth(self, features: Features, frames: slice) -> tuple[Tensor, Tensor]:
        """See `VGGT.depth`."""
        return self._in_range(self.depth_head, super().depth, features, frames)

    def points(self, features: Features, frames: slice) -> tuple[Tensor, Tensor]:
        """See `VGGT.points`."""
        return self._in_range(self.point_head, super().points, features, frames)

    @staticmethod
    def _in_range(
        head: Dpt | None,
        read: Callable[[Features, slice], tuple[Tensor, Tensor]],
        features: Features,
        frames: slice,
    ) -> tuple[Tensor, Tensor]:
        """What ``read`` gives, from now on in float32 if the head's own precision cannot hold its maps."""
        maps = read(features, frames)
        light = head is not None and head.projects[0].weight.dtype == torch.float16
        if not light or recording() or finite(*maps):  # `forward` looks at each replay
            return maps
        log.warning("A dense head leaves the range of float16 and goes on in float32, which takes longer.")
        lighten(head, torch.float32)  # type: ignore[arg-type]
        return read(features, frames)

    def encode(self, images: Tensor, progress: Callable[[float], None] | None = None) -> Features:
        """See `VGGT.encode`; progress tells what the device has done, not what it was given to do."""
        with sdpa_kernel(ATTENTION, set_priority=True):
            return super().encode(images, None if progress is None else paced(progress))


class FusedBlock(Block):
    """`Block` with matrices of a precision of their own, and one pass over memory for all that stands between them.

    Where `fits_float16` they are in float16, whose steps are an eighth of bfloat16's, else as they are told to be.

    Args:
        block: gives its parts away.
        dtype: of the matrices that float16 may not hold.
        bounded: see `Accelerated`.
    """

    # The norm that the next block begins with and the precision it wants. Where it is known, the last pass of this
    # block does it too, and leaves what it gives as an attribute of the tokens.
    following: tuple[nn.LayerNorm, torch.dtype] | None = None

    def __init__(self, block: Block, dtype: torch.dtype, bounded: bool) -> None:
        nn.Module.__init__(self)
        self.norm1, self.attn, self.ls1 = block.norm1, block.attn, block.ls1
        self.norm2, self.mlp, self.ls2 = block.norm2, block.mlp, block.ls2
        self.dtype = torch.float16 if dtype == torch.bfloat16 and fits_float16(block) else dtype
        for matrix in (self.attn.qkv, self.attn.proj, self.mlp.fc1, self.mlp.fc2):
            matrix.to(self.dtype)
        width = self.attn.proj.in_features // self.attn.heads
        score = bounded_attention.largest_score(self.attn.q_norm, self.attn.k_norm)
        self.bounded = bounded and width == 64 and score < bounded_attention.LARGEST
        self.factor = bounded_attention.factor(width) if self.bounded else 1.0
        # Exponentials without a maximum need bfloat16's range, hence values too; queries and keys need float16 no more
        # than values do, and it makes a GPU hotter, hence slower.
        self.seen = dtype if self.bounded else self.dtype

    def project(self, tokens: Tensor, rotary: Rotary | None = None) -> Heads:
        """See `Block.project`; ``rotary`` as in `Block.forward`."""
        size = max(1, ROWS // tokens.shape[1])
        parts = (tokens,) if len(tokens) <= size else tokens.split(size)
        if len(parts) == 1 and rotary is None and isinstance(self.attn.q_norm, nn.Identity):
            query, key, value = self._packed(tokens).unbind(2)
            return query, key, value
        shape = (*tokens.shape[:2], self.attn.heads, tokens.shape[2] // self.attn.heads)
        heads = [torch.empty(shape, dtype=self.seen, device=tokens.device) for _ in range(3)]
        norms = self.attn.q_norm, self.attn.k_norm
        for part, *rows in zip(parts, *(each.split(len(parts[0])) for each in heads), strict=True):
            fused.norm_rotate(self._packed(part), norms, rotary, self.factor, (rows[0], rows[1], rows[2]))
        return heads[0], heads[1], heads[2]

    def _packed(self, tokens: Tensor) -> Tensor:
        norm, normed = vars(tokens).pop("normed", (None, None))
        if norm is not self.norm1:
            normed = fused.norm(tokens, self.norm1, self.dtype)
        return self.attn.qkv(normed).unflatten(-1, (3, self.attn.heads, -1))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `Block.attend`."""
        return bounded_attention.attend(query, key, value, self.dtype) if self.bounded else attend(query, key, value)

    def add(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """See `Block.add`; the tokens that are given stay as they are."""
        total = torch.empty_like(tokens)
        size = max(1, ROWS // tokens.shape[1])
        for before, update, after in zip(tokens.split(size), attended.split(size), total.split(size), strict=True):
            normed = fused.add_norm(before, self.attn.proj(update), gamma(self.ls1), self.norm2, after, self.dtype)
            change = self.mlp.fc2(self.mlp.act(self.mlp.fc1(normed)))
            if self.following is None or len(tokens) > size:
                fused.add_(after, change, gamma(self.ls2))
            else:
                norm, dtype = self.following
                vars(total)["normed"] = norm, fused.add_norm(after, change, gamma(self.ls2), norm, after, dtype)
        return total


def link(blocks: Iterable[nn.Module]) -> None:
    """Tell each block which one follows."""
    for block, after in pairwise(blocks):
        assert isinstance(block, FusedBlock)
        assert isinstance(after, FusedBlock)
        block.following = after.norm1, after.dtype


def fits_float16(block: Block) -> bool:
    """Whether float16 holds all that a block makes of any tokens, by its weights alone.

    What LayerNorm gives has at most the length ``sqrt(channels)`` before its weights, which bounds every row of the
    matrices that read it (Cauchy and Schwarz). An attended value lies between the values, and GELU makes nothing
    longer, which bounds the rows of the other two matrices.
    """

    def reach(matrix: nn.Linear, norm: nn.LayerNorm) -> Tensor:
        length = norm.weight.numel() ** 0.5 * (matrix.weight * norm.weight).norm(dim=1)
        return length + functional.linear(norm.bias, matrix.weight, matrix.bias).abs()

    def then(matrix: nn.Linear, before: Tensor) -> Tensor:
        return matrix.weight.norm(dim=1) * before.norm() + matrix.bias.abs()

    heads, hidden = reach(block.attn.qkv, block.norm1), reach(block.mlp.fc1, block.norm2)
    made = [heads, then(block.attn.proj, heads.chunk(3)[2]), hidden, then(block.mlp.fc2, hidden)]
    norms = (block.norm1, block.norm2, block.attn.q_norm, block.attn.k_norm)
    for norm in norms:
        if isinstance(norm, nn.LayerNorm):  # turning by rotary positions adds a factor of sqrt(2) at most
            made.append(norm.weight.numel() ** 0.5 * norm.weight.abs() + norm.bias.abs())
    return all(part.max().item() < torch.finfo(torch.float16).max / 2 for part in made)


def finite(*maps: Tensor) -> bool:
    """Whether no value is infinite or not a number; waits for the device."""
    return bool(torch.stack([each.sum() for each in maps]).isfinite().all())


def lighten(head: Dpt, dtype: torch.dtype) -> None:
    """Convolutions in a precision of their own, but for the last one, whose values are what is given out."""
    for part in (head.projects, head.resize_layers, head.scratch):
        part.to(dtype)
    head.scratch.output_conv2[-1].float()  # type: ignore[index]
    for weight in head.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def gamma(scale: nn.Module) -> Tensor | None:
    """The factors of a block's layer scale, if it has one."""
    return scale.gamma if isinstance(scale, LayerScale) else None


def paced(progress: Callable[[float], None], ahead: int = 2) -> Callable[[float], None]:
    """``progress``, told when the device is there: the host runs ahead of it by a few calls and no more.

    So the device always has something to do, and a run can be stopped within moments.
    """
    marks: deque[tuple[torch.cuda.Event, float]] = deque()

    def report(fraction: float) -> None:
        mark = torch.cuda.Event()
        mark.record()
        marks.append((mark, fraction))
        if len(marks) > ahead:
            reached, fraction = marks.popleft()
            reached.synchronize()
            progress(fraction)

    return report
