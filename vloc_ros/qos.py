"""Quality of service: a mismatch brings no data and no error, so it is told to the user."""

from typing import Any

from rclpy.qos import qos_policy_name_from_kind

from vloc_ros.compat import SubscriptionEventCallbacks
from vloc_ros.health import Health


def told_when_incompatible(
    health: Health, part: str, topic: str, where: str
) -> SubscriptionEventCallbacks:
    """Event callbacks for ``create_subscription``; ``where`` is the setting that must change."""

    def incompatible(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        health.fault(
            part,
            f'{topic}: a publisher offers another {policy.lower()} than is asked for, so that '
            f'nothing comes; change {where}',
        )

    return SubscriptionEventCallbacks(incompatible_qos=incompatible, use_default_callbacks=False)
