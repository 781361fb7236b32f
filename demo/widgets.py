"""Groups of widgets: dataclasses of them, one a part of the page."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any


def widgets(group: Any) -> list[Any]:
    """Every widget of a dataclass of widgets, of dicts of them, and of such dataclasses."""
    if is_dataclass(group):
        return [widget for field in fields(group) for widget in widgets(getattr(group, field.name))]
    return list(group.values()) if isinstance(group, dict) else [group]
