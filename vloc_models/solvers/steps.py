"""Steps of a drive: the motion between two moments some seconds apart, by fixes and by odometry.

A step has a chord ``c = 2 sin(angle / 2) axis`` and a move ``u``: the way made, as seen from half
of the turn. A steady drift in yaw bends both halves of a step alike, and leaves ``u`` as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from vloc_models.errors import SolveError
from vloc_models.geometry import se3
from vloc_models.records import Array, Trajectory

Ints = NDArray[np.intp]
Moments = tuple[Array, Array]  # quat_xyzw [N, 4] and places [N, 3] of a body
MORE = 'record a longer drive in the mapped place, with turns both ways'
_LEAST_MISS = 1e-3  # metres and radians: a simulation may have no noise at all
_LEAST_BLOCKS = 5  # a drive is cut into, to see by how much they disagree


@dataclass(frozen=True)
class StepsConfig:
    """Which steps are compared."""

    gaps_s: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)  # from one moment to another
    max_delay_s: float = 1.0
    max_gap_s: float = 0.5  # odometry is not interpolated over a longer gap
    block_s: float = 10.0  # errors of steps further apart have nothing to do with each other
    min_fixes: int = 20


@dataclass(frozen=True, eq=False)
class Steps:
    """Pairs of fixes, what they say of the step between, and odometry to ask for the same."""

    times: Array  # [M] of the fixes, seconds
    start: Ints  # [N]
    end: Ints  # [N]
    block: Ints  # [N] of which part of the drive, from 0
    seen: tuple[Array, Array]  # chords and moves [N, 3] of the camera by the fixes
    place: Array  # [3] of the camera on the body, as told
    odometry: tuple[Array, Slerp, Array]  # of the body: times, rotations, places

    @staticmethod
    def of(fixes: Trajectory, odometry: Trajectory, place: Array, config: StepsConfig) -> 'Steps':
        """Of fixes, told for the body by a camera at ``place`` [3] on it.

        Raises:
            SolveError: if there is too little odometry around them.
        """
        fixes = _covered(fixes, odometry, config)
        origin_ns = fixes.stamps_ns[0]
        times, odom_times = ((t.stamps_ns - origin_ns) / 1e9 for t in (fixes, odometry))
        block_s = min(config.block_s, times[-1] / _LEAST_BLOCKS)
        start, end = _pairs(times, [gap for gap in config.gaps_s if gap <= block_s])
        block = ((times[start] + times[end]) / 2 / block_s).astype(np.intp)
        T = fixes.moved(se3.transform(np.eye(3), place)).T_map_body
        chords, moves = between((se3.to_quat_xyzw(T), T[:, :3, 3]), start, end)
        T = odometry.T_map_body
        slerp = Slerp(odom_times, Rotation.from_matrix(T[:, :3, :3]))
        told = odom_times, slerp, T[:, :3, 3]
        return Steps(times, start, end, block, (chords, moves), place, told)

    def odometry_at(self, times: Array) -> Moments:
        """The body in odom at times [M]."""
        known, slerp, places = self.odometry
        at = np.clip(times, known[0], known[-1])
        return slerp(at).as_quat(), np.stack([np.interp(at, known, axis) for axis in places.T], 1)

    def of_body(self, delay_s: float) -> tuple[Array, Array]:
        """By odometry, chords and moves [N, 3] if pictures are stamped late by so much."""
        return between(self.odometry_at(self.times - delay_s), self.start, self.end)

    def of_camera(self, delay_s: float) -> tuple[Array, Array]:
        """The same for the camera, where it is told to be."""
        chords, moves = self.of_body(delay_s)
        return chords, moves + np.cross(chords, self.place)

    def way(self) -> tuple[float, float]:
        """Metres and radians of the drive by odometry, added up every half second."""
        at = np.arange(self.times[0], self.times[-1], 0.5)
        chain = np.arange(len(at))
        chords, moves = between(self.odometry_at(at), chain[:-1], chain[1:])
        return _total(moves), _total(chords)

    def trusted(self, delay_s: float) -> 'Steps':
        """Without fixes whose distance and turn to most others are wrong, whatever the mount."""
        lengths = np.linalg.norm([*self.seen, *self.of_camera(delay_s)], axis=2)
        miss = np.abs(lengths[:2] - lengths[2:]).sum(0)
        well = miss <= max(5 * np.median(miss), _LEAST_MISS)
        both = np.concatenate([self.start, self.end])
        share = np.bincount(both, np.tile(well, 2)) / np.maximum(np.bincount(both), 1)
        kept = (share[self.start] > 0.5) & (share[self.end] > 0.5)
        seen = self.seen[0][kept], self.seen[1][kept]
        start, end, block = self.start[kept], self.end[kept], self.block[kept]
        return replace(self, start=start, end=end, block=block, seen=seen)


def _pairs(times: Array, gaps_s: Sequence[float]) -> tuple[Ints, Ints]:
    """Moments about so far apart."""
    found = [np.zeros((0, 2), np.intp)]
    for gap in gaps_s:
        end = np.searchsorted(times, times + gap)
        start = np.flatnonzero(end < len(times))
        end = end[start]
        near = times[end] - times[start] < 1.5 * gap
        found.append(np.stack([start[near], end[near]], 1))
    pairs = np.unique(np.concatenate(found), axis=0)
    if not len(pairs):
        raise SolveError('no two fixes are a few seconds apart', MORE)
    return pairs[:, 0], pairs[:, 1]


def between(moments: Moments, start: Ints, end: Ints) -> tuple[Array, Array]:
    """Chords and moves [N, 3] of steps."""
    quat, place = moments
    back = Rotation.from_quat(quat[start]).inv()
    turn = (back * Rotation.from_quat(quat[end])).as_quat()
    turn *= np.where(turn[:, 3:] < 0, -1, 1)
    half = Rotation.from_quat(turn + np.array([0, 0, 0, 1]))  # normalised there
    return 2 * turn[:, :3], half.inv().apply(back.apply(place[end] - place[start]))


def _total(vectors: Array) -> float:
    return float(np.linalg.norm(vectors, axis=1).sum())


def _covered(fixes: Trajectory, odometry: Trajectory, config: StepsConfig) -> Trajectory:
    """The fixes around which there is odometry, whatever the delay.

    Raises:
        SolveError: if they are too few.
    """
    stamps, margin = odometry.stamps_ns, round(config.max_delay_s * 1e9)
    first = np.searchsorted(stamps, fixes.stamps_ns - margin, 'right') - 1
    last = np.searchsorted(stamps, fixes.stamps_ns + margin, 'left')
    inside = (first >= 0) & (last < len(stamps))
    gaps = np.append(0, np.cumsum(np.diff(stamps) > config.max_gap_s * 1e9))
    whole = inside.copy()
    whole[inside] = gaps[last[inside]] == gaps[first[inside]]
    if whole.sum() < config.min_fixes:
        what = (
            f'{len(fixes)} fixes, {whole.sum()} of them with odometry from {config.max_delay_s:g} '
            f's before to after; {config.min_fixes} are needed'
        )
        raise SolveError(what, MORE)
    return Trajectory(fixes.stamps_ns[whole], fixes.T_map_body[whole])
