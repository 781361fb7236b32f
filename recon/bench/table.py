"""Measurements as Markdown, with the machine named below them."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch


def markdown(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells, all aligned to the right."""
    lines = [names, ["---:"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def of_networks(names: Sequence[str], rows: Sequence[Sequence[str]], about: str, device: str, stand_in: bool) -> str:
    """The same with what it is of around it.

    Args:
        names: of the columns.
        rows: cells.
        about: what is measured, in sentences.
        device: that it was measured on, in words.
        stand_in: whether weights were stand-ins.
    """
    above = "Stand-in weights: time and memory are those of the published checkpoint.\n\n" if stand_in else ""
    return f"{above}{markdown(names, rows)}\n\n{about}\n{device}; {machine()}."


def machine() -> str:
    """Processor, cores, memory and versions, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, Python {platform.python_version()}, torch {torch.__version__}"


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.is_file():
        for line in description.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device_in_words(device: str | None) -> str:
    """Of a torch device, or None for the one that is taken by itself."""
    if device == "cpu" or not torch.cuda.is_available():
        return "CPU"
    return torch.cuda.get_device_name(device)
