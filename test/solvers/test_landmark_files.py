"""Landmarks are read back as they were written, and what is not whole is refused."""

from typing import Any

import numpy as np
import pytest

from vloc_models.errors import MapError
from vloc_models.geometry import se3
from vloc_models.solvers.landmarks import Landmarks

rng = np.random.default_rng(0)
M, C, D, W = 500, 16, 8, 5  # landmarks; numbers of a feature and of a descriptor; words
AXES = np.linalg.qr(rng.normal(size=(C, D)))[0].astype(np.float32)
SHORT = rng.integers(-127, 128, (M, D), np.int8)
WORDS = rng.normal(0, 0.4, (W, D)).astype(np.float32)
PICTURE = np.arange(M, dtype=np.int32) // 50
POSES = np.stack([se3.exp([0.3 * k, 0, 0, 0, 0, 0.1 * k]) for k in range(10)]).astype(np.float32)
POINTS = rng.uniform(-5, 5, (M, 3)).astype(np.float32)
PLACES = rng.integers(-127, 128, (10, W * D), np.int8)
MARKS = Landmarks(POINTS, SHORT, AXES, PICTURE, POSES, WORDS, PLACES)


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
        (
            {'descriptors': MARKS.descriptors[:0], 'points': POINTS[:0], 'picture': PICTURE[:0]},
            'not whole',
        ),
        ({'descriptors': MARKS.descriptors[0]}, 'not whole'),
        ({'picture': PICTURE[1:]}, 'not whole'),
        ({'picture': PICTURE - 1}, 'not whole'),
        ({'picture': PICTURE + 1}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam[:, :3]}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam * np.float32(np.nan)}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam[:9], 'places': MARKS.places[:9]}, 'not whole'),
        ({'words': WORDS[:, 1:]}, 'not whole'),
        ({'words': WORDS[1:]}, 'not whole'),
        ({'words': WORDS[0]}, 'not whole'),
        ({'words': WORDS[:0], 'places': MARKS.places[:, :0]}, 'not whole'),
        ({'words': WORDS * np.float32(np.nan)}, 'not whole'),
        ({'words': WORDS.astype(np.float64)}, 'does not hold landmarks'),
        ({'places': MARKS.places[1:]}, 'not whole'),
        ({'places': MARKS.places[:, 1:]}, 'not whole'),
        ({'places': MARKS.places[0]}, 'not whole'),
        ({'places': MARKS.places.astype(np.float32)}, 'does not hold landmarks'),
        ({'T_map_cam': MARKS.T_map_cam * np.float32(1.1)}, 'not whole: a picture has'),
        ({'T_map_cam': MARKS.T_map_cam[:, [1, 0, 2, 3]]}, 'not whole: a picture mirrors'),
    ],
)
def test_damaged_files(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MapError, match=f'site/landmarks.npz: .*{says}'):
        Landmarks.of_arrays(MARKS.arrays() | change, 'site/landmarks.npz')


@pytest.mark.parametrize('name', ['words', 'places', 'T_map_cam'])
def test_files_of_which_a_part_is_missing(name: str) -> None:
    """As those of older versions."""
    arrays = {k: x for k, x in MARKS.arrays().items() if k != name}
    with pytest.raises(MapError, match='does not hold landmarks'):
        Landmarks.of_arrays(arrays, 'site/landmarks.npz')


def test_an_empty_file() -> None:
    with pytest.raises(MapError, match='does not hold landmarks'):
        Landmarks.of_arrays({}, 'site/landmarks.npz')
