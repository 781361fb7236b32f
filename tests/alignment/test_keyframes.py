import numpy as np

from recon.alignment.keyframes import COVERED, farthest_first, keyframes, overlap, swapped
from recon.geometry import rigid
from recon.scene import Scene
from tests.helpers import synthetic_scene

# Recorded from VGGT's COLMAP export: the distances of six frames, and the orders it made of them.
DISTANCE = np.array(
    [
        [99.79491, 99.69875, 99.73976, 99.53142, 99.47357, 100.36183],
        [99.69875, 99.88692, 99.94631, 100.32694, 99.49355, 100.39749],
        [99.73976, 99.94631, 99.50313, 99.574005, 100.64902, 100.0005],
        [99.53142, 100.32694, 99.574005, 99.30941, 100.28264, 100.28929],
        [99.47357, 99.49355, 100.64902, 100.28264, 99.466675, 99.92479],
        [100.36183, 100.39749, 100.0005, 100.28929, 99.92479, 99.9659],
    ],
    np.float32,
)


def test_the_recorded_orders_are_reproduced():
    assert farthest_first(DISTANCE, 2, 4, from_last=True) == [2, 4, 3, 1]
    assert farthest_first(DISTANCE, 2, 9, from_last=True) == [2, 4, 3, 1, 5, 0]
    np.testing.assert_array_equal(swapped(6, 3), [3, 1, 2, 0, 4, 5])


def test_farthest_from_the_set_does_not_jump_between_two_ends():
    places = np.array([0.0, 10.0, 0.1, 9.9, 5.0])
    distance = np.abs(places[:, None] - places)
    assert farthest_first(distance, 0, 3, from_last=True) == [0, 1, 2]
    assert farthest_first(distance, 0, 3) == [0, 1, 4]


def test_ranking_takes_each_once_and_leaves_the_distances_alone():
    distance = DISTANCE.copy()
    assert sorted(farthest_first(distance, 5, 100)) == [0, 1, 2, 3, 4, 5]
    assert farthest_first(np.zeros((3, 3)), 1, 3) == [1, 0, 2]
    assert farthest_first(distance, 3, 1) == [3]
    np.testing.assert_array_equal(distance, DISTANCE)


def test_swapping_twice_leads_back():
    order = swapped(5, 2)
    np.testing.assert_array_equal(order[order], np.arange(5))
    np.testing.assert_array_equal(swapped(4, 0), np.arange(4))


def test_frames_overlap_less_the_farther_apart_they_are():
    share = overlap(synthetic_scene(8).frames)
    np.testing.assert_array_equal(share, share.T)
    np.testing.assert_array_equal(np.diag(share), 1)
    assert share[0, 1] > share[0, 4] > share[0, 7]
    assert share[0, 1] > 0.7


def test_a_frame_behind_ones_back_and_a_blank_one_share_nothing():
    scene = synthetic_scene(3)
    turned = scene.frames[1].camera.world_from_camera
    turned[:3, [0, 2]] *= -1
    scene.frames[2].depth[:] = 0
    share = overlap(scene.frames)
    assert share[0, 1] < 0.05
    assert share[0, 2] == 0


def test_what_is_hidden_is_not_shared():
    """A card right in front of a camera hides the room from it."""
    scene = synthetic_scene(2)
    scene.frames[1].depth[:] = 0.2
    assert overlap(scene.frames)[0, 1] < 0.05


def test_keyframes_begin_with_the_first_and_reach_the_far_end():
    """A camera that pans: its two ends share nothing."""
    scene = Scene([synthetic_scene(1).frames[0] for _ in range(9)])
    for index, frame in enumerate(scene.frames):
        angle = np.radians(12 * index)
        turn = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        frame.camera.world_from_camera = rigid(np.array(turn), np.zeros(3)).astype(np.float32)
        frame.depth[:] = 5
    assert keyframes(scene, 1) == [0]
    assert keyframes(scene, 2) == [0, 6]  # 72 degrees on, where nothing is shared any more
    assert keyframes(scene, 3) == [0, 6, 3]
    chosen = keyframes(scene)
    assert 3 < len(chosen) <= 8
    share = overlap(scene.frames)[chosen].max(0)
    assert share.min() >= COVERED


def test_no_more_keyframes_than_it_takes():
    assert keyframes(synthetic_scene(2)) == [0]
    assert keyframes(Scene()) == []
    assert len(keyframes(synthetic_scene(9), 2)) <= 2
