"""MUSt3R: photos and video frames enter one by one, beside a memory of those before (Cabon et al. 2025)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from recon import checkpoint
from recon.errors import InputError
from recon.models import memory, must3r_fitting
from recon.models.base import Card, Options, Plan, Update, spread
from recon.models.checkpointed import Checkpointed, needed
from recon.models.must3r_frames import is_black
from recon.models.must3r_ordering import Ordering, companions
from recon.models.must3r_photos import Photos
from recon.models.must3r_plan import is_ordered, predict_seconds, suitable
from recon.models.must3r_source import PATIENCE
from recon.models.must3r_video import Video
from recon.models.spill import BUDGET
from recon.models.stages import Progress, Result, computing, in_background, relay, schedule, until_it_fits, verified
from recon.networks.must3r import Encoded
from recon.networks.must3r import Must3r as Network
from recon.networks.must3r_acceleration import accelerate
from recon.networks.must3r_checkpoint import read_checkpoint
from recon.scene import Scene, View

log = logging.getLogger(__name__)

NOTHING = "There is nothing to reconstruct: give at least one photo or video."
Report = Callable[[float, str], None]


class Must3r(Checkpointed[Network]):
    """A checkpoint of MUSt3R, a published one or any other of that network, on any torch device.

    Attributes:
        patience: seconds in which a source must give its next view.
        spilling: bytes of frames that stay in memory; see `recon.models.spill`.

    Raises:
        InputError: ``weights`` cannot be read, or are of another network.
    """

    def __init__(self, card: Card, device: torch.device, weights: Path | None = None) -> None:
        weights = needed(card, weights)
        configuration, state = read_checkpoint(weights)
        network = checkpoint.built(lambda: Network(configuration), state, weights.name)
        super().__init__(card, device, accelerate(network, device), max(configuration.encoder.img_size))
        self.ordering = self._ordering(weights)
        self.patience = PATIENCE
        self.spilling = BUDGET

    def _ordering(self, weights: Path) -> Ordering | None:
        from recon import hub  # here, since models know no network but where one asks for its companions

        found = companions(weights, lambda: hub.companions(self.card))
        if found is None:
            return None
        try:
            return Ordering(*found, self.network.configuration.encoder.embed_dim, self.device)
        except InputError as error:
            log.warning("Photos to remember are taken evenly spread, since the retrieval cannot be used: %s", error)
            return None

    @classmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:
        """See `Model.predict`. What does not fit is planned with fewer keyframes."""
        return suitable(card, views, device, options, cls.available(card, device))

    def stream(self, views: Iterable[View], options: Options = Options()) -> Generator[Update, None, None]:
        """See `Model.stream`; and views may come from any iterable, such as a video that is being decoded.

        Those of an iterable that is no sequence are frames of a video in their order, unless ``options.order`` says
        that they are photos. Whatever ends a video early, its source included, what came before is kept, and a note of
        the scene says why.
        """
        if not isinstance(views, Sequence) and options.order == "photos":
            views = list(views)
        scene = Scene(metric=self.card.metric, model=self.card.name, settings=asdict(options))
        if not isinstance(views, Sequence) or is_ordered(views, options):
            yield from self._video(scene, views, options)
            return
        given = views
        yield from until_it_fits(
            lambda plan, start: self._photos(scene, given, plan, options, start),
            self.plan(views, options=options),
            fewer,
            scene,
            partial(memory.release, self.device),
        )

    # --- a video -----------------------------------------------------------------------------------------------------

    def _video(self, scene: Scene, views: Iterable[View], options: Options) -> Generator[Update, None, None]:
        """Frames in their order, placed as they come."""
        plan = None
        if isinstance(views, Sequence):
            plan = self.plan(views, options=options)
            views = [views[i] for i in plan.views]
        elif options.maximum_views is not None:
            views = islice(views, options.maximum_views)
        run = Video(self, scene, options, plan)
        try:
            yield from run.go(views)
        except InputError as error:
            if not scene.frames:
                raise
            run.stop(str(error).rstrip("."))
        except Exception as error:
            if not memory.is_refusal(error):
                raise
            run.stop("There was not enough memory to go on (allow fewer keyframes)")
        finally:
            memory.release(self.device)
        if not scene.frames:
            raise InputError(" ".join(scene.notes) or NOTHING)
        yield Update("Finishing", 1.0, "Done", scene)

    # --- photos ------------------------------------------------------------------------------------------------------

    def _photos(
        self, scene: Scene, views: Sequence[View], plan: Plan, options: Options, start: float
    ) -> Generator[Update, None, None]:
        """The run over photos that ``plan`` describes, told from the fraction ``start`` on."""
        scene.notes[:] = plan.notes
        chosen = [i for i in plan.views if not is_black(views[i])]
        if not chosen:
            raise InputError("All photos are black: give some that show something.")
        if len(chosen) < len(plan.views):
            scene.notes.append(f"{len(plan.views) - len(chosen)} of {len(plan.views)} photos are black and left out.")
        scene.settings["size"] = list(plan.size)
        parts = schedule(predict_seconds(self.card, plan, options), start)
        begin, end = parts["Looking"]
        remembered = min(plan.keyframes, len(chosen))
        order = list(spread(len(chosen), remembered))
        if self.ordering is not None and len(chosen) > 2:
            middle = begin + 0.3 * (end - begin)
            order = yield from relay(
                self._order([views[i] for i in chosen], remembered), "Comparing", begin, middle, scene
            )
            begin = middle
        order += sorted(set(range(len(chosen))) - set(order))
        run = Photos(self, scene, options, [views[chosen[i]] for i in order], [chosen[i] for i in order])
        yield from run.go(remembered, begin, end)
        yield from verified(scene, views, options, parts)
        yield Update("Finishing", 1.0, "Done", scene)

    def _order(self, views: Sequence[View], remembered: int) -> Generator[Progress, None, list[int]]:
        """Which photos are remembered, by what they show."""
        ordering = self.ordering
        assert ordering is not None
        sizes, features = must3r_fitting.sizes_of(self.card.resolution), []

        def look(view: View, report: Report) -> torch.Tensor:
            picture, _ = must3r_fitting.fit(view.image, sizes)
            return ordering.features(self.encode([picture], report).tokens)

        for number, view in enumerate(views):
            features.append((yield from self.at_work(partial(look, view), 0.9 * number / len(views))))
            yield 0.9 * (number + 1) / len(views), f"Compared {view.name}"
        return (yield from self.at_work(lambda report: ordering.chosen(features, remembered), 0.9))

    # --- the network -------------------------------------------------------------------------------------------------

    def encode(self, pictures: Sequence[torch.Tensor], report: Report) -> Encoded:
        """Pictures ``[3,H,W]`` in 0..1 of one size; ``report`` is called meanwhile, and may raise to stop."""
        return self.network.encode(torch.stack(list(pictures)).to(self.device), lambda share: report(share, "Looking"))

    def at_work(self, work: Callable[[Report], Result], fraction: float) -> Generator[Progress, None, Result]:
        """Do ``work`` with the network, telling ``fraction`` meanwhile."""

        def run(report: Report) -> Result:
            with computing(self.device):
                return work(lambda share, doing: report(fraction, doing))

        return (yield from in_background(run))


def fewer(plan: Plan) -> Plan:
    """What to try after a run was refused memory: half of the keyframes."""
    keyframes = max(2, plan.keyframes // 2)
    note = f"There was not enough memory, so the run began anew with {keyframes} remembered views."
    return replace(plan, keyframes=keyframes, notes=(*plan.notes, note))
