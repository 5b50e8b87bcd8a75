"""Parameters on a real node: what is refused, and in which words."""

import re
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 here')

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from vloc_models.errors import VlocError
from vloc_ros.declare import changed, commented_yaml, declare, markdown_table, param
from vloc_ros.parameters import LocalizerParameters, MappingParameters, PlayerParameters

TABLES = [LocalizerParameters, MappingParameters, PlayerParameters]


@dataclass(frozen=True)
class Table:
    """One of each kind."""

    site: str = param('', 'The place.', live=True)
    autostart: bool = param(True, 'Whether.')
    rate_hz: float = param(30.0, 'How often.', (1.0, 200.0), live=True)
    threads: int = param(0, 'Cores.', (0, 256))
    source: str = param('tf', 'From where.', choices=('tf', 'topic'), live=True)
    bags: tuple[str, ...] = param((), 'Recordings.')


Make = Callable[..., Node]


@pytest.fixture(scope='module')
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context, args=[], domain_id=99)
    yield context
    context.try_shutdown()


@pytest.fixture
def node(context: Context) -> Iterator[Make]:
    """Makes nodes that were started with some parameters, given as values or as arguments."""
    made = []

    def make(*arguments: str, **given: Any) -> Node:
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        quiet = {'enable_rosout': False, 'start_parameter_services': False}
        known = {'context': context, 'cli_args': ['--ros-args', *arguments], **quiet}
        made.append(Node('tested', parameter_overrides=overrides, **known))
        return made[-1]

    yield make
    for one in made:
        one.destroy_node()


@pytest.mark.parametrize('table', [Table, *TABLES])
def test_a_node_that_is_started_with_nothing_has_the_defaults(node: Make, table: Any) -> None:
    assert declare(table, node()) == table()


def test_a_node_has_what_it_is_started_with(node: Make) -> None:
    given = {'site': '/a', 'autostart': False, 'rate_hz': 5.5, 'threads': 256, 'source': 'topic'}
    one = node(**given)
    values = declare(Table, one)
    assert values == Table(**given)
    assert one.get_parameter('rate_hz').value == 5.5
    with pytest.raises(FrozenInstanceError):
        values.autostart = True  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ('given', 'texts'),
    [
        ({}, ()),
        ({'bags': ''}, ()),
        ({'bags': []}, ()),
        ({'bags': 'run1'}, ('run1',)),
        ({'bags': ['run1', 'run 2']}, ('run1', 'run 2')),
        ({'bags': ['', 'run1']}, ('run1',)),
    ],
)
def test_one_text_is_as_good_as_a_list(
    node: Make, given: dict[str, Any], texts: tuple[str, ...]
) -> None:
    assert declare(Table, node(**given)).bags == texts


@pytest.mark.parametrize(
    ('argument', 'texts'), [('run1', ('run1',)), ('[a, b c]', ('a', 'b c')), ('""', ())]
)
def test_texts_come_from_the_command_line(
    node: Make, argument: str, texts: tuple[str, ...]
) -> None:
    assert declare(Table, node('-p', f'bags:={argument}')).bags == texts


def test_an_empty_list_on_the_command_line_is_no_text(node: Make) -> None:
    assert declare(Table, node('-p', 'bags:=[]')).bags == ()


@pytest.mark.parametrize(
    ('name', 'value', 'fix'),
    [
        ('site', 3, 'give a text'),
        ('autostart', 'yes', 'give true or false'),
        ('autostart', 1, 'give true or false'),
        ('rate_hz', 30, 'give a decimal number, such as 2.0, from 1 to 200'),
        ('rate_hz', 200.1, 'give a decimal number, such as 2.0, from 1 to 200'),
        ('rate_hz', float('nan'), 'give a decimal number, such as 2.0, from 1 to 200'),
        ('threads', 2.5, 'give an integer from 0 to 256'),
        ('threads', -1, 'give an integer from 0 to 256'),
        ('threads', 257, 'give an integer from 0 to 256'),
        ('source', 'imu', 'give one of tf, topic'),
        ('source', '', 'give one of tf, topic'),
        ('bags', 3, 'give a text or a list of texts'),
        ('bags', [1, 2], 'give a text or a list of texts'),
        ('bags', True, 'give a text or a list of texts'),
    ],
)
def test_what_is_wrong_with_a_parameter_is_told(
    node: Make, name: str, value: Any, fix: str
) -> None:
    with pytest.raises(VlocError, match=f'^parameter {name}: .') as caught:
        declare(Table, node(**{name: value}))
    assert caught.value.fix == fix
    assert re.search(r'[\[\d]|True|nan|yes|imu|\'\'', caught.value.what)  # what was given


def test_values_that_change_leave_the_others() -> None:
    old = Table(rate_hz=5.0)
    given = [Parameter('site', value='/b'), Parameter('use_sim_time', value=True)]
    assert changed(old, given) == Table(site='/b', rate_hz=5.0)
    assert old == Table(rate_hz=5.0)
    assert changed(old, []) == old


def test_a_change_to_what_there_is_not_is_refused() -> None:
    with pytest.raises(VlocError, match=r"parameter source: 'imu'; give one of tf, topic"):
        changed(Table(), [Parameter('source', value='imu')])


@pytest.mark.parametrize('table', [Table, *TABLES])
def test_only_live_parameters_can_be_set_later(node: Make, table: Any) -> None:
    one = node()
    declare(table, one)
    for f in fields(table):
        words = one.describe_parameter(f.name)
        assert words.read_only != f.metadata['live']
        assert words.description == f.metadata['what']
        choices = f.metadata['choices']
        assert words.additional_constraints == (f'one of {", ".join(choices)}' if choices else '')
        same = Parameter(f.name, value=one.get_parameter(f.name).value)
        (result,) = one.set_parameters([same])
        assert result.successful == f.metadata['live']


def test_the_range_holds_later_too(node: Make) -> None:
    one = node()
    declare(Table, one)
    given = [Parameter('rate_hz', value=v) for v in (1.0, 200.0, 0.5, 200.5)]
    assert [r.successful for r in one.set_parameters(given)] == [True, True, False, False]


@pytest.mark.parametrize('table', TABLES)
def test_every_parameter_says_what_it_does_in_full_sentences(table: Any) -> None:
    for f in fields(table):
        assert re.fullmatch(r'\S.*\S\.', f.metadata['what']), f.name
        assert '\n' not in f.metadata['what']


@pytest.mark.parametrize('table', TABLES)
def test_every_default_is_one_that_may_be_given(table: Any) -> None:
    for f in fields(table):
        if f.metadata['choices']:
            assert f.default in f.metadata['choices'], f.name
        if f.metadata['span']:
            least, greatest = f.metadata['span']
            assert least <= f.default <= greatest, f.name


@pytest.mark.parametrize('table', TABLES)
def test_the_table_for_the_docs_has_a_row_for_each(table: Any) -> None:
    head, line, *rows = markdown_table(table).splitlines()
    assert head.count('|') == line.count('|') == 5
    assert [row.split('`')[1] for row in rows] == [f.name for f in fields(table)]
    for row, f in zip(rows, fields(table), strict=True):
        assert row.count('|') == 5
        assert f.metadata['what'] in row
        assert (', live |' in row) == f.metadata['live']


def test_the_table_for_the_docs_shows_kinds_defaults_and_limits() -> None:
    rows = markdown_table(Table).splitlines()[2:]
    assert rows[:3] == [
        '| `site` | empty | text, live | The place. |',
        '| `autostart` | `true` | bool | Whether. |',
        '| `rate_hz` | `30.0` | float, live | How often. (1 to 200) |',
    ]
    assert rows[4:] == [
        '| `source` | `tf` | text, live | From where. (tf / topic) |',
        '| `bags` | empty | texts | Recordings. |',
    ]


def test_the_table_for_the_docs_shows_a_default_of_zero() -> None:
    assert '| `threads` | `0` | int | Cores. (0 to 256) |' in markdown_table(Table)


@pytest.mark.parametrize('table', [Table, *TABLES])
def test_the_parameter_file_holds_the_defaults(node: Make, table: Any, tmp_path: Path) -> None:
    file = tmp_path / 'all.yaml'
    file.write_text(commented_yaml(table, 'tested'))
    held = yaml.safe_load(file.read_text())['/**']['ros__parameters']
    assert list(held) == [f.name for f in fields(table)]
    assert declare(table, node('--params-file', str(file))) == table()
