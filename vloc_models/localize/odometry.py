"""Odometry as it comes: where it was at any stamp, how far it went, and when it starts anew."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.transforms import Samples
from vloc_models.geometry import se3
from vloc_models.solvers.fusion import Motion

Array = NDArray[np.float64]
KEEP_S = 300.0  # of odometry
_COUNTED_M, _COUNTED_RAD = 0.02, 0.02  # less is the trembling of a robot that stands
_TWIST_S = 0.1
_Sample = tuple[Sequence[float], Sequence[float]]  # t, quat_xyzw


@dataclass(frozen=True)
class OdometryConfig:
    """What odometry may do."""

    max_gap_s: float = 0.5  # it is not interpolated over a longer gap
    late_s: float = 1.0  # stamps that go back further are another run: the clock was set back
    # odometry that moves on further than these, and faster, was reset
    jump_m: float = 1.0
    max_speed_mps: float = 10.0
    jump_rad: float = 0.6
    max_turn_rad_s: float = 6.0


@dataclass(frozen=True)
class _Gone:
    """How far it went by a stamp, from the first sample on."""

    stamp_ns: int
    way_m: float
    turn_rad: float
    blind_s: float


class Odometry:
    """T_odom_base over the last minutes."""

    def __init__(self, config: OdometryConfig) -> None:
        self.config = config
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._samples = Samples('odometry', round(KEEP_S * 1e9))
        self._newest_ns: int | None = None
        self._newest: _Sample = ((), ())
        self._gone: list[_Gone] = []  # one wherever it had moved on, or had a gap
        self._counted: _Sample = ((), ())  # the way is counted up to here

    @property
    def newest_ns(self) -> int | None:
        """The stamp up to which it has come; None without any."""
        return self._newest_ns

    @staticmethod
    def refused(stamp_ns: int, t: Sequence[float], quat_xyzw: Sequence[float]) -> str:
        """Why this is no pose, in words, or ''."""
        return Samples('odometry').add(stamp_ns, t, quat_xyzw)

    def add(self, stamp_ns: int, t: Sequence[float], quat_xyzw: Sequence[float]) -> str:
        """Take one sample: metres, quat_xyzw; returns why not, in words, or ''."""
        if refused := self._samples.add(stamp_ns, t, quat_xyzw):
            return refused
        if self._newest_ns is None or stamp_ns >= self._newest_ns:  # others are late
            sample = tuple(t), tuple(quat_xyzw)
            self._count(stamp_ns, sample)
            self._newest_ns, self._newest = stamp_ns, sample
        return ''

    def _count(self, stamp_ns: int, sample: _Sample) -> None:
        if self._newest_ns is None:
            self._gone, self._counted = [_Gone(stamp_ns, 0.0, 0.0, 0.0)], sample
            return
        last, seconds = self._gone[-1], (stamp_ns - self._newest_ns) / 1e9
        way_m, turn_rad = _between(self._counted, sample)
        blind_s = seconds if seconds > self.config.max_gap_s else 0.0
        if way_m < _COUNTED_M and turn_rad < _COUNTED_RAD and not blind_s:
            return
        self._counted = sample
        if blind_s:  # all that came was in it
            self._gone.append(replace(last, stamp_ns=self._newest_ns))
        way_m, turn_rad = last.way_m + way_m, last.turn_rad + turn_rad
        self._gone.append(_Gone(stamp_ns, way_m, turn_rad, last.blind_s + blind_s))
        keep_ns = round(KEEP_S * 1e9)
        if self._gone[0].stamp_ns < stamp_ns - 2 * keep_ns:
            del self._gone[: self._after(stamp_ns - keep_ns) - 1]

    def broken(self, stamp_ns: int, t: Sequence[float], quat_xyzw: Sequence[float]) -> str:
        """Why this sample cannot follow the ones before, in words, or ''.

        After a silence no more is allowed than after ``max_gap_s``: a driver that starts again
        may start elsewhere, and to lose the track for one fix is better than to be wrong.
        """
        if self._newest_ns is None:
            return ''
        c, passed_s = self.config, (stamp_ns - self._newest_ns) / 1e9
        if passed_s < -c.late_s:
            return f'the stamps of odometry went back by {-passed_s:.1f} s'
        counted_s = min(abs(passed_s), c.max_gap_s)
        moved_m, turned_rad = _between(self._newest, (t, quat_xyzw))
        if moved_m > c.jump_m + c.max_speed_mps * counted_s:
            return f'odometry jumped by {moved_m:.1f} m in {abs(passed_s):.2f} s'
        if turned_rad > c.jump_rad + c.max_turn_rad_s * counted_s:
            return f'odometry jumped by {np.degrees(turned_rad):.0f} deg in {abs(passed_s):.2f} s'
        return ''

    def at(self, stamp_ns: int) -> Array | None:
        """T_odom_base [4, 4], interpolated; None in a gap, before the first and after the last."""
        try:
            return self._samples.at(stamp_ns, round(self.config.max_gap_s * 1e9))
        except BagError:
            return None

    def motion(self, from_ns: int, to_ns: int) -> Motion | None:
        """What happened between two stamps, in either direction; None where that is not known."""
        T_odom_from, T_odom_to = self.at(from_ns), self.at(to_ns)
        if T_odom_from is None or T_odom_to is None:
            return None
        a, b = self._gone_by(from_ns), self._gone_by(to_ns)
        return Motion(
            se3.inverse(T_odom_from) @ T_odom_to,
            abs(b.way_m - a.way_m),
            abs(b.turn_rad - a.turn_rad),
            abs(to_ns - from_ns) / 1e9,
            abs(b.blind_s - a.blind_s),
        )

    def twist(self, stamp_ns: int) -> Array:
        """The motion [6] over the tenth of a second before, in the robot's frame, a second."""
        then_ns = stamp_ns - round(_TWIST_S * 1e9)
        before, now = self.at(then_ns), self.at(stamp_ns)
        if before is None or now is None:
            return np.zeros(6)
        return se3.log(se3.inverse(before) @ now) / _TWIST_S

    def _after(self, stamp_ns: int) -> int:
        return bisect_right(self._gone, stamp_ns, key=lambda gone: gone.stamp_ns)

    def _gone_by(self, stamp_ns: int) -> _Gone:
        after = self._after(stamp_ns)
        if after in (0, len(self._gone)):
            return self._gone[max(after - 1, 0)]
        a, b = self._gone[after - 1], self._gone[after]
        share = (stamp_ns - a.stamp_ns) / (b.stamp_ns - a.stamp_ns)
        return _Gone(
            stamp_ns,
            a.way_m + share * (b.way_m - a.way_m),
            a.turn_rad + share * (b.turn_rad - a.turn_rad),
            a.blind_s,  # within a gap there are no poses to ask for
        )


def _between(a: _Sample, b: _Sample) -> tuple[float, float]:
    """Metres and radians between two samples."""
    p, q = (np.array(quat) / np.linalg.norm(quat) for _, quat in (a, b))
    apart = min(np.linalg.norm(p - q), np.linalg.norm(p + q))
    return math.dist(a[0], b[0]), 4 * math.asin(apart / 2)
