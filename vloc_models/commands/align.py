"""``vloc align``: tell a map's poses in another frame, such as that of a Nav2 map."""

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.text import Text

from vloc_models.checks import check_se3
from vloc_models.commands.info import placement
from vloc_models.commands.progress import progress_bar
from vloc_models.errors import VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.keyframes import evenly
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.geometry import se3
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.localize.replay import Locates
from vloc_models.mapping.realign import realign
from vloc_models.maps import open_map
from vloc_models.records import Array, Verdict
from vloc_models.solvers.alignment import Alignment
from vloc_models.solvers.alignment import align as solve

_DEFAULT = BagOptions(odom='none')
_ORIGIN = (0.0, 0.0, 0.0)


def align(
    map_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(name='map')],
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _DEFAULT,
    bag: Path | None = None,
    xyz: tuple[float, float, float] | None = None,
    rpy_deg: tuple[float, float, float] | None = None,
    reset: bool = False,
    dry_run: bool = False,
    pictures: int = 200,
    threads: int = 0,
) -> None:
    """Tell a map's poses in another frame, such as that of a Nav2 map.

    From a drive that was recorded while AMCL, or any other localizer, ran:
        vloc align site --bag run_with_amcl

    By hand, or as it was recorded:
        vloc align site --xyz 12.5 -3 0 --rpy-deg 0 0 90
        vloc align site --reset

    Args:
        map_folder: the map, as "vloc map" made it; only its map.yaml changes.
        options: which topics to use, and where the poses in the wanted frame come from.
        bag: a recording with poses in the wanted frame.
        xyz: where the origin of the recording lies in the frame, metres.
        rpy_deg: roll, pitch and yaw of the recording in the frame, about its fixed axes.
        reset: back to the frame of the recording.
        dry_run: tell what would be done.
        pictures: of the bag to localize, evenly along the way.
        threads: processor cores to use; 0 takes all.
    """
    by_hand = xyz is not None or rpy_deg is not None
    if [bag is not None, by_hand, reset].count(True) != 1:
        fix = 'give one of --bag, --xyz with --rpy-deg, and --reset'
        raise VlocError('align: it takes one way to be told where the map lies', fix)
    site, console = open_map(map_folder), Console(soft_wrap=True)
    old = np.array(site.info.T_frame_map)
    if bag is None:
        new = se3.from_xyz_rpy(xyz or _ORIGIN, np.radians(rpy_deg or _ORIGIN))
    else:
        localizer = Localizer.load(map_folder, LocalizerConfig(threads=threads))
        with open_source(bag, options) as source:
            found = _found(localizer, source, pictures, console)
        new = found.T_frame_map @ old  # the pictures are localized in the frame of until now
    check_se3(new, 'T_frame_map')
    if not dry_run:
        realign(site, new)
    console.print(Text(f'was       {placement(old)}'))
    console.print(Text(f'{"would be" if dry_run else "is now":<10}{placement(new)}'))


def _found(localizer: Locates, source: FrameSource, most: int, console: Console) -> Alignment:
    """The alignment from a recording, and what it rests on."""
    _check_poses(source)
    chosen = set(evenly(source, most).tolist())
    wanted, located = _both_poses(localizer, source, chosen)
    count = f'{len(wanted)} of {len(chosen)} pictures localized'
    console.print(Text(f'{count}; poses from {source.poses_source}'))
    found = solve(wanted, located)
    console.print(Text(f'agree: {found.words}'))
    return found


def _check_poses(source: FrameSource) -> None:
    """Refuse odometry, which begins anywhere."""
    if isinstance(source, BagReader) and source.poses is not None and source.poses.drifts:
        what = f'{source.path}: its poses come from odometry ({source.poses_source})'
        raise VlocError(what, 'record TF map -> odom or amcl_pose too, or name it with --poses')


def _both_poses(localizer: Locates, source: FrameSource, chosen: set[int]) -> tuple[Array, Array]:
    """T_frame_base and T_map_base [N, 4, 4] of those chosen pictures that are localized."""
    pairs = []
    with progress_bar(Console(stderr=True, markup=False)) as progress:
        task = progress.add_task('locating', total=len(chosen), note='')
        for frame in source.frames():
            if frame.stamp_ns not in chosen or frame.T_map_base is None:
                continue
            fix = localizer.locate(frame.views, stamp_ns=frame.stamp_ns)
            if fix.verdict is Verdict.ACCEPTED and fix.estimate is not None:
                pairs.append((frame.T_map_base, fix.estimate.T_map_base))
            progress.advance(task)
    both = np.array(pairs, np.float64).reshape(-1, 2, 4, 4)
    return both[:, 0], both[:, 1]
