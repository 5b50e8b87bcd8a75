"""Settings: a yaml file and overrides become a frozen dataclass; an unknown key is an error."""

from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import dacite
import yaml

from vloc_models.errors import VlocError

T = TypeVar('T')


def _number(value: object) -> object:
    """Yaml reads ``3`` as int and ``1e-3`` as text; a float field takes both."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, bool):  # a switch is no number; as text it fails the type check
        return str(value)
    return float(value) if isinstance(value, int) else value


_FIX_YAML = 'write one "key: value" a line'
_RULES = dacite.Config(strict=True, cast=[Path, Enum], type_hooks={float: _number})


def load(cls: type[T], path: Path | None, overrides: Mapping[str, Any] | None = None) -> T:
    """Read a settings dataclass.

    Args:
        cls: the frozen dataclass to fill; its defaults hold for what is not given.
        path: a yaml file with a mapping, or None for the defaults alone.
        overrides: values that win over the file's, nested as the dataclass is.

    Raises:
        VlocError: if the file is missing or no yaml mapping, a key is unknown, or a type is wrong.
    """
    where = str(path) if path else cls.__name__
    try:
        raw = path.read_bytes() if path else b''
    except OSError as e:
        raise VlocError(f'{where}: {e.strerror}', 'name a readable settings file') from e
    return fill(cls, merged(parse(raw, where), overrides or {}), where)


def parse(raw: bytes, where: str) -> dict[Any, Any]:
    """The mapping that a yaml file holds, empty for an empty file; ``where`` is its name.

    Raises:
        VlocError: if it is no yaml mapping, or uses aliases (ROS parameter files may not either).
    """
    try:
        data = _Loader(raw).get_single_data()
    except Exception as e:  # PyYAML lets much through: ValueError, KeyError, RecursionError, ...
        raise VlocError(f'{where}: not yaml: {e}', _FIX_YAML) from e
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise VlocError(f'{where}: not a mapping', _FIX_YAML)
    return data


class _Loader(yaml.SafeLoader):
    """safe_load without aliases, with which a small file unfolds into gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node of the file."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError('holds an alias (*name); write the value out')
        return super().compose_node(parent, index)


def fill(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """Make a settings dataclass of what a yaml file held; ``where`` is its name in messages.

    Raises:
        VlocError: if a key is unknown or missing, or a type is wrong.
    """
    try:
        return dacite.from_dict(cls, _tuples(data), _RULES)
    except dacite.UnexpectedDataError as e:
        known = sorted(getattr(cls, '__dataclass_fields__', ()))
        unknown = sorted(map(str, e.keys))
        raise VlocError(f'{where}: unknown key {unknown}', f'known are {known}') from e
    except dacite.WrongTypeError as e:  # without the value, which may be of any size
        what = f'{where}: {e.field_path} must be {_type_name(e.field_type)}'
        raise VlocError(what, 'correct the value') from e
    except (dacite.DaciteError, ValueError, TypeError, OverflowError) as e:
        raise VlocError(f'{where}: {e}', 'correct the value') from e


def to_yaml(config: Any) -> str:
    """A settings dataclass as yaml text; lists of numbers stay on one line."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False, default_flow_style=None)


def dump(config: Any, path: Path) -> None:
    """Write a settings dataclass as yaml, so that ``load`` gives it back."""
    path.write_text(to_yaml(config), 'utf-8')


def merged(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with overrides, which win, nested as the settings are."""
    out = dict(data)
    for key, value in overrides.items():
        nested = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value) if nested else value
    return out


def _tuples(value: Any) -> Any:
    """Lists become tuples, as frozen dataclasses hold them; a word stays a word."""
    if isinstance(value, Mapping):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _type_name(kind: Any) -> str:
    return kind.__name__ if type(kind) is type else str(kind).replace('typing.', '')


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value
