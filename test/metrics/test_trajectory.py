import importlib.util
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.metrics import trajectory as metric
from vloc_models.records import Trajectory

PEER = os.environ.get('VLOC_PEER', '')


def at(x: float, deg: float = 0) -> np.ndarray:
    """A pose x metres along, turned about z."""
    return se3.transform(se3.exp([0, 0, 0, 0, 0, np.radians(deg)])[:3, :3], [x, 0, 0])


def track(
    stamps: list[int], poses: list[np.ndarray], accepted: list[bool] | None = None
) -> Trajectory:
    t = Trajectory.of(stamps, poses)
    return t if accepted is None else Trajectory(t.stamps_ns, t.T_map_body, np.array(accepted))


# --- pairs ---


@pytest.mark.parametrize(
    ('truth', 'estimate', 'pairs'),
    [
        ([0, 10, 20], [1, 21], [[0, 0], [2, 1]]),
        ([0, 10], [4], [[0, 0]]),
        ([0, 10], [5], [[0, 0]]),  # as close to both: the earlier one
        ([0], [-3, 2], [[0, 1]]),
        ([0, 4], [3, 5], [[0, 1], [1, 0]]),  # 3 is as close to 4 as 5 is; 5 may still have 0
        ([0], [6], []),
        ([0], [5], [[0, 0]]),
        ([], [1], []),
        ([1], [], []),
    ],
)
def test_associate(truth: list[int], estimate: list[int], pairs: list[list[int]]) -> None:
    a, b = (track(s, [np.eye(4)] * len(s)) for s in (truth, estimate))
    got = metric.associate(a, b, 5)
    assert got.tolist() == pairs


stamps = st.lists(st.integers(0, 60), unique=True, max_size=12).map(sorted)


@given(stamps, stamps, st.integers(0, 20))
def test_associate_is_the_greedy_definition(a: list[int], b: list[int], max_dt: int) -> None:
    """TUM RGB-D benchmark, associate.py."""
    possible = sorted(
        (abs(x - y), i, j)
        for i, x in enumerate(a)
        for j, y in enumerate(b)
        if abs(x - y) <= max_dt
    )
    expected, used_i, used_j = [], set(), set()
    for _, i, j in possible:
        if i not in used_i and j not in used_j:
            used_i.add(i)
            used_j.add(j)
            expected.append([i, j])
    got = metric.associate(track(a, [np.eye(4)] * len(a)), track(b, [np.eye(4)] * len(b)), max_dt)
    assert got.tolist() == sorted(expected)


def test_stamps_of_today_are_exact() -> None:
    now = 1_800_000_000_123_456_789
    a, b = track([now], [np.eye(4)]), track([now - 1, now + 2], [np.eye(4)] * 2)
    assert metric.associate(a, b, 1).tolist() == [[0, 0]]


# --- errors ---


def test_pose_errors_by_hand() -> None:
    error_m, error_deg = metric.pose_errors(
        np.stack([at(0), at(1), at(0, 170), at(0)]),
        np.stack([at(0), at(4), at(0, -170), at(0, 1e-5)]),
    )
    np.testing.assert_allclose(error_m, [0, 3, 0, 0])
    np.testing.assert_allclose(error_deg, [0, 0, 20, 1e-5], rtol=1e-9)
    with pytest.raises(VlocError, match='T_estimated has shape'):
        metric.pose_errors(np.zeros((2, 4, 4)), np.zeros((1, 4, 4)))


def test_errors_belong_to_the_camera() -> None:
    """The base is right but for 10 degrees; the camera two metres ahead is 35 cm off."""
    T_base_cam = at(2)
    truth, estimate = track([0], [at(0)]), track([0], [at(0, 10)])
    base = metric.errors(truth, estimate)
    cam = metric.errors(truth.moved(T_base_cam), estimate.moved(T_base_cam))
    assert base.error_m[0] == 0
    assert cam.error_m[0] == pytest.approx(2 * 2 * math.sin(math.radians(5)))


def test_nan_pose_is_no_pose() -> None:
    e = metric.errors(track([0], [at(0)]), track([0], [at(math.nan)]))
    assert np.isinf(e.error_m).all()


# --- score ---


def test_four_queries_by_hand() -> None:
    """3 cm; 20 cm and 4 deg; 60 cm, not accepted; no pose; and one that nobody asked for."""
    truth = track([0, 10, 20, 30], [at(0), at(1), at(2), at(3)])
    poses = [at(0.03), at(1.2, 4), at(2.6), at(9)]
    estimate = track([0, 10, 20, 47], poses, [True, True, False, True])
    s = metric.score(truth, estimate, 3)
    assert s.as_json() == {
        'queries': 4,
        'frames': 5,
        'median_cm': pytest.approx(40),  # of 3, 20, 60, infinite
        'median_deg': pytest.approx(2),  # of 0, 0, 4, infinite
        'recall_5cm_5deg': 0.25,
        'recall_10cm_5deg': 0.25,
        'recall_25cm_5deg': 0.5,
        'recall_50cm_10deg': 0.5,
        'recall_100cm_10deg': 0.75,
        'answered': 3,
        'answered_share': 0.75,
        'answered_median_cm': pytest.approx(20),
        'answered_mean_cm': pytest.approx(83 / 3),
        'answered_max_cm': pytest.approx(60),
        'accepted': 3,
        'accepted_share': 0.6,
        'false_accepts': 1,
        'false_accept_share': pytest.approx(1 / 3),
    }


@pytest.mark.parametrize(
    ('pose', 'accepted', 'false'),
    [
        (at(0.49), True, 0),
        (at(0.5), True, 0),  # not more than
        (at(0.51), True, 1),
        (at(0, 9.9), True, 0),
        (at(0, 10.1), True, 1),
        (at(7, 90), False, 0),  # said so itself
    ],
)
def test_false_accepts(pose: np.ndarray, accepted: bool, false: int) -> None:
    assert metric.score(track([0], [at(0)]), track([0], [pose], [accepted])).false_accepts == false


def test_recall_is_strict() -> None:
    truth = track([0], [at(0)])
    assert metric.score(truth, track([0], [at(0.25)])).recall == (0, 0, 0, 1, 1)
    assert metric.score(truth, track([0], [at(np.nextafter(0.25, 0))])).recall == (0, 0, 1, 1, 1)


@pytest.mark.parametrize('queries', [0, 1, 4])
def test_nothing_answered_is_json(queries: int) -> None:
    truth = track([10 * k for k in range(queries)], [at(0)] * queries)
    got = metric.score(truth, track([], [])).as_json()
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert got['median_cm'] is None
    assert got['answered_median_cm'] is None
    assert got['recall_5cm_5deg'] == (0 if queries else None)


@pytest.fixture(scope='module')
def peer() -> Callable[..., dict[str, float]]:
    if not Path(PEER).is_file():
        pytest.skip('set VLOC_PEER to the path of sift_localizer.py to compare with its score')
    spec = importlib.util.spec_from_file_location('peer', PEER)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score


@pytest.mark.parametrize('answered', [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize('n', [1, 2, 101, 500])
def test_equals_the_peers_score(
    peer: Callable[..., dict[str, float]], n: int, answered: float
) -> None:
    rng = np.random.default_rng(n)
    truths = [se3.exp(xi) for xi in rng.normal(size=(n, 6)) * 2]
    size = np.exp(rng.normal(-3, 2, size=(n, 1)))
    found = [T @ se3.exp(xi) for T, xi in zip(truths, rng.normal(size=(n, 6)) * size, strict=True)]
    kept = np.flatnonzero(rng.random(n) < answered)
    expected = peer([found[k] if k in kept else None for k in range(n)], truths)
    stamps = np.arange(n) * 66_666_667
    got = metric.score(
        Trajectory.of(stamps, truths), Trajectory.of(stamps[kept], [found[k] for k in kept])
    ).as_json()
    for name, value in expected.items():
        assert got[name] == (pytest.approx(value, abs=1e-5) if math.isfinite(value) else None)
