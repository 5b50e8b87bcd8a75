"""The launch files name what there is. They are run for real where ROS 2's launch is."""

import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 here')

from vloc_ros.parameters import LocalizerParameters, MappingParameters, PlayerParameters, files

ROOT = Path(__file__).parent.parent.parent
LAUNCH = sorted((ROOT / 'launch').glob('*.launch.py'))
KNOWN = {
    *LocalizerParameters.__dataclass_fields__,
    *MappingParameters.__dataclass_fields__,
    *PlayerParameters.__dataclass_fields__,
    'use_sim_time',
}


def test_the_written_files_are_those_of_the_table() -> None:
    for name, text in files().items():
        assert (ROOT / name).read_text('utf-8') == text, 'run python -m vloc_ros.parameters'


def test_the_parameter_files_are_yaml_that_ros_reads() -> None:
    for path in sorted((ROOT / 'config').glob('*.yaml')):
        (node, body), *rest = yaml.safe_load(path.read_text()).items()
        assert not rest
        assert node == '/**'
        assert set(body['ros__parameters']) <= KNOWN


def test_executables_are_installed() -> None:
    setup = (ROOT / 'setup.py').read_text()
    for path in LAUNCH:
        for name in re.findall(r"executable='(\w+)'", path.read_text()):
            assert f'{name} = vloc_ros.{name}:main' in setup
            assert (ROOT / 'vloc_ros' / f'{name}.py').is_file()


def test_there_are_three() -> None:
    names = [path.name.removesuffix('.launch.py') for path in LAUNCH]
    assert names == ['map', 'relocalize', 'replay']


@pytest.mark.parametrize('path', LAUNCH, ids=lambda path: path.name)
def test_its_arguments_are_described(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = pytest.importorskip('launch.actions', reason='no ROS 2 launch here')
    packages = pytest.importorskip('ament_index_python.packages')
    monkeypatch.setattr(packages, 'get_package_share_directory', lambda name: str(ROOT))
    space: dict = {'__file__': str(path)}
    exec(compile(path.read_text(), str(path), 'exec'), space)
    declared = [
        entity
        for entity in space['generate_launch_description']().entities
        if isinstance(entity, launch.DeclareLaunchArgument)
    ]
    assert declared
    assert all(one.description.endswith('.') for one in declared)
