"""What exists while the localizer is active: its inputs, the tracker and the worker."""

from collections.abc import Callable
from time import monotonic

from rclpy.node import Node

from vloc_models.errors import VlocError
from vloc_models.localize.tracker import Tracker, TrackerConfig
from vloc_ros.health import Health
from vloc_ros.motion_input import MotionInput
from vloc_ros.parameters import LocalizerParameters
from vloc_ros.rig_input import Moment, RigInput
from vloc_ros.solve import Job, Solved, solve
from vloc_ros.worker import Worker

_PATIENCE_S = 3.0  # until /clock must have come
_ECHOES = 3  # of transforms from before we were activated
_QUEUE = 500  # images that may wait when every one is to be solved


class Active:
    """Made when the node is activated, closed when it is deactivated."""

    def __init__(
        self,
        node: Node,
        parameters: LocalizerParameters,
        health: Health,
        take: Callable[[Moment], None],
        done: Callable[[], None],
    ) -> None:
        """Subscribe, and start the worker.

        Args:
            node: to subscribe by.
            parameters: at the start.
            health: learns how everything is.
            take: called with the images of each moment that are ready.
            done: called on the worker's thread when there is an answer.

        Raises:
            VlocError: if the calibration file cannot be used, or for a rig without a base frame.
        """
        self._node, self._health = node, health
        self._since_s = monotonic()
        p = parameters
        self.tracker = Tracker(TrackerConfig(bool(p.odom_frame), p.fresh_s, p.max_gap_s))
        self.told_ns = 0  # the stamp of the last transform that was published
        self.told = 0  # how many were
        self.motion = MotionInput(
            node, p, health, self.tracker, lambda: self.camera.flush(), self.restart
        )
        try:
            self.camera = RigInput(node, p, health, lambda: self.motion.tree, take, self.restart)
        except VlocError:
            self.motion.close()
            raise
        capacity = _QUEUE if p.image_reliability == 'reliable' else 1
        self.worker: Worker[Job, Solved] = Worker(solve, done, capacity)

    def close(self) -> None:
        """Unsubscribe, and end the worker after the picture under way."""
        self.camera.close()
        self.motion.close()
        self.worker.stop()

    def set_parameters(self, parameters: LocalizerParameters) -> None:
        """Those that may change meanwhile have changed."""
        self.camera.parameters = self.motion.parameters = parameters

    def restart(self, reason: str) -> None:
        """Stamps start anew: a bag that loops, a simulation that was reset."""
        self.worker.drop_waiting()
        self.camera.restart()
        self.motion.restart()
        self.tracker.clear(reason)
        self._health.fault('clock', f'{reason}; starting anew')

    def forget(self, reason: str) -> None:
        """The next fix starts the track anew; the one under way is of before."""
        self.worker.drop_waiting()
        self.tracker.forget(reason)

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
        if self.camera.parameters.publish_tf and self.motion.own_heard > self.told + _ECHOES:
            words = 'another node publishes the transform of the map, too'
            self._health.fault('node', f'{words}; stop it, or set publish_tf to false')
