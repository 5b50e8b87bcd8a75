from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.errors import MapError, VlocError
from vloc_models.solvers.landmarks import Landmarks, Matcher

rng = np.random.default_rng(0)
M, C, D = 500, 16, 8
AXES = np.linalg.qr(rng.normal(size=(C, D)))[0].astype(np.float32)
FEATURES = rng.normal(size=(M, C)).astype(np.float32)
SHORT = FEATURES @ AXES / np.linalg.norm(FEATURES @ AXES, axis=1, keepdims=True)
WHOLE = np.round(SHORT * 127 / np.abs(SHORT).max()).astype(np.int8)
MARKS = Landmarks(rng.uniform(-5, 5, (M, 3)).astype(np.float32), WHOLE, AXES)


def slow_twin(features: NDArray[np.float32]) -> tuple[Any, Any]:
    """One feature after the other, one landmark after the other."""
    points, cosines = [], []
    for feature in features:
        short = feature.astype(float) @ MARKS.axes
        likeness = [
            float(short @ d / np.linalg.norm(short) / np.linalg.norm(d))
            for d in MARKS.descriptors.astype(float)
        ]
        points.append(MARKS.points[int(np.argmax(likeness))])
        cosines.append(max(likeness))
    return np.array(points), np.array(cosines)


@pytest.mark.parametrize('count', [1, 128, 300])
def test_as_the_slow_twin(count: int) -> None:
    asked = np.random.default_rng(count).normal(size=(count, C)).astype(np.float32)
    points, cosine = Matcher(MARKS).match(asked)
    expected = slow_twin(asked)
    np.testing.assert_array_equal(points, expected[0])
    np.testing.assert_allclose(cosine, expected[1], atol=1e-5)


def test_what_was_seen_is_found_however_strong_it_is() -> None:
    points, cosine = Matcher(MARKS).match(FEATURES * 7)
    np.testing.assert_array_equal(points, MARKS.points)
    assert cosine.min() > 0.99


def test_a_feature_of_zeros_is_alike_to_none() -> None:
    points, cosine = Matcher(MARKS).match(np.zeros((1, C), np.float32))
    assert np.isfinite(points).all()
    assert cosine.tolist() == [0]


def test_features_of_another_encoder_are_refused() -> None:
    with pytest.raises(VlocError, match='features has shape'):
        Matcher(MARKS).match(np.zeros((5, C + 1), np.float32))


def test_there_and_back() -> None:
    back = Landmarks.of_arrays(MARKS.arrays(), 'site/landmarks.npz')
    for name, values in MARKS.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], values)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'points': MARKS.points.astype(np.float64)}, 'does not hold landmarks'),
        ({'more': MARKS.points}, 'does not hold landmarks'),
        ({'points': MARKS.points[1:]}, 'not whole'),
        ({'points': MARKS.points[:, :2]}, 'not whole'),
        ({'points': MARKS.points * np.float32(np.nan)}, 'not whole'),
        ({'axes': AXES * np.float32(np.inf)}, 'not whole'),
        ({'axes': AXES[:, 1:]}, 'not whole'),
        ({'axes': AXES[:0]}, 'not whole'),
        ({'axes': AXES[0]}, 'not whole'),
        ({'descriptors': WHOLE[:0], 'points': MARKS.points[:0]}, 'not whole'),
    ],
)
def test_damaged_files(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MapError, match=f'site/landmarks.npz: .*{says}'):
        Landmarks.of_arrays(MARKS.arrays() | change, 'site/landmarks.npz')


def test_an_empty_file() -> None:
    with pytest.raises(MapError, match='does not hold landmarks'):
        Landmarks.of_arrays({}, 'site/landmarks.npz')
