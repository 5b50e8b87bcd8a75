import pickle

import numpy as np
import pytest
import torch

from vloc_models.checks import check_se3, check_shape
from vloc_models.errors import BagError, ExportError, MapError, SolveError, VlocError


@pytest.mark.parametrize('kind', [VlocError, BagError, MapError, SolveError, ExportError])
def test_error_is_one_line_and_survives_a_process(kind: type[VlocError]) -> None:
    error = kind('run1.mcap:\n  no camera', 'record\tthe camera')
    assert str(error) == 'run1.mcap: no camera; record the camera'
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.what, again.fix) == (error.what, error.fix)
    assert isinstance(error, VlocError)


@pytest.mark.parametrize(
    ('shape', 'spec', 'bound'),
    [
        ((2, 3, 4, 5), 'B 3 H W', {'B': 2, 'H': 4, 'W': 5}),
        ((4, 4), 'N N', {'N': 4}),
        ((7, 8, 4, 4), '... 4 4', {}),
        ((4, 4), '... 4 4', {}),
        ((0, 3), 'N 3', {'N': 0}),
        ((), '', {}),
    ],
)
def test_shape_fits(shape: tuple[int, ...], spec: str, bound: dict[str, int]) -> None:
    assert check_shape(np.zeros(shape), spec) == bound
    assert check_shape(torch.zeros(shape), spec) == bound


@pytest.mark.parametrize(
    ('shape', 'spec'),
    [
        ((2, 4), 'N 3'),
        ((3, 4), 'N N'),
        ((3,), 'N 3'),
        ((1, 2, 3), 'N 3'),
        ((3,), '... 4 4'),
        ((), 'N'),
    ],
)
def test_shape_does_not_fit(shape: tuple[int, ...], spec: str) -> None:
    with pytest.raises(VlocError, match=r'points has shape .* expected'):
        check_shape(np.zeros(shape), spec, 'points')


def test_sizes_bound_by_another_array() -> None:
    n = check_shape(np.zeros((5, 2)), 'N 2')
    with pytest.raises(VlocError, match=r"with \{'N': 5\}"):
        check_shape(np.zeros((4, 3)), 'N 3', 'points', **n)


def test_se3() -> None:
    check_se3(np.eye(4))
    for place, value, words in [
        ((0, 3), np.nan, 'NaN'),
        ((3, 0), 0.1, 'last row'),
        ((0, 0), 1.1, 'not orthonormal'),
        ((0, 0), -1.0, 'mirrors space'),
    ]:
        T = np.eye(4)
        T[place] = value
        with pytest.raises(VlocError, match=f'T_map_base .*{words}'):
            check_se3(T, 'T_map_base')
    with pytest.raises(VlocError, match='shape'):
        check_se3(np.eye(3))
