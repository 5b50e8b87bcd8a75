"""A simulated drive: true motion, drifting odometry, and fixes that err as measured ones do.

Errors of fixes are those of real maps (``corr`` below was measured on maps of the kitchen and of
validation worlds, normalised by each answer's own covariance): two fixes err alike where they are
of one place, and the less so the further the robot has moved and turned between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.motion import DriveSpec, drive, odometry
from vloc_models.frames.synthetic.world import Floor
from vloc_models.geometry import se3
from vloc_models.localize.tracker import Tracker
from vloc_models.records import Array, Fix, PoseEstimate, Trajectory, Verdict

ODOM_HZ, FIX_HZ = 50, 5.0
_ALIKE_M, _ALIKE_RAD = 0.25, 0.3  # by which the likeness of two errors falls to 1 / e
_SIGMA_M, _SIGMA_RAD = 0.007, 0.002  # of a fix along each axis, in the middle; measured medians
_SPREAD = 0.5  # of their logarithm, from place to place


@dataclass(frozen=True)
class Scenario:
    """What goes wrong on a drive."""

    wrong: float = 0.0  # share of fixes that are of any other pose
    refused: float = 0.1  # share of pictures without an accepted pose
    latency_s: float = 0.1
    jitter_s: float = 0.0  # of the latency, so that fixes overtake each other
    dark_s: float = 0.0  # of every 60 s there is no fix for so long
    carried_every_s: float = 0.0  # the robot is carried elsewhere, unseen by odometry
    drift: float = 1.0  # times 1 % and 0.5 deg a metre


@dataclass(frozen=True, eq=False)
class Drive:
    """What happens, by the stamp of each sample."""

    truth: Trajectory  # T_map_base at 50 Hz
    odometry: Trajectory  # T_odom_base at the same stamps
    fixes: tuple[Fix, ...]
    arrival_ns: NDArray[np.int64]  # of each fix
    carried_ns: tuple[int, ...]  # when the robot is carried away


class Played:
    """Odometry that comes to a tracker, sample by sample."""

    def __init__(self, odometry: Trajectory, tracker: Tracker) -> None:
        """``odometry`` is T_odom_base."""
        self._tracker, self._next, self._stamps = tracker, 0, odometry.stamps_ns
        self._t = odometry.T_map_body[:, :3, 3].tolist()
        self._quats = se3.to_quat_xyzw(odometry.T_map_body).tolist()

    def until(self, stamp_ns: int) -> None:
        """What has come by a stamp."""
        end = int(np.searchsorted(self._stamps, stamp_ns, 'right'))
        for i in range(self._next, end):
            self._tracker.add_odometry(int(self._stamps[i]), self._t[i], self._quats[i])
        self._next = end


def simulate(floor: Floor, scenario: Scenario, seed: int, stops: int = 20) -> Drive:
    """One drive of some minutes."""
    rng = np.random.default_rng([21, seed])
    spec = DriveSpec(seed, 'query', stops=stops)
    spec = replace(
        spec,
        odometry_drift=spec.odometry_drift * scenario.drift,
        odometry_drift_deg_m=spec.odometry_drift_deg_m * scenario.drift,
    )
    truth = drive(floor, spec)
    odom = odometry(truth, spec)
    truth, carried_ns = _carried(truth, scenario, rng)
    fixes = list(_fixes(truth, odom, scenario, rng))
    late = scenario.latency_s + scenario.jitter_s * rng.uniform(-1, 1, len(fixes))
    arrival = np.array([f.stamp_ns for f in fixes], np.int64) + np.round(late * 1e9).astype(int)
    return Drive(truth, odom, tuple(fixes), arrival, carried_ns)


def _carried(
    truth: Trajectory, scenario: Scenario, rng: np.random.Generator
) -> tuple[Trajectory, tuple[int, ...]]:
    """The motion goes on from elsewhere: what comes next is turned and moved as a whole."""
    if not scenario.carried_every_s:
        return truth, ()
    T, step = truth.T_map_body.copy(), round(scenario.carried_every_s * ODOM_HZ)
    moments = range(step, len(T) - step // 2, step)
    for moment in moments:
        turn = se3.exp([0, 0, 0, 0, 0, rng.uniform(-np.pi, np.pi)])
        there = T[moment] @ turn
        there[:2, 3] += rng.uniform(-4, 4, 2)
        T[moment:] = there @ se3.inverse(T[moment]) @ T[moment:]
    return Trajectory(truth.stamps_ns, T), tuple(int(truth.stamps_ns[m]) for m in moments)


def _fixes(
    truth: Trajectory, odom: Trajectory, scenario: Scenario, rng: np.random.Generator
) -> Iterator[Fix]:
    step = round(ODOM_HZ / FIX_HZ)
    error = rng.standard_normal(6)
    for i in range(step, len(truth), step):
        moved = se3.inverse(odom.T_map_body[i - step]) @ odom.T_map_body[i]
        away = np.linalg.norm(moved[:3, 3]) / _ALIKE_M
        alike = np.exp(-away - float(se3.angle_rad(moved[:3, :3])) / _ALIKE_RAD)
        error = alike * error + np.sqrt(1 - alike**2) * rng.standard_normal(6)
        stamp = int(truth.stamps_ns[i])
        dark = (stamp / 1e9) % 60 > 60 - scenario.dark_s
        if dark or rng.random() < scenario.refused:
            continue
        yield _fix(stamp, truth.T_map_body[i], error, scenario, rng)


def _fix(
    stamp: int, T_map_base: Array, error: Array, scenario: Scenario, rng: np.random.Generator
) -> Fix:
    spread = np.exp(_SPREAD * rng.standard_normal())
    sigma = spread * np.array([_SIGMA_M] * 3 + [_SIGMA_RAD] * 3)
    off = sigma * error
    T = T_map_base.copy()
    if rng.random() < scenario.wrong:
        T = T @ se3.exp([0, 0, 0, 0, 0, rng.uniform(-np.pi, np.pi)])
        off = off + np.array([*rng.uniform(-4, 4, 2), 0, 0, 0, 0])
    T[:3, :3] = se3.exp([0, 0, 0, *off[3:]])[:3, :3] @ T[:3, :3]
    T[:3, 3] += off[:3]
    estimate = PoseEstimate(T, np.diag(sigma**2), 500, 0.9, 1.0, 2.0)
    return Fix(stamp, Verdict.ACCEPTED, 'simulated', estimate)
