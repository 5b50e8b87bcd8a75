"""How every node of ours starts, spins and ends: one line for errors, and an exit code."""

import logging
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node

from vloc_models.errors import VlocError

_MOST_ERRORS = 100  # in a row, before we give up


class Stop(Exception):  # noqa: N818 - no error
    """Raised in a callback: the node has done its work."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _ToRos(logging.Handler):
    """What our library logs, by ROS's logger."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one line on."""
        ros, text = get_logger('vloc'), self.format(record)
        if record.levelno >= logging.ERROR:
            ros.error(text)
        elif record.levelno >= logging.WARNING:
            ros.warning(text)
        else:
            ros.info(text)


def run(make: Callable[[], Node], args: list[str] | None = None, interrupted: int = 0) -> int:
    """Make a node and spin it until Ctrl-C, SIGTERM or ``Stop``; returns the exit code.

    0 is well, 2 what the user can put right, ``interrupted`` is told after Ctrl-C. A callback that
    raises is logged; spinning goes on.
    """
    logging.basicConfig(format='%(message)s', handlers=[_ToRos()], force=True)
    logging.getLogger('vloc_models').setLevel(logging.INFO)
    node: Node | None = None
    try:
        rclpy.init(args=sys.argv if args is None else args)
        node = make()
        return _spin(node) or interrupted
    except VlocError as e:
        get_logger('vloc').fatal(f'{e.what}; {e.fix}')
        return 2
    except Stop as stop:
        return stop.code
    except (KeyboardInterrupt, ExternalShutdownException):
        return interrupted
    except RuntimeError as e:  # rcl: arguments or a parameter file it cannot read
        get_logger('vloc').fatal(
            f'{str(e).splitlines()[0]}; check the arguments behind --ros-args'
        )
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()


def _spin(node: Node) -> int:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    errors = 0
    try:
        while rclpy.ok() and errors < _MOST_ERRORS:
            errors = 0 if _spin_once(executor, node) else errors + 1
    finally:
        executor.shutdown(timeout_sec=1.0)
    return 2 if errors else 0


def _spin_once(executor: SingleThreadedExecutor, node: Node) -> bool:
    """One callback; False if it raised what is no reason to end."""
    try:
        executor.spin_once(timeout_sec=1.0)
    except (KeyboardInterrupt, ExternalShutdownException, Stop, VlocError):
        raise
    except Exception as e:  # e.g. a message that is no text where text must be
        if rclpy.ok():  # else it was Ctrl-C, in the middle of something
            node.get_logger().error(f'{type(e).__name__}: {e}; going on')
            return False
    return True
