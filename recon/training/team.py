"""The processes of one training run, as torchrun starts them; a single process is a team of one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Team:
    """This process among all.

    Attributes:
        rank: from 0; rank 0 writes and decides.
        size: number of processes.
        device: of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """True for the process that writes and decides."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> None:
        """Replace ``values`` by its sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)

    def follow(self, value: float) -> float:
        """What ``value`` is at the process that decides."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(told, 0)
        return float(told)

    def share(self, tensors: list[Tensor]) -> None:
        """Replace ``tensors`` by what they are at the process that decides."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def part(self) -> None:
        """End the communication."""
        if self.size > 1:
            distributed.destroy_process_group()


def join(device: str | None = None) -> Team:
    """The team that torchrun's environment describes, each process with a GPU of its own where there are any.

    Args:
        device: a torch device for a single process; None takes CUDA where there is one, else the CPU.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if device is None:
        local = int(os.environ.get("LOCAL_RANK", 0)) % max(1, torch.cuda.device_count())
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if size > 1:
        cuda = chosen.type == "cuda"
        distributed.init_process_group("nccl" if cuda else "gloo", device_id=chosen if cuda else None)
    return Team(rank, size, chosen)
