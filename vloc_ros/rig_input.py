"""One camera, or the cameras of a rig: the pictures of one moment are handed on together."""

from collections.abc import Callable
from time import monotonic

from rclpy.node import Node

from vloc_models.errors import VlocError
from vloc_models.frames.sync import Grouping
from vloc_models.frames.transforms import TransformTree
from vloc_ros.camera_input import CameraHooks, CameraInput, Picture
from vloc_ros.compat import steady_clock
from vloc_ros.health import Health
from vloc_ros.parameters import LocalizerParameters

Moment = tuple[Picture, ...]  # in the order of the cameras
# until a moment goes without a late camera; for replay the machine, not the camera, may be late
_WAIT_S = {'best_effort': 0.1, 'reliable': 1.0}


class RigInput:
    """Subscribed from its making until ``close``; called on the executor's thread alone."""

    def __init__(
        self,
        node: Node,
        parameters: LocalizerParameters,
        health: Health,
        tree: Callable[[], TransformTree],
        take: Callable[[Moment], None],
        restart: Callable[[str], None],
    ) -> None:
        """Subscribe.

        Args:
            node: to subscribe by.
            parameters: at the start.
            health: learns about each camera, as part "camera", or "camera_0" and so on.
            tree: the transforms by now.
            take: is called with the pictures of each moment.
            restart: is called with a reason where the stamps start anew.

        Raises:
            VlocError: if the calibration file cannot be used, or a rig has no base frame.
        """
        p = parameters
        if p.cameras > 1:
            _check_rig(p)
        self._node, self.parameters, self._health, self._take = node, p, health, take
        self.wanted = True  # False: images are counted, but not handed on
        self.urgent = False  # True: the next ones are handed on in any case
        self.received = 0
        self._too_late = 0
        self._taken_ns: int | None = None
        self._within_ns = round(p.rig_tolerance_s * 1e9) if p.cameras > 1 else 0
        wait_s = _WAIT_S[p.image_reliability]
        self._grouping = Grouping[Picture](p.cameras, self._within_ns, wait_s)
        self.parts = [f'camera_{i}' for i in range(p.cameras)] if p.cameras > 1 else ['camera']
        hooks = CameraHooks(tree, self._on_picture, restart, self._number, self._wants)
        self._cameras = [CameraInput(node, p, health, hooks, part) for part in self.parts]
        self._timer = node.create_timer(wait_s / 4, self._hand_on, clock=steady_clock())
        if p.cameras == 1:
            self._timer.cancel()  # nothing waits for others

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        for camera in self._cameras:
            camera.close()

    @property
    def topic(self) -> str:
        """Where images come from."""
        return ', '.join(camera.topic for camera in self._cameras)

    @property
    def left_out(self) -> int:
        """Images so far that were not handed on."""
        return self._too_late + sum(camera.left_out for camera in self._cameras)

    def restart(self) -> None:
        """Stamps start anew."""
        self._grouping.clear()
        self._taken_ns = None
        for camera in self._cameras:
            camera.restart()

    def flush(self) -> None:
        """Hand on what can be by now."""
        for camera in self._cameras:
            camera.flush()
        self._hand_on()

    def check(self) -> None:
        """Tell health how the cameras are; call it about once a second."""
        for camera in self._cameras:
            camera.check(self.parameters.image_timeout_s)

    def _number(self) -> int:
        self.received += 1
        return self.received

    def _wants(self, stamp_ns: int) -> bool:
        """Whether an image is to be handed on; of a moment all are, or none."""
        if not (self.wanted or self.urgent):
            return False
        since_ns = stamp_ns - self._taken_ns if self._taken_ns is not None else None
        if since_ns is not None and abs(since_ns) <= self._within_ns:
            return True
        rate = self.parameters.max_rate_hz
        if rate and since_ns is not None and since_ns < 0.9e9 / rate and not self.urgent:
            return False
        self._taken_ns = stamp_ns
        return True

    def _on_picture(self, picture: Picture) -> None:
        if len(self.parts) == 1:
            self._take((picture,))
            return
        camera = self.parts.index(picture.part)
        if self._grouping.add(camera, picture.stamp_ns, picture, monotonic()):
            self._hand_on()
            return
        self._too_late += 1
        self._health.fault(
            picture.part,
            f'{picture.topic}: an image came after the others of its moment had gone; is the '
            'camera slow, or dated by another clock?',
        )

    def _hand_on(self) -> None:
        for pictures in self._grouping.ready(monotonic()):
            self._take(tuple(pictures))


def _check_rig(parameters: LocalizerParameters) -> None:
    """Refuse what tells one camera from others only.

    Raises:
        VlocError: for it.
    """
    if not parameters.base_frame:
        raise VlocError(
            f'{parameters.cameras} cameras, but base_frame is empty',
            'set it to the frame that the cameras are mounted on',
        )
    if parameters.camera_file:
        raise VlocError(
            f'{parameters.cameras} cameras, but camera_file is of one',
            'let each camera publish its camera_info',
        )
