"""The transform between two trajectories is found, and refused where they do not tell it."""

import numpy as np
import pytest

from vloc_models.errors import SolveError
from vloc_models.geometry import se3
from vloc_models.records import Array
from vloc_models.solvers.alignment import align

N = 60
LEVEL = se3.from_xyz_rpy([12.0, -3.0, 0.7], [0, 0, 2.6])
ASKEW = se3.from_xyz_rpy([12.0, -3.0, 0.7], [1.4, -0.3, 2.6])


def noise(seed: int, metres: float, radians: float) -> list[Array]:
    rng = np.random.default_rng(seed)
    scale = [metres] * 3 + [radians] * 3
    return [se3.exp(rng.normal(0, scale)) for _ in range(N)]


def drive(size_m: float = 4.0) -> Array:
    """A robot on the floor drives an eight of some metres."""
    way = np.linspace(0, 2 * np.pi, N)
    places = size_m * np.stack([np.sin(way), np.sin(2 * way) / 2, 0 * way], 1)
    return np.stack([se3.from_xyz_rpy(p, [0, 0, 3 * a]) for p, a in zip(places, way, strict=True)])


def apart(a: Array, b: Array) -> tuple[float, float]:
    """Metres and degrees."""
    turned = np.degrees(se3.angle_rad(a[:3, :3].T @ b[:3, :3]))
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(turned)


@pytest.mark.parametrize('T', [LEVEL, ASKEW, np.eye(4)])
def test_exact_poses_give_the_exact_transform(T: Array) -> None:
    map_poses = drive() @ np.stack(noise(0, 0.1, 0.1))  # a body that nods
    found = align(T @ map_poses, map_poses)
    np.testing.assert_allclose(found.T_frame_map, T, atol=1e-12)
    assert found.used.all()
    assert not found.flat
    assert found.words == '60 of 60 pictures, median 0 cm, 0.0 deg apart'


@pytest.mark.parametrize('wild', [0.0, 0.2, 0.35])
def test_noise_averages_out_and_outliers_do_not_count(wild: float) -> None:
    rng = np.random.default_rng(1)
    map_poses = drive()
    wanted = ASKEW @ map_poses @ np.stack(noise(2, 0.03, 0.02))
    lost = rng.random(N) < wild
    strange = np.stack([se3.exp(x) for x in rng.uniform(-9, 9, (N, 6))])
    wanted[lost] = strange[lost]
    found = align(wanted, map_poses)
    assert not found.used[lost].any()
    assert found.used.sum() > 0.9 * (~lost).sum()
    metres, degrees = apart(found.T_frame_map, ASKEW)
    assert metres < 0.03
    assert degrees < 0.6


def test_outliers_that_agree_with_each_other_do_not_count_either() -> None:
    """AMCL began at a wrong place, and found the right one later."""
    map_poses = drive()
    wanted = LEVEL @ map_poses
    wanted[:20] = LEVEL @ se3.from_xyz_rpy([6, 2, 0], [0, 0, np.pi]) @ map_poses[:20]
    found = align(wanted, map_poses)
    np.testing.assert_allclose(found.T_frame_map, LEVEL, atol=1e-9)
    assert found.used.sum() == 40


def test_a_plan_says_nothing_of_what_is_level_but_where_the_floor_is() -> None:
    """The robot drives over a hill that AMCL knows nothing of."""
    flat = drive()
    hilly = flat.copy()
    hilly[10:30] = hilly[10:30] @ se3.from_xyz_rpy([0, 0, 0.4], [0, -0.2, 0])
    found = align(LEVEL @ flat, hilly)
    assert found.flat
    np.testing.assert_allclose(found.T_frame_map, LEVEL, atol=1e-3)
    np.testing.assert_allclose(found.T_frame_map[2], [0, 0, 1, 0.7], atol=1e-12)
    assert found.words.endswith('apart in x, y and yaw')


def test_a_map_that_lies_askew_is_put_upright_by_a_plan() -> None:
    flat = drive()
    found = align(flat, se3.inverse(ASKEW) @ flat)
    assert not found.flat
    np.testing.assert_allclose(found.T_frame_map, ASKEW, atol=1e-9)


def test_a_straight_corridor_is_enough() -> None:
    straight = np.stack([se3.from_xyz_rpy([x, 0, 0], [0, 0, 0]) for x in np.linspace(0, 9, N)])
    found = align(ASKEW @ straight @ np.stack(noise(3, 0.02, 0.02)), straight)
    metres, degrees = apart(found.T_frame_map, ASKEW)
    assert metres < 0.02
    assert degrees < 0.6


def test_too_few() -> None:
    with pytest.raises(SolveError, match=r'9 pictures have both poses, 10 are needed; record'):
        align(drive()[:9], drive()[:9])
    with pytest.raises(SolveError, match='0 pictures'):
        align(np.zeros((0, 4, 4)), np.zeros((0, 4, 4)))


def test_all_at_one_place() -> None:
    with pytest.raises(SolveError, match=r'of one place, within 0\.\d\d m; record a drive'):
        align(LEVEL @ drive(0.2), drive(0.2))


def test_poses_that_do_not_agree() -> None:
    rng = np.random.default_rng(5)
    strange = np.stack([se3.exp(x) for x in rng.uniform(-3, 3, (N, 6))])
    with pytest.raises(SolveError, match=r'do not agree: .* deg apart.*; check'):
        align(strange, drive())
    late = LEVEL @ drive()[(np.arange(N) + 12) % N]  # stamps of another clock
    with pytest.raises(SolveError, match='do not agree'):
        align(late, drive())
