"""Fixes and odometry become a track: where the robot is between two pictures, and after them.

Each fix is fused at the stamp of its image, so that it does not matter how long it took to find:
``T_map_odom = T_map_base @ T_base_odom``. Driven by stamps alone, never by the wall clock: a
replay gives what the live run gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.localize.fuser import Fuser, FuserConfig, Step
from vloc_models.localize.odometry import Odometry, OdometryConfig
from vloc_models.records import Fix, PoseEstimate, State, Track, Verdict
from vloc_models.solvers.fusion import Belief, Motion, difference, moved

Array = NDArray[np.float64]
_MOST_PENDING = 30


@dataclass(frozen=True)
class TrackerConfig:
    """When a track is believed."""

    odometry: bool = True  # False: a fix holds for its own stamp only
    fresh_s: float = 2.0  # without odometry: and is told for this long
    # standard deviations; once unsure, it is localized again from half of them on
    unsure_m: float = 0.3
    unsure_rad: float = 0.17
    samples: OdometryConfig = field(default_factory=OdometryConfig)
    fuser: FuserConfig = field(default_factory=FuserConfig)


class Tracker:
    """The track of one robot; made anew where the robot or the clock starts anew."""

    def __init__(self, config: TrackerConfig) -> None:
        self.config = config
        self.runs = 0  # rises with every new start: fixes of pictures from before are worthless
        self.unplaced = 0  # accepted fixes at whose stamp odometry has a gap
        self._odometry = Odometry(config.samples)
        self.clear('no fix yet')

    def clear(self, reason: str) -> None:
        """Forget everything; ``reason`` in words is told until the next fix."""
        self._odometry.clear()
        self.forget(reason)

    def forget(self, reason: str) -> None:
        """Forget the fixes, but not odometry: the next fix starts the track anew."""
        self.runs += 1
        self._pending: list[Fix] = []  # accepted, rising, but odometry has not come so far
        self._fuser = Fuser(self.config.fuser, self._odometry)
        self._alone: Fix | None = None  # the newest, where there is no odometry
        self._sure = False
        self._reason = reason

    def add_odometry(self, stamp_ns: int, t: Sequence[float], quat_xyzw: Sequence[float]) -> str:
        """Take ``T_odom_base`` (metres, quat_xyzw) at a stamp.

        Returns:
            What is wrong with it, in words, or ''. After a jump the track is lost.
        """
        if refused := Odometry.refused(stamp_ns, t, quat_xyzw):
            return refused
        if fault := self._odometry.broken(stamp_ns, t, quat_xyzw):
            self.clear(fault)
        if refused := self._odometry.add(stamp_ns, t, quat_xyzw):
            return refused
        self._settle()
        return fault

    def add_fix(self, fix: Fix) -> Fix:
        """Take the answer to one frame.

        Returns:
            The answer with what odometry knows: an accepted one that cannot be is WEAK, and of
            places that look alike the one is accepted that odometry leads to.
        """
        fix = self._resolved(fix)
        if fix.verdict is not Verdict.ACCEPTED or fix.estimate is None:
            return fix
        if not self.config.odometry:
            if self._alone is None or fix.stamp_ns > self._alone.stamp_ns:
                self._alone = fix
            return fix
        before = self._expected(fix.stamp_ns)
        pending = sorted([*self._pending, fix], key=lambda pending: pending.stamp_ns)
        self._pending = pending[-_MOST_PENDING:]
        self._settle()
        if before is None or self._fuser.holds(fix) or self._fuser.agrees(before, fix.estimate):
            return fix  # the first of a track is taken for what it says
        return replace(fix, verdict=Verdict.WEAK, reason=_off(before, fix.estimate))

    def place(self, stamp_ns: int, T_map_base: Array, covariance: Array) -> bool:
        """Begin anew where somebody says the robot is; fixes have to confirm it.

        Args:
            stamp_ns: when.
            T_map_base: [4, 4] where.
            covariance: [6, 6] in map, positive definite.

        Returns:
            Whether odometry is known then, without which this is of no use.
        """
        self.forget('placed by hand')
        if not self.config.odometry or self._odometry.at(stamp_ns) is None:
            return False
        said = PoseEstimate(T_map_base, covariance, 0, 0.0, 0.0, 0.0)
        fix = Fix(stamp_ns, Verdict.COARSE, 'placed by hand', said)
        self._fuser.place(Belief(stamp_ns, T_map_base, covariance), fix)
        return True

    @property
    def beginning(self) -> tuple[int, int]:
        """Another one whenever the track starts somewhere else."""
        return self.runs, self._fuser.begun

    def prior(self, stamp_ns: int) -> Array | None:
        """T_map_base [4, 4] to look at first, by the newest odometry of before a stamp.

        None unless the robot is localized, or somebody said where it is: a picture that is looked
        for where one fix was confirms it too easily.
        """
        last, newest_ns = self._fuser.last, self._odometry.newest_ns
        belief = None if newest_ns is None else self._fuser.predicted(min(stamp_ns, newest_ns))
        if belief is None or last is None:
            return None
        by_hand = last.fix.verdict is not Verdict.ACCEPTED
        sure = self._state(belief, last)[0] is State.LOCALIZED
        return belief.T_map_base if sure or by_hand else None

    def track(self, stamp_ns: int) -> Track:
        """Where the robot is at a stamp, as far as is known by now.

        ``T_map_base`` is None where odometry says nothing of that stamp; ``T_map_odom`` is held
        from the last fix on, until the robot is lost.
        """
        if self._alone is not None:
            return self._of_fix_alone(stamp_ns, self._alone)
        last, newest_ns = self._fuser.last, self._odometry.newest_ns
        if last is None or newest_ns is None:
            return Track(stamp_ns, State.LOST, self._reason)
        belief = self._believed(stamp_ns, newest_ns)
        state, words = self._state(belief, last)
        reason = f'{_ago(last.fix, stamp_ns)}, {words}'
        silent_s = (stamp_ns - newest_ns) / 1e9
        if silent_s > self.config.samples.max_gap_s:
            reason = f'{reason}, no odometry for {silent_s:.1f} s'
        T_odom_then = self._odometry.at(last.belief.stamp_ns)
        if state is State.LOST or belief is None or T_odom_then is None:
            return Track(stamp_ns, State.LOST, reason)
        T_map_odom = last.belief.T_map_base @ se3.inverse(T_odom_then)
        T_odom_base = self._odometry.at(stamp_ns)
        T_map_base = None if T_odom_base is None else T_map_odom @ T_odom_base
        return Track(stamp_ns, state, reason, T_map_odom, T_map_base, belief.covariance)

    def odometry(self, stamp_ns: int) -> Array | None:
        """T_odom_base [4, 4] at a stamp, or the newest of before; None without any."""
        newest_ns = self._odometry.newest_ns
        return None if newest_ns is None else self._odometry.at(min(stamp_ns, newest_ns))

    def twist(self, stamp_ns: int) -> Array:
        """How the robot moved just before a stamp [6], in its own frame, a second."""
        return self._odometry.twist(stamp_ns)

    @property
    def newest_odometry_ns(self) -> int | None:
        """The stamp up to which odometry has come; None without any."""
        return self._odometry.newest_ns

    @property
    def waiting_since_ns(self) -> int | None:
        """The stamp of the oldest accepted fix that waits for odometry; None without any."""
        return self._pending[0].stamp_ns if self._pending else None

    def _of_fix_alone(self, stamp_ns: int, fix: Fix) -> Track:
        assert fix.estimate is not None
        reason, age_s = _ago(fix, stamp_ns), (stamp_ns - fix.stamp_ns) / 1e9
        if age_s > self.config.fresh_s:
            return Track(stamp_ns, State.LOST, f'{reason}, and no odometry since')
        if age_s:
            return Track(stamp_ns, State.LOCALIZED, reason)
        T, covariance = fix.estimate.T_map_base, fix.estimate.covariance
        return Track(stamp_ns, State.LOCALIZED, reason, None, T, covariance)

    def _believed(self, stamp_ns: int, newest_ns: int) -> Belief | None:
        """Less and less sure, and the more so without odometry."""
        belief = self._fuser.predicted(min(stamp_ns, newest_ns))
        silent_s = (stamp_ns - newest_ns) / 1e9
        if belief is None or silent_s <= self.config.samples.max_gap_s:
            return belief
        unseen = Motion(np.eye(4), seconds=silent_s, blind_s=silent_s)
        return moved(belief, unseen, stamp_ns, self.config.fuser.noise)

    def _expected(self, stamp_ns: int) -> Belief | None:
        """Where the robot should be, as if it drove on after odometry's newest; None if lost."""
        newest_ns = self._odometry.newest_ns
        if newest_ns is None:
            return None
        belief, ahead_s = self._fuser.predicted(min(stamp_ns, newest_ns)), 0.0
        if belief is not None and stamp_ns > newest_ns:
            ahead_s = (stamp_ns - newest_ns) / 1e9
            step = self._odometry.twist(newest_ns) * ahead_s
            way_m, turn_rad = float(np.linalg.norm(step[:3])), float(np.linalg.norm(step[3:]))
            on = Motion(se3.exp(step), way_m, turn_rad, ahead_s, ahead_s)
            belief = moved(belief, on, stamp_ns, self.config.fuser.noise)
        late = ahead_s > self.config.samples.max_gap_s
        return None if belief is None or late or self._fuser.lost(belief) else belief

    def _state(self, belief: Belief | None, last: Step) -> tuple[State, str]:
        """How much that is worth, and why in words."""
        if belief is None:
            return State.LOST, 'odometry since is not known'
        c, sigma_m, sigma_rad = self.config, belief.sigma_m, belief.sigma_rad
        words = f'known to {_cm(sigma_m)} cm and {np.degrees(sigma_rad):.1f} deg'
        if self._fuser.lost(belief):
            return State.LOST, words
        if last.agreeing < c.fuser.confirmations:
            return State.UNSURE, f'{words}, to be confirmed'
        if self._fuser.contradictions >= c.fuser.confirmations:
            return State.UNSURE, f'{words}, but {self._fuser.contradictions} fixes say otherwise'
        well = self._sure and sigma_m <= c.unsure_m and sigma_rad <= c.unsure_rad
        return State.LOCALIZED if well else State.UNSURE, words

    def _settle(self) -> None:
        """Fuse the fixes that odometry has reached, the oldest first."""
        newest_ns = self._odometry.newest_ns
        while self._pending and newest_ns is not None and self._pending[0].stamp_ns <= newest_ns:
            fix = self._pending.pop(0)
            if self._odometry.at(fix.stamp_ns) is None:
                self.unplaced += 1
                continue
            self._sure &= self._within(self._fuser.predicted(fix.stamp_ns), 1.0)
            self._fuser.take(fix)
            assert self._fuser.last is not None
            self._sure |= self._within(self._fuser.last.belief, 0.5)

    def _within(self, belief: Belief | None, share: float) -> bool:
        """Whether it is known to a share of what UNSURE begins at."""
        c = self.config
        return belief is not None and (
            belief.sigma_m <= share * c.unsure_m and belief.sigma_rad <= share * c.unsure_rad
        )

    def _resolved(self, fix: Fix) -> Fix:
        """With the one of several places that odometry leads to, where it does so surely."""
        belief, last = self._expected(fix.stamp_ns), self._fuser.last
        if fix.verdict is not Verdict.AMBIGUOUS or belief is None or last is None:
            return fix
        pairs = zip(fix.candidates, fix.credible, strict=True)
        able = [c for c, credible in pairs if credible and self._fuser.agrees(belief, c)]
        if len(able) != 1 or self._state(belief, last)[0] is not State.LOCALIZED:
            return fix
        reason = f'odometry leads to one of {len(fix.candidates)} places that look alike'
        return replace(fix, verdict=Verdict.ACCEPTED, reason=reason, estimate=able[0])


def _ago(fix: Fix, stamp_ns: int) -> str:
    what = 'last fix' if fix.verdict is Verdict.ACCEPTED else fix.reason
    return f'{what} {max((stamp_ns - fix.stamp_ns) / 1e9, 0.0):.1f} s ago'


def _off(belief: Belief, estimate: PoseEstimate) -> str:
    """How far a fix is from where it can be, in words."""
    off = difference(belief.T_map_base, estimate.T_map_base)
    off_m, off_deg = np.linalg.norm(off[:3]), np.degrees(np.linalg.norm(off[3:]))
    return (
        f'{off_m:.2f} m and {off_deg:.1f} deg from where odometry leads, '
        f'which is known to {_cm(belief.sigma_m)} cm'
    )


def _cm(metres: float) -> str:
    """Nothing is known to 0 cm."""
    return f'{100 * metres:.1f}' if metres < 0.1 else f'{100 * metres:.0f}'
