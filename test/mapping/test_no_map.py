"""Recordings, places and machines that make no map: said in a line, the old map whole."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import BagError, MapError, VlocError
from vloc_models.mapping import build_map as module
from vloc_models.mapping import heads
from vloc_models.mapping.build_map import MappingConfig, build_map
from vloc_models.records import Frame


@pytest.fixture(autouse=True)
def soon(build_soon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_soon(monkeypatch)


def small(gallery: Any) -> Any:
    """Too few pictures to spare some for a test."""
    return type(gallery)(12)


def without_pose(k: int, frame: Frame) -> Frame:
    return replace(frame, T_map_base=None)


def black(k: int, frame: Frame) -> Frame:
    image = np.random.default_rng(k).integers(0, 4, (240, 320, 3), np.uint8)
    return replace(frame, views=(replace(frame.views[0], image=image),))


def mostly_black(k: int, frame: Frame) -> Frame:
    return black(k, frame) if k % 3 else frame


def repeated(k: int, frame: Frame) -> Frame:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    return replace(frame, views=(replace(frame.views[0], image=image),))


@pytest.mark.parametrize(
    ('count', 'change', 'words'),
    [
        (9, lambda k, frame: frame, r'9 pictures with a pose are too few.*at least 10'),
        (20, without_pose, 'no picture has a pose'),
        (20, black, r'20 of 20 pictures are of one colour.*lens covered'),
        (20, mostly_black, r'13 of 20 pictures are of one colour'),
        (20, repeated, r'all pictures are the same.*driver'),
    ],
)
def test_recordings_that_make_no_map(
    gallery: Any,
    tiny_config: MappingConfig,
    tmp_path: Path,
    sites: Any,
    count: int,
    change: Any,
    words: str,
) -> None:
    sites.write(tmp_path / 'site')
    with pytest.raises(BagError, match=words):
        build_map(type(gallery)(count, change=change), [], tmp_path / 'site', tiny_config)
    assert sites.holds(tmp_path / 'site', 'old')
    assert [p.name for p in tmp_path.iterdir()] == ['site']


@pytest.mark.parametrize('place', ['/dev/null/site', '/proc/site'])
def test_a_place_that_cannot_be_written_is_known_at_once(
    gallery: Any, tiny_config: MappingConfig, place: str
) -> None:
    seen: list[object] = []
    with pytest.raises(MapError, match=re.escape(place)):
        build_map(gallery, [], Path(place), tiny_config, lambda *x: seen.append(x))
    assert not seen


def test_what_is_no_map_is_not_replaced(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site' / 'letter').write_text('mine')
    with pytest.raises(MapError, match='no map'):
        build_map(gallery, [], tmp_path / 'site', tiny_config)
    assert (tmp_path / 'site' / 'letter').read_text() == 'mine'


@pytest.mark.parametrize(
    ('place', 'where'),
    [
        (module, 'fill_buffer'),
        (heads, 'train_head'),
        (module, 'self_test'),
        (heads, 'head_probe'),
    ],
)
@pytest.mark.parametrize(
    'error', [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory\nat x")]
)
def test_out_of_memory_is_one_line(
    gallery: Any,
    tiny_config: MappingConfig,
    tmp_path: Path,
    sites: Any,
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    where: str,
    error: Exception,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    sites.write(tmp_path / 'site')
    monkeypatch.setattr(place, where, fails)
    source = gallery if where == 'self_test' else small(gallery)
    with pytest.raises(VlocError, match=r'out of memory.*--buffer\.cells') as caught:
        build_map(source, [], tmp_path / 'site', tiny_config)
    assert '\n' not in str(caught.value)
    assert sites.holds(tmp_path / 'site', 'old')


def test_errors_of_our_own_are_not_hidden(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError('the sky falls')

    monkeypatch.setattr(module, 'fill_buffer', fails)
    with pytest.raises(RuntimeError, match='sky'):
        build_map(small(gallery), [], tmp_path / 'site', tiny_config)


def test_less_cells_than_a_batch_are_named(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path
) -> None:
    config = replace(tiny_config, buffer=replace(tiny_config.buffer, cells=400))
    config = replace(config, training=replace(tiny_config.training, batch=600))
    with pytest.raises(VlocError, match=r'120 cells are fewer than a batch of 600'):
        build_map(small(gallery), [], tmp_path / 'site', config)


@pytest.mark.parametrize('device', ['toaster', 'cuda:99', ''])
def test_a_device_that_is_not_there_is_known_at_once(
    gallery: Any, tiny_config: MappingConfig, tmp_path: Path, device: str
) -> None:
    config = replace(tiny_config, device=device)
    with pytest.raises(VlocError, match=rf'device {device}: .*use cpu'):
        build_map(gallery, [], tmp_path / 'site', config)
    assert not list(tmp_path.iterdir())
