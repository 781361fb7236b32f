"""How configuration files of published checkpoints are read: strictly, and complained of in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from recon.errors import InputError


def check(fine: bool, wish: str) -> None:
    """Raise the sentence unless all is fine."""
    if not fine:
        raise InputError(f"The configuration of this checkpoint cannot be used: {wish}.")


def read(kind: type, values: Any, implied: Mapping[str, Any], default: Any = None, path: str = "") -> Any:
    """One dataclass of a configuration from a mapping; ``default`` has what the mapping leaves out."""
    check(isinstance(values, Mapping), f"{path.rstrip('.') or 'it'} must hold names and values")
    types, given = get_type_hints(kind), {}
    known = {part.name: part for part in fields(kind)}
    for name, value in values.items():
        if name not in known:
            where = path + str(name)
            check(where in implied, f"this network does not know {where!r}")
            check(value == implied[where], f"{where} must be {implied[where]!r}, not {value!r}")
        elif is_dataclass(types[name]):
            given[name] = read(types[name], value, implied, known[name].default, f"{path}{name}.")
        else:
            given[name] = converted(types[name], value, path + name)
    start = {} if default is None else {part.name: getattr(default, part.name) for part in fields(kind)}
    return kind(**{**start, **given})


def converted(kind: Any, value: Any, path: str) -> Any:
    """A value of a file as the type of its field."""
    if kind in (bool, str):
        check(isinstance(value, kind), f"{path} must be {'true or false' if kind is bool else 'a name'}, not {value!r}")
        return value
    if kind in (int, float):
        if value is None and path.endswith("init_values"):
            return 0.0
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
        whole = kind is float or (number and math.isfinite(value) and value == int(value))
        check(number and whole, f"{path} must be a {'whole ' if kind is int else ''}number, not {value!r}")
        return kind(value)
    item = kind.__args__[0]
    check(isinstance(value, (list, tuple)), f"{path} must be a list, not {value!r}")
    return tuple(converted(item, each, path) for each in value)
