"""What exists while the localizer is active: its inputs, the tracker and the worker."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node

from vloc_models.errors import VlocError
from vloc_models.localize.fuser import FuserConfig
from vloc_models.localize.odometry import OdometryConfig
from vloc_models.localize.tracker import Tracker, TrackerConfig
from vloc_models.records import Array
from vloc_models.solvers.fusion import FusionConfig
from vloc_ros.health import Health
from vloc_ros.motion_input import MotionHooks, MotionInput
from vloc_ros.motion_output import MotionOutput
from vloc_ros.parameters import LocalizerParameters
from vloc_ros.placing import Known, Placed, placed
from vloc_ros.rig_input import Moment, RigInput
from vloc_ros.solve import Job, Solved, solve
from vloc_ros.worker import Worker

_PATIENCE_S = 3.0  # until /clock must have come
_ECHOES = 3  # of transforms from before we were activated
_HINT_S = 10.0  # a pose given by hand is looked at first, where there is no odometry
_UNAIDED_EVERY = 10  # pictures
_QUEUE = 500  # images that may wait when every one is to be solved


@dataclass(frozen=True)
class ActiveHooks:
    """What is done with what comes in."""

    take: Callable[[Moment], None]  # is called with the images of each moment that are ready
    odometry: Callable[[int], None]  # is called with the stamp of each sample
    done: Callable[[], None]  # is called on the worker's thread when there is an answer


class Active:
    """Made when the node is activated, closed when it is deactivated."""

    def __init__(
        self,
        node: Node,
        parameters: LocalizerParameters,
        health: Health,
        hooks: ActiveHooks,
    ) -> None:
        """Subscribe, and start the worker.

        Args:
            node: to subscribe by.
            parameters: at the start.
            health: learns how everything is.
            hooks: the rest of the node.

        Raises:
            VlocError: if the calibration file cannot be used, or for a rig without a base frame.
        """
        self._node, self._health = node, health
        self._since_s = monotonic()
        p = parameters
        self.tracker = Tracker(tracker_config(p))
        self.told = MotionOutput(p, self.tracker, node.get_logger().warning)
        self._hint: tuple[float, Array] | None = None  # until when, and where: said by hand
        self._aided = 0  # pictures in a row that were looked for where odometry leads
        self.motion = MotionInput(
            node,
            p,
            health,
            self.tracker,
            MotionHooks(lambda: self.camera.flush(), self.restart, hooks.odometry),
        )
        try:
            self.camera = RigInput(
                node, p, health, lambda: self.motion.tree, hooks.take, self.restart
            )
        except VlocError:
            self.motion.close()
            raise
        capacity = _QUEUE if p.image_reliability == 'reliable' else 1
        self.worker: Worker[Job, Solved] = Worker(solve, hooks.done, capacity)
        self._initial: Any = None
        self._listen()

    def close(self) -> None:
        """Unsubscribe, and end the worker after the picture under way."""
        self.camera.close()
        self.motion.close()
        self._deafen()
        self.worker.stop()

    def set_parameters(self, parameters: LocalizerParameters) -> None:
        """Those that may change meanwhile have changed."""
        self.camera.parameters = self.motion.parameters = self.told.parameters = parameters
        self._listen()

    def _listen(self) -> None:
        """To poses by hand, unless they are ours."""
        if self.camera.parameters.publish_initialpose:
            self._deafen()
        elif self._initial is None:
            kind, heard = PoseWithCovarianceStamped, self._on_initial
            self._initial = self._node.create_subscription(kind, 'initialpose', heard, 10)

    def _deafen(self) -> None:
        if self._initial is not None:
            self._node.destroy_subscription(self._initial)
            self._initial = None

    def restart(self, reason: str) -> None:
        """Stamps start anew: a bag that loops, a simulation that was reset."""
        self.worker.drop_waiting()
        self.camera.restart()
        self.motion.restart()
        self.tracker.clear(reason)
        self.told.reset()
        self._hint = None
        self._health.fault('clock', f'{reason}; starting anew')

    def forget(self, reason: str) -> None:
        """The next fix starts the track anew; the one under way is of before."""
        self.worker.drop_waiting()
        self.tracker.forget(reason)
        self.told.reset()
        self._hint = None

    def place(self, said: Placed) -> None:
        """Begin anew where somebody says the robot is."""
        self.worker.drop_waiting()
        newest_ns = self.tracker.newest_odometry_ns
        stamp_ns = said.stamp_ns if newest_ns is None else min(said.stamp_ns, newest_ns)
        self.told.reset()
        if not self.tracker.place(stamp_ns, said.T_map_base, said.covariance):
            self._hint = monotonic() + _HINT_S, said.T_map_base

    def _on_initial(self, msg: PoseWithCovarianceStamped) -> None:
        p, now_ns = self.camera.parameters, self.now_ns()
        T_map_odom = self.tracker.track(now_ns).T_map_odom
        known = Known(p.map_frame, p.odom_frame, self.motion.tree, T_map_odom)
        try:
            said, fault = placed(msg, known, now_ns)
        except VlocError as e:
            self._health.fault('initialpose', f'{e.what}; {e.fix}')
            return
        if fault:
            self._health.fault('initialpose', fault)
        x, y = said.T_map_base[:2, 3]
        self._node.get_logger().info(f'initialpose: looking around x {x:.2f}, y {y:.2f} first')
        self.place(said)

    def prior(self, stamp_ns: int) -> Array | None:
        """Where to look first; now and then nowhere, so that a wrong track is found out."""
        self._aided += 1
        if not self.camera.parameters.use_prior or self._aided >= _UNAIDED_EVERY:
            self._aided = 0
            return None
        if (T_map_base := self.tracker.prior(stamp_ns)) is not None:
            return T_map_base
        if self._hint is not None and monotonic() < self._hint[0]:
            return self._hint[1]
        return None

    def results(self) -> list[Solved]:
        """The answers since the last call, but those of before a restart."""
        return [solved for solved in self.worker.results() if solved.job.run == self.tracker.runs]

    def now_ns(self) -> int:
        """Now; odometry that is dated a little ahead takes us along."""
        now_ns = self._node.get_clock().now().nanoseconds
        newest = self.tracker.newest_odometry_ns
        return newest if newest is not None and 0 < newest - now_ns < 10**9 else now_ns

    def check(self) -> None:
        """Tell health how everything is; call it about once a second."""
        simulated = self._node.get_parameter('use_sim_time').value
        waited_s = monotonic() - self._since_s
        if simulated and self._node.get_clock().now().nanoseconds == 0 and waited_s > _PATIENCE_S:
            self._health.set(
                'clock',
                'error',
                'use_sim_time is on, but /clock does not come; play the bag with its clock, '
                'start the simulation, or set use_sim_time to false',
            )
        else:
            self._health.set('clock', 'ok', 'runs')
        self.camera.check()
        self.motion.check()
        if self.camera.parameters.publish_tf and self.motion.own_heard > self.told.told + _ECHOES:
            words = 'another node publishes the transform of the map, too'
            self._health.fault('node', f'{words}; stop it, or set publish_tf to false')


def tracker_config(p: LocalizerParameters) -> TrackerConfig:
    """What the parameters say of the tracker."""
    noise = FusionConfig(drift=p.odom_drift, drift_rad_m=p.odom_drift_rad_m)
    return TrackerConfig(
        odometry=bool(p.odom_frame),
        fresh_s=p.fresh_s,
        unsure_m=p.unsure_m,
        samples=OdometryConfig(max_gap_s=p.max_gap_s),
        fuser=FuserConfig(planar=p.planar, noise=noise),
    )
