"""A small world seen in two looks from the same poses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.places import Place, PlaceConfig, read_place
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
