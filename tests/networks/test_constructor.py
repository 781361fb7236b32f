import math

import pytest

from recon.errors import InputError
from recon.networks.constructor import read_constructor


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("Net()", "Net", {}),
        (" Net ( a = 1 , b = 'x y' , ) ", "Net", {"a": 1, "b": "x y"}),
        ("Net(a=('exp', -inf, inf), b=[1, 2.5, +3e-2], c=(4,), d=())", "Net", None),
        ('Net(a="it", b=True, c=None, d=-2, e=False)', "Net", {"a": "it", "b": True, "c": None, "d": -2, "e": False}),
        ("Net(\n  a=(1)\n)", "Net", {"a": 1}),
    ],
)
def test_a_call_is_read(text, name, arguments):
    call = read_constructor(text)
    assert call.name == name
    if arguments is None:
        arguments = {"a": ("exp", -math.inf, math.inf), "b": (1, 2.5, 0.03), "c": (4,), "d": ()}
    assert call.arguments == arguments
    assert [type(value) for value in call.arguments.values()] == [type(value) for value in arguments.values()]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Net",
        "Net(",
        "Net(a)",
        "Net(1)",
        "Net(a=)",
        "Net(a=1",
        "Net(a=1 b=2)",
        "Net(a=1,,b=2)",
        "Net(,)",
        "Net(a=1))",
        "Net(a=1); import os",
        "Net(a=1).b",
        "module.Net(a=1)",
        "Net(a=b)",
        "Net(a=b.c.d)",
        "Net(a=b.c())",
        "Net(a=-b.c)",
        "Net(a=f())",
        "Net(a=__import__('os'))",
        "Net(a=1+1)",
        "Net(a=--1)",
        "Net(a=-'x')",
        "Net(a=-True)",
        "Net(a=((1, 2), 3))",
        "Net(a=(1, 2])",
        "Net(a=(,))",
        "Net(a={1: 2})",
        "Net(a=1, a=2)",
        "Net(a=1e)",
        "Net(a=0x10)",
        "Net(a=12abc)",
        "Net(a=nan)",
        "Net(a='x)",
        "Net(a='x\\n')",
        "Net(a='x' 'y')",
        "Net(**{})",
        "Nét(a=1)",
        "Net(a=" + "9" * 5000 + ")",
        "Net(a=" + "(" * 5000 + ")",
        "Net(" + "a" * 20_000 + "=1)",
    ],
)
def test_anything_else_is_refused_in_a_sentence(text):
    with pytest.raises(InputError, match="cannot be read") as error:
        read_constructor(text)
    assert len(str(error.value)) < 500
    assert str(error.value).endswith(".")
