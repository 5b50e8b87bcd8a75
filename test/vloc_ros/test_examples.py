"""The example configurations are yaml for ROS, and name our topics and parameters as they are."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 here')

from vloc_ros.parameters import LocalizerParameters

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / 'config' / 'examples').glob('*'))
PUBLISHED = {
    f'/vloc_localizer/{name}'
    for name in re.findall(r"'~/([\w/]+)'", (ROOT / 'vloc_ros' / 'outputs.py').read_text())
}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / 'config' / 'examples' / f'{name}.yaml').read_text())


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """The parameters of each node, which may be in namespaces."""
    for name, inside in tree.items():
        if name == 'ros__parameters':
            yield inside
        else:
            assert isinstance(inside, dict), f'{name} is no node'
            yield from nodes(inside)


def texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, (dict, list)):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from texts(value)


def test_there_are_three_and_they_are_installed() -> None:
    assert [path.name for path in EXAMPLES] == [
        'fuse.yaml',
        'nav2.yaml',
        'robot_localization.yaml',
    ]
    assert "Path('config/examples').glob('*')" in (ROOT / 'setup.py').read_text()


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.name)
def test_every_block_is_the_parameters_of_a_node(path: Path) -> None:
    found = list(nodes(yaml.safe_load(path.read_text())))
    assert found
    assert all(found)
    for text in texts(found):
        if 'vloc' in text and text.startswith('/'):
            assert text in PUBLISHED


def test_nav2_gets_no_amcl_and_no_bond() -> None:
    nav2 = read('nav2')
    assert 'amcl' not in nav2
    ours = nav2['vloc_localizer']['ros__parameters']
    defaults = LocalizerParameters()
    assert {type(getattr(defaults, name)) for name in ours} == {type(x) for x in ours.values()}
    assert ours['profile'] == 'nav2'
    manager = nav2['lifecycle_manager_localization']['ros__parameters']
    assert manager['node_names'] == ['map_server', 'vloc_localizer']
    assert manager['bond_timeout'] == 0.0
    assert not ours['autostart']
    frames = {p['global_frame'] for p in nodes(nav2) if 'global_frame' in p}
    assert frames == {defaults.map_frame, defaults.odom_frame}


def test_robot_localization_gets_our_pose_in_the_map_filter_alone() -> None:
    local, world = nodes(read('robot_localization'))
    assert not any(name.startswith('pose') for name in local)
    assert world['pose0'] == '/vloc_localizer/pose'
    assert world['world_frame'] == world['map_frame']
    assert local['world_frame'] == local['odom_frame']
    for one in (local, world):
        assert all(len(x) == 15 for name, x in one.items() if name.endswith('_config'))
    at = [i for i, used in enumerate(world['pose0_config']) if used]
    assert at == [0, 1, 5]  # x, y and yaw
    unsure = world['initial_estimate_covariance']
    assert len(unsure) == 15 * 15
    assert all(isinstance(x, float) for x in unsure)  # ROS takes no lists of mixed numbers
    assert min(unsure[16 * i] for i in at) >= 1000
    assert sum(map(bool, unsure)) == 15


def test_fuse_gets_our_pose() -> None:
    (fuse,) = nodes(read('fuse'))
    models = {**fuse['sensor_models'], **fuse['publishers'], **fuse['motion_models']}
    assert all(name in fuse for name in models)
    assert fuse['vloc']['topic'] == '/vloc_localizer/pose'
    assert fuse['filtered']['world_frame_id'] == fuse['filtered']['map_frame_id']
    assert len(fuse['start']['initial_state']) == len(fuse['start']['initial_sigma']) == 8
