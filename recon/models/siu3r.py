"""SIU3R: two photos become Gaussians that know what they are part of; more photos are seen two at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from recon import checkpoint
from recon.errors import InputError
from recon.models import memory
from recon.models.base import Card, Options, Plan, Update
from recon.models.checkpointed import Checkpointed, needed
from recon.models.siu3r_cameras import intrinsics_of
from recon.models.siu3r_fitting import fit
from recon.models.siu3r_plan import predict_seconds, suitable
from recon.models.siu3r_scene import Member, Seen, World
from recon.models.stages import computing, in_background, relay, schedule
from recon.networks.siu3r import Prediction
from recon.networks.siu3r import Siu3r as Network
from recon.networks.siu3r_checkpoint import read_checkpoint
from recon.scene import Scene, View


class Siu3r(Checkpointed[Network]):
    """A checkpoint of SIU3R, the published one for two views or any other of that network, on any torch device.

    Raises:
        InputError: ``weights`` cannot be read, or are of another network.
    """

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        weights = needed(card, weights)
        configuration, state = read_checkpoint(weights)
        network = checkpoint.built(lambda: Network(configuration), state, weights.name)
        super().__init__(card, device, network.eval().requires_grad_(False).to(device))

    @classmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:
        """See `Model.predict`."""
        return suitable(card, views, device, options, cls.available(card, device))

    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:
        """See `Model.stream`.

        Raises:
            InputError: fewer than two views, or not enough memory.
        """
        plan = self.plan(views, options=options)
        try:
            yield from self._run(views, plan, options)
        except Exception as error:
            if not memory.is_refusal(error):
                raise
            raise InputError(
                f"There is not enough memory for {self.card.title}, which needs {memory.in_words(plan.memory)}: "
                "quit other programs or choose a smaller model."
            ) from error
        finally:
            memory.release(self.device)

    # --- a run -------------------------------------------------------------------------------------------------------

    def _run(self, views: Sequence[View], plan: Plan, options: Options) -> Generator[Update, None, None]:
        """The run that ``plan`` describes."""
        scene = Scene(metric=self.card.metric, model=self.card.name, settings=asdict(options))
        scene.settings["size"] = list(plan.size)
        scene.notes.extend(plan.notes)
        parts = schedule(predict_seconds(len(plan.views), plan.device))
        yield Update("Preparing", 0.0, f"Preparing {len(plan.views)} views", scene)
        members = members_of(views, plan, scene)
        passes = [members] if self.network.configuration.multiple else [[members[0], each] for each in members[1:]]
        world = World(scene)
        start, end = parts["Looking"]
        for number, group in enumerate(passes):
            begin, until = (start + (end - start) * (number + share) / len(passes) for share in (0, 1))
            seen = yield from relay(in_background(partial(self._look, group)), "Looking", begin, until, scene)
            changed = world.add(seen)
            told = f"Placed {group[-1].view.name}" if changed else f"Left {group[-1].view.name} out"
            yield Update("Looking", until, told, scene, changed)
        scene.notes.extend(world.notes(members[0].view.name))
        if scene.labels is None or not scene.labels.segments:
            scene.notes.append(
                "Nothing found: SIU3R knows walls, floors and furniture, and these photos show none to it."
            )
        yield Update("Finishing", 1.0, "Done", scene)

    def _look(self, members: Sequence[Member], report: Callable[[float, str], None]) -> Seen:
        """One pass of the network."""
        pictures = torch.from_numpy(np.stack([member.fitted.image for member in members])).to(self.device)
        images = pictures.permute(0, 3, 1, 2)[None].float() / 255
        width, height = members[0].fitted.size
        scale = torch.tensor([width, height, 1], dtype=torch.float32, device=self.device)[:, None]
        lenses = torch.from_numpy(np.stack([member.intrinsics for member in members])).to(self.device) / scale
        with computing(self.device):
            given: Prediction = self.network(
                images, lenses[None], lambda share: report(share, f"Looking at {members[-1].view.name}, {share:.0%}")
            )
        return Seen(members, given.gaussians, given.classes[0], given.masks[0])


def members_of(views: Sequence[View], plan: Plan, scene: Scene) -> list[Member]:
    """The planned views as the network is given them; a note where their lenses had to be guessed."""
    chosen = [views[index] for index in plan.views]
    fitted = [fit(view.image, plan.size[0]) for view in chosen]
    intrinsics, notes = intrinsics_of(chosen, fitted)
    scene.notes.extend(notes)
    return [Member(*each) for each in zip(chosen, plan.views, fitted, intrinsics, strict=True)]
