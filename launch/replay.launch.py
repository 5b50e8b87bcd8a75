"""A recording is played, and the localizer runs on it; ends with the recording.

    ros2 launch vloc_ros replay.launch.py bag:=run2 map:=site

The topics are those of a RealSense; name others with image:= and camera_info:=. A map -> odom in
the recording is left out, because the localizer publishes its own.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

RELOCALIZE = Path(get_package_share_directory('vloc_ros')) / 'launch' / 'relocalize.launch.py'
ARGUMENTS = {
    'bag': (None, 'The recording.'),
    'map': (None, 'The folder of the map.'),
    'image': ('/camera/color/image_raw', 'Image topic.'),
    'camera_info': ('/camera/color/camera_info', 'CameraInfo topic.'),
    'image_transport': ('compressed', 'raw or compressed; compressed takes IMAGE/compressed.'),
    'rate': ('1.0', 'This much faster than recorded.'),
    'loop': ('false', 'Begin again at the end.'),
    'start_s': ('0.0', 'Skip this much.'),
    'log_level': ('info', 'debug, info, warn or error.'),
}


def generate_launch_description() -> LaunchDescription:
    """The arguments, the localizer and the player."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=words)
        for name, (default, words) in ARGUMENTS.items()
    ]
    passed = ('map', 'image', 'camera_info', 'image_transport', 'log_level')
    types = {'bag': str, 'rate': float, 'start_s': float, 'loop': bool}
    localizer = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(RELOCALIZE)),
        launch_arguments=[
            *[(name, LaunchConfiguration(name)) for name in passed],
            ('use_sim_time', 'true'),
        ],
    )
    player = Node(
        package='vloc_ros',
        executable='bag_player_node',
        name='bag_player',
        parameters=[
            {
                **{
                    name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                    for name, kind in types.items()
                },
                'without_transforms': 'map->odom',
            }
        ],
        output='screen',
        on_exit=Shutdown(),
    )
    return LaunchDescription([*declared, localizer, player])
