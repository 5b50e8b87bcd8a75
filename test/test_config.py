from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_models import config
from vloc_models.errors import VlocError


class Mode(Enum):
    FAST = 'fast'
    EXACT = 'exact'


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    steps: int = 10


@dataclass(frozen=True)
class Settings:
    name: str = 'site'
    gate_m: float = 3.0
    limit_s: float | None = None
    topics: tuple[str, ...] = ()
    corner: tuple[float, float] = (0.0, 0.0)
    mode: Mode = Mode.FAST
    out: Path = Path('out')
    inner: Inner = field(default_factory=Inner)


def write(folder: Path, text: str) -> Path:
    path = folder / 'settings.yaml'
    path.write_text(text)
    return path


def test_defaults_file_and_overrides(tmp_path: Path) -> None:
    assert config.load(Settings, None) == Settings()
    assert config.load(Settings, write(tmp_path, '')) == Settings()
    text = 'gate_m: 2\nmode: exact\ntopics: [a, b]\ninner: {steps: 3}\nout: x/y\ncorner: [1, 2]'
    got = config.load(Settings, write(tmp_path, text), {'inner': {'rate': 1}, 'name': 'n'})
    assert got == Settings(
        'n', 2.0, None, ('a', 'b'), (1.0, 2.0), Mode.EXACT, Path('x/y'), Inner(1.0, 3)
    )
    assert type(got.gate_m) is float


def test_scientific_notation_is_a_number(tmp_path: Path) -> None:
    got = config.load(Settings, write(tmp_path, 'gate_m: 1e-3\nlimit_s: 1e2'))
    assert (got.gate_m, got.limit_s) == (1e-3, 100.0)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('gatem: 2', r"unknown key \['gatem'\]; known are .*'gate_m'"),
        ('inner: {step: 2}', 'unknown key'),
        ('1: 2\na: 3\n', 'unknown key'),
        ('gate_m: wide', 'gate_m must be float'),
        ('gate_m: yes', 'gate_m must be float'),
        ('inner: {steps: 1.5}', r'inner\.steps must be int'),
        ('topics: /image', 'topics must be tuple'),  # a word is no list of letters
        ('corner: [1]', 'corner must be tuple'),
        ('corner: [1, 2, 3]', 'corner must be tuple'),
        ('mode: slow', 'slow'),
        (f'gate_m: 1{"0" * 400}', 'too large'),
        ('- a', 'not a mapping'),
        ('a: [', 'not yaml'),
        ('a: 2026-13-01', 'not yaml'),
        ('a: !!timestamp x', 'not yaml'),
        ('a: ' + '[' * 3000, 'not yaml'),
        ('a: &x [1]\nb: *x', 'alias'),
        ('a: !!python/object:os.system {}', 'not yaml'),
        ('\x00', 'not yaml'),
    ],
)
def test_errors(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(VlocError, match=words) as e:
        config.load(Settings, write(tmp_path, text))
    assert len(str(e.value)) < 1000


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(VlocError, match='No such file'):
        config.load(Settings, tmp_path / 'no.yaml')


numbers = st.floats(allow_nan=False)


@given(
    st.builds(
        Settings,
        name=st.text(st.characters(codec='utf-8')),
        gate_m=numbers,
        limit_s=st.none() | numbers,
        topics=st.lists(st.text(), max_size=3).map(tuple),
        corner=st.tuples(numbers, numbers),
        mode=st.sampled_from(Mode),
        out=st.sampled_from([Path('a/b'), Path('/x')]),
        inner=st.builds(Inner, rate=numbers, steps=st.integers()),
    )
)
def test_dump_and_load(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> None:
    path = tmp_path_factory.getbasetemp() / 'dumped.yaml'
    config.dump(settings, path)
    assert config.load(Settings, path) == settings
