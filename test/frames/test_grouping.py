"""What cameras send live becomes moments: nothing is lost, doubled, or held back for long."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_models.frames.sync import Grouping, plan

MS = 1_000_000
WAIT_S = 0.1


class Rig:
    """A grouping whose parts are the camera and its stamp in milliseconds, and a clock."""

    def __init__(self, cameras: int = 2) -> None:
        self.grouping = Grouping[tuple[int, int]](cameras, 20 * MS, WAIT_S)
        self.now_s = 5.0

    def send(self, camera: int, *stamps_ms: int) -> list[bool]:
        add = self.grouping.add
        return [add(camera, ms * MS, (camera, ms), self.now_s) for ms in stamps_ms]

    def ready(self, after_s: float = 0.0) -> list[list[tuple[int, int]]]:
        self.now_s += after_s
        return list(self.grouping.ready(self.now_s))


def test_a_whole_moment_goes_at_once_in_the_order_of_the_cameras() -> None:
    rig = Rig(3)
    for camera, ms in ((2, 1010), (0, 1000), (1, 995)):
        assert rig.ready() == []
        assert rig.send(camera, ms) == [True]
    assert rig.ready() == [[(0, 1000), (1, 995), (2, 1010)]]
    assert rig.ready() == []


def test_a_late_camera_is_waited_for_but_not_for_long() -> None:
    rig = Rig()
    rig.send(0, 1000)
    assert rig.ready(0.09) == []
    rig.send(1, 1003)
    assert rig.ready() == [[(0, 1000), (1, 1003)]]
    rig.send(0, 1100)
    assert rig.ready(0.11) == [[(0, 1100)]]
    assert rig.send(1, 1103) == [False]  # it comes too late
    assert rig.ready(1.0) == []


def test_a_camera_that_is_slower_by_more_than_a_period_is_still_joined() -> None:
    rig, told = Rig(), []
    for ms in range(1000, 2000, 33):
        rig.send(0, ms)
        told += rig.ready(0.033)
        rig.send(1, *([ms - 66] if ms >= 1066 else []))
        told += rig.ready()
    assert all(len(moment) == 2 for moment in told)
    assert len(told) > 25


def test_a_picture_that_was_lost_is_not_waited_for_once_the_next_is_there() -> None:
    rig = Rig()
    rig.send(0, 1000, 1033)
    rig.send(1, 1034)
    assert rig.ready() == [[(0, 1000)], [(0, 1033), (1, 1034)]]


def test_a_silent_camera_soon_holds_nobody_back_and_may_come_again() -> None:
    rig = Rig()
    for ms in (1000, 1100, 1200):
        rig.send(0, ms)
        assert rig.ready() == []
        assert rig.ready(0.11) == [[(0, ms)]]
    rig.send(0, 1300)
    assert rig.ready() == [[(0, 1300)]]
    assert rig.send(1, 1301) == [False]
    rig.send(0, 1400)
    assert rig.ready() == []  # it was heard, so it is waited for
    rig.send(1, 1401)
    assert rig.ready() == [[(0, 1400), (1, 1401)]]


def test_where_the_first_camera_is_silent_the_others_go_on() -> None:
    rig = Rig(3)
    for ms in (1000, 1100, 1200, 1300):
        rig.send(1, ms)
        rig.send(2, ms + 5)
        moments = rig.ready() or rig.ready(0.11)
        assert moments == [[(1, ms), (2, ms + 5)]]


def test_moments_go_in_the_order_of_their_stamps() -> None:
    rig = Rig()
    rig.send(1, 1100)
    rig.send(0, 1000, 1100)
    assert rig.ready() == [[(0, 1000)], [(0, 1100), (1, 1100)]]


def test_a_repeated_stamp_is_a_moment_of_its_own() -> None:
    """A CameraInput leaves these out; here they do no harm."""
    rig = Rig()
    rig.send(0, 1000, 1000)
    rig.send(1, 1000)
    told = rig.ready() + rig.ready(0.11)
    assert sorted(part for moment in told for part in moment) == [(0, 1000), (0, 1000), (1, 1000)]


def test_a_clock_that_is_ahead_takes_the_others_nothing() -> None:
    rig, told = Rig(), []
    for ms in range(1000, 3000, 100):
        rig.send(0, ms)
        rig.send(1, ms + 550)
        told += rig.ready(0.1)
    of_first = [moment for moment in told if moment[0][0] == 0]
    assert len(of_first) >= 18
    assert of_first == [[(0, ms)] for ms in range(1000, 3000, 100)][: len(of_first)]


def test_after_the_clock_was_set_back_it_begins_anew() -> None:
    rig = Rig()
    rig.send(0, 9000)
    rig.grouping.clear()
    rig.send(0, 1000)
    rig.send(1, 1001)
    assert rig.ready() == [[(0, 1000), (1, 1001)]]


def test_one_camera_never_waits() -> None:
    rig = Rig(1)
    rig.send(0, 1000)
    assert rig.ready() == [[(0, 1000)]]


@pytest.mark.parametrize('cameras', [2, 4])
@given(data=st.data())
def test_live_and_of_a_bag_moments_are_the_same(cameras: int, data: Any) -> None:
    """Whatever jitters, is lost now and then, and comes late by less than the patience."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    sent = []  # when it comes, camera, stamp
    for camera in range(cameras):
        for k in range(30):
            if k % 2 or rng.random() > 0.2:  # never silent
                ms = 1000 + 50 * k + int(rng.integers(-9, 10))
                sent.append((ms + float(rng.uniform(0, 40)), camera, ms))
    stamps = [np.array(sorted(ms for _, c, ms in sent if c == k)) * MS for k in range(cameras)]
    none = [np.zeros(0, np.int64)] * cameras
    planned = [
        [(k, ns // MS) for k, ns in enumerate(moment.images) if ns is not None]
        for moment in plan(stamps, none, none, 20 * MS)
    ]
    rig, told = Rig(cameras), []
    latest = [0.0] * cameras  # a camera's pictures come in order
    queue = []
    for at_ms, camera, ms in sorted(sent, key=lambda one: one[2]):
        latest[camera] = max(latest[camera], at_ms)
        queue.append((latest[camera], camera, ms))
    for at_ms, camera, ms in sorted(queue):
        rig.now_s = at_ms / 1000
        told += rig.ready()
        assert rig.send(camera, ms) == [True]
        told += rig.ready()
    told += rig.ready(1.0)
    assert told == planned
