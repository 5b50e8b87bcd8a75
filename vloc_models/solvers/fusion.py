"""Fixes and odometry in one Kalman filter on SE(3): the pose at one stamp, and how sure it is.

The error of a pose is told as ROS tells a covariance: the position moves along the map's axes and
the robot turns about them where it stands, p' = p + dp and R' = Exp(dphi) R (a left perturbation;
Barfoot, "State Estimation for Robotics", 2017, sections 7.3 and 8.2).

Fixes from one place err together, however many they are: what the map has wrong there, it has
wrong in each of them. A fix therefore counts for as much as the robot has moved since the last.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from vloc_models.checks import check_se3, check_shape
from vloc_models.geometry import se3

Array = NDArray[np.float64]
_SHORTEST_M, _SHORTEST_RAD = 0.5, 0.5  # below, odometry errs like a random walk


@dataclass(frozen=True)
class FusionConfig:
    """How far odometry errs, and after which motion another fix errs in another way."""

    drift: float = 0.02  # of the way, in position
    drift_rad_m: float = 0.02  # of heading, for each metre
    drift_rad_rad: float = 0.02  # of heading, for each radian turned
    tilt_rad: float = 0.01  # roll and pitch that odometry does not see, of an uneven floor
    rest_m_s: float = 0.002  # with every second: somebody may push the robot
    blind_m_s: float = 1.0  # with every second without odometry
    blind_rad_s: float = 1.0
    place_m: float = 0.5  # fixes from so near to each other err together
    place_rad: float = 0.5
    place_s: float = 10.0  # and from so near in time: people move, light changes
    gate: float = 0.999  # a fix less probable than one in a thousand does not agree


@dataclass(frozen=True, eq=False)
class Belief:
    """Where the robot is at a stamp."""

    stamp_ns: int
    T_map_base: Array  # [4, 4]
    covariance: Array  # [6, 6] in map

    def __post_init__(self) -> None:
        check_se3(self.T_map_base, 'T_map_base')
        check_shape(self.covariance, '6 6', 'covariance')

    @property
    def sigma_m(self) -> float:
        """The largest standard deviation of the position, in any direction."""
        return float(np.sqrt(max(np.linalg.eigvalsh(self.covariance[:3, :3])[-1], 0.0)))

    @property
    def sigma_rad(self) -> float:
        """The largest standard deviation of the rotation, about any axis."""
        return float(np.sqrt(max(np.linalg.eigvalsh(self.covariance[3:, 3:])[-1], 0.0)))


@dataclass(frozen=True, eq=False)
class Motion:
    """What odometry says happened between two stamps."""

    T_from_to: Array  # [4, 4] the robot at the second stamp, seen from where it was at the first
    way_m: float = 0.0  # driven, which is more than the distance where it turned back
    turn_rad: float = 0.0
    seconds: float = 0.0
    blind_s: float = 0.0  # of these, without odometry


def moved(belief: Belief, motion: Motion, stamp_ns: int, config: FusionConfig) -> Belief:
    """The belief after a motion, less sure than before.

    Odometry's error of heading grows along the way, so that it moves the end by half of what it
    would had it been there from the start.
    """
    step = belief.T_map_base[:3, :3] @ motion.T_from_to[:3, 3]
    turned = np.vstack([-se3.hat(step), np.eye(3)])  # a turn at the start, and what it moves
    halfway = np.vstack([-se3.hat(step) / 2, np.eye(3)])
    carried = np.eye(6)
    carried[:, 3:] = turned
    position, heading = _variances(motion, config)
    covariance = carried @ belief.covariance @ carried.T + heading * halfway @ halfway.T
    covariance[:3, :3] += position * np.eye(3)
    tilt = config.tilt_rad**2 * (1 - np.exp(-motion.way_m / _SHORTEST_M))
    covariance[[3, 4], [3, 4]] += tilt
    return Belief(stamp_ns, belief.T_map_base @ motion.T_from_to, covariance)


def updated(belief: Belief, T_map_base: Array, covariance: Array, share: float = 1.0) -> Belief:
    """The belief after a fix of the same stamp (the Kalman filter's update, in Joseph's form).

    Args:
        belief: before.
        T_map_base: the fix.
        covariance: [6, 6] of the fix.
        share: of the fix that is news, above 0 up to 1; see ``news``.
    """
    noise = covariance / share
    gain = np.linalg.solve(belief.covariance + noise, belief.covariance).T
    step = gain @ difference(belief.T_map_base, T_map_base)
    T = belief.T_map_base.copy()
    T[:3, 3] += step[:3]
    T[:3, :3] = se3.exp([0, 0, 0, *step[3:]])[:3, :3] @ T[:3, :3]
    left = np.eye(6) - gain
    return Belief(belief.stamp_ns, T, left @ belief.covariance @ left.T + gain @ noise @ gain.T)


def news(motion: Motion, config: FusionConfig) -> float:
    """The share of a fix that the last one has not told, after a motion since."""
    apart = (
        motion.way_m / config.place_m
        + motion.turn_rad / config.place_rad
        + motion.seconds / config.place_s
    )
    return float(max(-np.expm1(-apart), 1e-3))


def difference(T_from: Array, T_to: Array) -> Array:
    """The error [6] that turns one pose into another: metres along, radians about map axes."""
    turn = se3.log(se3.transform(T_to[:3, :3] @ T_from[:3, :3].T, np.zeros(3)))[3:]
    return np.concatenate([T_to[:3, 3] - T_from[:3, 3], turn], dtype=np.float64)


def mahalanobis2(belief: Belief, T_map_base: Array, covariance: Array) -> float:
    """How far a fix is off what is believed, squared, in standard deviations of both together."""
    nu = difference(belief.T_map_base, T_map_base)
    return float(nu @ np.linalg.solve(belief.covariance + covariance, nu))


def agrees(belief: Belief, T_map_base: Array, covariance: Array, config: FusionConfig) -> bool:
    """Whether a fix is where it may be (chi-square of 6 degrees of freedom)."""
    return mahalanobis2(belief, T_map_base, covariance) <= _limit(config.gate)


def _limit(probability: float) -> float:
    return float(chi2.ppf(probability, 6))


def _variances(motion: Motion, config: FusionConfig) -> tuple[float, float]:
    """Of position and heading, by way, turn, time, and time without odometry."""
    way2 = motion.way_m**2 + motion.way_m * _SHORTEST_M
    turn2 = motion.turn_rad**2 + motion.turn_rad * _SHORTEST_RAD
    position = config.drift**2 * way2 + (config.rest_m_s * motion.seconds) ** 2
    heading = config.drift_rad_m**2 * way2 + config.drift_rad_rad**2 * turn2
    blind = motion.blind_s**2
    return position + config.blind_m_s**2 * blind, heading + config.blind_rad_s**2 * blind
