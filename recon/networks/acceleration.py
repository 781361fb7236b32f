"""Networks on a GPU: matrices in half precision, few passes over memory, the fastest exact attention that there is.

What networks share of it; how each puts it together stands in a file of its own (`recon.networks.vggt_acceleration`
and its like). On the CPU nothing is changed at all.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend

from recon.networks.layers import bounded_attention, fused
from recon.networks.layers.swiglu import SwiGlu
from recon.networks.layers.transformer import Block, Heads, LayerScale, Rotary, attend
from recon.networks.recording import recording

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)

# Each gives the same numbers but for rounding; the first that takes the shapes on this card is the fastest one.
ATTENTION = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
ROWS = 1 << 16  # tokens that a block's matrix products take at a time: enough to fill a GPU, few enough to save memory
GRAPH_TOKENS = 1 << 15  # up to here launching the kernels takes longer than running them


def on_device(network: Network, device: torch.device, accelerated: Callable[[Network], Network]) -> Network:
    """The network on a device, as fast as it can be there.

    On CUDA that is what ``accelerated`` makes of it, which shares its parts: use the result, not ``network`` itself,
    after this. Weights go to the device one by one and in their final precision, so that loading takes no more memory
    than running does. On any other device it is ``network`` itself, moved.
    """
    network = network.eval().requires_grad_(False)
    if device.type != "cuda":
        return network.to(device)
    if not fused.AVAILABLE:
        log.warning("Triton is not installed: networks run without fused kernels, which takes about twice the time.")
    return accelerated(network).to(device)


def bounded_is_faster(device: torch.device) -> bool:
    """Whether `bounded_attention` is known to be the fastest there; on other cards it has not been seen to be.

    Without a running maximum exponents must be bfloat16's, which such cards have.
    """
    return fused.AVAILABLE and torch.cuda.get_device_capability(device) == (9, 0)


def half_precision(device: torch.device) -> torch.dtype:
    """bfloat16, or float16 on cards that are older than it."""
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


class FusedBlock(Block):
    """`Block` with matrices of a precision of their own, and one pass over memory for all that stands between them.

    Where `fits_float16` they are in float16, whose steps are an eighth of bfloat16's, else as they are told to be.

    Args:
        block: gives its parts away.
        dtype: of the matrices that float16 may not hold.
        bounded: use `bounded_attention` where the weights allow it.
        checked: use it where they do not, too, and let it tell what is out of its range.
    """

    # The norm that the next block begins with and the precision it wants. Where it is known, the last pass of this
    # block does it too, and leaves what it gives as an attribute of the tokens.
    following: tuple[nn.LayerNorm, torch.dtype] | None = None

    def __init__(self, block: Block, dtype: torch.dtype, bounded: bool, checked: bool = False) -> None:
        nn.Module.__init__(self)
        self.norm1, self.attn, self.ls1 = block.norm1, block.attn, block.ls1
        self.norm2, self.mlp, self.ls2 = block.norm2, block.mlp, block.ls2
        self.dtype = torch.float16 if dtype == torch.bfloat16 and fits_float16(block) else dtype
        for part in (self.attn.qkv, self.attn.proj, self.mlp):
            part.to(self.dtype)
        width = self.attn.proj.in_features // self.attn.heads
        score = bounded_attention.largest_score(self.attn.q_norm, self.attn.k_norm)
        held = score < bounded_attention.LARGEST
        self.bounded = width == 64 and ((bounded and held) or checked)
        self.checked = self.bounded and not held
        self.factor = bounded_attention.factor(width) if self.bounded else 1.0
        # Exponentials without a maximum need bfloat16's range, hence values too; queries and keys need float16 no more
        # than values do, and it makes a GPU hotter, hence slower.
        self.seen = dtype if self.bounded else self.dtype

    def project(self, tokens: Tensor, rotary: Rotary | None = None) -> Heads:
        """See `Block.project`; ``rotary`` as in `Block.forward`."""
        parts = in_parts(tokens)
        if len(parts) == 1 and rotary is None and isinstance(self.attn.q_norm, nn.Identity) and not self.bounded:
            query, key, value = self._packed(tokens).unbind(2)
            return query, key, value
        shape = (*tokens.shape[:2], self.attn.heads, tokens.shape[2] // self.attn.heads)
        heads = [torch.empty(shape, dtype=self.seen, device=tokens.device) for _ in range(3)]
        norms = self.attn.q_norm, self.attn.k_norm
        for part, *rows in zip(parts, *map(in_parts, heads), strict=True):
            fused.norm_rotate(self._packed(part), norms, rotary, self.factor, (rows[0], rows[1], rows[2]))
        return heads[0], heads[1], heads[2]

    def _packed(self, tokens: Tensor) -> Tensor:
        norm, normed = vars(tokens).pop("normed", (None, None))
        if norm is not self.norm1:
            normed = fused.norm(tokens, self.norm1, self.dtype)
        return self.attn.qkv(normed).unflatten(-1, (3, self.attn.heads, -1))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `Block.attend`."""
        if self.bounded:
            return bounded_attention.attend(query, key, value, self.dtype, self.checked)
        return attend(query, key, value)

    def trust_no_bound(self) -> None:
        """Attend as others do from now on, whatever the scores."""
        self.bounded = self.checked = False
        self.factor, self.seen = 1.0, self.dtype

    def add(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """See `Block.add`; the tokens that are given stay as they are."""
        total = torch.empty_like(tokens)
        parts = [in_parts(each) for each in (tokens, attended, total)]
        for before, update, after in zip(*parts, strict=True):
            normed = fused.add_norm(before, self.attn.proj(update), gamma(self.ls1), self.norm2, after, self.dtype)
            change = self.mlp(normed)
            if self.following is None or len(parts[0]) > 1:
                fused.add_(after, change, gamma(self.ls2))
            else:
                norm, dtype = self.following
                vars(total)["normed"] = norm, fused.add_norm(after, change, gamma(self.ls2), norm, after, dtype)
        return total


def in_parts(tokens: Tensor) -> tuple[Tensor, ...]:
    """Sequences ``[B, N, ...]`` a few at a time, or a part of a single one: at most `ROWS` tokens where that can be."""
    return tokens.split(ROWS, 1) if len(tokens) == 1 else tokens.split(max(1, ROWS // tokens.shape[1]))


def take_over(accelerated: nn.Module, network: nn.Module) -> None:
    """Begin a module that has the parts of ``network``, and its public attributes, under the same names."""
    nn.Module.__init__(accelerated)
    plain = {name: value for name, value in vars(network).items() if not name.startswith("_")}
    parts = dict(network.named_children()), dict(network.named_parameters(recurse=False))
    for name, part in (plain | parts[0] | parts[1]).items():
        setattr(accelerated, name, part)


def fuse(blocks: nn.Module, dtype: torch.dtype, bounded: bool = False, checked: Sequence[int] = ()) -> None:
    """Put a `FusedBlock` in the place of each block of a list; those whose numbers are ``checked`` are so."""
    assert isinstance(blocks, nn.ModuleList)
    for number, block in enumerate(blocks):
        assert isinstance(block, Block)
        blocks[number] = FusedBlock(block, dtype, bounded, number in checked)


def link(blocks: Iterable[nn.Module]) -> None:
    """Tell each block which one follows."""
    for block, after in pairwise(blocks):
        assert isinstance(block, FusedBlock)
        assert isinstance(after, FusedBlock)
        block.following = after.norm1, after.dtype


def fits_float16(block: Block) -> bool:
    """Whether float16 holds all that a block makes of any tokens, by its weights alone.

    What LayerNorm gives has at most the length ``sqrt(channels)`` before its weights, which bounds every row of the
    matrices that read it (Cauchy and Schwarz). An attended value lies between the values, and GELU and SiLU make
    nothing longer, which bounds the rows of the other two matrices.
    """
    heads, mlp = reach(block.attn.qkv, block.norm1), block.mlp
    made = [heads, reach_then(block.attn.proj, heads.chunk(3)[2])]
    if isinstance(mlp, SwiGlu):
        gate, value = reach(mlp.w12, block.norm2).chunk(2)
        made += [gate, value, gate * value, reach_then(mlp.w3, gate.max() * length(mlp.w12, block.norm2, len(gate)))]
    else:
        hidden = reach(mlp.fc1, block.norm2)
        made += [hidden, reach_then(mlp.fc2, hidden)]
    return all_fit(made, (block.norm1, block.norm2, block.attn.q_norm, block.attn.k_norm))


def reach(matrix: nn.Linear, norm: nn.LayerNorm) -> Tensor:
    """What no row of a matrix that reads a norm exceeds."""
    length = norm.weight.numel() ** 0.5 * (matrix.weight * norm.weight).norm(dim=1)
    return length + functional.linear(norm.bias, matrix.weight, matrix.bias).abs()


def length(matrix: nn.Linear, norm: nn.LayerNorm, first: int) -> Tensor:
    """What the rows of a matrix that reads a norm, from the ``first`` on, do not exceed together.

    A matrix makes nothing longer than its largest singular value does, whose fourth power is at most the sum of all.
    """
    weight, bias = matrix.weight[first:] * norm.weight, matrix.bias[first:]
    largest = (weight.T @ weight).norm().sqrt()
    shift = functional.linear(norm.bias, matrix.weight[first:], bias)
    return norm.weight.numel() ** 0.5 * largest + shift.norm()


def reach_then(matrix: nn.Linear, before: Tensor) -> Tensor:
    """The same of a matrix that reads what does not exceed ``before``."""
    return matrix.weight.norm(dim=1) * before.norm() + matrix.bias.abs()


def all_fit(made: Iterable[Tensor], norms: Iterable[nn.Module]) -> bool:
    """Whether float16 holds what does not exceed ``made``, and what those of ``norms`` give that are LayerNorms."""
    given = [
        norm.weight.numel() ** 0.5 * norm.weight.abs() + norm.bias.abs()
        for norm in norms
        if isinstance(norm, nn.LayerNorm)
    ]
    largest = torch.finfo(torch.float16).max / 2  # turning by rotary positions adds a factor of sqrt(2) at most
    return all(part.max().item() < largest for part in (*made, *given))


def finite(*maps: Tensor) -> bool:
    """Whether no value is infinite or not a number; waits for the device."""
    return bool(torch.stack([each.sum() for each in maps]).isfinite().all())


def in_range(read: Callable[[], tuple[Tensor, ...]], head: nn.Module, last: nn.Module) -> tuple[Tensor, ...]:
    """What ``read`` gives by a dense head, from now on in float32 if float16 cannot hold what the head makes.

    Args:
        read: gives maps, whose values are not all finite if something was out of range.
        head: that it reads them with, see `lighten`.
        last: see `lighten`.
    """
    maps = read()
    light = any(weight.dtype == torch.float16 for weight in head.parameters())
    if not light or recording() or finite(*maps):  # who replays looks at what comes
        return maps
    log.warning("A dense head leaves the range of float16 and goes on in float32, which takes longer.")
    lighten(head, last, torch.float32)
    return read()


def lighten(head: nn.Module, last: nn.Module, dtype: torch.dtype) -> None:
    """Convolutions in a precision of their own, but for the ``last`` one, whose values are what is given out."""
    for part in head.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            part.to(torch.float32 if part is last else dtype)
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
