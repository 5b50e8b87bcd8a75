"""Fixes, one after the other, become a belief; those that cannot be are set aside and counted.

A fix may come late: the ones after it are then fused again. Several fixes that contradict the
belief, but not each other, are right: the robot was carried away, or the first fix was wrong.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.localize.odometry import Odometry
from vloc_models.records import Fix, PoseEstimate, Verdict
from vloc_models.solvers.fusion import Belief, FusionConfig, agrees, moved, news, updated

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)
_MOST_AGAINST = 30
_FLAT = 1e-6  # variance of what a robot on a floor does not do
_OFF_PLANE = [2, 3, 4]  # z, roll, pitch


@dataclass(frozen=True)
class FuserConfig:
    """When a fix is believed."""

    planar: bool = False  # the robot stands upright on the floor z = 0 of the map
    confirmations: int = 2  # fixes that agree, from which on a place is taken for certain
    elsewhere: int = 4  # fixes that agree on another place, from which on it is that one,
    elsewhere_s: float = 1.0  # if they do so for so long: one view may be like another
    lost_m: float = 3.0  # standard deviations, beyond which nothing is left of a belief
    lost_rad: float = 1.0
    replay_s: float = 5.0  # a fix that comes later than that after a newer one is left out
    noise: FusionConfig = field(default_factory=FusionConfig)


@dataclass(frozen=True, eq=False)
class Step:
    """What is believed after a fix."""

    fix: Fix
    belief: Belief
    agreeing: int  # fixes so far


class Fuser:
    """The belief of one robot; empty until the first fix."""

    def __init__(self, config: FuserConfig, odometry: Odometry) -> None:
        self.config, self._odometry = config, odometry
        self._steps: list[Step] = []  # rising; the last seconds, for fixes that come late
        self._against: list[Fix] = []  # since the last one that agreed
        self.begun = 0  # rises when the track starts somewhere else

    @property
    def last(self) -> Step | None:
        """After the newest fix."""
        return self._steps[-1] if self._steps else None

    @property
    def contradictions(self) -> int:
        """Fixes since the last one that agreed."""
        return len(self._against)

    def holds(self, fix: Fix) -> bool:
        """Whether this very fix was fused."""
        return any(step.fix is fix for step in self._steps)

    def predicted(self, stamp_ns: int) -> Belief | None:
        """Where the robot should be at a stamp, by the fixes before and odometry since."""
        if not self._steps:
            return None
        before = [step for step in self._steps if step.belief.stamp_ns <= stamp_ns]
        belief = (before or self._steps[:1])[-1].belief
        motion = self._odometry.motion(belief.stamp_ns, stamp_ns)
        return None if motion is None else moved(belief, motion, stamp_ns, self.config.noise)

    def lost(self, belief: Belief) -> bool:
        """Whether it says nothing any more."""
        return belief.sigma_m > self.config.lost_m or belief.sigma_rad > self.config.lost_rad

    def agrees(self, belief: Belief, estimate: PoseEstimate) -> bool:
        """Whether the robot may be there."""
        return agrees(belief, *self._measured(estimate), self.config.noise)

    def place(self, belief: Belief, fix: Fix) -> None:
        """Begin with what nobody has seen; fixes have to confirm it."""
        self._against, self._steps = [], [Step(fix, self._flat(belief), 0)]

    def take(self, fix: Fix) -> None:
        """Fuse an accepted fix at whose stamp odometry is known."""
        later = [step for step in self._steps if step.belief.stamp_ns >= fix.stamp_ns]
        if later and (len(later) == len(self._steps) or self._too_late(fix)):
            return
        del self._steps[len(self._steps) - len(later) :]
        for one in (fix, *(step.fix for step in later)):
            self._fuse(one)
        while len(self._steps) > 1 and self._too_late(self._steps[1].fix):
            del self._steps[0]

    def _too_late(self, fix: Fix) -> bool:
        newest_ns = self._steps[-1].belief.stamp_ns
        return fix.stamp_ns < newest_ns - self.config.replay_s * 1e9

    def _fuse(self, fix: Fix) -> None:
        assert fix.estimate is not None
        belief, last = self.predicted(fix.stamp_ns), self.last
        if belief is None or last is None or self.lost(belief):
            self._begin([fix])  # the first one, or after so long that nothing is left of others
        elif self.agrees(belief, fix.estimate):
            share = self._news(last, fix)
            belief = self._flat(updated(belief, *self._measured(fix.estimate), share))
            self._against.clear()
            self._steps.append(Step(fix, belief, last.agreeing + 1))
        else:
            self._contradicted(fix, belief, last)

    def _news(self, last: Step, fix: Fix) -> float:
        if last.fix.verdict is not Verdict.ACCEPTED:  # nobody has seen it yet
            return 1.0
        motion = self._odometry.motion(last.belief.stamp_ns, fix.stamp_ns)
        assert motion is not None
        return news(motion, self.config.noise)

    def _contradicted(self, fix: Fix, belief: Belief, last: Step) -> None:
        """Count it; begin anew where enough of those agree on another place."""
        assert fix.estimate is not None
        self._against = [*self._against, fix][-_MOST_AGAINST:]
        agreed = [other for other in self._against if self._leads(other, fix)]
        agreed.sort(key=lambda other: other.stamp_ns)
        certain = last.agreeing >= self.config.confirmations
        needed = self.config.elsewhere if certain else self.config.confirmations
        lasting_s = (agreed[-1].stamp_ns - agreed[0].stamp_ns) / 1e9
        if len(agreed) < needed or (certain and lasting_s < self.config.elsewhere_s):
            return
        off = fix.estimate.T_map_base[:3, 3] - belief.T_map_base[:3, 3]
        _log.warning(f'{len(agreed)} fixes agree on a place {np.linalg.norm(off):.1f} m away')
        self._begin(agreed)

    def _leads(self, a: Fix, b: Fix) -> bool:
        """Whether odometry leads from one fix to the other."""
        assert a.estimate is not None
        assert b.estimate is not None
        motion = self._odometry.motion(a.stamp_ns, b.stamp_ns)
        if a is b or motion is None:
            return a is b
        start = Belief(a.stamp_ns, *self._measured(a.estimate))
        return self.agrees(moved(start, motion, b.stamp_ns, self.config.noise), b.estimate)

    def _begin(self, fixes: Sequence[Fix]) -> None:
        """Anew with these."""
        first, *others = fixes
        self.begun += 1
        assert first.estimate is not None
        belief = Belief(first.stamp_ns, *self._measured(first.estimate))
        self._against, self._steps = [], [Step(first, self._flat(belief), 1)]
        for fix in others:
            self._fuse(fix)

    def _measured(self, estimate: PoseEstimate) -> tuple[Array, Array]:
        """Pose and covariance; of a robot on a floor no more than x, y and yaw."""
        if not self.config.planar:
            return estimate.T_map_base, estimate.covariance
        covariance = estimate.covariance.copy()
        covariance[_OFF_PLANE, :] = covariance[:, _OFF_PLANE] = 0
        covariance[_OFF_PLANE, _OFF_PLANE] = _FLAT
        return se3.planar(estimate.T_map_base), covariance

    def _flat(self, belief: Belief) -> Belief:
        if not self.config.planar:
            return belief
        return Belief(belief.stamp_ns, se3.planar(belief.T_map_base), belief.covariance)
