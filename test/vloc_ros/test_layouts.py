import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NODE = '/vloc_localizer'


@pytest.fixture(scope='module')
def rviz() -> dict[str, Any]:
    return yaml.safe_load((ROOT / 'rviz' / 'relocalize.rviz').read_text())


@pytest.fixture(scope='module')
def foxglove() -> dict[str, Any]:
    return json.loads((ROOT / 'foxglove' / 'relocalize.json').read_text())


@pytest.fixture(scope='module')
def published() -> set[str]:
    source = (ROOT / 'vloc_ros' / 'outputs.py').read_text()
    return {f'{NODE}/{name}' for name in re.findall(r"'~/([\w/]+)'", source)}


def strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from strings(value)


def topics(tree: Any) -> set[str]:
    # A plot's path goes on from the topic with the fields: '/topic.field.field'.
    return {s.split('.')[0] for s in strings(tree) if s.startswith(NODE)}


def panels(layout: Any) -> list[str]:
    if isinstance(layout, str):
        return [layout]
    assert set(layout) == {'direction', 'first', 'second', 'splitPercentage'}
    assert layout['direction'] in ('row', 'column')
    assert 0 < layout['splitPercentage'] < 100
    return panels(layout['first']) + panels(layout['second'])


def display(rviz: dict[str, Any], kind: str) -> dict[str, Any]:
    shown = rviz['Visualization Manager']['Displays']
    (found,) = [one for one in shown if one['Class'] == f'rviz_default_plugins/{kind}']
    return found


def test_rviz_shows_only_topics_that_the_localizer_publishes(
    rviz: dict[str, Any], published: set[str]
) -> None:
    assert {f'{NODE}/map_points', f'{NODE}/pose'} <= topics(rviz) <= published


def test_foxglove_shows_only_topics_that_the_localizer_publishes(
    foxglove: dict[str, Any], published: set[str]
) -> None:
    assert {f'{NODE}/map_points', f'{NODE}/pose'} <= topics(foxglove) <= published


def test_the_fixed_frame_is_the_map(rviz: dict[str, Any], foxglove: dict[str, Any]) -> None:
    assert rviz['Visualization Manager']['Global Options']['Fixed Frame'] == 'map'
    scenes = [value for key, value in foxglove['configById'].items() if key.startswith('3D!')]
    assert [scene['followTf'] for scene in scenes] == ['map']


def test_every_foxglove_panel_has_one_place_and_a_config(foxglove: dict[str, Any]) -> None:
    placed = panels(foxglove['layout'])
    assert sorted(placed) == sorted(foxglove['configById'])


def test_rviz_gets_map_points_that_were_published_before_it_came(rviz: dict[str, Any]) -> None:
    topic = display(rviz, 'PointCloud2')['Topic']
    assert topic['Durability Policy'] == 'Transient Local'
    assert topic['Reliability Policy'] == 'Reliable'


def test_rviz_can_tell_the_overlay_is_compressed(rviz: dict[str, Any]) -> None:
    # image_transport goes by the end of the name alone, whatever the type of the topic is.
    assert display(rviz, 'Image')['Topic']['Value'].endswith('/compressed')
