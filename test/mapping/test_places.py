"""Pictures become few numbers, on axes along which they differ as much as along any other."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from seen_places import C, cells_of, poses, sightings
from sklearn.decomposition import PCA

from vloc_models.errors import BagError, VlocError
from vloc_models.mapping.places import PlacesConfig, in_bytes, index_places, whitening
from vloc_models.solvers.retrieval import PlaceIndex, Places, numbers_of

PICTURES = 40
RNG = np.random.default_rng(3)
PLAIN = PlacesConfig(8, shrinkage=0.0)
WHOLES = (RNG.normal(size=(PICTURES, 12)) @ RNG.normal(size=(12, 30)) + 5).astype(np.float32)


def indexed(pictures: int = PICTURES, **config: Any) -> Places:
    config = {'words': 8, 'cell_numbers': 8} | config
    return index_places(sightings(pictures), poses(pictures), PlacesConfig(**config), 0)


def test_the_numbers_vary_alike_and_do_not_go_together() -> None:
    mean, axes = whitening(WHOLES, PLAIN)
    np.testing.assert_allclose(np.cov((WHOLES - mean) @ axes, rowvar=False), np.eye(8), atol=1e-3)


def test_as_sklearn_does_it() -> None:
    """But for the signs of axes, which are free."""
    mean, axes = whitening(WHOLES, PLAIN)
    theirs = PCA(8, whiten=True).fit_transform(WHOLES)
    ours = (WHOLES - mean) @ axes
    signs = np.sign((ours * theirs).sum(0))
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-3)


def test_axes_in_bytes_tell_the_same() -> None:
    mean, axes = whitening(WHOLES, PLAIN)
    whole, scale = in_bytes(axes)
    assert whole.dtype == np.int8
    exact, ours = (numbers_of(WHOLES, mean, x) for x in (axes, whole * scale))
    assert (exact * ours).sum(1).min() > 0.999


def test_shrinkage_leaves_weak_axes_weak() -> None:
    mean, axes = whitening(WHOLES, replace(PLAIN, shrinkage=1.0))
    variance = ((WHOLES - mean) @ axes).var(0, ddof=1)
    assert (np.diff(variance) < 1e-6).all()
    assert variance.max() < 1
    assert variance.min() < 0.5


def test_what_is_kept() -> None:
    places = indexed(numbers=16)
    back = Places.of_arrays(places.arrays(), 'index.npz')
    assert back.descriptors.shape == (PICTURES, 16)
    assert back.axes.shape == (C, 8)
    length = np.linalg.norm(back.descriptors.astype(np.float32), axis=1)
    np.testing.assert_allclose(length, 1, atol=2e-3)
    assert not back.submap.any()
    np.testing.assert_allclose(back.T_map_cam, poses(PICTURES), atol=1e-6)


def test_pictures_are_found_again() -> None:
    """With noise of their own; by chance one in eight would be near the right one."""
    index, again = PlaceIndex(indexed(numbers=32)), sightings(PICTURES, seed=1)
    found = [
        index.nearest(index.describe(*cells_of(again, picture)), 1).numbers[0]
        for picture in range(PICTURES)
    ]
    away = np.abs(np.array(found) - np.arange(PICTURES))
    assert np.mean(away == 0) > 0.5
    assert np.mean(away <= 2) > 0.9


@pytest.mark.parametrize(('pictures', 'numbers'), [(1, 1), (2, 1), (10, 9)])
def test_few_pictures(pictures: int, numbers: int) -> None:
    places = Places.of_arrays(indexed(pictures).arrays(), 'index.npz')
    assert places.descriptors.shape == (pictures, numbers)
    index, again = PlaceIndex(places), sightings(pictures, seed=1)
    for picture in range(pictures):
        found = index.nearest(index.describe(*cells_of(again, picture)), 5)
        assert found.numbers[0] == picture
        assert len(found.numbers) == min(5, pictures)


def test_pictures_that_are_all_the_same() -> None:
    seen = sightings(1)
    twice = replace(
        seen,
        **{n: np.concatenate([x, x]) for n, x in vars(seen).items() if n != 'picture'},
        picture=np.repeat(np.arange(2, dtype=np.int32), len(seen.picture)),
    )
    places = index_places(twice, poses(2), PlacesConfig(words=4), 0)
    found = PlaceIndex(places).nearest(PlaceIndex(places).describe(*cells_of(twice, 0)), 2)
    np.testing.assert_allclose(found.likeness, 1, atol=1e-3)


def test_the_same_seed_gives_the_same_index() -> None:
    for name, values in indexed().arrays().items():
        np.testing.assert_array_equal(values, indexed().arrays()[name])


def test_pictures_without_cells_are_left_out_or_refused() -> None:
    seen = sightings(3)
    places = index_places(
        seen.of(np.array([True, False, True])), poses(4), PlacesConfig(words=4), 0
    )
    np.testing.assert_allclose(places.T_map_cam, poses(4)[[0, 2]], atol=1e-6)
    for none in (seen.of(np.zeros(3, bool)), seen):
        with pytest.raises(BagError, match='without cells'):
            index_places(none, poses(2), PlacesConfig(), 0)


def test_indices_on_the_same_axes_are_joined() -> None:
    whole = indexed()
    seen, T = sightings(PICTURES), poses(PICTURES)
    early = np.arange(PICTURES) < 15
    halves = [index_places(seen.of(some), T, PlacesConfig(), 0, whole) for some in (early, ~early)]
    joined = Places.joined(halves)
    for name in ('T_map_cam', 'axes', 'whiten', 'scale'):
        np.testing.assert_array_equal(joined.arrays()[name], whole.arrays()[name])
    np.testing.assert_allclose(joined.descriptors, whole.descriptors, atol=2e-3)  # half precision
    assert joined.submap.tolist() == [0] * 15 + [1] * 25


@pytest.mark.parametrize('wrong', [{'numbers': 0}, {'numbers': 513}, {'words': 0}])
def test_a_senseless_number_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(VlocError, match='at most 512 numbers'):
        PlacesConfig(**wrong)


@pytest.mark.parametrize('wrong', [-0.1, np.nan, np.inf])
def test_a_senseless_shrinkage_is_refused(wrong: float) -> None:
    with pytest.raises(VlocError, match='give 0 or more'):
        PlacesConfig(shrinkage=wrong)
