"""What a training run is told: one TOML file, checked as it is read (see the files in ``configs/``)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from recon.errors import InputError
from recon.training.objective import ObjectiveWeights

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, and where it starts.

    Attributes:
        name: of a network that can be trained (see `recon.training.networks`).
        arguments: of the network's class, where they differ from its defaults.
        initial: weights to start from, a .safetensors file; "shipped" for those of the model; "" for random ones.
        fresh: beginnings of the names of weights that ``initial`` lacks and that start at random.
    """

    name: str = "embedded"
    arguments: dict[str, Any] = field(default_factory=dict)
    initial: str = ""
    fresh: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSettings:
    """What the network is shown.

    Attributes:
        folders: scene folders, or folders of such; none for procedural scenes.
        held_out: the same, for the evaluation; else other draws of ``folders``, or procedural scenes of another seed.
        batches: use only this many different ones, over and over; 0 for no end of them.
        shapes: height, width and share of the steps, of each shape.
        views: number of views of a scene and share of the steps.
        batch: about so many views a step and process.
        replay: how many steps in a row see the same procedural scenes, photographed anew.
        options: of the procedural scenes (see `recon.training.scenes.sample.ProceduralScenes`).
    """

    folders: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    batches: int = 0
    shapes: tuple[tuple[int, int, float], ...] = ((192, 256, 1.0),)
    views: tuple[tuple[int, float], ...] = ((4, 1.0),)
    batch: int = 16
    replay: int = 1
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW (Loshchilov and Hutter 2019), gradient clipping, and the average of the weights.

    Attributes:
        rate: the learning rate between warm-up and decay.
        decay: of weight matrices; norms, biases and special tokens have none.
        betas: of the moments.
        clip: largest norm of the gradient.
        average: what the exponential average of the weights keeps of itself in a step.
        precision: of the network's passes, "bfloat16" or "float32".
        compiled: compile the step (on CUDA).
    """

    rate: float = 8e-4
    decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    average: float = 0.9985
    precision: str = "bfloat16"
    compiled: bool = True


@dataclass(frozen=True)
class ScheduleSettings:
    """Warm-up, constant, cosine; in one piece, over steps or over time.

    Attributes:
        steps: how many in all; 0 to go by time.
        seconds: how long in all, compilation not counted; 0 to go by steps.
        control: a file that may hold another number of seconds at any time, as the lent hours become known.
        warm_up: steps to the full rate.
        constant: share of the schedule at the full rate.
        floor: share of the rate that is left at the end.
    """

    steps: int = 0
    seconds: float = 0.0
    control: str = ""
    warm_up: int = 300
    constant: float = 0.35
    floor: float = 0.002


@dataclass(frozen=True)
class ReportSettings:
    """What is written, and when.

    Attributes:
        log_every: steps.
        evaluate_every: share of the schedule.
        evaluate_views: numbers of views of the held-out scenes.
        save_every: share of the schedule, for the weights and the state to resume from.
        snapshots: shares of the schedule at which the averaged weights are kept.
    """

    log_every: int = 50
    evaluate_every: float = 0.1
    evaluate_views: tuple[int, ...] = (2, 4, 8)
    save_every: float = 0.05
    snapshots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Configuration:
    """Everything a training run is told.

    Attributes:
        seed: of the network's first weights, the scenes, and all that is drawn.
        commit: of the code, for the record; "" to ask git.
        losses: weight of each part of the objective.
    """

    seed: int = 0
    commit: str = ""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    data: DataSettings = field(default_factory=DataSettings)
    losses: ObjectiveWeights = field(default_factory=ObjectiveWeights)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    reports: ReportSettings = field(default_factory=ReportSettings)


def read_configuration(path: Path, changes: Iterable[str] = ()) -> Configuration:
    """Read a TOML file; a bare name is one of the files that are shipped.

    Args:
        path: the file.
        changes: ``section.key=value`` each, in place of what the file says; a value that is no TOML is a string.

    Raises:
        InputError: no such file, no TOML, or something in it that is not known or of another type.
    """
    if not path.is_file() and (SHIPPED / path.name).is_file() and path.name == str(path):
        path = SHIPPED / path.name
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(sorted(file.name for file in SHIPPED.glob("*.toml")))
        raise InputError(f"The configuration '{path}' cannot be read; give a TOML file, or one of {names}.") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The configuration '{path}' is not TOML: {error}.") from error
    for change in changes:
        _apply(tree, change)
    configuration = _build(Configuration, tree, "")
    _check(configuration)
    return configuration


def _apply(tree: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    if not equals:
        raise InputError(f"'{change}' changes nothing: write section.key=value.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, key = name.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise InputError(f"'{name}' is no setting: '{section}' has no parts.")
    tree[key] = value


def _build(kind: Any, tree: Mapping[str, Any], prefix: str) -> Any:
    known = {f.name for f in fields(kind)}
    for name in tree:
        if name not in known:
            raise InputError(f"There is no setting '{prefix}{name}'; here are: {', '.join(sorted(known))}.")
    hints = get_type_hints(kind)
    return kind(**{name: _convert(hints[name], value, prefix + name) for name, value in tree.items()})


def _convert(kind: Any, value: Any, name: str) -> Any:
    if is_dataclass(kind) and isinstance(value, dict):
        return _build(kind, value, f"{name}.")
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(_convert(k, v, f"{name}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    elif origin is dict and isinstance(value, dict):
        return {key: _convert(inner[1], part, f"{name}.{key}") for key, part in value.items()}
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif kind is Any or type(value) is kind:
        return value
    described = {tuple: "a list", dict: "a table"}.get(origin or kind, getattr(kind, "__name__", str(kind)))
    raise InputError(f"The setting '{name}' is {value!r}, which is not {described} of the right form.")


def _check(configuration: Configuration) -> None:
    data, schedule = configuration.data, configuration.schedule
    if bool(schedule.steps) == bool(schedule.seconds):
        raise InputError("Give the schedule its length: either schedule.steps or schedule.seconds.")
    if configuration.optimiser.precision not in ("bfloat16", "float32"):
        raise InputError("The setting 'optimiser.precision' is either bfloat16 or float32.")
    if not data.shapes or not data.views:
        raise InputError("The settings 'data.shapes' and 'data.views' need one entry each at least.")
    if data.batch < max(views for views, _ in data.views):
        raise InputError("The setting 'data.batch' must hold one scene: make it as large as the largest of data.views.")
    if any(side % 16 for height, width, _ in data.shapes for side in (height, width)):
        raise InputError("Heights and widths in data.shapes must be multiples of 16.")
