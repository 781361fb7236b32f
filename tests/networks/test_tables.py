"""Constant tables are made once, serve with and without gradients, and stay with who has looked them up."""

import gc
import weakref

import torch

from recon.networks.layers.tables import table, witnessed


def counting(maxsize):
    made: list[int] = []

    @table(maxsize)
    def squares(count: int):
        """Squares of the first numbers."""
        made.append(count)
        return torch.arange(count, dtype=torch.float32) ** 2

    return squares, made


def test_a_table_is_made_once_for_each_size():
    squares, made = counting(2)
    assert squares(3) is squares(3)
    torch.testing.assert_close(squares(4), torch.tensor([0.0, 1.0, 4.0, 9.0]))
    assert made == [3, 4]
    assert squares.__doc__ == "Squares of the first numbers."


def test_only_the_last_few_are_kept():
    squares, made = counting(2)
    for count in (3, 4, 5, 3):
        squares(count)
    assert made == [3, 4, 5, 3]


def test_what_is_made_under_inference_serves_gradients_too():
    squares, _ = counting(2)
    with torch.inference_mode():
        squares(3)
    weight = torch.ones(3, requires_grad=True)
    (weight * squares(3)).sum().backward()
    torch.testing.assert_close(weight.grad, squares(3))


def test_a_witness_keeps_what_was_looked_up_meanwhile():
    squares, made = counting(1)
    before = weakref.ref(squares(3))
    with witnessed() as seen:
        kept = weakref.ref(squares(4))
        with witnessed() as inner:
            squares(5)
        squares(5)
    after = weakref.ref(squares(6))
    squares(7)
    gc.collect()
    assert before() is None
    assert after() is None
    assert kept() is seen[0]
    assert [len(each) for each in seen] == [4, 5, 5]
    assert [len(each) for each in inner] == [5]
    assert made == [3, 4, 5, 6, 7]
