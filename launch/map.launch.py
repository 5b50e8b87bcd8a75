"""A recording becomes a map; ends when it is made.

    ros2 launch vloc_ros map.launch.py bag:=run1 map:=site

Interrupted with Ctrl-C, the same command goes on where it was.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from launch import LaunchDescription

CONFIG = Path(get_package_share_directory('vloc_ros')) / 'config' / 'mapping.yaml'


def generate_launch_description() -> LaunchDescription:
    """The arguments and the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='The recording, with poses.'),
            DeclareLaunchArgument('map', description='The folder of the map to make.'),
            DeclareLaunchArgument(
                'params_file', default_value=str(CONFIG), description='Other parameters.'
            ),
            DeclareLaunchArgument(
                'log_level', default_value='info', description='debug, info, warn or error.'
            ),
            Node(
                package='vloc_ros',
                executable='mapping_node',
                name='vloc_mapping',
                parameters=[
                    ParameterFile(LaunchConfiguration('params_file'), allow_substs=True),
                    {
                        name: ParameterValue(LaunchConfiguration(name), value_type=str)
                        for name in ('bag', 'map')
                    },
                ],
                arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
                output='screen',
                sigterm_timeout='60',  # it ends at the next border of its work
                on_exit=Shutdown(),
            ),
        ]
    )
