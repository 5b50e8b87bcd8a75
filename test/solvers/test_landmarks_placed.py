"""Which cells a landmark takes that is seen at a known place."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from marks import MARKS, PICTURE, D, M
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.solvers.landmarks import Matcher

Array = NDArray[np.float64]

H, WIDE = 60, 80  # cells
CAMERA = Camera(640, 480, 500.0, 510.0, 300.0, 250.0)
T_map_cam = se3.exp([0.5, 1, -7, 0.3, 0.2, 0.1])


def descriptor(number: int) -> Array:
    """What is wanted of a landmark: its bytes, of length one."""
    row = MARKS.descriptors[number].astype(float)
    return row / np.linalg.norm(row)


def asked_at(*cells: tuple[int, int, Array]) -> NDArray[np.float32]:
    """A grid of which all other cells are like nothing."""
    grid = np.zeros((H, WIDE, D), np.float32)
    for row, column, short in cells:
        grid[row, column] = short
    return grid


def placed(*seen: tuple[float, float], depth: float = 5, numbers: Any = (0,)) -> Matcher:
    """Some landmarks, moved to where they are seen."""
    number = np.array(numbers)
    in_cam = CAMERA.unproject(np.array(seen, float)) * depth
    points = se3.apply(T_map_cam, in_cam).astype(np.float32)
    few = replace(MARKS, points=points, descriptors=MARKS.descriptors[number])
    return Matcher(replace(few, picture=PICTURE[number]))


@pytest.mark.parametrize(
    ('pixel', 'inside'),
    [
        ((320, 240), True),
        *(((u, 240), inside) for u, inside in ((15.5, False), (16.5, True))),
        *(((u, 240), inside) for u, inside in ((623.5, True), (624.5, False))),
        *(((320, v), inside) for v, inside in ((15.5, False), (16.5, True))),
        *(((320, v), inside) for v, inside in ((463.5, True), (464.5, False))),
        ((-50, 240), False),
        ((320, 600), False),
    ],
)
def test_the_edge_is_left_out(pixel: tuple[float, float], inside: bool) -> None:
    """Also where the very cell that it lies in looks like it."""
    grid = np.broadcast_to(descriptor(0), (H, WIDE, D)).astype(np.float32)
    for reach in (20.0, 144.0):
        found = placed(pixel).match_near(grid, CAMERA, T_map_cam, reach)
        assert len(found.cells) == inside


@pytest.mark.parametrize(('depth', 'seen'), [(5, True), (0.1, True), (-0.1, False), (-5, False)])
def test_what_is_behind_the_camera_is_not_seen(depth: float, seen: bool) -> None:
    """Also on the very axis."""
    grid = np.broadcast_to(descriptor(0), (H, WIDE, D)).astype(np.float32)
    found = placed((300, 250), depth=depth).match_near(grid, CAMERA, T_map_cam, 20.0)
    assert len(found.cells) == seen


@pytest.mark.parametrize('step', [(0, 0), (0, 3), (0, -3), (3, 0), (-3, 0), (3, -3)])
def test_cells_within_reach_each_way(step: tuple[int, int]) -> None:
    row, column = 30 + step[0], 40 + step[1]
    matcher, grid = placed((323.5, 243.5)), asked_at((row, column, descriptor(0)))
    assert matcher.match_near(grid, CAMERA, T_map_cam, 24.1).cells.tolist() == [[row, column]]
    beyond = matcher.match_near(grid, CAMERA, T_map_cam, 23.9)
    assert len(beyond.cells) == (step == (0, 0))


@pytest.mark.parametrize('alike', [-0.9, 0.0, 0.49, 0.51, 1.0])
def test_unlike_cells_are_not_found(alike: float) -> None:
    other = descriptor(1) - descriptor(1) @ descriptor(0) * descriptor(0)
    other *= np.sqrt(1 - alike**2) / np.linalg.norm(other)
    grid = asked_at((30, 40, alike * descriptor(0) + other))
    found = placed((323.5, 243.5)).match_near(grid, CAMERA, T_map_cam, 20.0)
    np.testing.assert_allclose(found.cosine, [alike] if alike > 0.5 else [], atol=1e-5)


@pytest.mark.parametrize('share', [0.3, 0.7])
def test_of_landmarks_with_the_same_cell_the_most_similar_one_counts(share: float) -> None:
    """Even if the other lies in it, or in another square."""
    other = max(range(1, M), key=lambda m: descriptor(m) @ descriptor(0))
    mixed = share * descriptor(0) + (1 - share) * descriptor(other)
    mixed /= np.linalg.norm(mixed)
    assert min(descriptor(0) @ mixed, descriptor(other) @ mixed) > 0.5
    best = descriptor(0 if share > 0.5 else other)
    middle, grid = (323.5, 243.5), asked_at((30, 40, mixed))
    for there in (middle, (330, 250), (350, 243.5), (287, 243.5)):
        for pixels in ((there, middle), (middle, there)):
            matcher = placed(*pixels, numbers=(0, other))
            found = matcher.match_near(grid, CAMERA, T_map_cam, 40.0)
            assert found.cells.tolist() == [[30, 40]]
            np.testing.assert_allclose(found.wanted[0], best, atol=1e-6)
            assert found.cosine[0] == pytest.approx(best @ mixed, abs=1e-5)
