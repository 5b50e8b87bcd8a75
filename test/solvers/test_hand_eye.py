"""A robot drives on a plane; fixes are noisy, odometry drifts, mount and clock are off."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from vloc_models.errors import SolveError, VlocError
from vloc_models.geometry import se3
from vloc_models.records import Array, Trajectory
from vloc_models.solvers.hand_eye import HandEye, solve_hand_eye
from vloc_models.solvers.steps import between

T_base_cam = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.25, 0.05, 0.6])  # as told
T_map_odom = se3.exp([3, 2, 0, 0, 0, 1])
KINDS = {'stop': (0, 0), 'straight': (0.5, 0), 'curve': (0.5, 0.5), 'spot': (0, 0.7)}
START_NS, HZ = 10**18, 50


@dataclass(frozen=True)
class Case:
    delay_s: float = 0.0
    turn_deg: tuple[float, float, float] = (0, 0, 0)
    shift_m: tuple[float, float, float] = (0, 0, 0)
    kinds: tuple[str, ...] = ('straight', 'straight', 'curve', 'spot', 'stop')
    seconds: float = 60
    drift: float = 0.01
    drift_deg_m: float = 0.5
    turn_scale: float = 1.0
    noise: float = 1.0  # of 1 cm, 0.3 deg
    wrong: float = 0.05
    wobble_deg: float = 0.0

    @property
    def error(self) -> Array:
        return np.array([*self.shift_m, *np.radians(self.turn_deg)])


def driven(v: Array, w: Array) -> Array:
    """Poses [N, 4, 4] from speeds and turning rates."""
    yaw = np.append(0, np.cumsum(w[:-1]) / HZ)
    along = yaw + w / 2 / HZ
    x, y = (np.append(0, np.cumsum(v * f(along))[:-1] / HZ) for f in (np.cos, np.sin))
    T = np.tile(np.eye(4), (len(v), 1, 1))
    T[:, :3, :3] = Rotation.from_euler('z', yaw[:, None]).as_matrix()
    T[:, 0, 3], T[:, 1, 3] = x, y
    return T


def speeds(case: Case, rng: np.random.Generator) -> Array:
    """Speed and turning rate [2, N], smooth, to either side."""
    parts, count = [], 0
    while count < case.seconds * HZ:
        v, w = KINDS[str(rng.choice(case.kinds))]
        side = rng.choice([-1, 1]) if len(case.kinds) > 1 else 1
        parts.append(np.tile([[v], [w * side]], round(rng.uniform(1, 4) * HZ)))
        count += parts[-1].shape[1]
    return gaussian_filter1d(np.concatenate(parts, 1), 8, axis=1)


def drive(case: Case, seed: int = 0) -> tuple[Trajectory, Trajectory]:
    """Fixes and odometry."""
    rng = np.random.default_rng(seed)
    v, w = speeds(case, rng)
    stamps = START_NS + np.arange(len(v)) * (10**9 // HZ)
    bias = np.radians(case.drift_deg_m) * (0.7 * rng.choice([-1, 1]) + 3 * rng.normal(size=len(v)))
    odometry = driven(v * (1 + case.drift), w * case.turn_scale + bias * v)
    mount = se3.transform(
        Rotation.from_rotvec(case.error[3:]).as_matrix() @ T_base_cam[:3, :3],
        T_base_cam[:3, 3] + case.shift_m,
    )
    noise = case.noise * np.array([0.01] * 3 + [np.radians(0.3)] * 3)
    fixes = []
    for T in driven(v, w)[::10]:
        wobble = np.radians(case.wobble_deg) * rng.normal(size=2)
        T_map_cam = T_map_odom @ T @ se3.exp([0, 0, 0, *wobble, 0]) @ mount
        T_map_cam = T_map_cam @ se3.exp(noise * rng.normal(size=6))
        if rng.random() < case.wrong:
            T_map_cam = se3.exp([*rng.uniform(-3, 3, 2), 0, 0, 0, rng.uniform(-3, 3)]) @ T_map_cam
        fixes.append(T_map_cam @ se3.inverse(T_base_cam))
    late = stamps[::10] + round(case.delay_s * 1e9)
    return Trajectory(late, np.stack(fixes)), Trajectory(stamps, odometry)


def solved(case: Case, seed: int = 0) -> HandEye:
    return solve_hand_eye(*drive(case, seed), T_base_cam)


def known(found: HandEye) -> list[bool]:
    """Whether delay, x, y, z, roll, pitch, yaw are told."""
    limits = np.array([0.015, *[0.02] * 3, *np.radians([0.5] * 3)])
    return (np.array([found.delay_pm_s, *found.mount_pm]) < limits).tolist()


@pytest.mark.parametrize(
    'case',
    [
        Case(),
        Case(delay_s=0.1),
        Case(delay_s=-0.1),
        Case(turn_deg=(0, 0, 2)),
        Case(turn_deg=(2, -2, 0)),
        Case(shift_m=(0.05, -0.05, 0)),
        Case(delay_s=0.1, turn_deg=(1, -1, 2), shift_m=(0.05, -0.03, 0)),
        Case(delay_s=0.8, turn_deg=(0, 0, -90)),
        Case(turn_deg=(60, 100, 30)),  # axes taken for others
        Case(delay_s=-0.1, drift=0.03, turn_scale=1.03, wobble_deg=0.4),
        Case(delay_s=0.1, turn_deg=(0, 0, 2), wrong=0.25),
    ],
)
def test_delay_and_mount_are_found(case: Case) -> None:
    found = solved(case)
    assert known(found) == [True, True, True, False, True, True, True]  # the height never
    assert found.delay_s == pytest.approx(case.delay_s, abs=0.006)
    np.testing.assert_allclose(found.mount[:2], case.shift_m[:2], atol=0.01)
    np.testing.assert_allclose(found.mount[3:], case.error[3:], atol=np.radians(0.25))
    true = found.corrected(T_base_cam)
    np.testing.assert_allclose(true[:2, 3], (T_base_cam[:3, 3] + case.shift_m)[:2], atol=0.01)


def test_the_correction_can_be_of_some_parts_only() -> None:
    found = solved(Case(turn_deg=(0, 0, 10), shift_m=(0.05, 0, 0)))
    yaw_only = found.corrected(T_base_cam, np.arange(6) == 5)
    np.testing.assert_array_equal(yaw_only[:3, 3], T_base_cam[:3, 3])
    ahead = np.degrees(np.arctan2(yaw_only[1, 2], yaw_only[0, 2]))
    assert ahead == pytest.approx(10, abs=0.3)  # to the left


def test_without_noise_it_is_exact() -> None:
    case = Case(0.1, (1, -1, 2), (0.05, -0.03, 0), drift=0, drift_deg_m=0, noise=0, wrong=0)
    found = solved(case)
    assert found.delay_s == pytest.approx(0.1, abs=1e-4)
    np.testing.assert_allclose(found.mount, case.error, atol=1e-4)


def test_plus_minus_holds_what_it_promises() -> None:
    case = Case(delay_s=0.08, turn_deg=(1, -1, 2), shift_m=(0.05, -0.03, 0))
    inside = []
    for seed in range(6):
        found = solved(case, seed)
        miss = np.array([found.delay_s - case.delay_s, *(found.mount - case.error)])
        inside.append(np.abs(miss) < [found.delay_pm_s, *found.mount_pm])
    assert np.mean(inside) > 0.85
    assert np.mean(inside, axis=0).min() > 0.6


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        # delay, x, y, z, roll, pitch, yaw
        ('straight', [False, False, False, False, False, True, True]),
        ('curve', [False, False, False, False, True, True, False]),  # always the same circle
        ('spot', [False, None, False, False, True, True, False]),  # always to one side
    ],
)
def test_what_a_drive_does_not_tell_is_told(kind: str, expected: list[bool | None]) -> None:
    case = Case(kinds=(kind,))
    found = solved(case)
    for told, wanted in zip(known(found), expected, strict=True):
        assert wanted is None or told == wanted
    miss = np.array([found.delay_s, *found.mount])
    assert (np.abs(miss) < 1.5 * np.array([found.delay_pm_s, *found.mount_pm])).all()


def test_turning_on_the_spot_to_both_sides_tells_the_delay() -> None:
    found = solved(Case(kinds=('spot', 'stop'), delay_s=0.1))
    assert found.delay_s == pytest.approx(0.1, abs=0.005)
    told = known(found)  # x hangs on yaw, as the camera sits ahead and moves sideways only
    assert told[:1] + told[2:] == [True, False, False, True, True, False]


def test_who_stands_is_told() -> None:
    with pytest.raises(SolveError, match=r'the robot stands: it moved 0\.00 m and turned 0 deg'):
        solved(Case(kinds=('stop',)))


def test_too_few_fixes_with_odometry() -> None:
    fixes, odometry = drive(Case())
    few = Trajectory(fixes.stamps_ns[:15], fixes.T_map_body[:15])
    with pytest.raises(SolveError, match='15 fixes, 10 of them with odometry'):
        solve_hand_eye(few, odometry, T_base_cam)
    late = Trajectory(fixes.stamps_ns + 10**12, fixes.T_map_body)
    with pytest.raises(SolveError, match='0 of them with odometry'):
        solve_hand_eye(late, odometry, T_base_cam)


def test_a_gap_in_odometry_is_not_bridged() -> None:
    fixes, odometry = drive(Case(delay_s=0.1))
    seconds = (odometry.stamps_ns - START_NS) / 1e9
    kept = (seconds < 30) | (seconds > 32)
    parts = Trajectory(odometry.stamps_ns[kept], odometry.T_map_body[kept])
    found = solve_hand_eye(fixes, parts, T_base_cam)
    assert found.delay_s == pytest.approx(0.1, abs=0.006)
    assert found.fixes < len(fixes) - 20


def test_odometry_of_another_robot() -> None:
    fixes, _ = drive(Case(), seed=1)
    with pytest.raises(SolveError, match='agree in'):
        solve_hand_eye(fixes, drive(Case(), seed=2)[1], T_base_cam)


def test_a_mount_must_be_rigid() -> None:
    with pytest.raises(VlocError, match='T_base_cam'):
        solve_hand_eye(*drive(Case(seconds=10)), np.ones((4, 4)))


def test_a_step_has_a_chord_and_a_move_seen_from_half_its_turn() -> None:
    quarter = se3.transform(Rotation.from_euler('z', 90, degrees=True).as_matrix(), [1, 1, 0])
    T = np.stack([np.eye(4), quarter])  # a quarter of a circle, ahead and to the left
    start, end = np.array([0]), np.array([1])
    chords, moves = between((se3.to_quat_xyzw(T), T[:, :3, 3]), start, end)
    np.testing.assert_allclose(chords, [[0, 0, 2**0.5]], atol=1e-12)
    np.testing.assert_allclose(moves, [[2**0.5, 0, 0]], atol=1e-12)
