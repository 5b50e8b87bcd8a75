"""The index is searched exactly, and one that is not whole is refused."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import MapError, VlocError
from vloc_models.geometry import se3
from vloc_models.solvers import retrieval
from vloc_models.solvers.landmarks import unit
from vloc_models.solvers.retrieval import PlaceIndex, Places

K, C, d, W, D = 300, 16, 6, 5, 24
_rng = np.random.default_rng(0)
PLACES = Places(
    np.linalg.qr(_rng.normal(size=(C, d)))[0].astype(np.float32),
    _rng.normal(0, 0.4, (W, d)).astype(np.float32),
    _rng.normal(0, 0.1, W * d).astype(np.float32),
    _rng.integers(-127, 128, (W * d, D)).astype(np.int8),
    _rng.uniform(0.01, 0.02, D).astype(np.float32),
    unit(_rng.normal(size=(K, D)).astype(np.float32)).astype(np.float16),
    np.stack([se3.exp([k, 0, 0, 0, 0, 0.1 * k]) for k in range(K)]).astype(np.float32),
    np.arange(K, dtype=np.int32) // 100,
)


def test_there_and_back() -> None:
    back = Places.of_arrays(PLACES.arrays(), 'site/index.npz')
    for name, values in PLACES.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], values)


def test_the_nearest_are_those_of_all() -> None:
    index = PlaceIndex(PLACES)
    rows = unit(PLACES.descriptors.astype(np.float32))
    for asked in unit(np.random.default_rng(1).normal(size=(20, D)).astype(np.float32)):
        found = index.nearest(asked, 10)
        np.testing.assert_array_equal(found.numbers, np.argsort(-(rows @ asked))[:10])
        np.testing.assert_allclose(found.likeness, -np.sort(-(rows @ asked))[:10], atol=1e-6)


def test_no_more_than_there_are() -> None:
    index = PlaceIndex(PLACES)
    found = index.nearest(index.describe(*cells()), 2 * K)
    assert sorted(found.numbers.tolist()) == list(range(K))
    assert (np.diff(found.likeness) <= 0).all()


def cells() -> tuple[Any, Any]:
    rng = np.random.default_rng(2)
    return rng.normal(size=(50, C)).astype(np.float32), rng.uniform(0, 1, 50).astype(np.float32)


def test_a_picture_is_described() -> None:
    """By unit numbers, whatever the length of its features or the order of its cells."""
    index, (features, sure) = PlaceIndex(PLACES), cells()
    told = index.describe(features, sure)
    assert told.shape == (D,)
    np.testing.assert_allclose(np.linalg.norm(told), 1, atol=1e-6)
    order = np.random.default_rng(3).permutation(50)
    np.testing.assert_allclose(index.describe(3 * features[order], sure[order]), told, atol=1e-5)
    assert np.abs(index.describe(features, sure[::-1]) - told).max() > 0.01


def test_places_are_told_in_the_frame_that_is_asked_for() -> None:
    T = se3.exp([100.0, 0, 0, 0, 0, 1.0])
    index = PlaceIndex(PLACES, T)
    assert index.T_map_cam.dtype == np.float64
    np.testing.assert_allclose(index.T_map_cam, T @ PLACES.T_map_cam.astype(np.float64))
    np.testing.assert_array_equal(index.submap, PLACES.submap)
    assert len(index) == K


def test_many_pictures_are_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        PlaceIndex(PLACES)
        assert not caplog.messages
        monkeypatch.setattr(retrieval, '_MANY', K - 1)
        PlaceIndex(PLACES)
    assert 'takes a while' in caplog.text


@pytest.mark.parametrize('shapes', [((50, C + 1), 50), ((50, C), 49)])
def test_cells_that_do_not_fit_are_refused(shapes: tuple[tuple[int, int], int]) -> None:
    with pytest.raises(VlocError, match='has shape'):
        PlaceIndex(PLACES).describe(
            np.zeros(shapes[0], np.float32), np.ones(shapes[1], np.float32)
        )


def test_an_empty_index_is_refused() -> None:
    empty = replace(
        PLACES,
        descriptors=PLACES.descriptors[:0],
        T_map_cam=PLACES.T_map_cam[:0],
        submap=PLACES.submap[:0],
    )
    with pytest.raises(MapError, match='its index holds no pictures; build it'):
        Places.of_arrays(empty.arrays(), 'site/index.npz')


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'axes': PLACES.axes.astype(np.float64)}, 'does not hold an index'),
        ({'submap': PLACES.submap.astype(np.int64)}, 'does not hold an index'),
        ({'descriptors': PLACES.descriptors.astype(np.float32)}, 'does not hold an index'),
        ({'more': PLACES.mean}, 'does not hold an index'),
        ({'axes': PLACES.axes[:, 1:]}, 'not whole'),
        ({'axes': PLACES.axes[:0]}, 'not whole'),
        ({'axes': PLACES.axes[0]}, 'not whole'),
        ({'words': PLACES.words[:, 1:]}, 'not whole'),
        ({'words': PLACES.words[1:]}, 'not whole'),
        ({'mean': PLACES.mean[1:]}, 'not whole'),
        ({'mean': PLACES.mean * np.float32(np.nan)}, 'not whole'),
        ({'whiten': PLACES.whiten[1:]}, 'not whole'),
        ({'whiten': PLACES.whiten[:, 1:]}, 'not whole'),
        ({'whiten': np.ones((W * d, 600), np.int8)}, 'not whole'),
        ({'scale': PLACES.scale * np.float32(np.inf)}, 'not whole'),
        ({'scale': PLACES.scale[1:]}, 'not whole'),
        ({'descriptors': PLACES.descriptors[0]}, 'not whole'),
        ({'descriptors': PLACES.descriptors[0, 0]}, 'not whole'),
        ({'descriptors': PLACES.descriptors[1:]}, 'not whole'),
        ({'descriptors': PLACES.descriptors[:, :0]}, 'not whole'),
        ({'descriptors': PLACES.descriptors * np.float16(1.1)}, 'not whole'),
        ({'descriptors': PLACES.descriptors * np.float16(np.nan)}, 'not whole'),
        ({'T_map_cam': PLACES.T_map_cam[1:]}, 'not whole'),
        ({'T_map_cam': PLACES.T_map_cam[:, :3]}, 'not whole'),
        ({'T_map_cam': PLACES.T_map_cam * np.float32(1.1)}, 'not whole: a picture has'),
        ({'T_map_cam': PLACES.T_map_cam[:, [1, 0, 2, 3]]}, 'not whole: a picture mirrors'),
        ({'submap': PLACES.submap[1:]}, 'not whole'),
        ({'submap': PLACES.submap - 1}, 'not whole'),
    ],
)
def test_a_damaged_index_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MapError, match=f'site/index.npz: .*{says}'):
        Places.of_arrays(PLACES.arrays() | change, 'site/index.npz')
