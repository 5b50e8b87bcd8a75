import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import Trajectory, View

CAMERA = Camera(8, 6, 5, 5, 3.5, 2.5)


def track(n: int = 4) -> Trajectory:
    poses = [se3.exp([k, 0, 0, 0, 0, 0.1 * k]) for k in range(n)]
    return Trajectory.of([100 * k for k in range(n)], poses)


def test_view_checks_its_arrays() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    View(image, CAMERA, np.eye(4), np.zeros((6, 8), np.float32), np.zeros((6, 8), np.uint8))
    with pytest.raises(VlocError, match='image has shape'):
        View(image.transpose(1, 0, 2), CAMERA, np.eye(4))
    with pytest.raises(VlocError, match='depth has shape'):
        View(image, CAMERA, np.eye(4), np.zeros((3, 4), np.float32))
    with pytest.raises(VlocError, match='labels has shape'):
        View(image, CAMERA, np.eye(4), labels=np.zeros((8, 6), np.uint8))


def test_empty_trajectory() -> None:
    t = Trajectory.of([], [])
    assert len(t) == len(t.accepted) == 0
    assert t.length_m() == 0
    assert t.at(0, 10) is None
    assert len(t.moved(np.eye(4))) == 0


def test_accepted_defaults_to_all() -> None:
    assert track().accepted.all()
    t = Trajectory(track().stamps_ns, track().T_map_body, np.array([True, False, True, False]))
    assert t.moved(np.eye(4)).accepted.tolist() == [True, False, True, False]


@pytest.mark.parametrize('stamps', [[0, 0], [1, 0]])
def test_stamps_must_rise(stamps: list[int]) -> None:
    with pytest.raises(VlocError, match='do not rise'):
        Trajectory.of(stamps, [np.eye(4)] * 2)


def test_stamps_rise_over_the_whole_range() -> None:
    Trajectory.of([-(2**63), 0, 2**63 - 1], [np.eye(4)] * 3)  # their difference overflows


def test_sizes_must_agree() -> None:
    with pytest.raises(VlocError, match='T_map_body'):
        Trajectory.of([0, 1, 2], [np.eye(4)] * 2)
    with pytest.raises(VlocError, match='accepted'):
        Trajectory(np.arange(2), np.stack([np.eye(4)] * 2), np.ones(1, bool))


def test_moved_is_another_point_of_the_body() -> None:
    T_base_cam = se3.transform(np.eye(3), [0, 0, 2])
    moved = track().moved(T_base_cam)
    np.testing.assert_allclose(moved.T_map_body[:, 2, 3], 2)
    back = moved.moved(se3.inverse(T_base_cam))
    np.testing.assert_allclose(back.T_map_body, track().T_map_body, atol=1e-12)


def test_at() -> None:
    t = track()
    assert t.at(100, 0) is not None  # exact, whatever the gap
    assert t.at(-1, 1000) is None
    assert t.at(301, 1000) is None
    assert t.at(150, 99) is None
    between = t.at(150, 100)
    assert between is not None
    np.testing.assert_allclose(
        between, se3.interpolate(t.T_map_body[1], t.T_map_body[2], 0.5), atol=1e-12
    )


def test_at_keeps_nanoseconds_of_today() -> None:
    now = 1_800_000_000_123_456_789  # above 2**53: a double cannot hold it
    t = Trajectory.of([now, now + 3], [np.eye(4), se3.transform(np.eye(3), [3, 0, 0])])
    at = t.at(now + 1, 10)
    assert at is not None
    assert at[0, 3] == pytest.approx(1)
