"""What is told of the track: map -> odom at a steady rate, the fused pose, a pose for AMCL."""

from collections.abc import Callable

from vloc_models.localize.blend import Blend, BlendConfig, Told
from vloc_models.localize.tracker import Tracker
from vloc_models.records import Fix, State, Track
from vloc_ros.fused import Fused
from vloc_ros.outputs import Outputs
from vloc_ros.parameters import LocalizerParameters

_CLOCK_STEP_NS = 10**9  # a stamp that is older than this is of a clock that was set back


class MotionOutput:
    """Lives while the node is active."""

    def __init__(
        self, parameters: LocalizerParameters, tracker: Tracker, warn: Callable[[str], object]
    ) -> None:
        """``warn`` takes a line for the user."""
        p = self.parameters = parameters
        self._tracker, self._warn = tracker, warn
        self._blend = Blend(BlendConfig(p.blend_mps, p.blend_rad_s, p.snap_m))
        self._told_ns = 0  # the stamp of the last transform
        self.told = 0  # transforms so far
        self._announced = (0, 0)  # beginning of the track whose pose has been on initialpose

    def reset(self) -> None:
        """The track starts anew."""
        self._blend.reset()

    def transform(self, outputs: Outputs, now_ns: int) -> None:
        """Map -> odom by now, if it is known and its stamp is news."""
        stamp_ns = now_ns + round(self.parameters.transform_tolerance_s * 1e9)
        if 0 <= self._told_ns - stamp_ns < _CLOCK_STEP_NS:
            return
        told = self._followed(self._tracker.track(now_ns))
        if told is not None:
            outputs.map_to(self.parameters.odom_frame, stamp_ns, told.T_map_odom)
            self._told_ns = stamp_ns
            self.told += 1

    def robot(self, outputs: Outputs, body: str, fix: Fix) -> None:
        """Map -> the robot itself, where there is no odometry."""
        assert fix.estimate is not None
        outputs.map_to(body, fix.stamp_ns, fix.estimate.T_map_base)
        self.told += 1

    def initial_pose(self, outputs: Outputs, now_ns: int, fix: Fix) -> None:
        """A fix for AMCL, once for each beginning of the track, when another has confirmed it."""
        beginning = self._tracker.beginning
        if beginning == self._announced or not outputs.initial_pose_wanted:
            return
        if self._tracker.track(now_ns).state is State.LOCALIZED:
            outputs.initial_pose(fix)
            self._announced = beginning

    def odometry(self, outputs: Outputs, body: str, stamp_ns: int) -> None:
        """The fused pose at the stamp of a sample of odometry, if it is known."""
        track = self._tracker.track(stamp_ns)
        told = self._followed(track)
        T_odom_base = self._tracker.odometry(stamp_ns)
        if told is None or T_odom_base is None or track.covariance is None:
            return
        T_map_base, twist = told.T_map_odom @ T_odom_base, self._tracker.twist(stamp_ns)
        outputs.odometry(body, Fused(stamp_ns, T_map_base, track.covariance, twist))

    def _followed(self, track: Track) -> Told | None:
        """Map -> odom, blended; None where the robot is lost."""
        T_odom_base = self._tracker.odometry(track.stamp_ns)
        if track.T_map_odom is None or T_odom_base is None:
            self._blend.reset()
            return None
        told = self._blend.follow(track.stamp_ns, track.T_map_odom, T_odom_base)
        if told.snapped_m:
            self._warn(f'a correction moves the robot by {told.snapped_m:.2f} m at once')
        return told
