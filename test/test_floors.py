"""The floors of docs/design section 2: imports point down, and heavy imports have one home."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Lowest first. Units of one row may not import each other; a unit may import all rows below.
FLOORS = [
    ['vloc_models', 'vloc_models.weights'],  # the version and data: import nothing
    ['vloc_models.errors'],  # F0
    ['vloc_models.checks'],
    ['vloc_models.geometry'],
    ['vloc_models.records'],
    ['vloc_models.config', 'vloc_models.npz', 'vloc_models.atomic', 'vloc_models.tum'],
    ['vloc_models.map_info'],
    ['vloc_models.maps'],
    [f'vloc_models.{x}' for x in ('frames', 'networks', 'engines', 'solvers', 'metrics')],  # F1
    [f'vloc_models.{x}' for x in ('training', 'export', 'localize')],  # F2
    ['vloc_models.mapping'],  # F3
    ['vloc_models.commands', 'vloc_models.__main__', 'vloc_ros'],  # F4
]
FLOOR_OF = {unit: floor for floor, row in enumerate(FLOORS) for unit in row}
F0 = [unit for row in FLOORS[:8] for unit in row]

ROS = """rclpy rosidl_runtime_py ament_index_python cv_bridge tf2_ros tf2_msgs rosbag2_py launch
launch_ros action_msgs builtin_interfaces diagnostic_msgs geometry_msgs lifecycle_msgs nav_msgs
rcl_interfaces rosgraph_msgs sensor_msgs std_msgs std_srvs visualization_msgs"""
HOMES = {
    **{name: ['vloc_ros'] for name in ROS.split()},
    'rosbags': ['vloc_models.frames'],
    'onnx': ['vloc_models.export'],
    'onnxscript': ['vloc_models.export'],
    'onnxruntime': ['vloc_models.engines', 'vloc_models.export.to_int8'],
    'tensorrt': ['vloc_models.engines', 'vloc_models.export.to_tensorrt'],
    'sklearn': ['vloc_models.mapping'],
    'ray': ['vloc_models.mapping.on_ray'],
    'poselib': ['vloc_models.solvers.pnp'],
    'faiss': ['vloc_models.solvers.retrieval'],
    'cv2': ['vloc_models.frames', 'vloc_models.metrics.pictures'],
    'argparse': ['vloc_models.commands'],
    'tyro': ['vloc_models.commands'],
    'evo': [],  # GPL: run as a command, never imported
    'pickle': [],  # can run code
}
NO_TORCH = [*F0, 'vloc_models.localize', 'vloc_ros']  # but for geometry.tensors
PRINTERS = ['vloc_models.commands', 'vloc_models.__main__']


def breaches(root: Path) -> list[str]:
    """Every breach in the packages below ``root``, as 'file:line: what'."""
    found = []
    for package in ('vloc_models', 'vloc_ros'):
        for file in sorted((root / package).rglob('*.py')):
            where = file.relative_to(root)
            module = '.'.join(where.with_suffix('').parts).removesuffix('.__init__')
            tree = ast.parse(file.read_text())
            faults = [*import_faults(root, module, tree, file.stem), *use_faults(module, tree)]
            found += [f'{where}:{line}: {what}' for line, what in faults]
    return found


def unit_of(module: str) -> str:
    """What a module belongs to: vloc_models.geometry.se3 to vloc_models.geometry."""
    parts = module.split('.')
    return parts[0] if parts[0] == 'vloc_ros' else '.'.join(parts[:2])


def inside(module: str, homes: list[str]) -> bool:
    return any(
        module == home or (home != 'vloc_models' and module.startswith(home + '.'))
        for home in homes
    )


def import_faults(root: Path, module: str, tree: ast.AST, stem: str) -> Iterator[tuple[int, str]]:
    unit = unit_of(module)
    if unit not in FLOOR_OF:
        yield 1, f'{unit} has no floor: give it one in test_floors.py and in the design'
        return
    for line, name in imported(module, tree, stem == '__init__'):
        top = name.partition('.')[0]
        if top in ('vloc_models', 'vloc_ros'):
            other = unit_of(name if is_module(root, name) else name.rpartition('.')[0])
            if other != unit and FLOOR_OF.get(other, 99) >= FLOOR_OF[unit]:
                yield line, f'{unit} imports {other}, which is not below it'
        elif top in HOMES and not inside(module, HOMES[top]):
            yield line, f'{module} imports {top}, at home in {HOMES[top] or "nothing of ours"}'
        elif top in ('torch', 'torchvision') and without_torch(module):
            yield line, f'{module} imports {top}'


def without_torch(module: str) -> bool:
    return inside(module, NO_TORCH) and module != 'vloc_models.geometry.tensors'


def is_module(root: Path, name: str) -> bool:
    path = root.joinpath(*name.split('.'))
    return path.is_dir() or path.with_suffix('.py').is_file()


def imported(module: str, tree: ast.AST, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every import of a file, also inside functions and by import_module('...')."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                parts = module.split('.')
                above = parts[: len(parts) - level + is_package] if level else []
                base = '.'.join([*above, *([source] if source else [])])
                yield from ((node.lineno, f'{base}.{alias.name}') for alias in names)
            case ast.Call(
                func=ast.Name(id='__import__' | 'import_module')
                | ast.Attribute(attr='import_module'),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def use_faults(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """print outside of commands, sys.argv outside of the top floor."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id='print')) if not inside(module, PRINTERS):
                yield node.lineno, 'prints; use logging'
            case ast.Attribute(value=ast.Name(id='sys'), attr='argv'):
                if FLOOR_OF[unit_of(module)] != len(FLOORS) - 1:
                    yield node.lineno, 'reads sys.argv'


def test_floors() -> None:
    assert not breaches(ROOT)


def test_every_file_was_walked() -> None:
    assert (ROOT / 'vloc_models' / 'errors.py').is_file()
    assert len(FLOOR_OF) == sum(map(len, FLOORS))


@pytest.mark.parametrize(
    ('file', 'line', 'what'),
    [
        ('vloc_models/errors.py', 'from vloc_models.checks import x', 'not below'),
        ('vloc_models/errors.py', 'from vloc_models import checks', 'not below'),
        ('vloc_models/geometry/se3.py', 'import vloc_models.records', 'not below'),
        ('vloc_models/geometry/se3.py', 'from ..records import Frame', 'not below'),
        ('vloc_models/geometry/__init__.py', 'from ..records import Frame', 'not below'),
        ('vloc_models/config.py', 'from vloc_models import tum', 'not below'),
        ('vloc_models/frames/bag.py', 'from vloc_models.metrics import x', 'not below'),
        ('vloc_models/frames/bag.py', 'from vloc_models.localize import x', 'not below'),
        ('vloc_models/solvers/pnp.py', 'def f():\n    import vloc_models.engines', 'not below'),
        ('vloc_models/training/loop.py', 'from vloc_models.export import x', 'not below'),
        ('vloc_models/mapping/build.py', 'from vloc_models.commands import x', 'not below'),
        ('vloc_models/commands/a.py', 'import vloc_ros.node', 'not below'),
        ('vloc_ros/node.py', 'from vloc_models.commands import x', 'not below'),
        ('vloc_models/maps.py', 'import_module("vloc_models.frames")', 'not below'),
        ('vloc_models/helpers.py', 'pass', 'no floor'),
        ('vloc_models/helpers/x.py', 'pass', 'no floor'),
        ('vloc_models/frames/bag.py', 'from sensor_msgs.msg import Image', 'sensor_msgs'),
        ('vloc_models/commands/a.py', 'import rclpy', 'rclpy'),
        ('vloc_models/solvers/fusion.py', 'import poselib', 'poselib'),
        ('vloc_models/metrics/trajectory.py', 'import cv2', 'cv2'),
        ('vloc_models/localize/localizer.py', 'import onnxruntime', 'onnxruntime'),
        ('vloc_models/localize/localizer.py', 'from torch import nn', 'torch'),
        ('vloc_models/geometry/camera.py', 'import torch', 'torch'),
        ('vloc_models/maps.py', 'import torch.nn', 'torch'),
        ('vloc_ros/node.py', 'import torch', 'torch'),
        ('vloc_models/export/to_onnx.py', 'import tensorrt', 'tensorrt'),
        ('vloc_models/metrics/report.py', 'import rosbags.rosbag2', 'rosbags'),
        ('vloc_models/mapping/build.py', 'import argparse', 'argparse'),
        ('vloc_models/mapping/build.py', 'import evo.core', 'evo'),
        ('vloc_models/mapping/build.py', 'import_module("ray")', 'ray'),
        ('vloc_models/maps.py', 'import pickle', 'pickle'),
        ('vloc_models/maps.py', 'print(1)', 'prints'),
        ('vloc_ros/node.py', 'print(1)', 'prints'),
        ('vloc_models/mapping/build.py', 'import sys\nsys.argv[1]', 'argv'),
    ],
)
def test_a_breach_is_found(tmp_path: Path, file: str, line: str, what: str) -> None:
    good = {
        'vloc_models/__init__.py': '',
        'vloc_models/errors.py': '',
        'vloc_models/checks.py': 'from vloc_models.errors import VlocError\nimport numpy',
        'vloc_models/records.py': 'from vloc_models.geometry import se3',
        'vloc_models/tum.py': '',
        'vloc_models/geometry/__init__.py': '',
        'vloc_models/geometry/se3.py': 'from vloc_models import __version__',
        'vloc_models/geometry/tensors.py': 'import torch',
        'vloc_models/metrics/pictures.py': 'import cv2\nfrom vloc_models.metrics import html',
        'vloc_models/frames/bag.py': 'import rosbags\nfrom vloc_models import records, tum',
        'vloc_models/engines/onnx_engine.py': 'import onnxruntime',
        'vloc_models/export/to_tensorrt.py': 'import tensorrt, onnx',
        'vloc_models/localize/localizer.py': 'from vloc_models.solvers import pnp',
        'vloc_models/commands/a.py': 'import tyro, torch, sys\nprint(sys.argv)',
        'vloc_ros/node.py': 'import rclpy, sys\nfrom vloc_models.localize import x\nsys.argv',
    }
    for name, text in good.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert not breaches(tmp_path)
    bad = tmp_path / file
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_text(line)
    found = breaches(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f'{file}:')
    assert what in found[0]


def test_no_torch_on_the_robots_path() -> None:
    """Not even by way of another module: what is imported is asked, not what is written."""
    modules = ['vloc_models.maps', 'vloc_models.tum', 'vloc_models.records']
    if (ROOT / 'vloc_models' / 'localize' / 'localizer.py').exists():
        modules.append('vloc_models.localize.localizer')
    code = f'import sys, {", ".join(modules)}; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode == 0
