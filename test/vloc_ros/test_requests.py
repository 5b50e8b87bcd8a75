from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from vloc_models.records import Fix, Verdict
from vloc_ros import requests
from vloc_ros.requests import Requests

GOOD = Fix(0, Verdict.ACCEPTED, '50% inliers')
WEAK = Fix(0, Verdict.WEAK, '7 inliers, 60 needed')


class Clock:
    now_s = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(requests, 'monotonic', lambda: clock.now_s)
    return clock


def told(future: Any) -> tuple[bool, str] | None:
    return future.result() if future.done() else None


def test_a_call_is_answered_by_the_first_picture_after_it(clock: Clock) -> None:
    waiting = Requests()
    answer = waiting.add(7, 5.0, None)
    waiting.solved(7, GOOD)  # it was taken before the call
    assert told(answer) is None
    assert waiting
    waiting.solved(8, WEAK)
    assert told(answer) == (False, 'weak: 7 inliers, 60 needed')
    assert not waiting
    waiting.solved(9, GOOD)
    assert told(answer) == (False, 'weak: 7 inliers, 60 needed')


@pytest.mark.parametrize('verdict', list(Verdict))
def test_only_an_accepted_fix_is_a_success(clock: Clock, verdict: Verdict) -> None:
    waiting = Requests()
    answer = waiting.add(0, 5.0, None)
    waiting.solved(1, Fix(0, verdict, 'so it is'))
    assert told(answer) == (verdict is Verdict.ACCEPTED, f'{verdict.value}: so it is')


def test_one_picture_answers_all_who_came_before_it(clock: Clock) -> None:
    waiting = Requests()
    answers = [waiting.add(after, 5.0, None) for after in (3, 5, 8, 9)]
    waiting.solved(8, GOOD)
    done = (True, 'accepted: 50% inliers')
    assert [told(a) for a in answers] == [done, done, None, None]
    waiting.solved(12, WEAK)
    assert told(answers[2]) == told(answers[3]) == (False, 'weak: 7 inliers, 60 needed')


def test_whose_time_is_up_is_told_what_is_wrong(clock: Clock) -> None:
    waiting = Requests()
    soon, later = waiting.add(0, 1.0, None), waiting.add(0, 2.0, None)
    clock.now_s += 0.999
    assert not waiting.overdue()
    waiting.give_up('no image')
    assert told(soon) is None
    clock.now_s += 0.001
    assert waiting.overdue()
    waiting.give_up('no image')
    assert (told(soon), told(later)) == ((False, 'no image'), None)
    assert not waiting.overdue()
    waiting.solved(1, GOOD)
    assert told(later) == (True, 'accepted: 50% inliers')
    assert told(soon) == (False, 'no image')


def test_everybody_can_be_sent_away(clock: Clock) -> None:
    waiting = Requests()
    answers = [waiting.add(0, seconds, None) for seconds in (1.0, 50.0)]
    waiting.give_up('the node was deactivated', everybody=True)
    assert [told(a) for a in answers] == [(False, 'the node was deactivated')] * 2
    assert not waiting


def test_nobody_waits_at_first(clock: Clock) -> None:
    waiting = Requests()
    assert not waiting
    assert not waiting.overdue()
    waiting.give_up('no image', everybody=True)
    waiting.solved(1, GOOD)
    assert waiting.add(1, 5.0, None).done() is False
