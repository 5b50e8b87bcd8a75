"""Trajectories as TUM text, the exchange format: ``stamp x y z qx qy qz qw`` a line.

Stamps are seconds, positions metres. A line holds ``T_map_body``: the pose of the robot (or its
camera) in the map. Stamps are read and written as decimal numbers, because a double cannot hold
today's time to the nanosecond.
"""

from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.records import Array, Trajectory

_FIX = 'write "stamp x y z qx qy qz qw" a line: seconds, metres, unit quaternion'


def read_tum(path: Path) -> Trajectory:
    """Read a TUM file; ``#`` starts a comment, commas and tabs separate as spaces do.

    Raises:
        VlocError: with the line number, if a line is malformed, a number is not finite, a
            quaternion is not of unit length, or the stamps do not rise.
    """
    try:
        text = path.read_text('utf-8')
    except OSError as e:
        raise VlocError(f'{path}: {e.strerror}', 'name a readable TUM file') from e
    except UnicodeDecodeError as e:
        raise VlocError(f'{path}: not text', _FIX) from e
    stamps_ns: list[int] = []
    poses: list[Array] = []
    for number, line in enumerate(text.split('\n'), 1):
        words = line.partition('#')[0].replace(',', ' ').split()
        if not words:
            continue
        try:
            stamp_ns, T_map_body = _parse(words)
        except VlocError as e:
            raise VlocError(f'{path}:{number}: {e.what}', e.fix) from e
        if stamps_ns and stamp_ns <= stamps_ns[-1]:
            raise VlocError(f'{path}:{number}: stamp {words[0]} does not rise', 'sort the lines')
        stamps_ns.append(stamp_ns)
        poses.append(T_map_body)
    return Trajectory.of(stamps_ns, poses)


def write_tum(path: Path, trajectory: Trajectory) -> None:
    """Write a TUM file that ``read_tum`` gives back: stamps exactly, poses to 1e-9.

    Raises:
        VlocError: if the file cannot be written.
    """
    lines = ['# stamp x y z qx qy qz qw\n']
    T = trajectory.T_map_body
    numbers = np.hstack([T[:, :3, 3], se3.to_quat_xyzw(T).reshape(-1, 4)])
    for stamp_ns, row in zip(trajectory.stamps_ns.tolist(), numbers.tolist(), strict=True):
        stamp = f'{Decimal(stamp_ns).scaleb(-9):.9f}'
        lines.append(' '.join([stamp, *(f'{x:.9f}' for x in row)]) + '\n')
    try:
        path.write_text(''.join(lines), 'utf-8')
    except OSError as e:
        raise VlocError(f'{path}: {e.strerror}', 'name a place that can be written to') from e


def _parse(words: list[str]) -> tuple[int, Array]:
    """One line: the stamp in nanoseconds and T_map_body."""
    if len(words) != 8:
        raise VlocError(f'{len(words)} numbers, not 8', _FIX)
    if '_' in ''.join(words):  # Python takes 1_000 for a number
        raise VlocError(f'{" ".join(words)!r} is not numbers', _FIX)
    try:
        stamp_s, numbers = Decimal(words[0]), [float(word) for word in words[1:]]
    except (InvalidOperation, ValueError) as e:
        raise VlocError(f'{" ".join(words)!r} is not numbers', _FIX) from e
    usable = stamp_s.is_finite() and stamp_s.adjusted() < 10  # or 1e999999999 fills the memory
    stamp_ns = round(stamp_s.scaleb(9)) if usable else 2**63
    if not -(2**63) <= stamp_ns < 2**63:
        raise VlocError(f'stamp {words[0]} is no time in seconds', _FIX)
    return stamp_ns, se3.from_quat_xyzw(numbers[:3], numbers[3:])
