"""Landmarks are read back as they were written, and what is not whole is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from marks import AXES, MARKS, PICTURE, POINTS, POSES, WORDS

from vloc_models.errors import MapError
from vloc_models.solvers.landmarks import Landmarks

TWINS = replace(MARKS, twin_picture=np.array([0, 9, 9], np.int32), T_twin=POSES[[3, 1, 2]])


@pytest.mark.parametrize('marks', [MARKS, TWINS])
def test_there_and_back(marks: Landmarks) -> None:
    """Also where no two places look alike."""
    back = Landmarks.of_arrays(marks.arrays(), 'site/landmarks.npz')
    for name, values in marks.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], values)
        assert back.arrays()[name].dtype == values.dtype


def test_maps_that_do_not_know_of_places_that_look_alike() -> None:
    """As those of older versions."""
    arrays = {k: x for k, x in TWINS.arrays().items() if k not in ('twin_picture', 'T_twin')}
    back = Landmarks.of_arrays(arrays, 'site/landmarks.npz')
    assert back.twin_picture.shape == (0,)
    assert back.T_twin.shape == (0, 4, 4)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'twin_picture': TWINS.twin_picture.astype(np.int64)}, 'does not hold landmarks'),
        ({'T_twin': TWINS.T_twin.astype(np.float64)}, 'does not hold landmarks'),
        ({'twin_picture': TWINS.twin_picture[1:]}, 'not whole'),
        ({'twin_picture': TWINS.twin_picture[:0]}, 'not whole'),
        ({'twin_picture': TWINS.twin_picture[0], 'T_twin': TWINS.T_twin[0]}, 'not whole'),
        ({'twin_picture': TWINS.twin_picture[None], 'T_twin': TWINS.T_twin[None]}, 'not whole'),
        ({'twin_picture': TWINS.twin_picture - 1}, 'not whole'),
        ({'twin_picture': TWINS.twin_picture + 1}, 'not whole'),
        ({'T_twin': TWINS.T_twin[1:]}, 'not whole'),
        ({'T_twin': TWINS.T_twin[:, :3]}, 'not whole'),
        ({'T_twin': TWINS.T_twin[0]}, 'not whole'),
        ({'T_twin': TWINS.T_twin * np.float32(np.nan)}, 'not whole'),
        ({'T_twin': TWINS.T_twin * np.float32(1.1)}, 'not whole: a picture has'),
        ({'T_twin': TWINS.T_twin[:, [1, 0, 2, 3]]}, 'not whole: a picture mirrors'),
    ],
)
def test_places_that_look_alike_damaged(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MapError, match=f'site/landmarks.npz: .*{says}'):
        Landmarks.of_arrays(TWINS.arrays() | change, 'site/landmarks.npz')


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


@pytest.mark.parametrize('name', ['words', 'places', 'T_map_cam', 'twin_picture', 'T_twin'])
def test_files_of_which_a_part_is_missing(name: str) -> None:
    """As those of older versions."""
    arrays = {k: x for k, x in MARKS.arrays().items() if k != name}
    with pytest.raises(MapError, match='does not hold landmarks'):
        Landmarks.of_arrays(arrays, 'site/landmarks.npz')


def test_an_empty_file() -> None:
    with pytest.raises(MapError, match='does not hold landmarks'):
        Landmarks.of_arrays({}, 'site/landmarks.npz')
