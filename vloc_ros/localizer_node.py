"""The live localizer: images in, poses and map -> odom out. A lifecycle node that starts itself.

Everything of ROS happens on the executor's thread; only pictures are solved on another one, the
newest first. What the node has while it is active is in active.py, what it publishes in
outputs.py.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import Empty, SetBool, Trigger

from vloc_models.errors import MapError, VlocError
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.records import Fix, State, Track, Verdict
from vloc_ros.active import Active, ActiveHooks
from vloc_ros.compat import steady_clock
from vloc_ros.health import Health
from vloc_ros.outputs import Diagnostics, Outputs
from vloc_ros.profile import changed_within_profile, declare_with_profile
from vloc_ros.requests import Requests
from vloc_ros.rig_input import Moment
from vloc_ros.running import run
from vloc_ros.solve import Job, Solved
from vloc_ros.status import complaints, level_of, values_of

log = logging.getLogger(__name__)
_OK, _FAILED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_TICK_S, _TICKS_A_CHECK = 0.1, 10


class LocalizerNode(LifecycleNode):
    """See docs/nodes.md for its topics and services, docs/parameters.md for its parameters."""

    _made = False  # in full: rclpy destroys nodes, too, whose making has failed

    def __init__(self, **kwargs: Any) -> None:
        """Declare parameters and services; ``kwargs`` go to the node.

        Raises:
            VlocError: for a parameter that makes no sense.
        """
        super().__init__('vloc_localizer', **kwargs)
        self.parameters = declare_with_profile(self)
        self.health = Health(self.get_logger().warning)
        self._localizer: Localizer | None = None
        self._map_path = ''  # that it is of
        self._reloads: list[Thread] = []
        self._lacks_map = False  # and would be active else
        self._outputs: Outputs | None = None
        self._active: Active | None = None
        self._enabled = True
        self._requests = Requests()
        self._solved = self._skipped = self._ticks = 0
        self._solved_at_s = float('-inf')
        self._state = State.LOST  # as it was told in the log
        self._diagnostics = Diagnostics(self)
        self._results_ready = self.create_guard_condition(self._on_results)
        self.create_timer(_TICK_S, self._on_tick, clock=steady_clock())
        # by the steady clock, because a step of the system's clock stops timers of ROS time
        clock = None if self.get_parameter('use_sim_time').value else steady_clock()
        self.create_timer(1 / self.parameters.tf_rate_hz, self._publish_tf, clock=clock)
        back = Duration(nanoseconds=-5 * 10**8)
        threshold = JumpThreshold(min_forward=None, min_backward=back, on_clock_change=False)
        self._jump = self.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._serve()
        self._made = True

    def _serve(self) -> None:
        relocalize: Any = self._relocalize  # a coroutine: rclpy takes it, its types do not say so
        reload_map: Any = self._reload_map
        waits = ReentrantCallbackGroup()  # all else goes on while these wait
        self.create_service(Trigger, '~/relocalize', relocalize, callback_group=waits)
        self.create_service(Trigger, '~/reload_map', reload_map, callback_group=waits)
        self.create_service(SetBool, '~/set_enabled', self._set_enabled)
        again = 'reinitialize_global_localization'  # the name that Nav2 calls
        self.create_service(Empty, again, self._reinitialize)

    def start(self) -> None:
        """Configure and activate, where the parameter autostart asks for it."""
        if self.parameters.autostart and self.trigger_configure() == _OK:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the map. Without one the node is configured, but cannot be activated."""
        return self._transition(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and solve."""
        return self._transition(self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the map stays."""
        return self._transition(self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the map go."""
        return self._transition(self._clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End."""
        return self._transition(self._clean_up)

    def destroy_node(self) -> None:
        """End, also from the middle of something."""
        if self._made:
            for thread in self._reloads:  # no thread may be in the networks when Python ends
                thread.join()
            self._clean_up()
            self._jump.unregister()
        super().destroy_node()

    def _transition(self, step: Callable[[], bool]) -> TransitionCallbackReturn:
        """Run a step; what it raises would be swallowed by rclpy without a word."""
        try:
            return _OK if step() else _FAILED
        except VlocError as e:
            self.health.set('node', 'error', f'{e.what}; {e.fix}')
        except Exception as e:  # the node lives on, and says why it does nothing
            log.exception('a transition failed')
            self.health.set('node', 'error', f'{type(e).__name__}: {e}; please report this')
        return _FAILED

    def _configure(self) -> bool:
        self._outputs = Outputs(self, self.parameters)
        try:
            self._read_map()
        except Exception:
            self._clean_up()
            raise
        self.health.set('node', 'ok', 'inactive')
        return True

    def _activate(self) -> bool:
        if self._localizer is None and not self._read_map():  # made in the meantime?
            self._lacks_map = True
            return False
        ready = self._results_ready.trigger
        hooks = ActiveHooks(self._take_pictures, self._publish_odometry, ready)
        self._active = Active(self, self.parameters, self.health, hooks)
        self._lacks_map = False
        self.health.set('node', 'ok', 'active')
        self.get_logger().info(f'active: images from {self._active.camera.topic}')
        return True

    def _deactivate(self) -> bool:
        active, self._active = self._active, None
        self._lacks_map = False
        if active is not None:
            active.close()
            parts = *active.camera.parts, 'odometry', 'clock', 'localization', 'initialpose'
            self.health.drop(*parts)
        self._requests.give_up('the node was deactivated', everybody=True)
        self.health.set('node', 'ok', 'inactive')
        return True

    def _clean_up(self) -> bool:
        self._deactivate()
        if self._outputs is not None:
            self._outputs.close()
        self._outputs = self._localizer = None
        return True

    def _read_map(self) -> bool:
        path = self.parameters.map
        try:
            self._take_map(path, self._load(path))
        except VlocError as e:
            self.health.set('map', 'error', f'{e.what}; {e.fix}')
        return self._localizer is not None

    def _load(self, path: str) -> Localizer:
        """A map, checked.

        Raises:
            VlocError: if there is none, or it is damaged.
        """
        if not path:
            fix = 'set it to the folder that "vloc map" made: -p map:=FOLDER'
            raise MapError('the parameter map is empty', fix)
        try:
            folder = Path(path).expanduser()
        except RuntimeError as e:  # the home of nobody
            raise MapError(f'{path}: {e}', 'write the path in full') from e
        p = self.parameters
        return Localizer.load(folder, LocalizerConfig(threads=p.threads, precision=p.precision))

    def _take_map(self, path: str, localizer: Localizer) -> None:
        self._localizer, self._map_path = localizer, path
        made = localizer.info.provenance
        words = f'{path}, made of {", ".join(made.bags) or "?"} on {made.date}'
        self.health.set('map', 'ok', words)
        self.get_logger().info(f'map {words}')
        if self._outputs is not None and len(localizer.parts.points):
            self._outputs.map_points(localizer.parts.points)

    def _take_pictures(self, pictures: Moment) -> None:
        active = self._active
        if active is None or self._localizer is None or self._outputs is None:
            return
        active.motion.body = active.motion.body or pictures[0].frame_id  # no base: the camera
        wanted = self._outputs.overlay_wanted
        run, prior = active.tracker.runs, active.prior(pictures[0].stamp_ns)
        job = Job(pictures, self._localizer, run, wanted, prior)
        self._skipped += active.worker.offer(job)

    def _on_results(self) -> None:
        if self._active is not None and self._outputs is not None:
            for solved in self._active.results():
                self._publish(solved, self._active, self._outputs)

    def _publish(self, solved: Solved, active: Active, outputs: Outputs) -> None:
        picture = solved.pictures[0]
        self._solved += 1
        self._solved_at_s = monotonic()
        for part, words in {**complaints(solved), **solved.faults}.items():
            self.health.fault(part, words)
        if solved.answer is None:
            fix = Fix(picture.stamp_ns, Verdict.NONE, '; '.join(solved.faults.values()))
        else:
            outputs.raw(solved.answer.fix)
            fix = active.tracker.add_fix(solved.answer.fix)
            outputs.fix(fix)
        if fix.verdict is Verdict.ACCEPTED:
            self._publish_accepted(fix, active, outputs)
        self._publish_status(fix, solved, active, outputs)
        if solved.overlay:
            outputs.overlay(fix.stamp_ns, picture.frame_id, solved.overlay)
        self._requests.solved(picture.number, fix)

    def _publish_accepted(self, fix: Fix, active: Active, outputs: Outputs) -> None:
        if not self.parameters.odom_frame and self.parameters.publish_tf:
            active.told.robot(outputs, active.motion.body, fix)
        self._publish_tf()
        active.told.initial_pose(outputs, active.now_ns(), fix)

    def _publish_tf(self) -> None:
        active, outputs, now_ns = self._active, self._outputs, self.get_clock().now().nanoseconds
        if active is not None and outputs is not None and self.parameters.publish_tf and now_ns:
            active.told.transform(outputs, active.now_ns())

    def _publish_odometry(self, stamp_ns: int) -> None:
        active, outputs = self._active, self._outputs
        if active is not None and outputs is not None and outputs.odometry_wanted:
            active.told.odometry(outputs, active.motion.body, stamp_ns)

    def _publish_status(self, fix: Fix, solved: Solved, active: Active, outputs: Outputs) -> None:
        track = active.tracker.track(active.now_ns())
        self._tell_state(track)
        level = level_of(fix, solved, track)
        values = values_of(fix, solved, track, self.get_clock().now().nanoseconds)
        values |= self._counts()
        outputs.status(fix.stamp_ns, level, fix.reason, {**values, 'map': self._map_path})
        self.health.set('localization', level, f'{fix.verdict.value}: {fix.reason}', **values)

    def _tell_state(self, track: Track) -> None:
        if track.state is not self._state:
            self._state = track.state
            self.get_logger().info(f'{track.state.value}: {track.reason}')

    def _counts(self) -> dict[str, object]:
        left_out = self._active.camera.left_out if self._active else 0
        return {'solved': self._solved, 'skipped': self._skipped + left_out}

    def _on_jump(self, jump: TimeJump) -> None:
        if self._active is not None:
            back_s = -jump.delta.nanoseconds / 1e9
            self._active.restart(f'the clock was set back by {back_s:.1f} s')

    def _on_tick(self) -> None:
        self._ticks += 1
        check = self._ticks % _TICKS_A_CHECK == 0
        overdue = self._requests.overdue()
        if self._active is not None:
            self._active.camera.wanted = self._enabled
            self._active.camera.urgent = bool(self._requests)
            self._active.camera.flush()
            if check or overdue:
                self._active.check()
        if overdue:
            words = self.health.trouble() or 'do images come?'
            self._requests.give_up(f'no image was solved in time: {words}')
        if check:
            self._publish_idle_status()
            self._diagnostics.publish(self.health)

    def _publish_idle_status(self) -> None:
        """Where no frame was solved for a while: what is in the way."""
        if self._outputs is None or monotonic() - self._solved_at_s < 1.0:
            return
        if monotonic() - self._solved_at_s > self.parameters.fresh_s and self._solved:
            self.health.set('localization', 'warn', 'no frame was solved lately')
        level, words = self.health.worst()
        state = 'lost'
        if self._active is not None:
            track = self._active.tracker.track(self._active.now_ns())
            self._tell_state(track)
            state = track.state.value
        values = {'verdict': Verdict.NONE.value, 'state': state, **self._counts()}
        words = words if self._enabled else 'switched off by ~/set_enabled'
        self._outputs.status(self.get_clock().now().nanoseconds, level, words, values)

    async def _relocalize(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        if self._active is None:
            words = self.health.trouble() or 'activate the node'
            response.success, response.message = False, f'not active: {words}'
            return response
        timeout_s, images = self.parameters.relocalize_timeout_s, self._active.camera.received
        answer = self._requests.add(images, timeout_s, self.executor)
        self._active.camera.urgent = True
        told: Any = await answer
        response.success, response.message = told
        return response

    async def _reload_map(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        path = self.parameters.map
        if any(thread.is_alive() for thread in self._reloads):
            response.success, response.message = False, 'another call is reading a map; call again'
            return response
        loaded: Future[Localizer | str] = Future(executor=self.executor)
        self._reloads = [Thread(target=self._load_into, args=[loaded, path])]
        self._reloads[0].start()
        found = await loaded
        if not isinstance(found, Localizer):
            kept = f'; {self._map_path} is kept' if self._localizer else ''
            response.success, response.message = False, f'{found}{kept}'
            return response
        self._take_map(path, found)
        if self._active is not None:
            self._active.forget('the map was read again')
        elif self._lacks_map and self.parameters.autostart:
            self.trigger_activate()
        response.success, response.message = True, f'read {path}'
        return response

    def _load_into(self, loaded: 'Future[Localizer | str]', path: str) -> None:
        try:
            loaded.set_result(self._load(path))
        except VlocError as e:
            loaded.set_result(f'{e.what}; {e.fix}')
        except Exception as e:  # the caller must get an answer
            loaded.set_result(f'{type(e).__name__}: {e}')

    def _set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._enabled = bool(request.data)
        if self._active is not None:
            self._active.camera.wanted = self._enabled
        response.success, response.message = True, 'on' if self._enabled else 'off'
        return response

    def _reinitialize(self, request: Empty.Request, response: Empty.Response) -> Empty.Response:
        if self._active is not None:
            self._active.forget('asked to start anew')
        return response

    def _on_parameters(self, given: list[Parameter]) -> SetParametersResult:
        try:
            self.parameters = changed_within_profile(self.parameters, given)
        except VlocError as e:
            return SetParametersResult(successful=False, reason=f'{e.what}; {e.fix}')
        if self._active is not None:
            self._active.set_parameters(self.parameters)
        if self._outputs is not None:
            self._outputs.parameters = self.parameters
        return SetParametersResult(successful=True)


def _make() -> LocalizerNode:
    node = LocalizerNode()
    node.start()
    return node


def main() -> int:
    """Run the node; returns the exit code."""
    return run(_make)


if __name__ == '__main__':
    sys.exit(main())
