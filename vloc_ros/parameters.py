"""Every parameter of every node.

``python -m vloc_ros.parameters`` writes docs/parameters.md and the files of config/.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vloc_ros.declare import commented_yaml, markdown_table, param


@dataclass(frozen=True)
class LocalizerParameters:
    """What a user can set on ``localizer_node``."""

    map: str = param(
        '',
        'Folder of the map, as "vloc map" made it. Set anew, it is read by ~/reload_map.',
        live=True,
    )
    autostart: bool = param(
        True, 'Configure and activate by itself. Off where a lifecycle manager does that.'
    )
    image_transport: str = param(
        'raw',
        'raw: image is a sensor_msgs/Image. compressed: image/compressed is subscribed to, '
        'a CompressedImage.',
        choices=('raw', 'compressed'),
    )
    image_reliability: str = param(
        'best_effort',
        'best_effort: of the newest image, older ones are skipped. reliable: every '
        'image is solved in its turn, for replay.',
        choices=('best_effort', 'reliable'),
    )
    cameras: int = param(
        1,
        'How many cameras the robot has. From 2 on they are a rig: camera_0/image, '
        'camera_0/camera_info, camera_1/image and so on.',
        (1, 8),
    )
    rig_tolerance_s: float = param(
        0.02,
        "Images of a rig's cameras are of one moment if their stamps differ by no more; less "
        'than half of the time between two images of a camera.',
        (0.0, 1.0),
    )
    camera_file: str = param(
        '', 'Calibration (yaml of camera_calibration) to use in place of camera_info.'
    )
    map_frame: str = param('map', 'Frame of the map.')
    odom_frame: str = param(
        'odom',
        'Frame of odometry. Empty: there is none, and map -> base is published instead of '
        'map -> odom.',
    )
    base_frame: str = param(
        'base_link', "The robot's body. Empty: the camera itself, whose frame the images name."
    )
    odom_source: str = param(
        'tf',
        'tf: the transform odom -> base. topic: nav_msgs/Odometry on odom.',
        choices=('tf', 'topic'),
    )
    profile: str = param(
        'nav2',
        'Who owns map -> odom. nav2: we do. ekf: a filter does, from ~/pose. amcl: AMCL does, and '
        'gets initialpose from us. ekf and amcl set the two switches below.',
        choices=('nav2', 'ekf', 'amcl'),
    )
    publish_tf: bool = param(
        True, 'Publish the transform. Off with the profiles ekf and amcl.', live=True
    )
    publish_initialpose: bool = param(
        False,
        'Publish the first accepted pose, and the first after every loss, on initialpose. On with '
        'the profile amcl, off with ekf.',
        live=True,
    )
    tf_rate_hz: float = param(30.0, 'How often map -> odom is published.', (1.0, 200.0))
    transform_tolerance_s: float = param(
        0.2,
        'map -> odom is dated this much ahead, so that nobody waits for it.',
        (0.0, 2.0),
        live=True,
    )
    max_rate_hz: float = param(
        0.0,
        'Solve no more frames a second, to leave time to others. 0: as many as can be.',
        (0.0, 1000.0),
        live=True,
    )
    threads: int = param(0, 'Processor cores for the networks. 0: all.', (0, 256))
    precision: Literal['float32', 'int8'] = param(
        'float32',
        'Of the encoder. int8 is quicker on most processors, and hardly less precise.',
        choices=('float32', 'int8'),
    )
    image_timeout_s: float = param(
        2.0, 'With no image for this long, diagnostics warn and say why.', (0.1, 60.0), live=True
    )
    odom_timeout_s: float = param(
        1.0, 'With no odometry for this long, diagnostics warn.', (0.1, 60.0), live=True
    )
    fresh_s: float = param(
        2.0, 'Without odometry, an accepted fix is told for this long.', (0.1, 600.0)
    )
    use_prior: bool = param(
        True,
        'Look first where odometry leads, which is quicker, and tells places that look alike. '
        'Off: each image is localized on its own, as "vloc locate" does.',
        live=True,
    )
    planar: bool = param(
        False, 'The robot stands upright on the floor z = 0 of the map: x, y and yaw are fused.'
    )
    odom_drift: float = param(
        0.02, 'Error of odometry in position, as a share of the way.', (0.0, 1.0)
    )
    odom_drift_rad_m: float = param(
        0.02, 'Error of odometry in heading, in radians a metre.', (0.0, 1.0)
    )
    unsure_m: float = param(
        0.3,
        'The track is unsure once its position is known no better (standard deviation), and '
        'localized again from half of that on.',
        (0.01, 10.0),
    )
    blend_mps: float = param(
        0.1, 'Small corrections move the robot in the map no faster than this.', (0.001, 10.0)
    )
    blend_rad_s: float = param(0.1, 'And turn it no faster than this.', (0.001, 10.0))
    snap_m: float = param(
        0.5, 'Corrections larger than this are made at once, and logged.', (0.0, 100.0)
    )
    max_gap_s: float = param(0.5, 'Odometry is not interpolated over longer gaps.', (0.01, 10.0))
    relocalize_timeout_s: float = param(
        5.0, 'How long ~/relocalize waits for an image.', (0.1, 60.0), live=True
    )


@dataclass(frozen=True)
class MappingParameters:
    """What a user can set on ``mapping_node``."""

    bag: tuple[str, ...] = param((), 'The recording or recordings, in any form "vloc map" takes.')
    map: str = param('', 'The folder of the map to make; an old map there is replaced at the end.')
    image_topics: tuple[str, ...] = param((), 'Image topics, one a camera. Empty: found.')
    depth_topics: tuple[str, ...] = param(
        (), 'Depth topics, one an image topic; none: do without. Empty: found.'
    )
    camera_file: str = param(
        '', 'Calibration (yaml of camera_calibration) to use in place of camera_info.'
    )
    poses: str = param('auto', 'Where poses come from: auto, truth, tf, a topic, a TUM file.')
    map_frame: str = param('map', 'Frame of the map.')
    odom_frame: str = param('odom', 'Frame of odometry.')
    base_frame: str = param('base_link', "The robot's body. Empty: the first camera.")
    max_images: int = param(1000, 'Pictures kept in memory, evenly along the way.', (10, 100_000))
    seed: int = param(0, 'Of all that is drawn at random.', (0, 2**31))
    device: str = param('cpu', 'Where the network is trained.', choices=('cpu', 'cuda'))
    method: Literal['ace', 'hscnet'] = param(
        'ace',
        'Which network is trained: ace, or hscnet for many rooms where depth is known.',
        choices=('ace', 'hscnet'),
    )
    depth: Literal['auto', 'sensor', 'self', 'none'] = param(
        'auto',
        "auto: the recording's, if any; self: learned from its pictures; sensor; none.",
        choices=('auto', 'sensor', 'self', 'none'),
    )
    prior: bool = param(
        False, 'Train a pose prior too, minutes more: a coarse guess where no pose is found.'
    )


@dataclass(frozen=True)
class PlayerParameters:
    """What a user can set on ``bag_player_node``."""

    bag: str = param('', 'The recording: a rosbag2 folder, a .mcap, .db3 or .bag file.')
    rate: float = param(1.0, 'This much faster than recorded.', (0.01, 100.0))
    loop: bool = param(False, 'Begin again at the end; /clock then goes back.')
    start_s: float = param(0.0, 'Skip this much from the beginning.', (0.0, 1e8))
    duration_s: float = param(0.0, 'Play no more than this much. 0: all.', (0.0, 1e8))
    clock: bool = param(True, 'Publish /clock; let the other nodes use_sim_time.')
    topics: tuple[str, ...] = param((), 'Play these topics only. Empty: all.')
    without: tuple[str, ...] = param((), 'Leave these topics out.')
    without_transforms: tuple[str, ...] = param(
        (), 'Leave these transforms out of /tf, such as map->odom of a mapping run.'
    )
    wait_s: float = param(
        10.0, 'Wait up to this long until somebody subscribes to an image topic.', (0.0, 600.0)
    )
    until_read_s: float = param(
        5.0, 'At the end, wait up to this long until subscribers have everything.', (0.0, 600.0)
    )


NODES = {
    'localizer_node': LocalizerParameters,
    'mapping_node': MappingParameters,
    'bag_player_node': PlayerParameters,
}
_HEAD = """# Parameters of the nodes

Written by `python -m vloc_ros.parameters` from `vloc_ros/parameters.py`, as `config/` is.
`live` ones may be set while the node runs (`ros2 param set`); the others are read at its start.
"""


def files() -> dict[str, str]:
    """The files that are written from the tables above, by their path in the repository."""
    tables = [f'## {name}\n{markdown_table(cls)}' for name, cls in NODES.items()]
    return {
        'docs/parameters.md': '\n'.join([_HEAD, *tables]),
        'config/relocalize.yaml': commented_yaml(LocalizerParameters, 'localizer_node'),
        'config/mapping.yaml': commented_yaml(MappingParameters, 'mapping_node'),
    }


if __name__ == '__main__':
    for path, text in files().items():
        (Path(__file__).parent.parent / path).write_text(text, 'utf-8')
