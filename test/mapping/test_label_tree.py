"""Regions, and regions of regions, numbered as the published labels are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vloc_models.errors import VlocError
from vloc_models.mapping.label_tree import LabelTree, grow, leaf_of, scenes_of

Array = NDArray[np.float64]


def place(count: int = 2000, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform([0, 0, 0], [20, 10, 3], (count, 3))


def nearest(points: Array, centres: Array) -> NDArray[np.int64]:
    away = np.linalg.norm(points[:, None] - centres[None], axis=2)
    return away.argmin(1)


def test_a_leaf_is_a_region_times_its_parts_and_the_part() -> None:
    tree = grow(place(), (5, 4), 0)
    assert tree.branching == (5, 4)
    assert [c.shape for c in tree.centres] == [(5, 3), (20, 3)]
    assert tree.leaves is tree.centres[-1]
    path = tree.labels(tree.leaves)
    leaf = leaf_of(path, tree.branching)
    np.testing.assert_array_equal(path[:, 0], leaf // 4)
    np.testing.assert_array_equal(path[:, 1], leaf % 4)
    one = np.array([[3, 2], [0, 0], [4, 3]])
    assert leaf_of(one, (5, 4)).tolist() == [14, 0, 19]


def test_the_nearest_region_first_then_the_nearest_of_its_parts() -> None:
    tree, asked = grow(place(), (6, 5), 0), place(500, 1)
    path = tree.labels(asked)
    coarse = nearest(asked, tree.centres[0])
    np.testing.assert_array_equal(path[:, 0], coarse)
    fine = [
        nearest(x[None], tree.leaves[5 * c : 5 * c + 5])[0]
        for x, c in zip(asked, coarse, strict=True)
    ]
    np.testing.assert_array_equal(path[:, 1], fine)
    # the nearest leaf of all may belong to another region: it is not taken
    assert (leaf_of(path, tree.branching) != nearest(asked, tree.leaves)).any()


def test_a_part_lies_in_its_region() -> None:
    tree = grow(place(), (5, 4), 0)
    of = nearest(tree.leaves, tree.centres[0])
    np.testing.assert_array_equal(of, np.repeat(np.arange(5), 4))
    points = place()
    leaf = leaf_of(tree.labels(points), tree.branching)
    for n in range(20):  # k-means: each centre is the middle of what is labelled so
        np.testing.assert_allclose(tree.leaves[n], points[leaf == n].mean(0), atol=0.3)


@pytest.mark.parametrize('none', [np.nan, np.inf, -np.inf])
def test_points_that_are_not_known_have_no_label(none: float) -> None:
    points = place(300)
    tree = grow(points, (3, 3), 0)
    some = points.copy()
    some[::3, 1] = none
    path = tree.labels(some)
    assert (path[::3] == -1).all()
    kept = np.arange(300) % 3 != 0
    np.testing.assert_array_equal(path[kept], tree.labels(points)[kept])
    assert np.isfinite(grow(some, (3, 3), 0).leaves).all()


def test_no_points_have_no_labels() -> None:
    assert grow(place(100), (3, 3), 0).labels(np.zeros((0, 3))).shape == (0, 2)


def test_the_same_seed_grows_the_same_tree() -> None:
    one, same, other = (grow(place(), (5, 4), seed).leaves for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize('threads', [1, 4])
def test_however_many_threads_there_are(threads: int) -> None:
    """Enough points that k-means would share them out."""
    points = place(20_000)
    wanted = grow(points, (25, 2), 0).leaves
    with threadpool_limits(threads):
        for _ in range(2):
            np.testing.assert_array_equal(grow(points, (25, 2), 0).leaves, wanted)


def rooms(count: int, each: int) -> tuple[Array, NDArray[np.int64]]:
    """Some rooms of 4 m side by side, 10 m from each other, in random order."""
    rng = np.random.default_rng(0)
    scene = rng.permutation(np.repeat(np.arange(count), each))
    return rng.uniform(0, 4, (count * each, 3)) + 10.0 * scene[:, None] * [1, 0, 0], scene


def test_seven_scenes_have_175_regions() -> None:
    points, scene = rooms(7, 250)
    tree = grow(points, (25, 2), 0, scene)
    assert tree.branching == (175, 2)
    assert [len(c) for c in tree.centres] == [175, 350]
    path = tree.labels(points)
    np.testing.assert_array_equal(path[:, 0] // 25, scene)  # in the order of the scenes
    assert len(np.unique(path[:, 0])) == 175


def test_a_scene_has_as_many_regions_as_any_other_however_many_its_points() -> None:
    points, scene = rooms(2, 400)
    keep = (scene == 0) | (np.arange(800) % 20 == 0)
    tree = grow(points[keep], (4, 2), 0, scene[keep])
    assert (tree.centres[0][:4, 0] < 5).all()
    assert (tree.centres[0][4:, 0] > 9).all()


@pytest.mark.parametrize('count', [1, 3])
def test_scenes_are_groups_of_neighbouring_cameras(count: int) -> None:
    points, room = rooms(count, 8)
    scene = scenes_of(points, count, 0)
    assert sorted(np.unique(scene)) == list(range(count))
    pairs = {(a, b) for a, b in zip(room.tolist(), scene.tolist(), strict=True)}
    assert len(pairs) == count


def test_three_levels() -> None:
    points = place()
    tree = grow(points, (3, 4, 5), 0)
    assert [len(c) for c in tree.centres] == [3, 12, 60]
    path = tree.labels(points)
    assert path.shape == (2000, 3)
    leaf = leaf_of(path, tree.branching)
    np.testing.assert_array_equal(leaf, (path[:, 0] * 4 + path[:, 1]) * 5 + path[:, 2])
    assert len(np.unique(leaf)) == 60
    gaps = [
        np.median(np.linalg.norm(points - level[leaf // each], axis=1))
        for level, each in zip(tree.centres, (20, 5, 1), strict=True)
    ]
    assert gaps[0] > gaps[1] > gaps[2]


@pytest.mark.parametrize(
    ('points', 'words'),
    [
        (place(4), '4 points for 20 regions'),
        (np.repeat(place(4), 50, 0), '4 points for 20 regions'),  # the same ones again and again
        (np.zeros((100, 3)), '1 points for 20 regions'),
        (place(12), '12 points for 20 regions'),  # enough for the regions, not for their parts
    ],
)
def test_fewer_points_than_regions_are_named(points: Array, words: str) -> None:
    with pytest.raises(VlocError, match=rf'{words}.*--hscnet\.branching') as caught:
        grow(points, (5, 4), 0)
    assert '\n' not in str(caught.value)


def test_a_region_of_few_points_has_each_as_a_part() -> None:
    """As of what is seen through a window."""
    beyond = np.array([[90.0, 0, 0], [90, 1, 0], [90, 0, 1]])
    points = np.concatenate([place(400), beyond])
    tree = grow(points, (5, 4), 0)
    np.testing.assert_allclose(tree.leaves[leaf_of(tree.labels(beyond), (5, 4))], beyond)
    assert np.isfinite(tree.leaves).all()


@pytest.mark.parametrize('points', [np.zeros((0, 3)), np.full((50, 3), np.nan)])
def test_no_known_point_at_all_is_named(points: Array) -> None:
    with pytest.raises(VlocError, match='record depth'):
        grow(points, (5, 4), 0)


def test_a_scene_without_a_known_point_is_named() -> None:
    """And not left out: the network would have another number of regions than was asked for."""
    points, scene = rooms(3, 100)
    points[scene == 2] = np.nan
    with pytest.raises(VlocError, match='0 points for 5 regions'):
        grow(points, (5, 4), 0, scene)


@pytest.mark.parametrize('branching', [(), (1, 4), (5, 1), (0,), (-3, 4)])
def test_levels_of_less_than_two_regions_are_refused(branching: tuple[int, ...]) -> None:
    with pytest.raises(VlocError, match='2 or more'):
        grow(place(), branching, 0)


def test_as_many_points_as_leaves_will_do() -> None:
    """Each its own centre."""
    corners = np.array([[x, y, 0] for x in (0.0, 0.1, 5, 5.1, 9, 9.1) for y in (0, 0.01)])
    tree = grow(corners, (3, 4), 0)
    leaf = leaf_of(tree.labels(corners), tree.branching)
    assert len(np.unique(leaf)) == 12
    np.testing.assert_allclose(tree.leaves[leaf], corners, atol=1e-6)


def test_more_points_than_are_clustered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those left out are labelled all the same."""
    monkeypatch.setattr('vloc_models.mapping.label_tree._MOST', 200)
    points, scene = rooms(2, 1000)
    tree = grow(points, (3, 2), 0, scene)
    assert (tree.labels(points)[:, 0] // 3 == scene).all()


def test_shapes_must_fit() -> None:
    with pytest.raises(VlocError, match='points'):
        grow(np.zeros((9, 2)), (2, 2), 0)
    with pytest.raises(VlocError, match='points'):
        grow(place(), (2, 2), 0).labels(np.zeros(3))
    with pytest.raises(VlocError, match='path'):
        leaf_of(np.zeros((4, 3), int), (2, 2))


@settings(max_examples=25)
@given(
    points=arrays.arrays(np.float64, (40, 3), elements=st.floats(-50, 50), unique=True),
    branching=st.lists(st.integers(2, 4), min_size=1, max_size=2),
    far=st.floats(-1e6, 1e6),
)
def test_labels_are_in_range_and_centres_near(
    points: Array, branching: list[int], far: float
) -> None:
    try:
        tree = grow(points + far, branching, 0)
    except VlocError:  # one of the regions has too few points
        assert len(branching) == 2
        return
    asked = np.concatenate([points + far, points * 1.5 + far])
    path = tree.labels(asked)
    assert ((path >= 0) & (path < tree.branching)).all()
    leaf = leaf_of(path, tree.branching)
    assert ((leaf >= 0) & (leaf < len(tree.leaves))).all()
    low, high = points.min(0) + far - 1e-6, points.max(0) + far + 1e-6
    assert ((tree.leaves >= low) & (tree.leaves <= high)).all()
    known, path, leaf = asked[:40], path[:40], leaf[:40]
    near = np.linalg.norm(known - tree.leaves[leaf], axis=1)
    assert near.max() <= np.linalg.norm(high - low)
    away = np.linalg.norm(known[:, None] - tree.centres[0], axis=2)
    assert (away[np.arange(40), path[:, 0]] <= away.min(1) + 1e-6).all()


def test_a_tree_by_hand() -> None:
    tree = LabelTree(
        (2, 2),
        (
            np.array([[0.0, 0, 0], [10, 0, 0]]),
            np.array([[-1.0, 0, 0], [1, 0, 0], [9, 0, 0], [11, 0, 0]]),
        ),
    )
    asked = np.array([[-2.0, 0, 0], [4.9, 0, 0], [5.1, 0, 0], [99, 5, 5]])
    assert tree.labels(asked).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
