"""A small map to write and to damage, and bytes to damage it with; for tests of several files."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import settings
from hypothesis import strategies as st

from vloc_models import maps, npz
from vloc_models.geometry.camera import Camera
from vloc_models.maps import Map, MapInfo, MapWriter, open_map

# machines here are noisy: no example may fail for being slow, and CI always tries the same ones
settings.register_profile('vloc', deadline=None, derandomize='CI' in os.environ)
settings.load_profile('vloc')

ROWS = ((0.0, 0.0, 1.0, 0.1), (-1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 0.5), (0.0, 0.0, 0.0, 1.0))
INFO = MapInfo(
    encoder=maps.Encoder('vloc-s', 'a' * 64, 'MIT'),
    cameras=(
        maps.MapCamera(
            'camera/color',
            Camera(640, 480, 520.1, 519.9, 321, 243, 'plumb_bob', (0.1, -0.2, 1e-4, 0, 0.05)),
            ROWS,
        ),
    ),
    submaps=(
        maps.SubMap(
            '00',
            (1.5, -2.0, 0.25),
            floor='ground',
            network='ace',
            head='submaps/00/head.onnx',
            landmarks='submaps/00/landmarks.npz',
        ),
    ),
    calibration=maps.Calibration(('inliers', 'coverage'), (0.02, 3.0), -4.0, 0.95, 120),
    index='index.npz',
    provenance=maps.Provenance(
        ('run1',), ('/camera',), '0.1.0', 'c0ffee', '2026-01-02T03:04:05Z', {'median_cm': None}
    ),
)


def contents(word: str) -> dict[str, bytes]:
    points = np.arange(12, dtype=np.float32).reshape(4, 3) + len(word)
    return {
        'submaps/00/head.onnx': f'graph {word}'.encode() * 50,
        'submaps/00/landmarks.npz': npz.pack({'points': points}),
        'index.npz': npz.pack({'desc': np.full((2, 5), len(word), np.uint8)}),
    }


SMALL = MapInfo(INFO.encoder, (), ())  # soon parsed


def write(path: Path, word: str = 'old', info: MapInfo = INFO) -> Map:
    with MapWriter(path) as writer:
        for name, data in contents(word).items():
            writer.add_bytes(name, data)
        return writer.finish(info)


def holds(path: Path, word: str) -> bool:
    site = open_map(path)
    return all(site.read_bytes(name) == data for name, data in contents(word).items())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def edit(site: Path, change: Callable[[dict], object]) -> None:
    """Edit map.yaml by hand."""
    data = yaml.safe_load((site / 'map.yaml').read_text())
    change(data)
    (site / 'map.yaml').write_text(yaml.safe_dump(data))


@st.composite
def mutated(draw: st.DrawFn, raw: bytes) -> bytes:
    """Some bytes changed, cut out or doubled."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.integers(0, 12))
        data[at : at + size] = draw(
            st.binary(max_size=12) | st.just(bytes(data[at : at + 2 * size]))
        )
    return bytes(data)


@pytest.fixture(scope='session')
def sites() -> Any:
    """The helpers above, for tests (pytest imports test files one by one)."""
    return SimpleNamespace(
        INFO=INFO, SMALL=SMALL, contents=contents, write=write, holds=holds, tree=tree, edit=edit
    )


@pytest.fixture(scope='session')
def damaged() -> Any:
    """Of bytes a hypothesis strategy of the same bytes with some changed."""
    return mutated


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(tmp_path / 'site')
    return tmp_path / 'site'
