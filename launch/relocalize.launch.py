"""The localizer on a robot.

    ros2 launch vloc_ros relocalize.launch.py map:=site image:=/camera/color/image_raw \
        camera_info:=/camera/color/camera_info

All parameters, with their meaning: config/relocalize.yaml. ``--show-args`` lists the arguments.
"""

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

CONFIG = Path(get_package_share_directory('vloc_ros')) / 'config' / 'relocalize.yaml'
ARGUMENTS = {
    'map': ('', 'Folder of the map, as "vloc map" or mapping_node made it.'),
    'image': ('image', 'Image topic.'),
    'camera_info': ('camera_info', 'CameraInfo topic.'),
    'image_transport': ('', 'raw or compressed; compressed takes IMAGE/compressed.'),
    'odom': ('', 'nav_msgs/Odometry topic. Empty: the transform odom -> base_link.'),
    'profile': (
        '',
        'Who owns map -> odom. nav2: we do. ekf: a filter does, from ~/pose. amcl: AMCL does, and '
        'gets initialpose from us. Empty: as params_file says.',
    ),
    'use_sim_time': ('', 'true takes the time from /clock: simulation, or a bag.'),
    'namespace': ('', 'Namespace of the node; /tf becomes relative to it.'),
    'params_file': (str(CONFIG), 'Parameters; what is given here wins over it.'),
    'autostart': ('', 'true configures and activates at once; false under a lifecycle manager.'),
    'log_level': ('info', 'debug, info, warn or error.'),
}


def generate_launch_description() -> LaunchDescription:
    """The arguments, and the node made of them."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=words)
        for name, (default, words) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=localizer)])


def localizer(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node; only the parameters that were given are set beside the file's."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    parameters: dict[str, Any] = {
        name: ParameterValue(given[name], value_type=str)  # a map named 7 stays a text
        for name in ('map', 'image_transport', 'profile')
        if given[name]
    }
    for name in ('use_sim_time', 'autostart'):
        if given[name]:
            parameters[name] = truth(name, given[name])
    if given['odom']:
        parameters['odom_source'] = 'topic'
    tf = [('/tf', 'tf'), ('/tf_static', 'tf_static')] if given['namespace'] else []
    params_file = Path(given['params_file']).expanduser()
    node = Node(
        package='vloc_ros',
        executable='localizer_node',
        name='vloc_localizer',
        namespace=given['namespace'],
        parameters=[
            ParameterFile(params_file, allow_substs=True),
            parameters,
        ],
        remappings=[
            *[(name, given[name]) for name in ('image', 'camera_info', 'odom') if given[name]],
            *tf,
        ],
        arguments=['--ros-args', '--log-level', given['log_level']],
        output='screen',
    )
    return [node]


def truth(name: str, words: str) -> bool:
    """True or false; anything else is a mistake."""
    if words.lower() not in ('true', 'false'):
        raise ValueError(f'{name}:={words}: give true or false')
    return words.lower() == 'true'
