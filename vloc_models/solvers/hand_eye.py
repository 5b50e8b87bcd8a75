"""A wrong mount and a late clock of a camera, from its fixes in a map and the robot's odometry.

Fixes are told for the body by the mount that TF holds. If the camera truly sits at
``E @ T_base_cam``, and its pictures are stamped late by ``d``, then ``fix(t) = T_map_base(t - d) @
E``. Steps of some seconds are compared, so that the drift of odometry matters little. For their
chords ``c`` and moves ``u`` of the camera, and ``E`` = (R, s) told at the camera's place in the
body's axes, it holds exactly that

    c_fix = R' c_odom,    u_fix = R' (u_odom + c_odom x s)

which are the hand-eye equations of Tsai and Lenz (1989), made symmetric in time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import stdtrit

from vloc_models.checks import check_se3
from vloc_models.errors import SolveError
from vloc_models.geometry import se3
from vloc_models.records import Array, Trajectory
from vloc_models.solvers.steps import MORE, Steps, StepsConfig

_FEWEST_PARTS = 3  # of a drive, that can disagree
_FREEDOM = 4.0  # of the Student distribution of errors: wrong fixes count for next to nothing
_LEAST_MOVE_M, _LEAST_TURN_RAD = 0.3, 0.2  # who does less stands
_FAR = 0.3  # metres and radians: further off is just wrong
_LEAST = 1e-4  # metres and radians: no measurement is better
# the unknowns: delay, shift of the camera (3), turn (3), scale of the distance, of the turn, yaw
# a metre; and how far off each may be at all, where the drive does not tell
_DELAY, _MOUNT, _DRIFT = 0, slice(1, 7), slice(7, 10)
_SHIFT, _TURN = slice(1, 4), slice(4, 7)
_PRIOR = np.array([*[0.3] * 7, 0.05, 0.05, 0.02])
_INFORMATION = np.diag(_PRIOR**-2)
_STEP, _ROUNDS = 1e-4, 20  # of Gauss-Newton
_DONE = 0.01  # of the standard deviation: it moves on by no more
_NOISE = np.array([0.1, *[0.03] * 9])  # of odometry, in what it says of each unknown


@dataclass(frozen=True, eq=False)
class HandEye:
    """What was found; ``_pm`` is half of the 95 % interval, and large where nothing is known."""

    delay_s: float  # pictures are stamped late by so much, measured by the clock of odometry
    delay_pm_s: float
    mount: Array  # [6] shift in metres, turn as a rotation vector; the body's axes, at the camera
    mount_pm: Array  # [6]
    fixes: int  # used
    moved_m: float  # by odometry, meanwhile
    turned_rad: float

    def corrected(self, T_base_cam: Array, parts: NDArray[np.bool_] | None = None) -> Array:
        """The mount [4, 4] with the error put right; only the given ``parts`` [6] of it."""
        error = self.mount if parts is None else np.where(parts, self.mount, 0)
        turn = Rotation.from_rotvec(error[3:]).as_matrix()
        return se3.transform(turn @ T_base_cam[:3, :3], T_base_cam[:3, 3] + error[:3])


def solve_hand_eye(
    fixes: Trajectory, odometry: Trajectory, T_base_cam: Array, config: StepsConfig | None = None
) -> HandEye:
    """Find the delay of a camera's stamps and the error of its mount.

    Args:
        fixes: T_map_base of the accepted fixes, at the stamps of their pictures.
        odometry: T_odom_base at its own rate.
        T_base_cam: the mount [4, 4] that the fixes were made with.
        config: which steps are compared.

    Raises:
        SolveError: if fixes and odometry have too little in common, or the robot stands.
    """
    check_se3(T_base_cam, 'T_base_cam')
    config = config or StepsConfig()
    steps = Steps.of(fixes, odometry, T_base_cam[:3, 3], config)
    moved_m, turned_rad = steps.way()
    if moved_m < _LEAST_MOVE_M and turned_rad < _LEAST_TURN_RAD:
        turned = f'{np.degrees(turned_rad):.0f} deg'
        raise SolveError(f'the robot stands: it moved {moved_m:.2f} m and turned {turned}', MORE)
    start = _rough(steps, config)
    trusted = steps.trusted(start[_DELAY])
    x, equations = _refined(trusted, start)
    _check_same_motion(steps, x)
    pm = equations.plus_minus()
    error, error_pm = x[_MOUNT], pm[_MOUNT]
    used = len(np.union1d(trusted.start, trusted.end))
    return HandEye(x[_DELAY], pm[_DELAY], error, error_pm, used, moved_m, turned_rad)


def _check_same_motion(steps: Steps, x: Array) -> None:
    """Check that most steps agree once the errors are put right.

    Raises:
        SolveError: if they do not: then what was found means nothing.
    """
    miss = np.linalg.norm(_residuals(steps, x), axis=1)
    share = (miss < _FAR / 3 + 0.1 * np.linalg.norm(np.hstack(steps.seen), axis=1)).mean()
    if share < 0.5:
        what = f'fixes and odometry agree in {share:.0%} of the steps of the drive'
        fix = 'check that odometry is that of this robot, and its clock right within a second'
        raise SolveError(what, fix)


def _residuals(steps: Steps, x: Array) -> Array:
    """[N, 6] of moves in metres and chords in radians, by the fixes less by odometry.

    It is odometry that is turned by the mount: it is more exact, and what is not in its
    motion must not seem to be seen by turning the noise of fixes.
    """
    chords, moves = steps.of_body(x[_DELAY])
    back = Rotation.from_rotvec(-x[_TURN])
    distance, turn, yaw = x[_DRIFT]
    bends = np.linalg.norm(moves, axis=1)[:, None] * [0, 0, yaw]
    chords = (1 + turn) * chords + bends
    moves = (1 + distance) * moves + np.cross(chords, steps.place + x[_SHIFT])
    seen_chords, seen_moves = steps.seen
    return np.hstack([seen_moves - back.apply(moves), seen_chords - back.apply(chords)])


def _rough(steps: Steps, config: StepsConfig) -> Array:
    """Where to start: from no error at all, unless another start is clearly better."""
    start, late = np.zeros((2, len(_PRIOR)))
    late[_DELAY] = _rough_delay(steps, config)
    start = _clearly_better(steps, late, start)
    turned = start.copy()
    turned[_TURN] = _rough_turn(steps, start[_DELAY])
    return _clearly_better(steps, turned, start)


def _clearly_better(steps: Steps, one: Array, other: Array) -> Array:
    """The first start if it explains much more; both may be chance where little moves."""

    def miss(x: Array) -> float:
        return float(np.minimum(np.linalg.norm(_residuals(steps, x), axis=1), _FAR).mean())

    return one if miss(one) < 0.8 * miss(other) else other


def _rough_delay(steps: Steps, config: StepsConfig) -> float:
    """Lengths of chords do not depend on the mount, so they tell the delay."""
    length = np.linalg.norm(steps.seen[0], axis=1)

    def miss(delay_s: float) -> float:
        other = np.linalg.norm(steps.of_body(delay_s)[0], axis=1)
        return float(np.minimum(np.abs(length - other), _FAR).mean())

    limit = config.max_delay_s
    return min(np.arange(-limit, limit + 1e-9, 0.05).tolist(), key=miss)


def _rough_turn(steps: Steps, delay_s: float) -> Array:
    """The rotation vector that brings both sides' chords and moves together (Wahba's problem).

    Three axes that hardly count stand for no turn at all, where the motion leaves it open.
    """
    ours, theirs = (np.concatenate(x) for x in (steps.of_camera(delay_s), steps.seen))
    sizes = np.linalg.norm([ours, theirs], axis=2)
    alike = sizes.min(0) > np.maximum(0.02, 0.7 * sizes.max(0))
    axes = 1e-2 * np.sqrt((sizes[0, alike] ** 2).sum()) * np.eye(3)
    ours, theirs = (np.concatenate([x[alike], axes]) for x in (ours, theirs))
    return Rotation.align_vectors(ours, theirs)[0].as_rotvec()


def _refined(steps: Steps, x: Array) -> tuple[Array, '_Equations']:
    """The unknowns [10] by Gauss-Newton, and the equations there."""
    for _ in range(_ROUNDS):
        equations = _Equations.at(steps, x)
        H = equations.H.sum(0) + _INFORMATION
        step = -np.linalg.solve(H, equations.g.sum(0) + _INFORMATION @ x)
        x = x + step
        if (np.abs(step) < _DONE * equations.curved()).all():
            break
    return x, _Equations.at(steps, x)


@dataclass(frozen=True, eq=False)
class _Equations:
    """What each of B parts of the drive says of the unknowns, linear around some values."""

    H: Array  # [B, 10, 10] of H dx = -g
    g: Array  # [B, 10]
    sure: Array  # [10, 10] what of H is no noise of odometry

    @staticmethod
    def at(steps: Steps, x: Array) -> '_Equations':
        r = _residuals(steps, x)
        ahead = [_residuals(steps, x + step) for step in _STEP * np.eye(len(x))]
        J = (np.stack(ahead, 2) - r[..., None]) / _STEP  # [N, 6, 10]
        WJ = J * _weights(r, steps)[..., None]
        parts, part = np.unique(steps.block, return_inverse=True)
        H = np.zeros((len(parts), len(x), len(x)))
        g = np.zeros(H.shape[:2])
        np.add.at(H, part, np.einsum('nik,nil->nkl', WJ, J))
        np.add.at(g, part, np.einsum('nik,ni->nk', WJ, r))
        share = np.sqrt(_beyond(J.reshape(-1, 2, 3, len(x)), _NOISE)).repeat(3, 1)
        return _Equations(H, g, np.einsum('nik,nil->kl', WJ * share, J * share))

    def curved(self) -> Array:
        """The standard deviations [10], as if all steps were independent."""
        return np.sqrt(np.diag(np.linalg.inv(self.sure + _INFORMATION)))

    def plus_minus(self) -> Array:
        """Half of the 95 % interval [10]: by how much the answer hangs on any one part.

        That is the jackknife. Errors of one part have much in common, so the curvature promises
        too much; where it promises less, because nothing was seen at all, it holds.
        """
        parts, H = len(self.H), self.H.sum(0) + _INFORMATION
        if parts < _FEWEST_PARTS:
            what = f'fixes in {parts} of the parts of the drive'
            raise SolveError(what, 'drive for longer, through more of the mapped place')
        without = [np.linalg.solve(H - H_b, g_b) for H_b, g_b in zip(self.H, self.g, strict=True)]
        apart = np.sqrt((parts - 1) / parts * (np.array(without) ** 2).sum(0))
        return np.maximum(stdtrit(parts - 1, 0.975) * apart, 1.96 * self.curved())


def _beyond(x: Array, noise: Array | float) -> Array:
    """The share of ``x`` [N, 2, 3, ...] in moves and chords that is no noise: [N, 2, ...]."""
    size2 = (x**2).sum(2)
    return size2 / (size2 + noise**2)


def _weights(r: Array, steps: Steps) -> Array:
    """[N, 6] of Student's distribution; a fix counts as one, in however many steps it is.

    Moves and chords that are hardly there count for little: else noise would seem to be turned
    by the mount.
    """
    chords, moves = steps.seen
    size = np.linalg.norm(np.hstack([moves, chords]), axis=1)
    moving = size >= np.median(size)  # who stands is not off, whatever the mount
    sigma = np.maximum(1.4826 * np.median(np.abs(r[moving]), axis=0), _LEAST)
    alike = (_FREEDOM + r.shape[1]) / (_FREEDOM + ((r / sigma) ** 2).sum(1))
    there = _beyond(np.stack([moves, chords], 1), _NOISE[-1]).repeat(3, 1)
    return len(steps.times) / len(r) * alike[:, None] * there / sigma**2
