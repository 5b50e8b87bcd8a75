"""What is made of fixes that contradict, that are of a floor, or that somebody made up."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_models.geometry import se3
from vloc_models.localize.fuser import FuserConfig
from vloc_models.localize.tracker import Tracker, TrackerConfig
from vloc_models.records import Array, Fix, PoseEstimate, State, Verdict

S = 10**9
START = 1_700_000_000 * S
SURE = np.diag([1e-4] * 3 + [1e-5] * 3)


def at(x: float, y: float, yaw_deg: float = 0) -> Array:
    return se3.transform(Rotation.from_euler('z', yaw_deg, degrees=True).as_matrix(), [x, y, 0])


def fix(i: float, T_map_base: Array) -> Fix:
    estimate = PoseEstimate(T_map_base, SURE, 100, 0.5, 0.75, 2.0)
    return Fix(START + round(i * S / 10), Verdict.ACCEPTED, 'seen', estimate)


def driven(seconds: float = 10, config: TrackerConfig | None = None) -> Tracker:
    """Along x with 1 m/s, at 10 Hz from START on."""
    tracker = Tracker(config or TrackerConfig())
    for i in range(round(10 * seconds) + 1):
        assert tracker.add_odometry(START + i * S // 10, (0.1 * i, 0, 0), (0, 0, 0, 1)) == ''
    return tracker


def seen(tracker: Tracker, which: Sequence[int], y: float, yaw_deg: float = 0) -> list[Verdict]:
    """Fixes that agree with odometry, from START on at (0, y)."""
    start = at(0, y, yaw_deg)
    return [tracker.add_fix(fix(i, start @ at(0.1 * i, 0))).verdict for i in which]


def where(tracker: Tracker, i: int) -> Array:
    track = tracker.track(START + i * S // 10)
    assert track.T_map_base is not None
    return track.T_map_base


def test_a_fix_that_cannot_be_is_weak_and_says_by_how_much() -> None:
    tracker = driven()
    assert seen(tracker, range(5), 0) == [Verdict.ACCEPTED] * 5
    told = tracker.add_fix(fix(6, at(0.6, 4, 90)))
    assert told.verdict is Verdict.WEAK
    assert told.reason.startswith('4.00 m and 90.0 deg from where odometry leads, which is known')
    assert told.estimate is not None
    np.testing.assert_allclose(where(tracker, 6), at(0.6, 0), atol=1e-9)
    assert seen(tracker, [7], 0) == [Verdict.ACCEPTED]


def test_wrong_fixes_that_do_not_agree_change_nothing() -> None:
    tracker, rng = driven(), np.random.default_rng(0)
    seen(tracker, range(5), 0)
    for i in range(5, 60):
        x, y = rng.uniform(-9, 9, 2).tolist()
        wrong = at(x, y, rng.uniform(-180, 180))
        assert tracker.add_fix(fix(i, wrong)).verdict is Verdict.WEAK
    np.testing.assert_allclose(where(tracker, 60), at(6, 0), atol=1e-9)
    track = tracker.track(START + 6 * S)
    assert track.state is State.UNSURE
    assert 'fixes say otherwise' in track.reason


def test_a_robot_that_was_carried_away_is_found_by_fixes_that_agree() -> None:
    tracker = driven()
    seen(tracker, range(5), 0)
    beginning = tracker.beginning
    seen(tracker, [5], 0)
    assert tracker.beginning == beginning
    verdicts = seen(tracker, range(6, 18), 4, 90)
    assert tracker.beginning != beginning
    assert verdicts == [Verdict.WEAK] * 10 + [Verdict.ACCEPTED] * 2  # after a second
    np.testing.assert_allclose(where(tracker, 18), at(0, 4, 90) @ at(1.8, 0), atol=1e-9)
    assert tracker.track(START + 18 * S // 10).state is State.LOCALIZED


def test_a_first_fix_that_was_wrong_is_soon_forgotten() -> None:
    tracker = driven()
    seen(tracker, [0], 7)
    assert tracker.track(START).state is State.UNSURE
    assert seen(tracker, [1, 2], 0) == [Verdict.WEAK, Verdict.ACCEPTED]
    np.testing.assert_allclose(where(tracker, 3), at(0.3, 0), atol=1e-9)


def test_fixes_that_agree_with_the_track_clear_those_that_do_not() -> None:
    tracker = driven()
    seen(tracker, range(5), 0)
    for i in range(5, 45, 4):  # three of four are of one wrong place
        assert seen(tracker, [i, i + 1, i + 2], 3) == [Verdict.WEAK] * 3
        assert seen(tracker, [i + 3], 0) == [Verdict.ACCEPTED]
    np.testing.assert_allclose(where(tracker, 45), at(4.5, 0), atol=1e-9)


@pytest.mark.parametrize('late_s', [0.1, 4.0])
def test_a_late_fix_counts_at_its_own_stamp(late_s: float) -> None:
    in_time, late = driven(), driven()
    fixes = [fix(i, at(0.1 * i, 0.003 * (i % 3))) for i in range(10, 60)]
    odd = round((4.9 - late_s) * 10)
    for one in fixes:
        in_time.add_fix(one)
    for i, one in enumerate(fixes):
        if i != odd:
            late.add_fix(one)
    late.add_fix(fixes[odd])
    np.testing.assert_allclose(where(late, 60), where(in_time, 60), atol=1e-9)


def test_a_fix_that_is_very_late_is_left_out() -> None:
    tracker = driven()
    seen(tracker, range(0, 100, 5), 0)
    before = where(tracker, 100)
    seen(tracker, [7], 0.01)
    np.testing.assert_array_equal(where(tracker, 100), before)


def test_on_a_floor_only_x_y_and_yaw_count() -> None:
    tracker = driven(config=TrackerConfig(fuser=FuserConfig(planar=True)))
    tilted = se3.exp([0, 0, 0.3, 0.05, -0.08, 0])
    for i in range(5):
        told = tracker.add_fix(fix(i, at(0, 2, 30) @ at(0.1 * i, 0) @ tilted))
        assert told.verdict is Verdict.ACCEPTED
    T = where(tracker, 4)
    np.testing.assert_allclose(T[2], [0, 0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(T[:2, 2], 0, atol=1e-9)


def test_of_places_that_look_alike_odometry_knows_the_one() -> None:
    tracker = driven()
    seen(tracker, range(5), 0)
    places = [replace(fix(0, at(0.6, y)).estimate) for y in (5.0, 0.0)]  # type: ignore[arg-type]
    doubtful = Fix(
        START + 6 * S // 10, Verdict.AMBIGUOUS, 'two', None, tuple(places), (True, True)
    )
    told = tracker.add_fix(doubtful)
    assert told.verdict is Verdict.ACCEPTED
    assert told.estimate is places[1]
    assert told.reason == 'odometry leads to one of 2 places that look alike'
    both = replace(doubtful, candidates=(places[1], places[1]))
    assert tracker.add_fix(both).verdict is Verdict.AMBIGUOUS
    hardly = replace(doubtful, credible=(True, False))
    assert tracker.add_fix(hardly).verdict is Verdict.AMBIGUOUS
    neither = replace(doubtful, candidates=(places[0],), credible=(True,))
    assert tracker.add_fix(neither).verdict is Verdict.AMBIGUOUS
    assert Tracker(TrackerConfig()).add_fix(doubtful).verdict is Verdict.AMBIGUOUS


def test_a_pose_by_hand_is_unsure_until_pictures_confirm_it() -> None:
    tracker = driven()
    about = np.diag([0.25, 0.25, 0.1, 0.05, 0.05, 0.07])
    assert tracker.place(START + S, at(1, 3), about)
    track = tracker.track(START + S)
    assert track.state is State.UNSURE
    assert track.reason.startswith('placed by hand 0.0 s ago')
    np.testing.assert_allclose(where(tracker, 20), at(2, 3), atol=1e-9)
    assert seen(tracker, [21, 22], 3.4, 5) == [Verdict.ACCEPTED] * 2
    np.testing.assert_allclose(where(tracker, 22), at(0, 3.4, 5) @ at(2.2, 0), atol=0.02)
    assert tracker.track(START + 22 * S // 10).state is State.LOCALIZED


def test_pictures_that_contradict_a_pose_by_hand_win() -> None:
    tracker = driven()
    tracker.place(START + S, at(1, 30), np.diag([0.25, 0.25, 0.1, 0.05, 0.05, 0.07]))
    assert seen(tracker, [11, 12], 3) == [Verdict.WEAK, Verdict.ACCEPTED]
    np.testing.assert_allclose(where(tracker, 12), at(1.2, 3), atol=1e-6)


def test_without_odometry_there_is_no_place_to_start_from() -> None:
    tracker = Tracker(TrackerConfig())
    assert not tracker.place(START, at(1, 3), SURE)
    assert tracker.track(START).state is State.LOST


def test_after_a_loss_one_fix_is_not_enough() -> None:
    tracker = driven(2)
    seen(tracker, range(10), 0)
    assert tracker.track(START + 2 * S).state is State.LOCALIZED
    beginning = tracker.beginning
    stamp = START + 40 * S  # odometry was silent
    for i in range(3):
        tracker.add_odometry(stamp + i * S // 10, (2.1 + 0.1 * i, 0, 0), (0, 0, 0, 1))
    assert tracker.track(stamp).state is State.LOST
    far = replace(fix(0, at(30, 5)), stamp_ns=stamp)
    assert tracker.add_fix(far).verdict is Verdict.ACCEPTED
    assert tracker.track(stamp).state is State.UNSURE
    assert tracker.prior(stamp) is None
    assert tracker.beginning != beginning
    again = replace(fix(0, at(30.1, 5)), stamp_ns=stamp + S // 10)
    tracker.add_fix(again)
    assert tracker.track(stamp + S // 10).state is State.LOCALIZED


def test_a_fix_ahead_of_odometry_is_judged_as_if_the_robot_drove_on() -> None:
    tracker = driven(2)
    seen(tracker, range(15), 0)
    right, wrong = fix(20.7, at(2.07, 0)), fix(20.8, at(2.08, 3))
    assert tracker.add_fix(right).verdict is Verdict.ACCEPTED
    assert tracker.add_fix(wrong).verdict is Verdict.WEAK
    assert tracker.waiting_since_ns == right.stamp_ns


def test_a_late_fix_among_those_that_contradict_keeps_their_order() -> None:
    tracker = driven()
    seen(tracker, range(5), 0)
    verdicts = seen(tracker, [6, 12, 9, 16, 17], 4)
    assert verdicts == [Verdict.WEAK] * 3 + [Verdict.ACCEPTED] * 2
    np.testing.assert_allclose(where(tracker, 18), at(1.8, 4), atol=1e-9)
