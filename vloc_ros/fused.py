"""The fused pose of one moment. No ROS here."""

from dataclasses import dataclass

from vloc_models.records import Array


@dataclass(frozen=True, eq=False)
class Fused:
    """The robot in the map, at the stamp of a sample of odometry."""

    stamp_ns: int
    T_map_base: Array  # [4, 4] as map -> odom is told
    covariance: Array  # [6, 6] in map
    twist: Array  # [6] of the robot, in its own frame: metres and radians a second
