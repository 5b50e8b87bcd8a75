"""``vloc check``: whether the camera sits where TF says, and whether its stamps are in time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.text import Text
from scipy.spatial.transform import Rotation

from vloc_models.commands.locate import accepted_only, check_outputs, with_progress
from vloc_models.errors import VlocError
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.localize.localizer import Localizer, LocalizerConfig, Use
from vloc_models.localize.replay import Replay
from vloc_models.records import Array, Fix, View
from vloc_models.solvers.hand_eye import HandEye, solve_hand_eye
from vloc_models.solvers.steps import StepsConfig

Finding = Literal['right', 'wrong', 'unknown']
_DEFAULT = BagOptions(poses='none')
_COLOURS = {'right': 'green', 'wrong': 'bold red', 'unknown': 'yellow'}


@dataclass(frozen=True)
class _Part:
    """One thing that is measured, and how it is told."""

    name: str  # in the JSON file
    subject: str
    less: str  # what a negative error is called
    more: str
    unit: str
    factor: float  # from seconds, metres, radians to the unit
    tolerable: float  # in the unit: hardly harms
    hint: str  # how to drive, or what else to do, that it can be told


_TURNS, _DEG = 'drive with turns to both sides', float(np.degrees(1))
_PARTS = (
    _Part('delay_ms', 'pictures are stamped', 'early', 'late', 'ms', 1e3, 15, 'turn, stop, go on'),
    _Part('x_cm', 'the camera sits', 'behind', 'ahead of', 'cm', 100, 2, _TURNS),
    _Part('y_cm', 'the camera sits', 'right of', 'left of', 'cm', 100, 2, _TURNS),
    _Part('z_cm', 'the camera sits', 'below', 'above', 'cm', 100, 2, 'measure with a ruler'),
    _Part('roll_deg', 'the camera leans', 'left of', 'right of', 'deg', _DEG, 0.5, _TURNS),
    _Part('pitch_deg', 'the camera looks', 'above', 'below', 'deg', _DEG, 0.5, _TURNS),
    _Part(
        'yaw_deg', 'the camera looks', 'right of', 'left of', 'deg', _DEG, 0.5, 'drive straight on'
    ),
)


@dataclass(frozen=True)
class _FirstCamera:
    """Of a rig: the others may be mounted wrongly in their own way."""

    localizer: Localizer

    def locate(self, views: Sequence[View], prior: Array | None = None, stamp_ns: int = 0) -> Fix:
        """By the first camera alone."""
        return self.localizer.locate(views[:1], prior, stamp_ns)


@dataclass(frozen=True)
class Told:
    """What is said of one part."""

    part: _Part
    value: float  # in its unit
    plus_minus: float

    @property
    def finding(self) -> Finding:
        """Wrong only beyond doubt; right only where an error that harms would have been seen."""
        if abs(self.value) > max(self.part.tolerable, 1.5 * self.plus_minus):
            return 'wrong'
        sure = max(abs(self.value), self.plus_minus) <= self.part.tolerable
        return 'right' if sure else 'unknown'

    def words(self) -> str:
        """A line for a person."""
        part, pm = self.part, f'(+- {self.plus_minus:.2g} {self.part.unit})'
        of = '' if part.name == 'delay_ms' else ' what TF says'
        if self.finding == 'unknown':
            asked = f'whether {part.subject} {part.less} or {part.more}{of}'
            return f'{asked} cannot be told from this drive {pm}: {part.hint}'
        side = part.more if self.value > 0 else part.less
        size = f'{abs(self.value):.{0 if part.unit == "ms" else 1}f} {part.unit}'
        return f'{part.subject} {size} {side}{of} {pm}'


def check(
    bag: tyro.conf.Positional[Path],
    map_folder: Annotated[Path, tyro.conf.arg(name='map', aliases=['-m'])],
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _DEFAULT,
    json_file: Annotated[Path | None, tyro.conf.arg(name='json')] = None,
    use: Use = 'both',
    threads: int = 0,
) -> int:
    """Tell whether the camera sits where TF says, and whether its pictures are stamped in time.

        vloc check run2 --map site

    Each picture is located in the map on its own, and its motion is compared with that of
    odometry. Take another recording than the one the map was made from, of a minute or two, with
    stretches straight on and turns to both sides. +- is a 95 % interval. A delay is of pictures
    against odometry: either clock may be the wrong one. The exit code is 0 if nothing is wrong,
    and 2 if something is.

    Args:
        bag: a rosbag2 folder, or a .mcap, .db3 or .bag file, with odometry.
        map_folder: the map, as "vloc map" made it.
        options: which topics to use; the bag needs no poses.
        json_file: write the figures to this file.
        use: the map's head, its landmarks, or what is best of both.
        threads: processor cores to use; 0 takes all.
    """
    check_outputs([json_file] if json_file else [], map_folder)
    localizer = Localizer.load(map_folder, LocalizerConfig(use, threads=threads))
    with open_source(bag, options) as source:
        odometry = source.odometry()
        if not len(odometry):
            fix = 'record /odom or TF odom->base_link by the clock of the pictures, or give --odom'
            raise VlocError(f'{bag}: no odometry to compare with', fix)
        mount = source.cameras[0]
        done = with_progress(_FirstCamera(localizer), source)
        words = source.odom_source
    fixes = accepted_only(done.estimates())
    _check_enough(bag, done, len(fixes))
    found = solve_hand_eye(fixes, odometry, mount.T_base_cam)
    told = _told(found, mount)
    if json_file:
        _write_json(json_file, found, told, done)
    console = Console(soft_wrap=True)
    turned = f'{np.degrees(found.turned_rad):.0f} deg'
    console.print(Text(
        f'{len(done.fixes)} pictures, {len(fixes)} accepted, {found.fixes} compared with {words}: '
        f'{found.moved_m:.1f} m, {turned} of turns'
    ))  # fmt: skip
    for one in told:
        console.print(Text.assemble((f'{one.finding:<9}', _COLOURS[one.finding]), one.words()))
    for line in _advice(found, told, mount, options.base_frame):
        console.print(Text(line))
    return 2 if any(one.finding == 'wrong' for one in told) else 0


def _check_enough(bag: Path, done: Replay, accepted: int) -> None:
    """Check that the place is known before anything is concluded."""
    if accepted < (least := StepsConfig().min_fixes):
        why = '; '.join(f'{n} {verdict.value}: {reason}' for verdict, reason, n in done.reasons())
        what = f'{bag}: {accepted} of {len(done.fixes)} pictures accepted ({why}), {least} needed'
        raise VlocError(what, 'check that it is the map of this place, or record a longer drive')


def _told(found: HandEye, mount: CameraMount) -> list[Told]:
    """All parts; the delay alone where TF has no mount: the camera itself is the body then."""
    values = [found.delay_s, *found.mount.tolist()]
    bounds = [found.delay_pm_s, *found.mount_pm.tolist()]
    every = [
        Told(part, value * part.factor, bound * part.factor)
        for part, value, bound in zip(_PARTS, values, bounds, strict=True)
    ]
    return every if _has_mount(mount) else every[:1]


def _has_mount(mount: CameraMount) -> bool:
    return not np.allclose(mount.T_base_cam, np.eye(4))  # no camera looks out of the floor


def _advice(found: HandEye, told: list[Told], mount: CameraMount, base: str) -> list[str]:
    """What to do about it."""
    wrong = np.array([one.finding == 'wrong' for one in told])
    lines = []
    if wrong[0]:
        sign = 'subtract' if found.delay_s > 0 else 'add'
        size = f'{abs(found.delay_s):.3f} s'
        lines.append(f'to do: {sign} {size} where pictures are stamped, or mend the clock')
    if wrong[1:].any():
        T = found.corrected(mount.T_base_cam, wrong[1:])
        lines.append(f'to do: correct TF {base} -> {mount.frame_id} to {_as_arguments(T)}')
    if not _has_mount(mount):
        lines.append('TF does not tell where the camera sits on the robot: not checked')
    return lines if wrong.any() else [*lines, 'nothing is found to be wrong']


def _as_arguments(T: Array) -> str:
    """As static_transform_publisher wants it."""
    rpy = Rotation.from_matrix(T[:3, :3]).as_euler('xyz')
    names = ('x', 'y', 'z', 'roll', 'pitch', 'yaw')
    return ' '.join(f'--{n} {v:.4f}' for n, v in zip(names, [*T[:3, 3], *rpy], strict=True))


def _write_json(path: Path, found: HandEye, told: list[Told], done: Replay) -> None:
    figures = {
        'pictures': len(done.fixes),
        'compared': found.fixes,
        'moved_m': found.moved_m,
        'turned_deg': float(np.degrees(found.turned_rad)),
        **{
            one.part.name: {
                'error': float(one.value),
                'plus_minus': float(one.plus_minus),
                'finding': one.finding,
            }
            for one in told
        },
    }
    try:
        path.write_text(json.dumps(figures, indent=1, allow_nan=False) + '\n', 'utf-8')
    except OSError as e:
        raise VlocError(f'{path}: {e.strerror}', 'name a place that can be written to') from e
