"""Who owns map -> odom: a profile sets the switches of what is published."""

from collections.abc import Sequence
from dataclasses import replace

from rclpy.node import Node
from rclpy.parameter import Parameter

from vloc_models.errors import VlocError
from vloc_ros.declare import changed, declare
from vloc_ros.parameters import LocalizerParameters

# nav2 leaves the switches as they are, so that they still can be set one by one
_SWITCHES: dict[str, dict[str, bool]] = {
    'nav2': {},
    'ekf': {'publish_tf': False, 'publish_initialpose': False},
    'amcl': {'publish_tf': False, 'publish_initialpose': True},
}


def declare_with_profile(node: Node) -> LocalizerParameters:
    """Declare all parameters of the localizer, with what their profile sets.

    A parameter file may list all defaults, so that a default is no contradiction: the profile
    wins over it, and "ros2 param get" then tells what holds.

    Raises:
        VlocError: for a value that makes no sense, or that contradicts the profile.
    """
    given, defaults = declare(LocalizerParameters, node), LocalizerParameters()
    told = _SWITCHES[given.profile]
    for name, value in told.items():
        if getattr(given, name) not in (value, getattr(defaults, name)):
            raise _contradiction(given.profile, name)
    node.set_parameters([Parameter(name, value=value) for name, value in told.items()])
    return replace(given, **told)


def changed_within_profile(
    values: LocalizerParameters, given: Sequence[Parameter]
) -> LocalizerParameters:
    """With other values, as a node's on-set callback gets them.

    Raises:
        VlocError: if one is not among the choices, or contradicts the profile.
    """
    told = _SWITCHES[values.profile]
    for one in given:
        if told.get(one.name, one.value) != one.value:
            raise _contradiction(values.profile, one.name)
    return changed(values, given)


def _contradiction(profile: str, name: str) -> VlocError:
    value = str(_SWITCHES[profile][name]).lower()
    what = f'parameter {name}: the profile {profile} sets it to {value}'
    return VlocError(what, 'leave it out, or start the node with another profile')
