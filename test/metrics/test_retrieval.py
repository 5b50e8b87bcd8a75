"""Recall, by hand."""

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.metrics.retrieval import (
    SamePlace,
    are_same,
    recall_at,
    recall_within,
    score,
)


def poses(x_m: list[float], yaw_deg: float = 0.0) -> np.ndarray:
    return np.stack([se3.from_xyz_rpy([x, 0, 0], [0, 0, np.deg2rad(yaw_deg)]) for x in x_m])


def test_near_and_turned_alike_is_the_same_place() -> None:
    found = np.concatenate([poses([1.9, 2.1]), poses([0.0], 44), poses([0.0], 46)])
    same = are_same(poses([0.0]), found[None], SamePlace())
    assert same.tolist() == [[True, False, True, False]]
    assert are_same(poses([0.0]), found[None], SamePlace(2.0, 180.0)).sum() == 3


def test_recall_at_n() -> None:
    right = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 1]], bool)
    assert recall_at(right, (1, 2, 3)) == {1: 0.25, 2: 0.5, 3: 0.75}


def test_recall_at_d_is_of_the_first() -> None:
    found = np.stack([poses([3.0, 0.0]), poses([0.5, 9.0])])
    assert recall_within(poses([0.0, 0.0]), found, (1.0, 5.0)) == {1.0: 0.5, 5.0: 1.0}


@pytest.mark.parametrize(
    ('right', 'counts'),
    [(np.ones((0, 3), bool), (1,)), (np.ones((2, 3), bool), (5,)), (np.ones((2, 3), bool), (0,))],
)
def test_what_cannot_be_counted_is_refused(right: np.ndarray, counts: tuple[int, ...]) -> None:
    with pytest.raises(VlocError, match='recall'):
        recall_at(right, counts)


@pytest.mark.parametrize('wrong', [(0.0, 45.0), (1.0, 0.0), (1.0, 181.0)])
def test_senseless_thresholds_are_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(VlocError, match='same place'):
        SamePlace(*wrong)


def test_queries_of_places_that_nobody_saw_are_left_out() -> None:
    """The first finds its place second, the other one was taken elsewhere."""
    mapped, asked = poses([0.0, 5.0, 10.0]), poses([0.5, 90.0])
    told = score(asked, mapped, np.array([[1, 0, 2], [2, 1, 0]]), SamePlace())
    assert told is not None
    assert (told.queries, told.unseen) == (1, 1)
    assert told.recall_at == {1: 0.0}  # no more than five were found
    assert told.recall_within == {1.0: 0.0, 2.0: 0.0, 4.0: 0.0}
    assert told.as_json()['recall_at_1'] == 0
    assert score(asked[1:], mapped, np.array([[2]]), SamePlace()) is None


def test_the_first_finds_are_judged() -> None:
    mapped = poses([float(n) for n in range(0, 60, 5)])
    first = np.stack([np.roll(np.arange(12), -n) for n in (0, 9)])[:, :10]
    told = score(poses([0.0, 0.0]), mapped, first, SamePlace(), (30.0, 45.0))
    assert told is not None
    assert told.recall_at == {1: 0.5, 5: 1.0, 10: 1.0}
    assert told.recall_within == {30.0: 0.5, 45.0: 1.0}
