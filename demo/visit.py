"""What the page remembers of one visitor beside the session: so that a reload finds everything as it was."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from demo import models
from demo.following import Picks
from demo.job import Job
from demo.knowledge import Knowledge
from demo.session import Session
from recon import CARDS, Options, View
from recon.live import Live
from recon.media import Media
from recon.models import Card

if TYPE_CHECKING:
    from demo.measures import Measures
    from demo.recognised import Recognised

SWITCHES = ("refine", "verify", "dense")


@dataclass(frozen=True)
class Look:
    """How the viewer draws what the filters leave."""

    point_size: float = 1.0
    cameras: bool = True
    colour: str = "photo"
    splats: bool | None = None  # None: as the scene has them


def defaults(card: Card) -> Options:
    """What the model of ``card`` does where the visitor leaves it to the model, said outright."""
    refine, verify, dense = (name in card.defaults if name in card.choices else None for name in SWITCHES)
    return Options(refine=bool(refine), verify=verify, dense=dense)


@dataclass
class Visit:
    """One visitor's place at the page.

    Attributes:
        session: files, viewer, scene.
        model: name of the chosen one.
        options: what was chosen of its choices.
        accepted: names of the models whose download, and licence, the visitor has accepted.
        files: what ``session.media`` was read from.
        ticked: indices into ``session.media.views`` to use.
        job: the run under way, or the last one.
        live: the source of the last run over pictures as they come.
        rate: frames a second that are taken of a video file as it is read; 0 for all.
        status: the line under the button, as HTML; a run under way writes its own.
        look: how the viewer draws.
        picks: points clicked in the scene, to be followed; see `demo.tracking.picks_of`.
        measures: what is measured in the scene; see `demo.measures.measures_of`.
        painting: index of the photo on which is painted what moves.
        recognised: what is recognised in the scene; see `demo.recognised.recognised_of`.
        knowledge: what is known of the pictures beside them.
        lock: held while the pictures change.
    """

    session: Session
    model: str = next(iter(CARDS))
    options: Options = field(default_factory=lambda: defaults(next(iter(CARDS.values()))))
    accepted: set[str] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)
    ticked: list[int] = field(default_factory=list)
    job: Job | None = None
    live: Live | None = None
    rate: float = 5.0
    status: str = ""
    look: Look = Look()
    picks: Picks | None = None
    measures: Measures | None = None
    painting: int = 0
    recognised: Recognised | None = None
    knowledge: Knowledge = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.knowledge = Knowledge(self.session)

    @property
    def views(self) -> list[View]:
        """The pictures, with what else is known of them, and what was painted on them."""
        known = self.knowledge.views(self.media.views)
        return [
            view if own.moving is None else replace(view, moving=own.moving)
            for view, own in zip(known, self.media.views, strict=True)
        ]

    @property
    def media(self) -> Media:
        """What was read of the visitor's files; empty before any."""
        return self.session.media or Media()

    def take(self, media: Media, files: list[Path] | None = None) -> None:
        """Use ``media`` from now on, all of it, read from ``files`` (None: from the same as before)."""
        self.session.media = media
        self.ticked = list(range(len(media.views)))
        self.files = self.files if files is None else files

    def choose(self, name: str) -> None:
        """Take another model, with its own defaults."""
        self.model, self.options = name, defaults(CARDS[name])

    @property
    def frames_per_video(self) -> int:
        """How many pictures the first video gave; 0 where there is no video."""
        paths = [view.path for view in self.media.views if view.time is not None]
        return paths.count(paths[0]) if paths else 0

    @property
    def streamed(self) -> Path | None:
        """The video that is read while it is reconstructed: one alone, with nothing unticked, painted or known."""
        views, paths = self.media.views, {view.path for view in self.media.views}
        whole = len(self.ticked) == len(views) and all(view.time is not None and view.moving is None for view in views)
        wanted = CARDS[self.model].streams and self.options.order != "photos" and not self.knowledge.known
        return next(iter(paths)) if len(paths) == 1 and whole and wanted else None

    @property
    def agreed(self) -> bool:
        """True unless the chosen model must be downloaded first and its licence is not accepted yet."""
        return self.model in self.accepted or models.here(CARDS[self.model])

    @property
    def ready(self) -> bool:
        """True where a run may begin."""
        return bool(self.ticked) and self.agreed and not self.working

    @property
    def working(self) -> bool:
        """True while a run is under way."""
        return self.job is not None and self.job.active


def visit(session: Session) -> Visit:
    """The visit that belongs to ``session``."""
    if session.memory is None:
        session.memory = Visit(session)
    return session.memory
