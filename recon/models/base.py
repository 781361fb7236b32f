"""What every model is to its users: a card, a plan, and a stream of updates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from recon.alignment.pair_graph import read_graph
from recon.errors import InputError
from recon.scene import Scene, Tracks, View

if TYPE_CHECKING:
    import torch  # the page must open before its seconds are spent
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Direct:
    """A file of weights that lies outside of the Hugging Face Hub.

    Attributes:
        url: where it is.
        checksum: its MD5, 32 hexadecimal digits.
    """

    url: str
    checksum: str

    @property
    def name(self) -> str:
        """Of the file."""
        return self.url.rsplit("/", 1)[1]

    @property
    def host(self) -> str:
        """The name of the machine that has it."""
        return self.url.split("/")[2]


@dataclass(frozen=True)
class Card:
    """What a user wants to know of a model before using it.

    Attributes:
        name: what `recon.load` takes.
        title: what people call it.
        summary: one sentence.
        gives: of "cameras", "depth", "points", "tracks", "gaussians", "segments".
        licence: of the weights, as an SPDX name where there is one; empty where their owners state none.
        licence_url: where its text stands.
        commercial: True where the licence allows commercial use.
        metric: True where results are in metres.
        parameters: number of weights.
        download: bytes to fetch before the first run; 0 for weights that are shipped.
        repository: on the Hugging Face Hub, or None for weights that are not there.
        repository_type: kind of that repository, "model" or "dataset".
        gated: True where the repository wants a token.
        resolution: long side of the network's native input, in pixels.
        maximum_views: the most views one run takes.
        paper: address of the paper or page that describes it.
        code: ``module:Class`` of the model, imported when it is first used.
        files: names of the checkpoint in the repository, the best first; the first that is there is taken.
        choices: which of the fields of `Options` make a difference to this model, beside ``maximum_views``.
        defaults: those of ``choices`` that are on where the user says neither yes nor no.
        direct: in place of ``repository``: the checkpoint, then files that a run can do without.
        heeds: what of that which is known of the views it takes for known.
        streams: True where `Model.stream` takes views from any iterable, as they come.
    """

    name: str
    title: str
    summary: str
    gives: tuple[str, ...]
    licence: str
    licence_url: str
    commercial: bool
    metric: bool
    parameters: int
    download: int
    resolution: int
    maximum_views: int
    code: str
    repository: str | None = None
    gated: bool = False
    paper: str | None = None
    files: tuple[str, ...] = ()
    repository_type: Literal["model", "dataset"] = "model"
    choices: tuple[str, ...] = ("verify", "dense")
    defaults: tuple[str, ...] = ("verify", "dense")
    direct: tuple[Direct, ...] = ()
    heeds: tuple[Use, ...] = ()
    streams: bool = False

    @property
    def shipped(self) -> bool:
        """Whether the weights come with Parallax."""
        return self.repository is None and not self.direct

    @property
    def source(self) -> str:
        """Where the weights come from, as a user may know it: a repository, a host, or nothing."""
        return self.direct[0].host if self.direct else self.repository or ""


Points = Literal["depth", "head"]
Fit = Literal["crop", "pad"]
Order = Literal["auto", "photos", "video"]
Forget = Literal["oldest", "crowded"]
Use = Literal["intrinsics", "poses", "depth", "scale"]
USES: tuple[Use, ...] = get_args(Use)


@dataclass(frozen=True)
class Options:
    """What a user may choose for a run.

    Attributes:
        maximum_views: use at most this many views; None leaves it to the plan.
        verify: check the cameras by matches and bundle adjustment; None for the model's own default.
        dense: refine depth against the other views, where cameras are verified; None for the model's own default.
        points: where points come from: "depth" (with the camera) or "head" (the network's own pointmap).
        fit: how a picture is brought to the network's size: "crop" (what is too high loses top and bottom) or "pad"
            (all of it is kept, smaller).
        refine: adjust cameras and points by bundle adjustment over the network's own tracks.
        graph: which photos a model of pairs is given together (`recon.alignment.pair_graph.pairs_of`).
        shared_focal: all photos were taken with one lens at one zoom; None for where they are frames of one video.
        use: what of that which is known of the views is told to the network; "scale" stands for whether known poses and
            depth are in metres.
        align: move the scene to where it meets the poses that are known.
        mask: leave out pixels whose depth means nothing to the network (sky, mirrors) and surfaces torn at edges.
        agreement: take the share of other views that see a surface where a view says there is one for its confidence.
        order: for a model with a memory: "photos" in any order, "video" for frames in theirs; "auto" takes views whose
            times rise for a video.
        keyframes: the most views that such a memory holds; None leaves it to the plan.
        forget: which of a video's keyframes leaves it for a new one when it is full: the "oldest", or in a "crowded"
            place the one that is nearest to another. The first, which is the world, stays.
        window: how many of a video's last frames it holds beside the keyframes.
        rounds: how often the views are gone through once more, keyframes being remembered as they are seen then.
        rerender: place all frames of a video anew at the end, beside what is remembered then; photos always are.

    Raises:
        InputError: a value that there is not.
    """

    maximum_views: int | None = None
    verify: bool | None = None
    dense: bool | None = None
    points: Points = "depth"
    fit: Fit = "crop"
    refine: bool = False
    graph: str = "auto"
    shared_focal: bool | None = None
    use: tuple[Use, ...] = USES
    align: bool = True
    mask: bool = True
    agreement: bool = False
    order: Order = "auto"
    keyframes: int | None = None
    forget: Forget = "oldest"
    window: int = 0
    rounds: int = 0
    rerender: bool = False

    def __post_init__(self) -> None:
        if self.maximum_views is not None and self.maximum_views < 1:
            raise InputError(f"maximum_views is {self.maximum_views}: allow at least one, or leave it out.")
        for name, known in (("points", Points), ("fit", Fit), ("order", Order), ("forget", Forget)):
            if getattr(self, name) not in get_args(known):
                raise InputError(f"{name} is '{getattr(self, name)}': choose one of {', '.join(get_args(known))}.")
        if self.keyframes is not None and self.keyframes < 2:
            raise InputError(f"keyframes is {self.keyframes}: allow at least two, or leave it out.")
        if self.window < 0 or self.rounds < 0:
            raise InputError("window and rounds are numbers from 0 up.")
        read_graph(self.graph)
        for kind in self.use:
            if kind not in USES:
                raise InputError(f"use names '{kind}': choose among {', '.join(USES)}.")


@dataclass(frozen=True)
class Plan:
    """How a run will be made so that it fits.

    Attributes:
        views: indices of the views to use, ascending.
        size: ``(width, height)`` of the largest network input.
        precision: of the network, "float32" or "bfloat16".
        memory: predicted peak in bytes, weights included: of the process on the CPU, of the device on a GPU.
        seconds: predicted time, the loading of weights left out.
        notes: what was planned differently from what was asked, in sentences for the user.
        device: kind of device planned for, "cpu" or "cuda".
        available: bytes that are free for the run there, or None where that is not known.
        chunk: frames that the network's dense heads take at a time; 0 where the model has no such thing.
        keyframes: views that the model's memory holds at most; 0 where it has none.
    """

    views: tuple[int, ...]
    size: tuple[int, int]
    precision: str
    memory: int
    seconds: float
    notes: tuple[str, ...] = ()
    device: str = "cpu"
    available: int | None = None
    chunk: int = 0
    keyframes: int = 0


@dataclass(frozen=True)
class Update:
    """A step of a run.

    Attributes:
        stage: short name of the stage under way, as the progress bar shows it.
        fraction: of the whole run, 0 to 1, never falling.
        message: what was just done, one phrase.
        scene: the scene so far; the model keeps changing this same object.
        changed: indices into ``scene.frames`` that are new or differ from the last update.
        keyframes: views that the model's memory holds after this step, where it has one and tells.
    """

    stage: str
    fraction: float
    message: str
    scene: Scene
    changed: tuple[int, ...] = ()
    keyframes: int = 0


class Model(ABC):
    """A loaded model."""

    card: Card
    device: torch.device

    @classmethod
    @abstractmethod
    def predict(cls, card: Card, views: Sequence[View], device: str, options: Options = Options()) -> Plan:
        """What a run over ``views`` will take, and how it is made to fit, without loading any weights.

        Args:
            card: of the model.
            views: what would be given to `stream`.
            device: kind of device to plan for, "cpu" or "cuda".
            options: what would be given to `stream`.

        Raises:
            InputError: no views, or fewer than the model can do with.
        """

    def plan(self, views: Sequence[View], device: str | None = None, options: Options = Options()) -> Plan:
        """`predict` for this model; None for the kind of device that it is on.

        Raises:
            InputError: no views.
        """
        return self.predict(self.card, views, device or self.device.type, options)

    @abstractmethod
    def stream(self, views: Sequence[View], options: Options = Options()) -> Generator[Update, None, None]:
        """Reconstruct, yielding as frames appear and improve; closing the generator stops the run and frees its memory.

        The last update has fraction 1 and the finished scene.

        Raises:
            InputError: no views.
        """

    def reconstruct(
        self,
        views: Sequence[View],
        options: Options = Options(),
        progress: Callable[[Update], Any] | None = None,
    ) -> Scene:
        """Drain `stream`, calling ``progress`` at each update, and return the finished scene."""
        update = None
        for update in self.stream(views, options):
            if progress is not None:
                progress(update)
        if update is None:
            raise InputError("There is nothing to reconstruct: give at least one photo or video.")
        return update.scene

    def track(
        self,
        scene: Scene,
        pixels: ArrayLike | None = None,
        frame: int = 0,
        progress: Callable[[float, str], None] | None = None,
    ) -> Tracks:
        """Follow points of one frame through all frames of a scene that this model made.

        Args:
            scene: as `stream` gave it.
            pixels: ``[N,2]``, points (x, y) in the image of that frame; None for keypoints found there.
            frame: index into ``scene.frames``.
            progress: called with the share done, 0 to 1, and what is being done; may raise to stop.

        Raises:
            InputError: this model cannot track, there is no such frame, or a point lies outside of it.
        """
        raise InputError(f"{self.card.title} does not track points; choose a model that gives tracks.")


def spread(count: int, maximum: int) -> tuple[int, ...]:
    """Indices of ``maximum`` views spread evenly over ``count``, the first and the last among them."""
    if count <= maximum:
        return tuple(range(count))
    if maximum == 1:
        return (0,)
    return tuple(round(i * (count - 1) / (maximum - 1)) for i in range(maximum))
