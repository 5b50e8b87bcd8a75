"""A recording becomes a map: ``vloc map`` as a node, for ``ros2 run`` and ``ros2 launch``.

Progress goes to /diagnostics and the log. Ctrl-C or ~/cancel stops it; the same command then goes
on where it was. Exit code: 0 a map was made, 2 it could not be, 130 it was stopped.
"""

import sys
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from vloc_models.errors import BagError, MapError, VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.mapping.make_map import make_map
from vloc_models.mapping.self_test import in_words
from vloc_ros.compat import steady_clock
from vloc_ros.declare import declare
from vloc_ros.health import Health
from vloc_ros.outputs import Diagnostics
from vloc_ros.parameters import MappingParameters
from vloc_ros.running import Stop, run

_SAY_S = 5.0
_STOPPED = 130  # as a shell tells Ctrl-C


class _CancelledError(Exception):
    """Raised in the work's own thread, to end it at a step's border."""


class MappingNode(Node):
    """See docs/parameters.md for its parameters. The map is made on a thread of its own."""

    _thread: Thread | None = None  # rclpy destroys nodes, too, whose making has failed

    def __init__(self, **kwargs: Any) -> None:
        """Begin at once; ``kwargs`` go to the node.

        Raises:
            VlocError: for a parameter that makes no sense.
        """
        super().__init__('vloc_mapping', **kwargs)
        self.parameters = p = declare(MappingParameters, self)
        if not p.bag:
            raise BagError('the parameter bag is empty', 'set it: -p bag:=RECORDING')
        if not p.map:
            raise MapError('the parameter map is empty', 'name the folder to make: -p map:=FOLDER')
        self._health = Health(self.get_logger().warning)
        self._diagnostics = Diagnostics(self)
        self._cancelled = Event()
        self._result: VlocError | Stop | None = None
        self._said = ('', float('-inf'))
        self._ended = self.create_guard_condition(self._on_end)
        self.create_timer(
            1.0, lambda: self._diagnostics.publish(self._health), clock=steady_clock()
        )
        self.create_service(Trigger, '~/cancel', self._cancel)
        self._thread = Thread(target=self._run, name='vloc-mapping', daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop the work at the next step's border; what is done is kept for the next time."""
        if self._thread is not None:
            self._cancelled.set()
            self._thread.join(timeout=30.0)
        super().destroy_node()

    def _run(self) -> None:
        try:
            self._make_map()
            self._result = Stop(0)
        except _CancelledError:
            self._result = Stop(_STOPPED)
        except VlocError as e:
            self._result = e
        except Exception as e:  # a bug of ours: told in full, and the exit code is not 0
            self._result = VlocError(f'{type(e).__name__}: {e}', 'please report this')
            self.get_logger().error(f'the map could not be made: {e!r}')
        try:
            self._ended.trigger()
        except RuntimeError:  # Ctrl-C came first
            return

    def _make_map(self) -> None:
        p = self.parameters
        options = BagOptions(
            image_topics=p.image_topics,
            depth_topics=p.depth_topics,
            camera=Path(p.camera_file).expanduser() if p.camera_file else None,
            poses=p.poses,
            map_frame=p.map_frame,
            odom_frame=p.odom_frame,
            base_frame=p.base_frame,
        )
        config = MappingConfig(
            seed=p.seed,
            device=p.device,
            max_images=p.max_images,
            method=p.method,
            depth=p.depth,
            prior=p.prior,
        )
        bags = [Path(bag).expanduser() for bag in p.bag]
        with open_source(bags, options) as source:
            out = Path(p.map).expanduser()
            made = make_map(source, list(p.bag), out, config, self._report)
        figures = made.info.provenance.self_test
        size, seconds = made.size_bytes() / 1e6, figures.get('map_seconds') or 0.0
        self.get_logger().info(f'written: {out} ({size:.1f} MB, {seconds:.0f} s)')
        self.get_logger().info(f'self-test {in_words(figures)}')

    def _report(self, step: str, done: int, total: int) -> None:
        if self._cancelled.is_set():
            raise _CancelledError
        self._health.set('mapping', 'ok', step, done=done, of=total)
        said, said_s = self._said
        if step != said or monotonic() - said_s >= _SAY_S or done == total:
            self._said = step, monotonic()
            self.get_logger().info(f'{step}: {done} of {total}')

    def _tell(self) -> None:
        self._diagnostics.publish(self._health)

    def _cancel(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._cancelled.set()
        words = 'stopping; the same parameters go on where it was'
        response.success, response.message = True, words
        return response

    def _on_end(self) -> None:
        assert self._result is not None
        raise self._result


def main() -> int:
    """Run the node; returns the exit code."""
    return run(MappingNode, interrupted=_STOPPED)


if __name__ == '__main__':
    sys.exit(main())
