"""A recording becomes a map, as a node: progress, the end, the stop."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.write_bag import write_bag
from vloc_models.maps import open_map
from vloc_ros import mapping_node
from vloc_ros.running import Stop

# DDS on a machine that is busy with other tests may find a topic or service late, or never
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=['not within', 'is not served'])


@pytest.fixture
def bag(gallery: Any, tmp_path: Path) -> Path:
    write_bag(tmp_path / 'bag', type(gallery)(11).frames())
    return tmp_path / 'bag'


@pytest.fixture
def soon(tiny_config: Any, build_soon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_soon(monkeypatch)
    monkeypatch.setattr(mapping_node, 'MappingConfig', lambda **given: tiny_config)


class Mapping:
    """The node, spun until it ends."""

    def __init__(self, domain: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node: Any = None

    def end(self, **parameters: Any) -> int:
        """Run it; returns the exit code, or raises what it raises."""
        given = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = mapping_node.MappingNode(context=self.context, parameter_overrides=given)
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self.node)
        end = time.monotonic() + 60
        try:
            while time.monotonic() < end:
                executor.spin_once(timeout_sec=0.1)
        except Stop as stop:
            return stop.code
        raise AssertionError('it does not end')

    def close(self) -> None:
        if self.node is not None:
            self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def mapping(robot: Any) -> Iterator[Mapping]:
    made = Mapping(robot.node.context.get_domain_id())
    yield made
    made.close()


@pytest.mark.usefixtures('soon')
def test_a_recording_becomes_a_map(
    robot: Any, mapping: Mapping, bag: Path, tmp_path: Path
) -> None:
    assert mapping.end(bag=str(bag), map=str(tmp_path / 'site')) == 0
    made = open_map(tmp_path / 'site')
    assert made.info.provenance.bags == (str(bag),)
    robot.diagnosed('mapping', 'training')


@pytest.mark.usefixtures('soon')
def test_it_can_be_stopped_and_goes_on(
    robot: Any, mapping: Mapping, bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / 'site'
    report = mapping_node.MappingNode._report
    here, go = threading.Event(), threading.Event()

    def slow(node: Any, step: str, done: int, total: int) -> None:
        if step == 'training':
            here.set()
            go.wait(30)
        report(node, step, done, total)

    monkeypatch.setattr(mapping_node.MappingNode, '_report', slow)
    codes: list[int] = []
    words = {'bag': str(bag), 'map': str(site)}
    thread = threading.Thread(target=lambda: codes.append(mapping.end(**words)))
    thread.start()
    robot.until(here.is_set, 'training')
    assert robot.call(Trigger, 'vloc_mapping/cancel').success
    go.set()
    thread.join(60)
    assert codes == [130]
    assert not site.exists()
    monkeypatch.setattr(mapping_node.MappingNode, '_report', report)
    mapping.node.destroy_node()
    assert mapping.end(**words) == 0
    assert open_map(site)


def test_what_is_no_recording_is_told(mapping: Mapping, tmp_path: Path) -> None:
    with pytest.raises(BagError, match='no such bag'):
        mapping.end(bag=str(tmp_path / 'nowhere'), map=str(tmp_path / 'site'))


@pytest.mark.parametrize('given', [{'bag': 'x'}, {'map': 'x'}, {'bag': [1, 2], 'map': 'x'}])
def test_what_is_needed_is_asked_for(mapping: Mapping, given: dict[str, Any]) -> None:
    with pytest.raises(VlocError, match='parameter'):
        mapping.end(**given)
