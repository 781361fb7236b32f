"""The text of a constructor call, as checkpoints of research code hold it, read and never evaluated.

The grammar, with blanks allowed between all parts::

    call     = name "(" [ argument { "," argument } [ "," ] ] ")"
    argument = name "=" value
    value    = plain | "(" [ plain { "," plain } [ "," ] ] ")" | "[" [ plain { "," plain } [ "," ] ] "]"
    plain    = [ "-" | "+" ] ( number | "inf" ) | string | "True" | "False" | "None" | name "." name
    string   = characters but quotes, backslashes and line ends, between two quotes of a kind

As in Python, parentheses about one value without a comma mean that value. Two names with a dot between, the member of
an enumeration, are read as that text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from recon.errors import InputError

LONGEST = 10_000  # characters
SHOWN = 200  # characters of the text that a complaint shows
TOKEN = re.compile(
    r"""\s*(?:(?P<member>[A-Za-z_]\w*\.[A-Za-z_]\w*)
        |(?P<name>[A-Za-z_]\w*)
        |(?P<number>\d{1,18}(?:\.\d{0,18})?(?:[eE][-+]?\d{1,4})?(?!\w))
        |'(?P<single>[^'"\\\r\n]*)'|"(?P<double>[^'"\\\r\n]*)"
        |(?P<sign>[-+(),=\[\]]))""",
    re.VERBOSE | re.ASCII,
)
CONSTANTS = {"True": True, "False": False, "None": None, "inf": math.inf}


@dataclass(frozen=True)
class Constructor:
    """A call: the name of what is called, and its arguments, all of them by name; lists are tuples."""

    name: str
    arguments: dict[str, Any]


def read_constructor(text: str) -> Constructor:
    """The call that a text describes.

    Raises:
        InputError: it is no call of that grammar, or gives an argument twice.
    """
    return _Reader(text).call()


class _Reader:
    """Takes the tokens of a text one by one; each is its kind and what it says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        place, end = 0, len(text.rstrip())
        if end > LONGEST:
            raise self.refused()
        while place < end:
            match = TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise self.refused()
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            place = match.end()
        self.tokens.reverse()

    def refused(self) -> InputError:
        shown = self.text if len(self.text) <= SHOWN else self.text[:SHOWN] + "..."
        return InputError(
            f"The checkpoint describes its network by a text that cannot be read, {shown!r}; "
            "give a checkpoint of the published kind."
        )

    def take(self, kind: str, value: str | None = None) -> str:
        """The next token, which must be of that kind, and say that."""
        if not self.tokens or self.tokens[-1][0] != kind or value not in (None, self.tokens[-1][1]):
            raise self.refused()
        return self.tokens.pop()[1]

    def taken(self, sign: str) -> bool:
        """Whether the next token is that sign, which is then gone."""
        if self.tokens and self.tokens[-1] == ("sign", sign):
            self.tokens.pop()
            return True
        return False

    def call(self) -> Constructor:
        name, arguments = self.take("name"), {}
        self.take("sign", "(")
        while not self.taken(")"):
            argument = self.take("name")
            self.take("sign", "=")
            if argument in arguments:
                raise self.refused()
            arguments[argument] = self.value()
            if not self.taken(","):
                self.take("sign", ")")
                break
        if self.tokens:
            raise self.refused()
        return Constructor(name, arguments)

    def value(self) -> Any:
        for opening, closing in (("(", ")"), ("[", "]")):
            if self.taken(opening):
                return self.items(closing)
        return self.plain()

    def items(self, closing: str) -> Any:
        items: list[Any] = []
        while not self.taken(closing):
            items.append(self.plain())
            if not self.taken(","):
                self.take("sign", closing)
                return items[0] if closing == ")" and len(items) == 1 else tuple(items)
        return tuple(items)

    def plain(self) -> Any:
        if not self.tokens:
            raise self.refused()
        for sign, factor in (("-", -1), ("+", 1)):
            if self.taken(sign):
                number = self.plain_token()
                if isinstance(number, bool) or not isinstance(number, (int, float)):
                    raise self.refused()
                return factor * number
        return self.plain_token()

    def plain_token(self) -> Any:
        if not self.tokens:
            raise self.refused()
        kind, said = self.tokens.pop()
        if kind in ("single", "double", "member"):
            return said
        if kind == "number":
            return int(said) if said.isdigit() else float(said)
        if kind == "name" and said in CONSTANTS:
            return CONSTANTS[said]
        raise self.refused()
