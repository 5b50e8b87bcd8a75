"""The tracker against geometry worked out by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_models.localize.odometry import OdometryConfig
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


SURE = np.diag([1e-4] * 3 + [1e-5] * 3)  # 1 cm, 0.2 deg


def fix(stamp_ns: int, T_map_base: Array, verdict: Verdict = Verdict.ACCEPTED) -> Fix:
    estimate = PoseEstimate(T_map_base, SURE, 100, 0.5, 0.75, 2.0)
    return Fix(stamp_ns, verdict, '', estimate)


def localized(tracker: Tracker, stamp_ns: int, T_map_base: Array) -> None:
    """By two pictures of one moment, as far as the tracker can tell."""
    for late_ns in (0, 1):
        tracker.add_fix(fix(stamp_ns + late_ns, T_map_base))


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
    assert track.state is State.UNSURE
    assert track.reason == 'last fix 1.0 s ago, known to 34 cm and 17.3 deg, to be confirmed'


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
    tracker = Tracker(TrackerConfig(samples=OdometryConfig(max_gap_s=0.5)))
    move(tracker, START, at(0, 0, 0))
    move(tracker, START + S // 2 + 1, at(0, 0, 0))
    tracker.add_fix(fix(START + S // 4, at(2, 1, 50)))
    assert tracker.track(START).state is State.LOST


def test_between_two_samples_the_robot_is_between() -> None:
    tracker = Tracker(TrackerConfig(samples=OdometryConfig(max_gap_s=1.0)))
    move(tracker, START, at(0, 0, 0))
    tracker.add_fix(fix(START, at(0, 0, 0)))
    move(tracker, START + S, at(4, -2, 60))
    close(tracker.track(START + S // 4).T_map_base, at(1, -0.5, 15))
    move(tracker, START + 2 * S + 1, at(4, -2, 60))
    assert tracker.track(START + 3 * S // 2).T_map_base is None  # a gap


def test_past_odometry_only_map_to_odom_is_known() -> None:
    tracker = driven()
    localized(tracker, START + 3 * S - 1, at(5, 5, 0))
    track = tracker.track(START + 3 * S + 1)
    assert track.T_map_base is None
    close(track.T_map_odom, at(2, 5, 0))
    assert track.state is State.LOCALIZED
    before = tracker.track(START - 1)
    assert before.T_map_odom is None
    assert (before.state, before.T_map_base) == (State.LOST, None)
    assert 'odometry since is not known' in before.reason
    assert tracker.newest_odometry_ns == START + 3 * S


@pytest.mark.parametrize('earlier_ns', [0, S])
def test_a_fix_older_than_all_others_is_left_out(earlier_ns: int) -> None:
    tracker = driven()
    tracker.add_fix(fix(START + 2 * S, at(5, 5, 0)))
    before = tracker.track(START + 3 * S)
    tracker.add_fix(fix(START + 2 * S - earlier_ns, at(5 - earlier_ns / S, 5.01, 0)))
    assert same(tracker.track(START + 3 * S), before)


def test_fixes_may_come_in_any_order() -> None:
    fixes = [fix(START + i * S // 4, at(0.25 * i, 0.002 * i, i / 20)) for i in range(12)]
    tracks = []
    for order in (range(12), [0, 2, 1, 3, 5, 4, 7, 8, 6, 11, 10, 9]):
        tracker = driven()
        for i in order:
            tracker.add_fix(fixes[i])
        tracks.append(tracker.track(START + 3 * S))
    close(tracks[1].T_map_base, np.array(tracks[0].T_map_base))
    assert tracks[0].covariance is not None
    np.testing.assert_allclose(np.array(tracks[1].covariance), tracks[0].covariance, rtol=1e-6)


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
    localized(tracker, START + S, at(1, 5, 0))
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
    assert move(tracker, START + 11 * S // 4, at(2.75, 1, 0)) == ''
    close(tracker.track(START + 11 * S // 4).T_map_base, at(2.75, 1, 0))
    assert tracker.newest_odometry_ns == START + 3 * S


def test_the_track_grows_unsure_on_its_way_and_lost_at_last() -> None:
    tracker, told = Tracker(TrackerConfig()), []
    for i in range(1800):
        stamp, x = START + i * S // 10, 0.1 * i
        move(tracker, stamp, at(x, 0, 0))
        if i < 20:
            tracker.add_fix(fix(stamp, at(x, 5, 0)))
        told.append(tracker.track(stamp))
    states = [track.state for track in told]
    assert states[0] is State.UNSURE
    rest = states[1:]  # from the second fix on
    assert sorted(rest, key=[State.LOCALIZED, State.UNSURE, State.LOST].index) == rest
    assert set(rest) == set(State)
    assert rest.index(State.UNSURE) > 60  # metres / 10
    assert told[rest.index(State.LOST)].T_map_base is not None
    assert told[-1].T_map_odom is None
    assert 'known to 30' in told[1 + rest.index(State.LOST)].reason  # 3 m
    sigma = [np.sqrt(np.trace(t.covariance[:3, :3])) for t in told if t.covariance is not None]
    assert (np.diff(sigma[20:]) > 0).all()


def test_once_unsure_it_has_to_be_known_well_to_be_localized_again() -> None:
    tracker = Tracker(TrackerConfig(unsure_m=0.05))
    poor = np.diag([0.04**2] * 3 + [1e-5] * 3)
    for i in range(60):
        move(tracker, START + i * S // 10, at(0.1 * i, 0, 0))
        if i < 10:
            localized(tracker, START + i * S // 10, at(0.1 * i, 0, 0))
    assert tracker.track(START + 59 * S // 10).state is State.UNSURE
    T, there = at(5.9, 0, 0), START + 59 * S // 10
    tracker.add_fix(Fix(there, Verdict.ACCEPTED, '', PoseEstimate(T, poor, 100, 0.5, 0.75, 2.0)))
    track = tracker.track(there)
    assert track.covariance is not None
    assert 0.025 < np.sqrt(np.linalg.eigvalsh(track.covariance[:3, :3])[-1]) < 0.05
    assert track.state is State.UNSURE
    move(tracker, there + S // 2, at(6.4, 0, 0))
    localized(tracker, there + S // 2 - 1, at(6.4, 0, 0))
    assert tracker.track(there + S // 2).state is State.LOCALIZED


def test_without_odometry_for_a_while_it_is_unsure_then_lost() -> None:
    tracker = driven()
    localized(tracker, START + 3 * S - 1, at(3, 5, 0))
    for silent_s, state in ((0.4, State.LOCALIZED), (0.6, State.UNSURE), (5, State.LOST)):
        track = tracker.track(START + 3 * S + round(silent_s * S))
        assert track.state is state
        assert ('no odometry for' in track.reason) == (silent_s > 0.5)
    move(tracker, START + 5 * S, at(3.1, 0, 0))  # and it comes again
    assert tracker.track(START + 5 * S).state is State.UNSURE
    localized(tracker, START + 5 * S - 1, at(3.1, 5, 0))
    assert tracker.track(START + 5 * S).state is not State.LOST


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
