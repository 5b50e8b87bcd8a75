"""A probe fits its engine and no other; a bad one is refused with a reason."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vloc_models import npz
from vloc_models.engines.probe import check_probe, make_probe
from vloc_models.errors import MapError

Arrays = dict[str, NDArray[Any]]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3, 5)).astype(np.float32)


class Affine:
    """y = gain x + offset, on one case at a time."""

    inputs, outputs = ('x',), ('y',)

    def __init__(self, gain: float = 2, offset: float = 1) -> None:
        self.gain, self.offset = gain, offset

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
        assert arrays['x'].shape == (1, 3, 5)
        return {'y': (self.gain * arrays['x'] + self.offset).astype(np.float32)}


PROBE = make_probe(Affine(), {'x': X})


def test_an_engine_agrees_with_its_own_probe() -> None:
    assert sorted(PROBE) == ['input_x', 'output_y']
    assert check_probe(Affine(), npz.unpack(npz.pack(PROBE), 'p'), 'p') == 0


@pytest.mark.parametrize('far', [0, 1e3, 1e5])
def test_the_error_is_relative_to_the_spread(far: float) -> None:
    probe = make_probe(Affine(offset=far), {'x': X})
    allowed = max(2, far / 1000) / 2  # of the spread, or of what float32 resolves
    assert check_probe(Affine(2.0001, far), probe, 'p') < 1e-3
    with pytest.raises(MapError, match='p: y differs by'):
        check_probe(Affine(2 + 0.01 * allowed, far), probe, 'p')
    assert 1e-3 < check_probe(Affine(2 + 0.01 * allowed, far), probe, 'p', 0.1) < 0.1


def test_channels_far_apart_hide_nothing() -> None:
    """A map at (500, 0, 0): the spread is that of the points, not the distance of the axes."""
    probe = dict(PROBE)
    offset = np.array([0, 500, 0], np.float32)[:, None]
    probe['output_y'] = probe['output_y'] + offset

    class Far(Affine):
        def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
            return {'y': super().__call__(arrays)['y'] + offset}

    assert check_probe(Far(), probe, 'p') < 1e-6
    with pytest.raises(MapError, match='differs'):
        check_probe(Far(offset=1.01), probe, 'p')


@pytest.mark.parametrize(
    ('change', 'what'),
    [
        (lambda p: p.clear(), r'holds \[\]'),
        (lambda p: p.pop('input_x'), "holds .'output_y'"),
        (lambda p: p.update(more=X), 'more'),
        (lambda p: p.update(input_x=X[:3]), r'input_x has shape \[3, 3, 5\], not 4 cases'),
        (lambda p: p.update(input_x=np.float32(1)), r'shape \[\], not 4 cases'),
        (lambda p: p.update(output_y=X[:, :0]), r'shape \[4, 0, 5\]'),
        (lambda p: p.update(output_y=X[:, :2]), r'y has shape \[4, 2, 5\], not \[4, 3, 5\]'),
        (lambda p: p.update(output_y=X * np.nan), 'NaN'),
        (lambda p: p.update(input_x=np.full_like(X, np.inf)), 'infinity'),
        (lambda p: p.update(input_x=X[::-1]), 'y differs by'),
        (lambda p: p.update(output_y=0 * X), 'y differs by'),
    ],
)
def test_a_wrong_probe_is_refused(change: Callable[[Arrays], object], what: str) -> None:
    probe = dict(PROBE)
    change(probe)
    with pytest.raises(MapError, match=f'^site/probe.npz: .*{what}.*build the map again'):
        check_probe(Affine(), probe, 'site/probe.npz')


def test_an_engine_that_answers_nan_disagrees() -> None:
    with pytest.raises(MapError, match='differs by nan'):
        check_probe(Affine(np.nan), PROBE, 'p')


@given(st.data())
def test_a_damaged_probe_fits_or_is_a_map_error(damaged: Any, data: st.DataObject) -> None:
    raw = data.draw(damaged(npz.pack(PROBE)))
    try:
        check_probe(Affine(), npz.unpack(raw, 'p'), 'p')
    except (MapError, AssertionError):  # Affine asserts what an engine raises
        return
