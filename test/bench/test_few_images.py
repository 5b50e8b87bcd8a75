import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vloc_models.frames.options import BagOptions
from vloc_models.mapping.build_map import MappingConfig

COUNT = 12


@pytest.fixture
def ready(few_images: Any, both: Any, gallery: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bench with stubs, of recordings of COUNT pictures."""

    def open_source(bag: Path, options: BagOptions) -> Any:
        return Opened(len(range(0, COUNT, options.every)))

    class Opened(type(gallery)):
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

    monkeypatch.setattr(few_images, 'open_source', open_source)
    return both.install(few_images, COUNT, limit=8)


def told(few_images: Any, folder: Path, **more: Any) -> dict[str, Any]:
    file = folder / 'few.json'
    options = few_images.Options(folder, folder, folder, file, every=(1, 5), **more)
    assert few_images.run(lambda: few_images.main(options)) == 0
    return json.loads(file.read_text())


def test_both_map_every_nth(few_images: Any, ready: Any, both: Any, tmp_path: Path) -> None:
    figures = told(few_images, tmp_path)
    assert list(figures) == ['every_1', 'every_5']
    assert ready.mapped == [list(range(COUNT)), [0, 5, 10]]
    assert [len(stamps) for _, stamps in both.built] == [12, 3]
    few = figures['every_5']
    assert few['ours']['map_pictures'] == few['peer']['map_pictures'] == 3
    assert few['ours']['queries'] == few['peer']['queries'] == COUNT  # all are asked
    assert few['ours']['recall_5cm_5deg'] == pytest.approx(9 / 12)
    assert few['peer']['recall_5cm_5deg'] == 1
    assert few['peer']['map_MB'] == 3
    assert few['peer']['map_seconds'] >= 0
    assert few['ours']['map_MB'] > 0


def test_finished_maps_are_found_again(
    few_images: Any, ready: Any, both: Any, tmp_path: Path
) -> None:
    keep = tmp_path / 'maps'
    first = told(few_images, tmp_path, keep=keep)
    assert len(list(keep.iterdir())) == len(both.built) == 2
    again = told(few_images, tmp_path, keep=keep)
    assert len(both.built) == 2
    assert again['every_5']['ours']['map_MB'] == first['every_5']['ours']['map_MB']
    told(few_images, tmp_path, keep=keep, config=MappingConfig(seed=1))  # another map
    assert len(both.built) == 4


def test_maps_are_removed_if_not_kept(
    few_images: Any, ready: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    told(few_images, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['few.json']


def test_a_map_of_a_few_pictures_is_allowed(few_images: Any) -> None:
    assert few_images.Options().config == MappingConfig(min_images=1)


@pytest.mark.parametrize(
    ('given', 'more', 'what'),
    [
        ({}, {}, 'no --peer sift_localizer.py is named'),
        ({'peer': '{}/peer.py'}, {}, 'no MAP_BAG is named'),
        ({'peer': '{}/peer.py', 'map_bag': '{}'}, {}, 'no QUERY_BAG is named'),
        ({'peer': '{}/peer.py', 'map_bag': '{}', 'query_bag': '{}'}, {'every': ()}, '--every'),
        ({'peer': '{}/peer.py', 'map_bag': '{}', 'query_bag': '{}'}, {'every': (2, 0)}, '--every'),
        (
            {'peer': '{}/peer.py', 'map_bag': '{}', 'query_bag': '{}', 'json': '{}/gone/x.json'},
            {},
            'gone: no such folder',
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    few_images: Any,
    refused: Callable[..., str],
    given: dict[str, str],
    more: dict[str, Any],
    what: str,
) -> None:
    assert what in refused(few_images, given, {}, **more)
