"""Fixes and odometry become a track: where the robot is between two pictures, and after them.

The latest accepted fix is composed with odometry at its own stamp, so that it does not matter how
long it took to find: ``T_map_odom = T_map_base @ T_base_odom``. Driven by stamps alone, never by
the wall clock: a replay gives what the live run gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.transforms import Samples
from vloc_models.geometry import se3
from vloc_models.records import Fix, State, Track, Verdict

Array = NDArray[np.float64]
_KEEP_NS = 10 * 10**9  # of odometry, as tf2 keeps
_MOST_PENDING = 30


@dataclass(frozen=True)
class TrackerConfig:
    """When a track is believed."""

    odometry: bool = True  # False: a fix holds for its own stamp only
    fresh_s: float = 2.0  # with no fix for this long, the track is UNSURE (LOST without odometry)
    max_gap_s: float = 0.5  # odometry is not interpolated over a longer gap
    late_s: float = 1.0  # stamps that go back further are another run: the clock was set back
    # odometry that moves on further than these, and faster, was reset
    jump_m: float = 1.0
    max_speed_mps: float = 10.0
    jump_rad: float = 0.6
    max_turn_rad_s: float = 6.0


class Tracker:
    """The track of one robot; made anew where the robot or the clock starts anew."""

    def __init__(self, config: TrackerConfig) -> None:
        self.config = config
        self.runs = 0  # rises with every new start: fixes of pictures from before are worthless
        self.unplaced = 0  # accepted fixes at whose stamp odometry has a gap
        self.clear('no fix yet')

    def clear(self, reason: str) -> None:
        """Forget everything; ``reason`` in words is told until the next fix."""
        self._odometry = Samples('odometry', _KEEP_NS)
        self._newest: tuple[int, Array, Array] | None = None  # odometry: stamp, t, quat_xyzw
        self.forget(reason)

    def forget(self, reason: str) -> None:
        """Forget the fixes, but not odometry: the next fix starts the track anew."""
        self.runs += 1
        self._pending: list[Fix] = []  # accepted, rising, but odometry has not come so far
        self._fix: Fix | None = None
        self._T_map_odom: Array | None = None
        self._reason = reason

    def add_odometry(self, stamp_ns: int, t: Sequence[float], quat_xyzw: Sequence[float]) -> str:
        """Take ``T_odom_base`` (metres, quat_xyzw) at a stamp.

        Returns:
            What is wrong with it, in words, or ''. After a jump the track is lost.
        """
        if refused := Samples('odometry').add(stamp_ns, t, quat_xyzw):
            return refused
        fault = self._broken(stamp_ns, np.array(t), np.array(quat_xyzw))
        if fault:
            self.clear(fault)
        if refused := self._odometry.add(stamp_ns, t, quat_xyzw):
            return refused
        if self._newest is None or stamp_ns >= self._newest[0]:
            self._newest = stamp_ns, np.array(t, np.float64), np.array(quat_xyzw, np.float64)
        self._settle()
        return fault

    def add_fix(self, fix: Fix) -> None:
        """Take the answer to one frame; any but an accepted, newer one leaves the track as is."""
        if fix.verdict is not Verdict.ACCEPTED or fix.estimate is None:
            return
        newest = self._pending[-1] if self._pending else self._fix
        if newest is None or fix.stamp_ns > newest.stamp_ns:
            self._pending = [*self._pending, fix][-_MOST_PENDING:]
            self._settle()

    def track(self, stamp_ns: int) -> Track:
        """Where the robot is at a stamp, as far as is known by now.

        ``T_map_base`` is None where odometry says nothing of that stamp; ``T_map_odom`` is held
        from the last fix on.
        """
        if self._fix is None or self._fix.estimate is None:
            return Track(stamp_ns, State.LOST, self._reason)
        age_s = (stamp_ns - self._fix.stamp_ns) / 1e9
        fresh = age_s <= self.config.fresh_s
        reason = f'last fix {max(age_s, 0.0):.1f} s ago'
        if not self.config.odometry:
            if not fresh:
                return Track(stamp_ns, State.LOST, f'{reason}, and no odometry since')
            T_map_base = self._fix.estimate.T_map_base if age_s == 0 else None
            return Track(stamp_ns, State.LOCALIZED, reason, None, T_map_base)
        state = State.LOCALIZED if fresh else State.UNSURE
        assert self._T_map_odom is not None
        T_odom_base = self._odometry_at(stamp_ns)
        T_map_base = None if T_odom_base is None else self._T_map_odom @ T_odom_base
        return Track(stamp_ns, state, reason, self._T_map_odom, T_map_base)

    @property
    def newest_odometry_ns(self) -> int | None:
        """The stamp up to which odometry has come; None without any."""
        return None if self._newest is None else self._newest[0]

    @property
    def waiting_since_ns(self) -> int | None:
        """The stamp of the oldest accepted fix that waits for odometry; None without any."""
        return self._pending[0].stamp_ns if self._pending else None

    def _settle(self) -> None:
        """Compose the newest fix that odometry has reached with it; drop those before."""
        for i in reversed(range(len(self._pending))):
            if self._composed(self._pending[i]):
                del self._pending[: i + 1]
                return
        newest_ns = self.newest_odometry_ns
        passed = [f for f in self._pending if newest_ns is not None and f.stamp_ns <= newest_ns]
        self.unplaced += len(passed)
        del self._pending[: len(passed)]

    def _composed(self, fix: Fix) -> bool:
        assert fix.estimate is not None
        if self.config.odometry:
            T_odom_base = self._odometry_at(fix.stamp_ns)
            if T_odom_base is None:
                return False
            self._T_map_odom = fix.estimate.T_map_base @ se3.inverse(T_odom_base)
        self._fix = fix
        return True

    def _odometry_at(self, stamp_ns: int) -> Array | None:
        try:
            return self._odometry.at(stamp_ns, round(self.config.max_gap_s * 1e9))
        except BagError:
            return None

    def _broken(self, stamp_ns: int, t: Array, quat_xyzw: Array) -> str:
        """Why this sample cannot follow the ones before, in words, or ''.

        After a silence no more is allowed than after ``max_gap_s``: a driver that starts again
        may start elsewhere, and to lose the track for one fix is better than to be wrong.
        """
        if self._newest is None:
            return ''
        c, (newest_ns, newest_t, newest_quat) = self.config, self._newest
        passed_s = (stamp_ns - newest_ns) / 1e9
        if passed_s < -c.late_s:
            return f'the stamps of odometry went back by {-passed_s:.1f} s'
        counted_s = min(abs(passed_s), c.max_gap_s)
        moved_m = float(np.linalg.norm(t - newest_t))
        if moved_m > c.jump_m + c.max_speed_mps * counted_s:
            return f'odometry jumped by {moved_m:.1f} m in {abs(passed_s):.2f} s'
        cosine = abs(float(quat_xyzw @ newest_quat))  # both of unit length, but for 1 %
        turned_rad = 2 * float(np.arccos(min(cosine, 1.0)))
        if turned_rad > c.jump_rad + c.max_turn_rad_s * counted_s:
            return f'odometry jumped by {np.degrees(turned_rad):.0f} deg in {abs(passed_s):.2f} s'
        return ''
