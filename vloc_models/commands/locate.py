"""``vloc locate``: the pose of every frame of a recording, as a TUM file."""

import os
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.text import Text

from vloc_models.commands.progress import progress_bar
from vloc_models.errors import VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.localize.encoder import Precision
from vloc_models.localize.localizer import Localizer, LocalizerConfig, Use
from vloc_models.localize.replay import Locates, Replay, replay
from vloc_models.records import Trajectory, Verdict
from vloc_models.tum import write_tum

_DEFAULT = BagOptions(poses='none', odom='none')


def locate(
    bag: tyro.conf.Positional[Path],
    map_folder: Annotated[Path, tyro.conf.arg(name='map', aliases=['-m'])],
    output: Annotated[Path, tyro.conf.arg(aliases=['-o'])],
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _DEFAULT,
    raw: bool = False,
    use: Use = 'both',
    threads: int = 0,
    precision: Precision = 'float32',
) -> None:
    """Find the robot's pose in a map for every frame of a recording, each on its own.

        vloc locate run2 --map site -o poses.tum

    Args:
        bag: a rosbag2 folder, a .mcap, .db3 or .bag file, or a 7-Scenes or ACE folder.
        map_folder: the map, as "vloc map" made it.
        output: the TUM file to write: T_map_base of the frames whose pose is accepted.
        options: which topics to use; the bag needs no poses.
        raw: write every pose that was solved, not only the accepted ones.
        use: the map's head, its landmarks, or what is best of both.
        threads: processor cores to use; 0 takes all.
        precision: of the encoder; int8 is quicker on most processors, and hardly less precise.
    """
    check_outputs([output], map_folder)
    localizer = Localizer.load(
        map_folder, LocalizerConfig(use, threads=threads, precision=precision)
    )
    with open_source(bag, options) as source:
        done = with_progress(localizer, source)
    estimates = done.estimates()
    written = estimates if raw else accepted_only(estimates)
    write_tum(output, written)
    Console(soft_wrap=True).print(Text(summary(done, output, len(written))))


def with_progress(localizer: Locates, source: FrameSource) -> Replay:
    """Replay a recording under a progress bar."""
    console = Console(stderr=True, markup=False)
    with progress_bar(console) as progress:
        task = progress.add_task('locating', total=None, note='')

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return replay(localizer, source, report)


def accepted_only(estimates: Trajectory) -> Trajectory:
    """The poses that the localizer stands behind."""
    marks = estimates.accepted
    return Trajectory(estimates.stamps_ns[marks], estimates.T_map_body[marks])


def summary(done: Replay, output: Path, written: int) -> str:
    """The whole run in a line."""
    accepted = sum(fix.verdict is Verdict.ACCEPTED for fix in done.fixes)
    rest = [
        f'{count} {verdict.value}: {reason}'
        for verdict, reason, count in done.reasons()
        if verdict is not Verdict.ACCEPTED
    ]
    why = f' ({"; ".join(rest)})' if rest else ''
    return f'{len(done.fixes)} frames, {accepted} accepted{why}; {written} poses in {output}'


def check_outputs(files: list[Path], map_folder: Path) -> None:
    """Find out before the work whether its results can be written.

    Raises:
        VlocError: if a file cannot be written, or would lie in the map folder.
    """
    for file in files:
        if file.resolve().is_relative_to(map_folder.resolve()):
            what = f'{file}: lies in the map, which could not be replaced any more'
            raise VlocError(what, 'name a place outside of the map folder')
        if file.is_dir():
            raise VlocError(f'{file}: is a folder', 'name a file')
        if not file.parent.is_dir():
            raise VlocError(f'{file.parent}: no such folder', 'create it, or name another')
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise VlocError(f'{file}: cannot be written to', 'name another place')
