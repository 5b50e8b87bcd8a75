"""``vloc info``: what a recording or a map holds, what is missing, and what to do about it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.options import BagOptions
from vloc_models.frames.survey import BagSurvey, Problem, survey
from vloc_models.geometry import se3
from vloc_models.mapping.self_test import in_words
from vloc_models.maps import Map, MapInfo, open_map
from vloc_models.records import Array

_DEFAULT = BagOptions()
AS_RECORDED = 'as recorded'


def info(
    recording: tyro.conf.Positional[Path],
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _DEFAULT,
) -> int:
    """Look a recording over: topics, rates, gaps, cameras, poses, and what to mend. Or a map.

    The exit code is 0 if a map can be made from it (a map: if it is whole), and 2 if not.

    Args:
        recording: a rosbag2 folder, a .mcap, .db3 or .bag file, a 7-Scenes or ACE folder, or a
            map folder.
        options: which topics and poses to use.
    """
    if (recording / 'map.yaml').exists():
        show_map(open_map(recording), Console(soft_wrap=True))
        return 0
    logging.getLogger('vloc_models.frames').setLevel(logging.ERROR)  # the survey says it all
    found = survey(recording, options)
    show(found, Console(soft_wrap=True))
    return 2 if any(p.fatal for p in found.problems) else 0


def show(found: BagSurvey, console: Console) -> None:
    """Print a survey."""
    console.print(
        f'[bold]{escape(str(found.path))}[/]  {found.storage}, {_size(found.size_bytes)}, '
        f'{found.duration_s:.1f} s, {found.frames} frames',
        highlight=False,
    )
    if found.topics:
        console.print(_topics(found))
    for camera in found.cameras:
        console.print(_camera(camera), highlight=False)
    length = f', {found.length_m:.1f} m long' if found.length_m else ''
    console.print(Text(f'poses     {found.poses_source}{length}'))
    for source in found.pose_sources:
        drifts = ', drifts' if source.drifts else ''
        words = f'          found: {source.words}: {source.share:.0%} of the frames{drifts}'
        console.print(Text(words))
    console.print(Text(f'odometry  {found.odom_source}'))
    for problem in found.problems:
        console.print(_problem(problem))
    if not any(p.fatal for p in found.problems):
        console.print('[green]ready:[/] a map can be made from it')


def show_map(site: Map, console: Console) -> None:
    """Print what a map holds; its words may come from a stranger."""
    size = f'{_size(site.size_bytes())}, {len(site.info.files)} files beside map.yaml'
    console.print(Text.assemble((_clean(str(site.folder)), 'bold'), f'  map, {size}'))
    for name, words in (*_contents(site.info), *_origin(site.info)):
        console.print(Text(f'{name:<10}{_clean(words)}'))


def placement(T_frame_map: Array) -> str:
    """Where the origin of a map's recording lies in the frame that users see."""
    if np.array_equal(T_frame_map, np.eye(4)):
        return AS_RECORDED
    x, y, z = T_frame_map[:3, 3]
    roll, pitch, yaw = np.degrees(se3.to_rpy(T_frame_map))
    turn = f'roll {roll:.2f} pitch {pitch:.2f} yaw {yaw:.2f} deg'
    return f'recorded at x {x:.3f} y {y:.3f} z {z:.3f} m, {turn}'


def _contents(info: MapInfo) -> Iterator[tuple[str, str]]:
    """What the map consists of."""
    e = info.encoder
    place = 'in the map' if e.file else 'ships with vloc'
    yield 'encoder', f'{e.name} ({e.sha256[:12]}), licence {e.licence}, {place}'
    T_frame_map = np.array(info.T_frame_map)
    yield 'frame', f'{info.frame}, {placement(T_frame_map)}'
    for c in info.cameras:
        mount = CameraMount(c.name, c.camera, np.array(c.T_base_cam), '')
        yield 'camera', _intrinsics(mount)
        yield '', _place(mount)
    for s in info.submaps:
        x, y, z = se3.apply(T_frame_map, np.array(s.centre_m))
        floor = f', floor {s.floor}' if s.floor else ''
        network = s.network or 'no network'
        yield 'sub-map', f'{s.name}: {network}, centre x {x:.2f} y {y:.2f} z {z:.2f} m{floor}'
    if use := info.prior_use:
        by = f'{use.pictures} held-out pictures' if use.pictures else 'other maps'
        times = ' and '.join(f'{scale:.1f}' for scale in use.sigma_scale)
        yield 'prior', f'for a guess where no pose is found; sigmas times {times} (by {by})'
    for name, entry in info.files.items():
        yield 'file', f'{name}, {entry.size_bytes / 1e3:.1f} kB'


def _origin(info: MapInfo) -> Iterator[tuple[str, str]]:
    """Where the map comes from, and how good it is."""
    made = info.provenance
    yield 'made from', ', '.join(made.bags) or 'unknown'
    yield 'topics', ', '.join(made.topics) or 'unknown'
    maker = f'vloc {made.vloc or "of unknown version"}'
    yield 'made by', ', '.join(word for word in (maker, made.commit, made.date) if word)
    tested = made.self_test
    yield 'self-test', in_words(tested)
    if tested.get('queries'):
        accepted, wrong = tested.get('accepted') or 0, tested.get('false_accepts') or 0
        yield '', f'{accepted:.0f} accepted, {wrong:.0f} of them wrong'
    c = info.calibration
    if c is None:
        yield 'sure', 'as most maps are: it was too small to be calibrated'
        return
    times = f"{c.covariance_scale**0.5:.1f} times the solver's"
    by = f'{c.queries} held-out pictures in {c.blocks} blocks'
    yield 'sure', f'accepts from {c.min_inlier_ratio:.0%} inliers on; sigma is {times} (by {by})'
    for e in c.errors:
        yield '', f'from {e.inlier_ratio:.0%} inliers: median {e.median_cm:.1f} cm of {e.queries}'


def _clean(words: str) -> str:
    """Without what a terminal would obey."""
    return ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}' for c in words)


def _topics(found: BagSurvey) -> Table:
    table = Table(box=None, pad_edge=False, header_style='bold')
    table.add_column('topic', overflow='fold')
    table.add_column('type', overflow='fold')
    for column in ('count', 'Hz', 'longest gap'):
        table.add_column(column, justify='right')
    for t in found.topics:
        gap = f'{t.longest_gap_s:.2f} s' if t.count > 1 else ''
        rate = f'{t.rate_hz:.1f}' if t.count > 1 else ''
        table.add_row(Text(t.name), Text(t.msgtype.split('/')[-1]), str(t.count), rate, gap)
    return table


def _camera(mount: CameraMount) -> Text:
    depth = f', depth {mount.depth}' if mount.depth else ', no depth'
    return Text(f'camera    {_intrinsics(mount)}{depth}\n          {_place(mount)}')


def _intrinsics(mount: CameraMount) -> str:
    c = mount.camera
    return (
        f'{mount.name}: {c.width}x{c.height} {c.model}, fx {c.fx:.1f} fy {c.fy:.1f} '
        f'cx {c.cx:.1f} cy {c.cy:.1f}'
    )


def _place(mount: CameraMount) -> str:
    """Where the camera is on the robot, in words a person can check with a ruler."""
    T = mount.T_base_cam
    x, y, z = T[:3, 3]
    ahead = T[:3, 2]
    yaw = np.degrees(np.arctan2(ahead[1], ahead[0]))
    up = np.degrees(np.arcsin(np.clip(ahead[2], -1, 1)))
    return (
        f'on the robot at x {x:.3f} y {y:.3f} z {z:.3f} m, '
        f'looking {yaw:.0f} deg to the left, {up:.0f} deg up'
    )


def _problem(problem: Problem) -> Text:
    colour = 'bold red' if problem.fatal else 'yellow'
    fix = f'; {problem.fix}' if problem.fix else ''
    return Text.assemble(('missing: ' if problem.fatal else 'note: ', colour), problem.what + fix)


def _size(size_bytes: int) -> str:
    return f'{size_bytes / 1e6:.1f} MB'
