"""The TF tree against a brute-force computation with scipy, and everything that can be wrong."""

import threading
import tracemalloc
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from vloc_models.errors import BagError
from vloc_models.frames.transforms import Samples, TransformTree

S = 10**9
GAP = 10**18


def random_transform(rng: np.random.Generator) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    T[:3, 3] = rng.normal(size=3)
    return T


def brute_force(
    parents: dict[str, str],
    moving: dict[str, tuple[np.ndarray, list[np.ndarray]]],
    static: dict[str, np.ndarray],
    frame: str,
    stamp: int,
) -> np.ndarray:
    """T_root_frame by walking up, with scipy's Slerp; written apart from the tree's code."""
    T = np.eye(4)
    while frame in parents:
        if frame in static:
            step = static[frame]
        else:
            stamps, transforms = moving[frame]
            i = int(np.clip(np.searchsorted(stamps, stamp, side='right') - 1, 0, len(stamps) - 2))
            seconds = (stamps[i : i + 2] - stamps[i]) / S  # integers first: a float has 256 ns
            now = (stamp - stamps[i]) / S
            pair = np.stack(transforms[i : i + 2])
            step = np.eye(4)
            step[:3, :3] = Slerp(seconds, Rotation.from_matrix(pair[:, :3, :3]))(now).as_matrix()
            for axis in range(3):
                step[axis, 3] = np.interp(now, seconds, pair[:, axis, 3])
        T = step @ T
        frame = parents[frame]
    return T


@given(seed=st.integers(0, 2**31), size=st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_lookup_equals_brute_force_on_random_trees(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    tree, moving, static = TransformTree(), {}, {}
    parents = {f'f{i}': f'f{rng.integers(i)}' for i in range(1, size)}
    samples = []
    for child, parent in parents.items():
        if rng.random() < 0.3:
            static[child] = random_transform(rng)
            tree.add_static(parent, child, static[child])
            continue
        stamps = np.unique(rng.integers(0, 10 * S, 12)) + int(1.7e18)
        stamps = np.concatenate([[int(1.7e18) - 1], stamps, [int(1.7e18) + 10 * S]])
        transforms = [random_transform(rng) for _ in stamps]
        moving[child] = (stamps, transforms)
        samples += [(parent, child, int(t), T) for t, T in zip(stamps, transforms, strict=True)]
    for i in rng.permutation(len(samples)):  # in any order
        tree.add(*samples[i])
    for _ in range(5):
        target, source = (f'f{rng.integers(size)}' for _ in range(2))
        stamp = int(rng.integers(0, 10 * S)) + int(1.7e18)
        expected = np.linalg.inv(brute_force(parents, moving, static, target, stamp))
        expected = expected @ brute_force(parents, moving, static, source, stamp)
        np.testing.assert_allclose(tree.lookup(target, source, stamp, GAP), expected, atol=1e-9)
    assert tree.faults == []


def two_samples() -> TransformTree:
    tree = TransformTree()
    tree.add_quat('odom', 'base_link', 12 * S, (0, 0, 0), (0, 0, 0, 1))
    tree.add_quat('odom', 'base_link', 14 * S, (2, 0, 0), (0, 0, 0, 1))
    return tree


def test_interpolates_and_respects_the_gap() -> None:
    tree = two_samples()
    assert tree.lookup('odom', 'base_link', 13 * S, 2 * S)[0, 3] == 1
    assert tree.lookup('base_link', 'odom', 13 * S, 2 * S)[0, 3] == -1
    with pytest.raises(BagError, match=r'tf odom->base_link: nothing between 12.00 s and 14.00 s'):
        tree.lookup('odom', 'base_link', 13 * S, 2 * S - 1)
    assert tree.lookup('odom', 'base_link', 14 * S, 0)[0, 3] == 2  # on a sample no gap counts


@pytest.mark.parametrize(
    ('stamp', 'words'), [(11 * S, 'before the first at 12.00 s'), (15 * S, 'after the last at 14')]
)
def test_never_extrapolates(stamp: int, words: str) -> None:
    with pytest.raises(BagError, match=words):
        two_samples().lookup('odom', 'base_link', stamp, GAP)


def test_unknown_frame_names_the_known_ones() -> None:
    with pytest.raises(BagError, match=r"no frame 'map'; known are base_link, odom"):
        two_samples().lookup('map', 'base_link', 12 * S, GAP)


def test_two_trees_names_both_roots() -> None:
    tree = two_samples()
    tree.add_static('robot', 'camera', np.eye(4))
    with pytest.raises(BagError, match=r"below 'odom'.*below 'robot'.*not connected"):
        tree.lookup('base_link', 'camera', 12 * S, GAP)


def test_loop_is_an_error_and_a_fault() -> None:
    tree = TransformTree()
    for parent, child in (('a', 'b'), ('b', 'c'), ('c', 'a')):
        tree.add_static(parent, child, np.eye(4))
    tree.add_static('x', 'y', np.eye(4))
    tree.add_static('c', 'd', np.eye(4))
    for target, source in (('x', 'b'), ('a', 'b'), ('b', 'a'), ('a', 'd')):
        with pytest.raises(BagError, match='tf: loop a -> b -> c -> a'):
            tree.lookup(target, source, 0, GAP)
    tree.lookup('c', 'd', 0, GAP)  # does not go round
    assert len(tree.faults) == 1
    assert 'loop' in tree.faults[0]


def test_two_parents_never_yield_a_pose() -> None:
    tree = two_samples()
    tree.add_quat('map', 'base_link', 12 * S, (9, 9, 9), (0, 0, 0, 1))
    tree.add_static('base_link', 'camera', np.eye(4))
    with pytest.raises(BagError, match='base_link has more than one parent: map and odom'):
        tree.lookup('odom', 'base_link', 13 * S, GAP)
    assert tree.lookup('base_link', 'camera', 13 * S, GAP)[0, 3] == 0  # not concerned
    assert 'more than one parent' in tree.faults[0]


@pytest.mark.parametrize(
    ('t', 'q', 'words'),
    [
        ((np.nan, 0, 0), (0, 0, 0, 1), 'NaN'),
        ((0, np.inf, 0), (0, 0, 0, 1), 'NaN or infinity'),
        ((0, -1e300, 0), (0, 0, 0, 1), r'a translation of 1.0e+300 m'),
        ((0, 0, 0), (0, 0, np.nan, 1), 'NaN'),
        ((0, 0, 0), (0, 0, 0, 0), 'length 0'),
        ((0, 0, 0), (0, 0, 0, 1.1), 'length 1.1'),
    ],
)
def test_bad_numbers_are_left_out_and_counted(
    t: tuple[float, ...], q: tuple[float, ...], words: str
) -> None:
    tree = two_samples()
    for _ in range(3):
        tree.add_quat('odom', 'base_link', 13 * S, t, q)
    tree.add_static_quat('base_link', 'camera', t, q)
    assert tree.lookup('odom', 'base_link', 13 * S, GAP)[0, 3] == 1
    assert 'camera' not in tree.frames
    moving, static = tree.faults
    assert words in moving
    assert '(3 x, first at 13.00 s)' in moving
    assert words in static


def test_self_and_nameless_transforms_are_faults() -> None:
    tree = TransformTree()
    tree.add_static('a', 'a', np.eye(4))
    tree.add_static('', 'b', np.eye(4))
    assert len(tree.faults) == 2
    assert tree.frames == set()


def test_duplicate_stamp_last_wins_also_out_of_order() -> None:
    samples = Samples('x')
    for stamp, x in ((1, 1.0), (3, 3.0), (3, 4.0), (1, 2.0), (2, 9.0), (2, 8.0)):
        samples.add(stamp, (x, 0, 0), (0, 0, 0, 1))
    assert [samples.at(s, GAP)[0, 3] for s in (1, 2, 3)] == [2, 8, 4]
    assert samples.stamps().tolist() == [1, 2, 3]


def test_changed_static_and_static_that_moves_are_told() -> None:
    tree = TransformTree()
    tree.add_static('a', 'b', np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 1
    tree.add_static('a', 'b', moved)
    assert 'changed' in tree.faults[0]
    assert tree.lookup('a', 'b', 0, 0)[0, 3] == 1
    tree.add('a', 'b', 5, np.eye(4))
    assert 'both static and moving' in tree.faults[1]
    assert tree.lookup('a', 'b', 5, 0)[0, 3] == 0


def test_messages_of_ros_with_leading_slashes() -> None:
    v, r = SimpleNamespace(x=1, y=2, z=3), SimpleNamespace(x=0, y=0, z=0, w=1)
    header = SimpleNamespace(frame_id='/odom', stamp=SimpleNamespace(sec=1, nanosec=5))
    one = SimpleNamespace(
        header=header,
        child_frame_id='/base',
        transform=SimpleNamespace(translation=v, rotation=r),
    )
    tree = TransformTree()
    tree.add_message(SimpleNamespace(transforms=[one]))
    assert tree.lookup('odom', 'base', S + 5, 0)[:3, 3].tolist() == [1, 2, 3]
    assert tree.stamps('odom', 'base').tolist() == [S + 5]


def test_horizon_bounds_the_memory() -> None:
    tree = TransformTree(keep_ns=10 * S)
    for i in range(20_000):
        tree.add_quat('odom', 'base', i * S // 10, (i, 0, 0), (0, 0, 0, 1))
    assert 100 <= len(tree.stamps('odom', 'base')) <= 202
    newest = 19_999 * S // 10
    assert tree.lookup('odom', 'base', newest - 10 * S, S)[0, 3] == 19_899
    tree.add_quat('odom', 'base', 0, (0, 0, 0), (0, 0, 0, 1))
    assert 'older than what is kept' in tree.faults[0]


def test_the_static_part_outlives_a_jump_of_the_clock() -> None:
    tree = TransformTree(keep_ns=10 * S)
    tree.add_static_quat('base', 'camera', (0, 0, 1), (0, 0, 0, 1))
    tree.add_static_quat('odom', 'base', (0, 0, 0), (0, 0, 0, 1))
    assert tree.newest_ns('odom', 'camera') is None
    tree.add_quat('odom', 'base', 5 * S, (5, 0, 0), (0, 0, 0, 1))
    tree.add_quat('map', 'odom', 3 * S, (5, 0, 0), (0, 0, 0, 1))
    assert tree.newest_ns('odom', 'camera') == 5 * S
    assert tree.newest_ns('camera', 'map') == 3 * S
    again = tree.without_motion()
    assert again.frames == {'odom', 'base', 'camera'}
    again.add_quat('odom', 'base', S, (1, 0, 0), (0, 0, 0, 1))
    assert again.lookup('odom', 'camera', S, 0)[:3, 3].tolist() == [1, 0, 1]


def test_a_million_transforms_take_64_bytes_each() -> None:
    tracemalloc.start()
    samples = Samples('x')
    for i in range(200_000):
        samples.add(i, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / 200_000 < 150  # 64 bytes, and room to grow


def test_filled_and_asked_from_two_threads() -> None:
    tree, errors = TransformTree(keep_ns=50), []

    def fill() -> None:
        for i in range(5000):
            tree.add_quat('a', 'b', i, (i, 0, 0), (0, 0, 0, 1))

    thread = threading.Thread(target=fill)
    thread.start()
    while thread.is_alive():
        with suppress(BagError):  # not there yet, or already dropped
            stamp = int(tree.stamps('a', 'b')[-1])
            if tree.lookup('a', 'b', stamp, 1)[0, 3] != stamp:
                errors.append(stamp)
    assert errors == []
