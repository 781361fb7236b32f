"""DUSt3R: photos two by two to pointmaps in one camera, then all of these to one world."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from recon import checkpoint
from recon.alignment.pair_graph import Pair
from recon.models import memory, pair_fitting, planning
from recon.models.base import Card, Options, Plan, Update
from recon.models.checkpointed import Checkpointed, needed
from recon.models.dust3r_plan import is_video, pairs_to_decode, predict_seconds, smaller, suitable
from recon.models.pair_world import Member, Predicted, as_pair_maps, build, is_metric, known_of
from recon.models.stages import (
    Progress,
    computing,
    in_background,
    prepared,
    relay,
    retold,
    schedule,
    until_it_fits,
    verified,
    within,
)
from recon.networks.dust3r import Dust3r as Network
from recon.networks.dust3r import Pointmaps, Views
from recon.networks.dust3r_acceleration import accelerate
from recon.networks.dust3r_checkpoint import read_checkpoint
from recon.networks.pairwise import batches
from recon.networks.vggt import slices
from recon.scene import Scene, View

TOGETHER = {"cpu": 1, "cuda": 16}  # photos that are encoded at a time


class Dust3r(Checkpointed[Network]):
    """A checkpoint of DUSt3R, a published one or any other of that network, on any torch device.

    Raises:
        InputError: ``weights`` cannot be read, or are of another network.
    """

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        weights = needed(card, weights)
        configuration, state = read_checkpoint(weights)
        network = checkpoint.built(lambda: Network(configuration), state, weights.name)
        super().__init__(card, device, accelerate(network, device), max(configuration.img_size))

    @classmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:
        """See `Model.predict`. What does not fit is planned with fewer pairs at a time, then smaller, then fewer."""
        return planning.in_half(cls._suitable(card, views, device, options, cls.available(card, device)))

    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:
        """See `Model.stream`. A run that asks for more memory than there is begins anew, smaller, once."""
        plan = self.plan(views, options=options)
        scene = Scene(model=self.card.name, settings=asdict(options))

        def attempt(plan: Plan, start: float) -> Generator[Update, None, None]:
            return self._attempt(scene, views, plan, options, start)

        def less(plan: Plan) -> Plan:
            return smaller(plan, views)

        yield from until_it_fits(attempt, plan, less, scene, partial(memory.release, self.device))

    @staticmethod
    def _suitable(card: Card, views: Sequence[View], device: str, options: Options, available: int | None) -> Plan:
        return suitable(card, views, device, options, available)

    # --- a run -------------------------------------------------------------------------------------------------------

    def _attempt(
        self, scene: Scene, views: Sequence[View], plan: Plan, options: Options, start: float
    ) -> Generator[Update, None, None]:
        """The run that ``plan`` describes, told from the fraction ``start`` on."""
        count = len(plan.views)
        scene.notes[:] = plan.notes
        scene.settings["size"] = list(plan.size)
        pairs = pairs_to_decode(count, is_video(views), options)
        parts = schedule(predict_seconds(self.card, plan, views, options), start)

        yield Update("Preparing", start, f"Preparing {count} view{'s' if count > 1 else ''}", scene)
        members = yield from relay(fit(views, plan), "Preparing", *parts["Preparing"], scene)
        known = known_of(members, is_video(views) if options.shared_focal is None else options.shared_focal)
        scene.metric = is_metric(members)
        seen = yield from relay(self._look(members), "Looking", *parts["Looking"], scene)
        predictions = self._compare(seen, pairs, plan.chunk)
        del seen  # ends with the predictions, long before the run does
        yield from build(scene, members, predictions, len(pairs), known, parts)
        if count == 1:
            scene.notes.append("One photo alone is compared with itself: its depth is less sure than that of several.")
        told, everything = f"Placed {len(scene.frames)} of {count}", tuple(range(len(scene.frames)))
        yield Update("Aligning", parts["Aligning"][1], told, scene, everything)
        yield from verified(scene, views, options, parts)
        yield Update("Finishing", 1.0, "Done", scene)

    def _look(self, members: Sequence[Member]) -> Generator[Progress, None, list[Views]]:
        """Encode each photo by itself, those of one size together; in the order of ``members``."""
        seen: dict[int, Views] = {}
        sizes = [member.fitted.size for member in members]
        for size in dict.fromkeys(sizes):
            group = [place for place, other in enumerate(sizes) if other == size]
            for part in slices(len(group), TOGETHER.get(self.device.type, 1)):
                places = group[part]
                work = in_background(partial(self._encode, [members[place].fitted.image for place in places]))
                views = yield from within(work, len(seen) / len(members), len(places) / len(members))
                seen.update((place, views[number : number + 1]) for number, place in enumerate(places))
        return [seen[place] for place in range(len(members))]

    def _compare(self, seen: Sequence[Views], pairs: Sequence[Pair], chunk: int) -> Generator[Predicted, None, None]:
        """Decode pairs of photos, ``chunk`` at a time."""
        done = 0
        for numbers, first, second in batches(seen, pairs, chunk):
            work = in_background(partial(self._decode, first, second))
            part = within(work, done / len(pairs), len(numbers) / len(pairs))
            one, two = yield from retold(part, lambda fraction, _: (fraction, ()))
            done += len(numbers)
            yield done / len(pairs), as_pair_maps([pairs[number] for number in numbers], one, two)

    def _encode(self, images: Sequence[np.ndarray], report: Callable[[float, str], None]) -> Views:
        pictures = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
        with computing(self.device):
            return self.network.encode(pictures, lambda share: report(share, f"Looked {share:.0%}"))

    def _decode(self, first: Views, second: Views, report: Callable[[float, str], None]) -> tuple[Pointmaps, Pointmaps]:
        with computing(self.device):
            return self.network.decode(first, second, lambda share: report(share, f"Comparing {len(first)}"))


def fit(views: Sequence[View], plan: Plan) -> Generator[Progress, None, list[Member]]:
    """The planned views at the size of the network's input; several threads work ahead."""
    chosen = [views[index] for index in plan.views]
    fitted = yield from prepared(chosen, lambda view: pair_fitting.fit(view.image, max(plan.size)))
    return [Member(*each) for each in zip(chosen, plan.views, fitted, strict=True)]
