import cv2
import numpy as np

from recon import geometry
from recon.alignment.loops import consistent
from recon.alignment.twoview import Pair

TURNS = (0.0, 10.0, 25.0, 30.0, 50.0)


def camera(degrees: float) -> np.ndarray:
    return geometry.rigid(cv2.Rodrigues(np.radians([0.0, degrees, 0.0]))[0], np.zeros(3))


CAMERAS = [camera(turn) for turn in TURNS]


def pair(first: int, second: int, matches: int, wrong: float = 0.0) -> Pair:
    """A pair of the true cameras, turned by ``wrong`` degrees more."""
    pose = camera(wrong) @ geometry.invert(CAMERAS[second]) @ CAMERAS[first]
    return Pair(first, second, np.zeros((matches, 2), int), pose, 5.0)


def ends(pairs: list[Pair]) -> set[tuple[int, int]]:
    return {(found.first, found.second) for found in pairs}


def test_a_weak_pair_that_contradicts_a_chain_of_strong_ones_is_left_out():
    chain = [pair(0, 1, 100), pair(3, 4, 90), pair(2, 3, 80), pair(1, 2, 70)]
    true, false = [pair(0, 2, 30, wrong=3), pair(1, 4, 30)], [pair(0, 4, 60, wrong=25), pair(1, 3, 60, wrong=-40)]
    assert ends(consistent([*false, *chain, *true], CAMERAS)) == ends([*chain, *true])


def test_what_joins_nothing_else_stays():
    pairs = [pair(0, 1, 20, wrong=60), pair(2, 4, 20)]
    assert ends(consistent(pairs, CAMERAS)) == ends(pairs)


def test_a_pair_that_surprises_the_model_gives_way():
    false, true = pair(0, 2, 60, wrong=60), [pair(0, 1, 40), pair(1, 2, 40)]
    assert ends(consistent([false, *true], CAMERAS)) == ends(true)
