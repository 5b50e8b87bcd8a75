"""What is told of map -> odom: it follows what is known at a bounded speed, or snaps if far off.

Controllers follow the robot's pose in the map; a correction in one step would jerk them. What
counts is by how much the robot is moved, not the origin of odometry, which may be far away.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.solvers.fusion import difference

Array = NDArray[np.float64]
_CLOCK_STEP_NS = 10**9


@dataclass(frozen=True)
class BlendConfig:
    """How quickly a correction is passed on."""

    speed_mps: float = 0.1
    turn_rad_s: float = 0.1
    snap_m: float = 0.5  # what is further off is told at once
    snap_rad: float = 0.35


@dataclass(frozen=True, eq=False)
class Told:
    """One step."""

    T_map_odom: Array  # [4, 4] to be published
    snapped_m: float  # by how much the robot was moved at once; 0 where it was not


class Blend:
    """Follows; made anew where the track starts anew."""

    def __init__(self, config: BlendConfig) -> None:
        self.config = config
        self._told: tuple[int, Array] | None = None  # stamp, T_map_odom

    def reset(self) -> None:
        """The next step is told as it is."""
        self._told = None

    def follow(self, stamp_ns: int, T_map_odom: Array, T_odom_base: Array) -> Told:
        """One step nearer to what is known.

        Args:
            stamp_ns: of this step; none is made back in time.
            T_map_odom: [4, 4] as it is known.
            T_odom_base: [4, 4] where the robot is.
        """
        if self._told is None:
            self._told = stamp_ns, T_map_odom
            return Told(T_map_odom, 0.0)
        before_ns, T_told = self._told
        if stamp_ns < before_ns - _CLOCK_STEP_NS:
            before_ns = stamp_ns  # the clock was set back
        c, seconds = self.config, max(stamp_ns - before_ns, 0) / 1e9
        T_map_base = T_told @ T_odom_base
        off = difference(T_map_base, T_map_odom @ T_odom_base)
        off_m, off_rad = float(np.linalg.norm(off[:3])), float(np.linalg.norm(off[3:]))
        snaps = off_m > c.snap_m or off_rad > c.snap_rad
        needed_s = max(off_m / c.speed_mps, off_rad / c.turn_rad_s)
        if not snaps and needed_s > seconds:
            step = off * seconds / needed_s
            turned = se3.exp([0, 0, 0, *step[3:]])[:3, :3] @ T_map_base[:3, :3]
            there = se3.transform(turned, T_map_base[:3, 3] + step[:3])
            T_map_odom = there @ se3.inverse(T_odom_base)
        self._told = max(stamp_ns, before_ns), T_map_odom
        return Told(T_map_odom, off_m if snaps else 0.0)
