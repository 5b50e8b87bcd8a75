"""A small world seen in two looks from the same poses."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.places import Place, PlaceConfig, read_place, read_real
from vloc_models.frames.synthetic.labels import VOID, Label

CONFIG = PlaceConfig(drive_s=3.0, rate_hz=1.0, looks=('day', 'night'), size=(48, 64))


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('places')


@pytest.fixture(scope='module')
def place(cache: Path) -> Place:
    return read_place(1, CONFIG, cache)


def test_looks_differ_and_the_place_does_not(place: Place) -> None:
    count = len(place.T_map_cam)
    assert count >= 3
    assert place.images.shape == (2, count, 48, 64, 3)
    assert place.depth.shape == place.labels.shape == (count, 48, 64)
    day, night = place.images.astype(float)
    assert np.abs(day - night).mean() > 5
    across = [np.diff(x.mean(3), axis=2).ravel() for x in (day, night)]
    assert np.corrcoef(*across)[0, 1] > 0.3  # edges stay where they are


def test_depth_and_classes_are_true(place: Place) -> None:
    depth = place.depth[np.isfinite(place.depth)]
    assert 0.05 < depth.min() < depth.max() < 30
    assert set(np.unique(place.labels)) <= {*Label, VOID}


def test_every_picture_is_told(place: Place, cache: Path) -> None:
    seen = []
    read_place(1, CONFIG, cache, lambda done, of: seen.append((done, of)))
    total = 2 * len(place.T_map_cam)
    assert seen == [(n, total) for n in range(1, total + 1)]


@pytest.mark.parametrize(
    'wrong', [{'looks': ('day',)}, {'looks': ('day', 'noon')}, {'worlds': 0}, {'size': (0, 64)}]
)
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(VlocError, match='places'):
        PlaceConfig(**wrong)


def test_photos_are_read_evenly(tmp_path: Path) -> None:
    """In colour, as small as wanted; what is no picture is passed over."""
    for n in range(5):
        picture = np.full((30, 40, 3), (40 * n, 0, 9), np.uint8)  # blue first
        assert cv2.imwrite(str(tmp_path / f'{n}.png'), picture)
    (tmp_path / '9.jpg').write_bytes(b'no picture')
    (tmp_path / 'LICENSE').write_text('free')
    photos = read_real(tmp_path, (6, 8), 9)
    assert photos.shape == (5, 6, 8, 3)
    assert photos[:, 3, 4].tolist() == [[9, 0, 40 * n] for n in range(5)]
    assert read_real(tmp_path, (6, 8), 3)[:, 0, 0, 2].tolist() == [0, 80]


def test_no_photos(tmp_path: Path) -> None:
    with pytest.raises(VlocError, match='no readable jpg or png'):
        read_real(tmp_path, (6, 8), 3)
