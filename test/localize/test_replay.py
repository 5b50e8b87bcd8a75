import time
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pytest

from vloc_models.frames.source import FrameSource
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize.replay import Replay, replay
from vloc_models.records import Array, Fix, Frame, PoseEstimate, Trajectory, Verdict, View

VIEW = View(np.zeros((4, 6, 3), np.uint8), Camera(6, 4, 5.0, 5.0, 2.5, 1.5), np.eye(4))
SLOW_S = 0.02


def estimate(x: float, inliers: int) -> PoseEstimate:
    return PoseEstimate(se3.exp([x, 0, 0, 0, 0, 0]), np.eye(6), inliers, 0.5, 0.5, 1.0)


class Source:
    """Six frames, of which the last two have no true pose; the fourth takes long to decode."""

    poses_source = odom_source = 'none'

    def __len__(self) -> int:
        return 6

    def frames(self) -> Iterator[Frame]:
        for k in range(6):
            time.sleep(SLOW_S * (k == 3))
            T = se3.exp([k, 0, 0, 0, 0, 0]) if k < 4 else None
            yield Frame(k * 10**9, (VIEW,), None, T)


class Localizer:
    """Slow at the fifth frame."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Array | None]] = []

    def locate(self, views: Sequence[View], prior: Array | None = None, stamp_ns: int = 0) -> Fix:
        k = stamp_ns // 10**9
        assert len(views) == 1
        time.sleep(SLOW_S * (k == 4))
        self.asked.append((stamp_ns, prior))
        if k == 0:
            return Fix(stamp_ns, Verdict.NONE, 'no pose explains the 120 map points')
        if k == 1:
            return Fix(stamp_ns, Verdict.WEAK, '7 inliers, 60 needed', estimate(k, 7))
        return Fix(stamp_ns, Verdict.ACCEPTED, f'{80 + k}.5 % inliers', estimate(k, 100 + k))


@pytest.fixture
def done() -> Replay:
    return replay(Localizer(), cast(FrameSource, Source()))


def test_every_frame_is_asked_once_and_on_its_own() -> None:
    localizer, seen = Localizer(), []
    replay(localizer, cast(FrameSource, Source()), lambda *x: seen.append(x))
    assert localizer.asked == [(k * 10**9, None) for k in range(6)]
    assert seen == [(k, 6) for k in range(1, 7)]


def test_answers(done: Replay) -> None:
    assert len(done.fixes) == 6
    assert done.stamps_ns.tolist() == [k * 10**9 for k in range(6)]
    said = done.estimates()
    assert said.stamps_ns.tolist() == [k * 10**9 for k in range(1, 6)]
    assert said.T_map_body[:, 0, 3].tolist() == [1, 2, 3, 4, 5]
    assert said.accepted.tolist() == [False, True, True, True, True]
    assert done.inliers.tolist() == [7, 102, 103, 104, 105]
    assert done.truth.T_map_body[:, 0, 3].tolist() == [0, 1, 2, 3]


def test_time_is_that_of_decoding_and_locating(done: Replay) -> None:
    assert done.latency_ms.shape == (6,)
    assert done.latency_ms[[3, 4]].min() >= SLOW_S * 1e3
    assert np.median(done.latency_ms) < SLOW_S * 1e3


def test_reasons_that_differ_in_numbers_are_one(done: Replay) -> None:
    assert done.reasons() == [
        (Verdict.ACCEPTED, '82.5 to 85.5 % inliers', 4),
        (Verdict.NONE, 'no pose explains the 120 map points', 1),
        (Verdict.WEAK, '7 inliers, 60 needed', 1),
    ]


def test_no_frames_and_none_accepted() -> None:
    empty = Replay(np.zeros(0, np.int64), (), np.zeros(0), Trajectory.of([], []))
    assert len(empty.estimates()) == 0
    assert empty.reasons() == []
    weak = tuple(Fix(k, Verdict.WEAK, '', estimate(0, 1)) for k in range(3))
    all_weak = Replay(np.arange(3), weak, np.ones(3), empty.truth)
    assert not all_weak.estimates().accepted.any()
