"""``parallax train`` and ``parallax finetune``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recon.progress import ProgressBar


def add_train(commands: Any) -> None:
    """Add ``train`` to what ``ArgumentParser.add_subparsers`` returned."""
    command = commands.add_parser(
        "train",
        help="train a network, as a configuration says",
        description="Train a network, as a configuration says. Over several GPUs: torchrun --nproc-per-node N -m recon "
        "train ...",
    )
    command.add_argument("--init", metavar="FILE", help="weights to start from, in place of the configuration's")
    command.add_argument("--profile", action="store_true", help="measure a step and tell where its time goes instead")
    _add_shared(command)
    command.set_defaults(run=_train)


def add_finetune(commands: Any) -> None:
    """Add ``finetune`` to what ``ArgumentParser.add_subparsers`` returned."""
    command = commands.add_parser(
        "finetune",
        help="go on training a model's own weights with scenes of yours",
        description="Go on training a model's own weights with scene folders (see `parallax evaluate`): by true "
        "cameras and depth where they are, else by how well the photos explain each other.",
    )
    command.add_argument("--model", default="embedded", metavar="NAME", help="a name of `parallax models` (embedded)")
    command.add_argument(
        "--data", nargs="+", required=True, metavar="FOLDER", help="a scene's folder, or a folder of such"
    )
    _add_shared(command, config="finetune.toml")
    command.set_defaults(run=_finetune)


def _add_shared(command: argparse.ArgumentParser, config: str | None = None) -> None:
    command.add_argument(
        "--config", type=Path, default=config, required=config is None, metavar="FILE",
        help="a TOML file, or the name of one that is shipped" + (f" ({config})" if config else ""),
    )  # fmt: skip
    command.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: runs/NAME of the file)")
    command.add_argument("--resume", action="store_true", help="go on where the run in DIR stopped")
    command.add_argument(
        "--set", action="append", default=[], dest="changes", metavar="SECTION.KEY=VALUE",
        help="a setting in place of the file's; may be given again",
    )  # fmt: skip
    command.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")


def _train(arguments: argparse.Namespace) -> int:
    changes = [f"network.initial={arguments.init}"] if arguments.init else []
    if arguments.profile:
        from recon.training.config import read_configuration
        from recon.training.loop import measure_step  # brings torch

        print(measure_step(read_configuration(arguments.config, [*changes, *arguments.changes]), arguments.device))
        return 0
    return _run(arguments, changes)


def _finetune(arguments: argparse.Namespace) -> int:
    folders = ", ".join(f"'{folder}'" for folder in arguments.data)
    return _run(arguments, [f"network.name={arguments.model}", f"data.folders=[{folders}]"])


def _run(arguments: argparse.Namespace, changes: Sequence[str]) -> int:
    from recon.training.config import read_configuration
    from recon.training.loop import train  # brings torch

    configuration = read_configuration(Path(arguments.config), [*changes, *arguments.changes])
    out = arguments.out or Path("runs") / Path(arguments.config).stem
    with ProgressBar(sys.stderr) as bar:
        weights = train(configuration, out, arguments.resume, bar, arguments.device)
    print(weights)
    return 0
