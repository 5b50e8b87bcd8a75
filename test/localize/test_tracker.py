"""The tracker against geometry worked out by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_models.localize.tracker import Tracker, TrackerConfig
from vloc_models.records import Array, Fix, PoseEstimate, State, Track, Verdict

S = 10**9
START = 1_700_000_000 * S
ALONE = TrackerConfig(odometry=False)


def at(x: float, y: float, yaw_deg: float) -> Array:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('z', yaw_deg, degrees=True).as_matrix()
    T[:2, 3] = x, y
    return T


def fix(stamp_ns: int, T_map_base: Array, verdict: Verdict = Verdict.ACCEPTED) -> Fix:
    estimate = PoseEstimate(T_map_base, np.eye(6), 100, 0.5, 0.75, 2.0)
    return Fix(stamp_ns, verdict, '', estimate)


def move(tracker: Tracker, stamp_ns: int, T_odom_base: Array) -> str:
    quat = Rotation.from_matrix(T_odom_base[:3, :3]).as_quat()
    return tracker.add_odometry(stamp_ns, T_odom_base[:3, 3].tolist(), quat.tolist())


def driven(config: TrackerConfig | None = None) -> Tracker:
    """Odometry of 3 s at 10 Hz: along x with 1 m/s, from START on."""
    tracker = Tracker(config or TrackerConfig())
    for i in range(31):
        assert move(tracker, START + i * S // 10, at(0.1 * i, 0, 0)) == ''
    return tracker


def same(a: Track, b: Track) -> bool:
    pairs = [(a.T_map_odom, b.T_map_odom), (a.T_map_base, b.T_map_base)]
    told = (a.stamp_ns, a.state, a.reason) == (b.stamp_ns, b.state, b.reason)
    return told and all(np.array_equal(np.array(x), np.array(y)) for x, y in pairs)


def close(actual: Array | None, expected: Array) -> None:
    assert actual is not None
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_map_to_odom_is_what_a_drawing_gives() -> None:
    tracker = Tracker(TrackerConfig())
    move(tracker, START, at(1, 2, 90))
    tracker.add_fix(fix(START, at(5, 0, 180)))
    close(tracker.track(START).T_map_odom, at(7, -1, 90))  # (5, 0) - a quarter turn of (1, 2)
    move(tracker, START + S, at(1, 3, 90))  # a metre forward
    track = tracker.track(START + S)
    close(track.T_map_base, at(4, 0, 180))
    close(track.T_map_odom, at(7, -1, 90))
    assert track.state is State.LOCALIZED
    assert track.reason == 'last fix 1.0 s ago'


def test_a_fix_waits_for_odometry() -> None:
    tracker = Tracker(TrackerConfig())
    move(tracker, START, at(0, 0, 0))
    tracker.add_fix(fix(START + S // 4, at(2, 1, 50)))
    assert tracker.waiting_since_ns is not None
    track = tracker.track(START)
    assert (track.state, track.reason) == (State.LOST, 'no fix yet')
    move(tracker, START + S // 2, at(1, 0, 20))
    assert tracker.waiting_since_ns is None
    T_odom_base = at(0.5, 0, 10)  # half way
    close(tracker.track(START + S // 4).T_map_base, at(2, 1, 50))
    close(tracker.track(START).T_map_odom, at(2, 1, 50) @ np.linalg.inv(T_odom_base))


def test_a_fix_in_a_gap_of_odometry_is_not_used() -> None:
    tracker = Tracker(TrackerConfig(max_gap_s=0.5))
    move(tracker, START, at(0, 0, 0))
    move(tracker, START + S // 2 + 1, at(0, 0, 0))
    tracker.add_fix(fix(START + S // 4, at(2, 1, 50)))
    assert tracker.track(START).state is State.LOST


def test_between_two_samples_the_robot_is_between() -> None:
    tracker = Tracker(TrackerConfig(max_gap_s=1.0))
    move(tracker, START, at(0, 0, 0))
    tracker.add_fix(fix(START, at(0, 0, 0)))
    move(tracker, START + S, at(4, -2, 60))
    close(tracker.track(START + S // 4).T_map_base, at(1, -0.5, 15))
    move(tracker, START + 2 * S + 1, at(4, -2, 60))
    assert tracker.track(START + 3 * S // 2).T_map_base is None  # a gap


def test_past_odometry_only_map_to_odom_is_known() -> None:
    tracker = driven()
    tracker.add_fix(fix(START + 3 * S, at(5, 5, 0)))
    for stamp in (START - 1, START + 3 * S + 1):
        track = tracker.track(stamp)
        assert track.T_map_base is None
        close(track.T_map_odom, at(2, 5, 0))
        assert track.state is State.LOCALIZED
    assert tracker.newest_odometry_ns == START + 3 * S


@pytest.mark.parametrize('earlier_ns', [0, 1, S])
def test_a_fix_that_is_no_newer_is_ignored(earlier_ns: int) -> None:
    tracker = driven()
    tracker.add_fix(fix(START + 2 * S, at(5, 5, 0)))
    before = tracker.track(START + 3 * S)
    tracker.add_fix(fix(START + 2 * S - earlier_ns, at(0, 0, 90)))
    assert same(tracker.track(START + 3 * S), before)


def test_a_fix_older_than_the_one_that_waits_is_ignored() -> None:
    tracker = driven()
    tracker.add_fix(fix(START + 3 * S + 1, at(5, 5, 0)))
    tracker.add_fix(fix(START + 2 * S, at(0, 0, 90)))
    assert tracker.track(START + 3 * S).state is State.LOST
    move(tracker, START + 31 * S // 10, at(3.1, 0, 0))
    close(tracker.track(START + 3 * S + 1).T_map_base, at(5, 5, 0))


@pytest.mark.parametrize('verdict', [v for v in Verdict if v is not Verdict.ACCEPTED])
def test_only_accepted_fixes_count(verdict: Verdict) -> None:
    tracker = driven()
    tracker.add_fix(fix(START + S, at(5, 5, 0), verdict))
    assert tracker.track(START + S).state is State.LOST
    tracker.add_fix(fix(START + S, at(5, 5, 0)))
    before = tracker.track(START + 3 * S)
    tracker.add_fix(fix(START + 2 * S, at(0, 0, 90), verdict))
    assert same(tracker.track(START + 3 * S), before)


@pytest.mark.parametrize(
    ('t', 'quat', 'words'),
    [
        ((np.nan, 0, 0), (0, 0, 0, 1), 'NaN'),
        ((3, 0, 0), (0, 0, np.inf, 1), 'infinity'),
        ((3, 0, 0), (0, 0, 0, 0), 'a quaternion of length 0'),
        ((3, 0, 0), (0, 0, 1, 1), 'a quaternion of length 1.41'),
        ((3, 1e9, 0), (0, 0, 0, 1), r'a translation of 1.0e+09 m'),
    ],
)
@pytest.mark.parametrize('after_s', [-60, 0.1])
def test_odometry_that_is_no_pose_is_refused_and_nothing_else(
    t: tuple[float, ...], quat: tuple[float, ...], words: str, after_s: float
) -> None:
    tracker = driven()
    tracker.add_fix(fix(START + 2 * S, at(5, 5, 0)))
    before = tracker.track(START + 3 * S)
    assert words in tracker.add_odometry(START + 3 * S + round(after_s * S), t, quat)
    assert same(tracker.track(START + 3 * S), before)
    assert tracker.newest_odometry_ns == START + 3 * S


@pytest.mark.parametrize(
    ('after_s', 'x', 'words'),
    [
        (0.1, 5.1, 'odometry jumped by 2.1 m in 0.10 s'),
        (0, 4.1, 'odometry jumped by 1.1 m in 0.00 s'),
        (-0.1, 0.9, 'odometry jumped by 2.1 m in 0.10 s'),
        (-1.1, 3, 'the stamps of odometry went back by 1.1 s'),
        (-60, 0, 'the stamps of odometry went back by 60.0 s'),
    ],
)
def test_odometry_that_starts_anew_loses_the_track(after_s: float, x: float, words: str) -> None:
    tracker = driven()
    tracker.add_fix(fix(START + 2 * S, at(5, 5, 0)))
    tracker.add_fix(fix(START + 3 * S + 1, at(6, 5, 0)))  # waits
    stamp = START + 3 * S + round(after_s * S)
    assert move(tracker, stamp, at(x, 0, 0)) == words
    track = tracker.track(stamp)
    assert (track.state, track.reason) == (State.LOST, words)
    assert track.T_map_odom is None
    assert track.T_map_base is None
    assert tracker.waiting_since_ns is None
    assert tracker.newest_odometry_ns == stamp
    assert move(tracker, stamp + S // 10, at(x, 0, 0)) == ''
    tracker.add_fix(fix(stamp + S // 20, at(1, 1, 0)))
    close(tracker.track(stamp + S // 10).T_map_base, at(1, 1, 0))


@pytest.mark.parametrize(('after_s', 'x'), [(0.1, 4.9), (9.0, 8.9), (0, 3.9), (-0.95, 3)])
def test_odometry_may_be_quick_or_a_little_late(after_s: float, x: float) -> None:
    tracker = driven()
    tracker.add_fix(fix(START + S, at(5, 5, 0)))
    assert move(tracker, START + 3 * S + round(after_s * S), at(x, 0, 0)) == ''
    assert tracker.track(START + 3 * S).state is State.LOCALIZED


@pytest.mark.parametrize(
    ('after_s', 'x', 'yaw_deg'), [(0.02, 3, 57), (3.0, 28, 0), (60.0, 9.5, 0), (0.1, 3, 180)]
)
def test_odometry_that_begins_anew_loses_the_track(
    after_s: float, x: float, yaw_deg: float
) -> None:
    """By a driver that starts again: turned in place, or after a silence."""
    tracker = driven()
    tracker.add_fix(fix(START + S, at(5, 5, 0)))
    fault = move(tracker, START + 3 * S + round(after_s * S), at(x, 0, yaw_deg))
    assert 'odometry jumped' in fault
    assert tracker.track(START + 3 * S).state is State.LOST


def test_a_late_sample_is_sorted_in() -> None:
    tracker = driven()
    tracker.add_fix(fix(START, at(0, 0, 0)))
    move(tracker, START + 11 * S // 4, at(2.75, 1, 0))
    close(tracker.track(START + 11 * S // 4).T_map_base, at(2.75, 1, 0))
    assert tracker.newest_odometry_ns == START + 3 * S


def test_the_track_is_unsure_without_a_fresh_fix() -> None:
    tracker = driven(TrackerConfig(fresh_s=2.0))
    tracker.add_fix(fix(START, at(0, 5, 0)))
    assert tracker.track(START + 2 * S).state is State.LOCALIZED
    track = tracker.track(START + 2 * S + S // 10)
    assert (track.state, track.reason) == (State.UNSURE, 'last fix 2.1 s ago')
    close(track.T_map_base, at(2.1, 5, 0))
    tracker.add_fix(fix(START + 2 * S, at(2, 6, 0)))
    track = tracker.track(START + 2 * S + S // 10)
    assert track.state is State.LOCALIZED
    close(track.T_map_base, at(2.1, 6, 0))


def test_without_odometry_a_fix_holds_for_its_own_stamp() -> None:
    tracker = Tracker(ALONE)
    tracker.add_fix(fix(START, at(1, 2, 30)))
    assert tracker.waiting_since_ns is None
    close(tracker.track(START).T_map_base, at(1, 2, 30))
    for stamp in (START - 1, START + 1, START + 2 * S):
        track = tracker.track(stamp)
        assert track.state is State.LOCALIZED
        assert track.T_map_base is None
        assert track.T_map_odom is None
    track = tracker.track(START + 3 * S)
    assert (track.state, track.T_map_base) == (State.LOST, None)
    assert track.reason == 'last fix 3.0 s ago, and no odometry since'


def test_forgetting_the_fixes_keeps_odometry() -> None:
    tracker = driven()
    tracker.add_fix(fix(START + 2 * S, at(5, 5, 0)))
    tracker.forget('asked to start anew')
    track = tracker.track(START + 3 * S)
    assert (track.state, track.reason) == (State.LOST, 'asked to start anew')
    assert track.T_map_odom is None
    tracker.add_fix(fix(START + S, at(1, 1, 0)))  # older than the one that was forgotten
    close(tracker.track(START + 3 * S).T_map_base, at(3, 1, 0))


@pytest.mark.parametrize('drop', [Tracker.forget, Tracker.clear])
def test_a_fix_that_waits_is_forgotten_too(drop: Callable[[Tracker, str], None]) -> None:
    tracker = driven()
    tracker.add_fix(fix(START + 3 * S + 1, at(5, 5, 0)))
    drop(tracker, 'the map was read again')
    assert tracker.waiting_since_ns is None
    move(tracker, START + 31 * S // 10, at(3.1, 0, 0))
    assert tracker.track(START + 3 * S).reason == 'the map was read again'
