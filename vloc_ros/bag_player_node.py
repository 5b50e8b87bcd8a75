"""A recording onto topics, with /clock: where there is no ``ros2 bag play``.

Messages go out as they were recorded, byte for byte. Topics are remapped as for any node:
``--ros-args -r /camera/color/image_raw:=/image``.
"""

import sys
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.recording import RawMessage, Recording
from vloc_ros.declare import declare
from vloc_ros.parameters import PlayerParameters
from vloc_ros.running import Stop, run

_CLOCK_NS = 10**7  # /clock is never further behind than this
_SETTLE_S = 0.5  # from the first subscriber on, for the others
_SAY_S = 10.0
_SLICE_S, _NO_TIME = 0.05, Duration(nanoseconds=1)


class BagPlayerNode(Node):
    """See docs/parameters.md for its parameters. It plays on a thread of its own."""

    _thread: Thread | None = None  # rclpy destroys nodes, too, whose making has failed

    def __init__(self, **kwargs: Any) -> None:
        """Open the bag; ``kwargs`` go to the node.

        Raises:
            VlocError: if there is no bag, it is damaged, or nothing of it can be played.
        """
        super().__init__('bag_player', **kwargs)
        self.parameters = p = declare(PlayerParameters, self)
        if not p.bag:
            raise BagError('the parameter bag is empty', 'set it: -p bag:=FOLDER')
        self._recording = Recording(Path(p.bag).expanduser())
        self._out = self._published(self._chosen())
        self._time = self.create_publisher(Clock, '/clock', 10) if p.clock else None
        self._first_ns = self._recording.start_ns + round(p.start_s * 1e9)
        self._left_out = {_transform(words) for words in p.without_transforms}
        self._skipped: set[str] = set()
        self._told_ns = -1
        self._played = 0
        self._stopped = Event()
        self._result: VlocError | None = None
        self._ended = self.create_guard_condition(self._on_end)
        self._thread = Thread(target=self._run, name='bag-player', daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop, and close the bag."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join()
            self._recording.close()
        super().destroy_node()

    def _chosen(self) -> list[str]:
        p, there = self.parameters, self._recording.topics
        if missing := [t for t in p.topics if t not in there]:
            what = f'{p.bag}: no topic {", ".join(missing)}; there are {", ".join(there)}'
            raise BagError(what, 'correct the parameter topics')
        return [t for t in p.topics or there if t not in p.without and t != '/clock']

    def _published(self, topics: list[str]) -> dict[str, Publisher]:
        publishers = {}
        for name in topics:
            kind = self._recording.topics[name].msgtype
            message = _message_class(kind)
            if message is None:
                self.get_logger().warning(f'{name} is left out: {kind} is not installed')
                continue
            qos = QoSProfile(depth=100)
            if name.endswith('tf_static'):
                qos.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
            publishers[name] = self.create_publisher(message, name, qos)
        if not publishers:
            raise BagError(f'{self.parameters.bag}: no topic to play', 'check topics and without')
        return publishers

    def _on_end(self) -> None:
        if self._result is not None:
            raise self._result
        raise Stop(0)

    def _run(self) -> None:
        try:
            self._await_subscribers()
            self._play()
            while self.parameters.loop and not self._stopped.is_set():
                self.get_logger().info('the end; beginning again')
                self._told_ns = -1
                self._play()
            self._await_readers()
        except VlocError as e:
            self._result = e
        except Exception as e:  # after Ctrl-C nothing can be published any more
            self._result = VlocError(f'{type(e).__name__}: {e}', 'please report this')
        if self.context.ok():
            self._ended.trigger()

    def _await_subscribers(self) -> None:
        """Wait until somebody listens to the images, or for long enough."""
        kinds = self._recording.topics
        images = [out for name, out in self._out.items() if kinds[name].msgtype.endswith('Image')]
        until_s = monotonic() + self.parameters.wait_s
        while not any(out.get_subscription_count() for out in images or self._out.values()):
            if monotonic() >= until_s:
                if self.parameters.wait_s:
                    self.get_logger().warning('nobody listens to the images; playing all the same')
                return
            if self._stopped.wait(0.1):
                return
        self._stopped.wait(_SETTLE_S)

    def _play(self) -> None:
        """Once from the beginning to the end."""
        p, names, first = self.parameters, set(self._out), self._first_ns
        stop = first + (round(p.duration_s * 1e9) if p.duration_s else 1 << 62)
        for message in self._recording.messages({n for n in names if n.endswith('tf_static')}):
            if message.log_ns < first:  # skipped, but it holds for all that comes
                self._publish(message)
        self.get_logger().info(f'playing {p.bag}, {len(names)} topics, at rate {p.rate:g}')
        began_s = said_s = monotonic()
        before = self._played
        for message in self._recording.messages(names, first, stop):
            if not self._sleep_until(message.log_ns, began_s):
                return
            self._tell_time(message.log_ns)
            self._publish(message)
            if monotonic() - said_s >= _SAY_S:
                said_s = monotonic()
                passed_s, all_s = (message.log_ns - first) / 1e9, self._recording.duration_s
                self.get_logger().info(f'{passed_s:.0f} of {all_s:.0f} s')
        if self._played == before:
            raise BagError(f'{p.bag}: nothing to play', 'check start_s, duration_s and topics')

    def _sleep_until(self, bag_ns: int, began_s: float) -> bool:
        """Sleep until that moment of the bag, and tell the time meanwhile; False: stop."""
        rate = self.parameters.rate
        while True:
            now_ns = self._first_ns + round((monotonic() - began_s) * rate * 1e9)
            if now_ns >= bag_ns:
                return not self._stopped.is_set()
            if now_ns - self._told_ns >= _CLOCK_NS:
                self._tell_time(now_ns)
            if self._stopped.wait(min((bag_ns - now_ns) / 1e9 / rate, _CLOCK_NS / 1e9)):
                return False

    def _tell_time(self, bag_ns: int) -> None:
        if self._time is not None and bag_ns > self._told_ns:
            sec, nanosec = divmod(bag_ns, 10**9)
            self._time.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))
            self._told_ns = bag_ns

    def _publish(self, message: RawMessage) -> None:
        kind = self._recording.topics[message.topic].msgtype
        try:
            data: Any = self._recording.cdr(message.raw, kind)
            if self._left_out and kind.endswith(('TFMessage', 'tfMessage')):
                data = self._thinned(data)
        except BagError as e:  # a ROS 1 message that ROS 2 has otherwise, or a damaged one
            self._skip(message.topic, e)
            return
        self._out[message.topic].publish(data)
        self._played += 1

    def _skip(self, topic: str, why: BagError) -> None:
        if topic not in self._skipped:
            self._skipped.add(topic)
            self.get_logger().warning(f'{topic}: messages are left out: {why.what}')

    def _thinned(self, data: bytes) -> TFMessage:
        """Without the transforms that are not wanted."""
        try:
            all_of = deserialize_message(data, TFMessage).transforms
        except Exception as e:  # rclpy raises several types on damaged bytes
            raise BagError(f'a damaged message: {e}', 'record again') from e
        kept = [
            t
            for t in all_of
            if (t.header.frame_id.lstrip('/'), t.child_frame_id.lstrip('/')) not in self._left_out
        ]
        return TFMessage(transforms=kept)

    def _await_readers(self) -> None:
        until_s = monotonic() + self.parameters.until_read_s
        waiting = list(self._out.values())
        while waiting and monotonic() < until_s and not self._stopped.wait(_SLICE_S):
            waiting = [out for out in waiting if not out.wait_for_all_acked(_NO_TIME)]
        self.get_logger().info(f'the end: {self._played} messages')


def _transform(words: str) -> tuple[str, str]:
    """The frames of a transform in words, parent->child."""
    parent, arrow, child = (part.strip(' /') for part in words.partition('->'))
    if not (parent and arrow and child):
        fix = 'write parent->child'
        raise BagError(f'parameter without_transforms: {words!r} is no transform', fix)
    return parent, child


def _message_class(kind: str) -> Any:
    """The class of e.g. sensor_msgs/msg/Image; None where its package is not installed."""
    kind = 'tf2_msgs/msg/TFMessage' if kind == 'tf/msg/tfMessage' else kind  # of old bags
    package, _, name = kind.partition('/msg/')
    try:
        return getattr(import_module(f'{package}.msg'), name, None)
    except ImportError:
        return None


def main() -> int:
    """Run the node; returns the exit code."""
    return run(BagPlayerNode)


if __name__ == '__main__':
    sys.exit(main())
