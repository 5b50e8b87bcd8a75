"""The tracker against random motions of a robot, and replayed."""

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vloc_models.geometry import se3
from vloc_models.localize.tracker import Tracker, TrackerConfig
from vloc_models.records import Array, Fix, PoseEstimate, State, Verdict
from vloc_models.solvers.fusion import difference

S = 10**9
START = 1_700_000_000 * S
SURE = np.diag([1e-4] * 3 + [1e-5] * 3)


def fix(stamp_ns: int, T_map_base: Array, verdict: Verdict = Verdict.ACCEPTED) -> Fix:
    estimate = PoseEstimate(T_map_base, SURE, 100, 0.5, 0.75, 2.0)
    return Fix(stamp_ns, verdict, '', estimate)


def move(tracker: Tracker, stamp_ns: int, T_odom_base: Array) -> str:
    quat = Rotation.from_matrix(T_odom_base[:3, :3]).as_quat()
    return tracker.add_odometry(stamp_ns, T_odom_base[:3, 3].tolist(), quat.tolist())


def close(actual: Array | None, expected: Array) -> None:
    assert actual is not None
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def wander(rng: np.random.Generator, count: int, step_m: float = 0.5) -> list[Array]:
    """Any motion of at most that much a sample and axis, turning by up to 0.26 rad."""
    Ts, where, turn = [], rng.uniform(-50, 50, 3), Rotation.from_quat(rng.normal(size=4))
    for _ in range(count):
        T = np.eye(4)
        turn = turn * Rotation.from_rotvec(rng.uniform(-0.15, 0.15, 3))
        T[:3, :3] = turn.as_matrix()
        where = where + rng.uniform(-step_m, step_m, 3)
        T[:3, 3] = where
        Ts.append(T)
    return Ts


@given(seed=st.integers(0, 2**32), late=st.integers(0, 12), every=st.integers(1, 15))
@settings(max_examples=25)
def test_with_perfect_fixes_the_track_is_the_truth(seed: int, late: int, every: int) -> None:
    rng = np.random.default_rng(seed)
    truth, (T_odom_map,) = wander(rng, 30), wander(rng, 1)
    stamps = START + np.cumsum(rng.integers(1, S // 5, 30))
    tracker = Tracker(TrackerConfig())
    for i, stamp in enumerate(stamps.tolist()):
        assert move(tracker, stamp, T_odom_map @ truth[i]) == ''
        seen = i - late  # the picture whose fix comes now
        if seen >= 0 and seen % every == 0:
            tracker.add_fix(fix(int(stamps[seen]), truth[seen]))
        if i >= late:
            for k in range(i + 1):
                close(tracker.track(int(stamps[k])).T_map_base, truth[k])


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10)
def test_of_drifting_odometry_and_noisy_fixes_the_track_knows_how_far_it_is_off(seed: int) -> None:
    rng, config = np.random.default_rng(seed), TrackerConfig()
    truth, T_odom, tracker, squared = np.eye(4), np.eye(4), Tracker(config), []
    for i in range(400):
        step = se3.exp([0.05, 0, 0, 0, 0, rng.uniform(-0.05, 0.05)])
        truth = truth @ step
        T_odom = T_odom @ step @ se3.exp([0.01 * 0.05, 0, 0, 0, 0, 0.01 * 0.05])
        stamp = START + i * S // 10
        assert move(tracker, stamp, T_odom) == ''
        if i % 4 == 0:
            T = truth.copy()
            error = np.sqrt(np.diag(SURE)) * rng.standard_normal(6)
            T[:3, 3] += error[:3]
            T[:3, :3] = se3.exp([0, 0, 0, *error[3:]])[:3, :3] @ T[:3, :3]
            assert tracker.add_fix(fix(stamp, T)).verdict in (Verdict.ACCEPTED, Verdict.WEAK)
        track = tracker.track(stamp)
        if i > 20:
            assert track.state is State.LOCALIZED
            assert track.T_map_base is not None
            assert track.covariance is not None
            off = difference(truth, track.T_map_base)
            squared.append(off @ np.linalg.solve(track.covariance, off))
    assert np.mean(squared) < 8  # 6, were each fix of another place
    assert np.median(squared) > 0.5


def told(tracker: Tracker, stamp_ns: int) -> tuple[Any, ...]:
    """All a track says, to the last bit."""
    t = tracker.track(stamp_ns)
    arrays = [None if T is None else T.tobytes() for T in (t.T_map_odom, t.T_map_base)]
    waits = tracker.waiting_since_ns, tracker.newest_odometry_ns
    return t.stamp_ns, t.state, t.reason, *arrays, *waits


@given(seed=st.integers(0, 2**32))
@example(seed=126)  # shortly before its end, such stamps make a jump of odometry
@settings(max_examples=20)
def test_a_replay_gives_the_same_whatever_was_asked_meanwhile(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = wander(rng, 60, 0.05)
    stamps = [START + i * S // 20 + int(rng.integers(-S, S)) // 4 for i in range(60)]  # disordered
    live, replay = Tracker(TrackerConfig()), Tracker(TrackerConfig())
    known = 0
    for i, (stamp, T) in enumerate(zip(stamps, truth, strict=True)):
        for tracker in (live, replay):
            if i % 4:
                move(tracker, stamp, T)
            else:
                tracker.add_fix(fix(stamp, T, Verdict.WEAK if i % 5 == 1 else Verdict.ACCEPTED))
        known += live.track(stamp).state is not State.LOST
        live.track(START + 60 * S)
    for stamp in sorted(stamps):
        assert told(live, stamp) == told(replay, stamp)
    assert known > 10
