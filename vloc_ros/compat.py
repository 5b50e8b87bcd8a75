"""What ROS 2 distributions call differently, from Humble on."""

from rclpy.clock import Clock, ClockType  # pyright: ignore[reportPrivateImportUsage]

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

__all__ = ['PublisherEventCallbacks', 'SubscriptionEventCallbacks', 'steady_clock', 'wall_clock']


def steady_clock() -> Clock:
    """A clock that goes on whatever /clock does."""
    return Clock(clock_type=ClockType.STEADY_TIME)


def wall_clock() -> Clock:
    """The time of day."""
    return Clock(clock_type=ClockType.SYSTEM_TIME)
