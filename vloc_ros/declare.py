"""Parameters as frozen dataclasses: one table declares, checks and documents them."""

import json
from collections.abc import Iterable
from dataclasses import field, fields, replace
from textwrap import wrap
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from vloc_models.errors import VlocError

T = TypeVar('T')


def param(
    default: Any,
    what: str,
    span: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A parameter as a field of a dataclass.

    Args:
        default: its value, which tells its type; () is a list of texts, or one text.
        what: it does, for the user.
        span: the least and the greatest value.
        choices: all values there are.
        live: it may be set while the node runs; all others are read-only.
    """
    about = {'what': what, 'span': span, 'choices': choices, 'live': live}
    return field(default=default, metadata=about)


def declare(cls: type[T], node: Node) -> T:
    """Declare all fields of a dataclass on a node, and read what it was started with.

    Raises:
        VlocError: for a value of another type, out of its range, or not among the choices.
    """
    table: Any = cls
    return _checked(table(**{one.name: _declared(node, one) for one in fields(table)}))


def changed(values: T, given: Iterable[Parameter]) -> T:
    """With other values, as a node's on-set callback gets them; unknown names are left out.

    Raises:
        VlocError: if one is not among the choices.
    """
    old: Any = values
    known = {one.name for one in fields(old)}
    return _checked(replace(old, **{p.name: p.value for p in given if p.name in known}))


def markdown_table(cls: type) -> str:
    """All parameters of a dataclass, for the docs."""
    rows = ['| parameter | default | | what it does |', '|---|---|---|---|']
    for one in fields(cls):
        about, default = one.metadata, one.default
        shown = '' if default == () else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        limits = ' / '.join(about['choices']) or _limits(one).removeprefix(' from ')
        words = f'{about["what"]}{f" ({limits})" if limits else ""}'
        kind = _KINDS[type(default)][0] + (', live' if about['live'] else '')
        rows.append(f'| `{one.name}` | {f"`{shown}`" if shown else "empty"} | {kind} | {words} |')
    return '\n'.join(rows) + '\n'


def commented_yaml(cls: type, node: str) -> str:
    """A parameter file with all defaults, whose comments are the manual."""
    lines = [
        f'# Parameters of {node}, with their defaults. Copy this file, keep what you change:',
        '#   --ros-args --params-file FILE, or params_file:=FILE of the launch file.',
        '# Written by "python -m vloc_ros.parameters".',
        '/**:',
        '  ros__parameters:',
    ]
    for one in fields(cls):
        value = '' if isinstance(one.default, tuple) else one.default
        limits = ' / '.join(one.metadata['choices']) or _limits(one).removeprefix(' from ')
        words = one.metadata['what'] + (f' ({limits})' if limits else '')
        lines += [f'    # {line}' for line in wrap(words, 90)]
        lines += [f'    {one.name}: {json.dumps(value)}', '']
    return '\n'.join(lines[:-1]) + '\n'


_KINDS = {  # in the table, and in messages
    bool: ('bool', 'true or false'),
    int: ('int', 'an integer'),
    float: ('float', 'a decimal number, such as 2.0,'),
    str: ('text', 'a text'),
    tuple: ('texts', 'a text or a list of texts'),
}


def _checked(values: Any) -> Any:
    for one in fields(values):
        choices, value = one.metadata['choices'], getattr(values, one.name)
        if choices and value not in choices:
            fix = f'give one of {", ".join(choices)}'
            raise VlocError(f'parameter {one.name}: {value!r}', fix)
    return values


def _declared(node: Node, one: Any) -> Any:
    listed = isinstance(one.default, tuple)
    default = '' if listed else one.default
    try:
        value = node.declare_parameter(one.name, default, _descriptor(one)).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as e:
        reason = str(e).strip().split('\n')[0].removesuffix(f': {one.name}')
        reason = reason.partition('Reason: ')[2] or reason
        fix = f'give {_KINDS[type(one.default)][1]}{_limits(one)}'
        raise VlocError(f'parameter {one.name}: {reason}', fix) from e
    if not listed:
        return value
    texts = [value] if isinstance(value, str) else value or []  # rcl has no empty lists
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise VlocError(f'parameter {one.name}: {value!r}', f'give {_KINDS[tuple][1]}')
    return tuple(text for text in texts if text)


def _descriptor(one: Any) -> ParameterDescriptor:
    about, span = one.metadata, one.metadata['span']
    words = ParameterDescriptor(
        description=about['what'],
        additional_constraints=f'one of {", ".join(about["choices"])}' if about['choices'] else '',
        read_only=not about['live'],
        dynamic_typing=isinstance(one.default, tuple),
    )
    if span and isinstance(one.default, int):
        words.integer_range = [IntegerRange(from_value=int(span[0]), to_value=int(span[1]))]
    elif span:
        words.floating_point_range = [FloatingPointRange(from_value=span[0], to_value=span[1])]
    return words


def _limits(one: Any) -> str:
    span = one.metadata['span']
    if span is None:
        return ''
    low, high = (int(x) if float(x).is_integer() else x for x in span)
    return f' from {low} to {high}'
