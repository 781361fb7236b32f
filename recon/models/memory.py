"""How much memory a run may have, and how a run that asked for more is recognised."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

_REFUSALS = (  # what torch says where memory is refused without an exception of its own
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
)


def available(device: str, root: Path = Path("/")) -> int | None:
    """Bytes that this process may have in all on a kind of device, "cpu" or "cuda"; None where that is not known.

    What it holds already counts, but on a GPU only as far as its tensors are gone. On the CPU the limits of control
    groups count as well as what the machine has left.

    Args:
        device: kind of device.
        root: of the file system that tells of the CPU's memory.
    """
    if device == "cuda" and not torch.cuda.is_available():
        return None
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    left = [left for left in (_left_on_machine(root), _left_in_groups(root)) if left is not None]
    return max(0, min(left)) + _held(root) if left else None


def is_refusal(error: BaseException) -> bool:
    """Whether ``error`` says that there was not enough memory."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _REFUSALS)


def release(device: torch.device) -> None:
    """Give what no tensor holds any more back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def in_words(size: int) -> str:
    """``"640 MB"``, ``"3.1 GB"``, ``"24 GB"``."""
    if size < 0.95e9:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB" if size < 9.95e9 else f"{size / 1e9:.0f} GB"


def _left_on_machine(root: Path) -> int | None:
    return _field(root / "proc/meminfo", "MemAvailable:", 1024)


def _held(root: Path) -> int:
    return _field(root / "proc/self/status", "VmRSS:", 1024) or 0


def _left_in_groups(root: Path) -> int | None:
    """The least that a control group of this process, or one above it, has left; None without a limit."""
    left = []
    for group in _groups(root):
        for limit_name, usage_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),  # version 2
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
        ):
            limit, usage = _number(group / limit_name), _number(group / usage_name)
            if limit is not None and usage is not None:
                cache = _field(group / "memory.stat", cache_name, 1) or 0  # given up as soon as it is wanted
                left.append(limit - usage + cache)
    return min(left, default=None)


def _groups(root: Path) -> list[Path]:
    """Folders of the control groups of this process and all above; some may not exist."""
    table = root / "proc/self/cgroup"
    if not table.is_file():
        return []
    folders = []
    for line in table.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = root / "sys/fs/cgroup" / controllers
            inner = Path(path.lstrip("/"))
            folders += [top / inner, *(top / above for above in inner.parents), top]
    return folders


def _number(path: Path) -> int | None:
    """What a file of one number says; None where it is missing or sets no limit."""
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() and int(text) < 1 << 60 else None


def _field(path: Path, name: str, unit: int) -> int | None:
    """The number after ``name`` in a file of fields."""
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1]) * unit
    return None
