"""The training step: forward, objective, backward, the sum over processes, AdamW, the average of the weights.

Nothing in a step waits for the device, so that a GPU never runs dry; numbers are read out by who wants them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from recon.training.batch import Batch
from recon.training.config import OptimiserSettings
from recon.training.estimate import Estimate
from recon.training.networks import Trainable
from recon.training.objective import ObjectiveWeights
from recon.training.team import Team

# Kernels of attention, the fastest on recent GPUs first; elsewhere the next one that works.
ATTENTION = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


class Learner:
    """A network, its optimiser and its average.

    Args:
        trainable: says what the network learns from.
        network: what is trained; moved to the team's device.
        losses: weight of each part of the objective.
        settings: of the optimiser.
        team: the processes that take each step together.
        seed: of all that is drawn in a step.

    Attributes:
        average: the network with the exponential average of its weights.
        rate: the learning rate of the next step.
        steps: number of steps taken.
    """

    def __init__(
        self,
        trainable: Trainable,
        network: nn.Module,
        losses: ObjectiveWeights,
        settings: OptimiserSettings,
        team: Team,
        seed: int = 0,
    ) -> None:
        self.trainable, self.losses, self.settings, self.team, self.seed = trainable, losses, settings, team, seed
        self.network = network.to(team.device).train()
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.rate = settings.rate
        self.steps = 0
        named = [(name, weight) for name, weight in self.network.named_parameters() if weight.requires_grad]
        matrices = [weight for name, weight in named if weight.ndim > 1 and name.endswith(".weight")]
        others = [weight for name, weight in named if weight.ndim < 2 or not name.endswith(".weight")]
        self.gradient = flat_gradient(matrices + others)
        groups = [{"params": matrices, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas, fused=True)
        if settings.compiled and team.device.type == "cuda" and trainable.compile is not None:
            trainable.compile(self.network)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective of a batch, and its detached parts."""
        with self.autocast(), sdpa_kernel(ATTENTION, set_priority=True):
            return self.trainable.loss(self.network, batch, self.losses)

    def autocast(self) -> torch.autocast:
        """The precision of the network's passes."""
        mixed = self.settings.precision == "bfloat16"
        return torch.autocast(self.team.device.type, torch.bfloat16, enabled=mixed)

    def backward(self, batch: Batch) -> dict[str, Tensor]:
        """Fill `gradient` with that of this process's batch; returns the parts of the loss, and the loss."""
        # A step is drawn alike after a resume.
        torch.manual_seed(2**40 * self.seed + 2**10 * self.steps + self.team.rank)
        self.gradient.zero_()
        loss, parts = self.loss(batch)
        loss.backward()
        return {**parts, "loss": loss.detach()}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from a batch; returns the parts of the loss on the device.

        A gradient that is not finite in any process moves nothing in all of them: no weight, no moment. Such a step
        counts in the part "skipped".
        """
        parts = self.backward(batch)
        self.team.add_up(self.gradient)
        norm = torch.linalg.vector_norm(self.gradient) / self.team.size
        skipped = (~norm.isfinite()).float()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        # AdamW's own kernel divides by the one and stops at the other, as torch.amp.GradScaler has it do.
        divisor = self.team.size * (norm / self.settings.clip).clamp_min(1).nan_to_num(1.0, 1.0, 1.0)
        optimiser: Any = self.optimiser
        optimiser.grad_scale, optimiser.found_inf = divisor, skipped
        self.optimiser.step()
        self.steps += 1
        self._follow()
        return {**parts, "gradient_norm": norm, "skipped": skipped}

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.settings.average, self.steps / (self.steps + 60))  # a young average forgets the start sooner
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        for mean, value in zip(self.average.buffers(), self.network.buffers(), strict=True):
            mean.copy_(value)

    @torch.no_grad()
    def judge(self, batch: Batch) -> Estimate:
        """What the averaged network says."""
        with self.autocast():
            return self.trainable.judge(self.average, batch)

    def state(self) -> dict[str, Any]:
        """All that another learner needs to go on exactly as this one would."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where the learner was whose `state` this is."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]


def flat_gradient(weights: list[nn.Parameter]) -> Tensor:
    """One zeroed buffer that holds the gradients of all ``weights``: one sum over processes, one norm."""
    buffer = torch.zeros(sum(weight.numel() for weight in weights), device=weights[0].device)
    start = 0
    for weight in weights:
        weight.grad = buffer.as_strided(weight.shape, weight.stride(), start)
        start += weight.numel()
    return buffer
