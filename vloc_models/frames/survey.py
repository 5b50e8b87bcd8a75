"""What a recording holds, what is missing, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.folder import FolderReader, is_folder_layout
from vloc_models.frames.index import Index, make_index
from vloc_models.frames.options import BagOptions
from vloc_models.frames.poses import pose_candidates
from vloc_models.frames.source import FrameSource
from vloc_models.geometry import se3
from vloc_models.records import Trajectory

T = TypeVar('T')
_MIN_MOTION_M, _MIN_TURN_DEG = 0.05, 5.0
_MAX_SPEED = 15.0  # metres a second between two frames; faster is a jump
_JUMP_M = 0.5


@dataclass(frozen=True)
class Problem:
    """Something that stands in the way, or is odd."""

    what: str
    fix: str
    fatal: bool = True  # no map can be made from the recording as it is


@dataclass(frozen=True)
class TopicSummary:
    """A topic of the bag."""

    name: str
    msgtype: str
    count: int
    rate_hz: float
    longest_gap_s: float


@dataclass(frozen=True)
class PoseSummary:
    """Something in the bag that poses could come from."""

    words: str
    share: float  # of the images that have a pose by it
    drifts: bool


@dataclass(frozen=True)
class BagSurvey:
    """What ``vloc info`` shows."""

    path: Path
    storage: str  # e.g. "rosbag2 mcap zstd"
    size_bytes: int
    duration_s: float
    topics: tuple[TopicSummary, ...] = ()
    cameras: tuple[CameraMount, ...] = ()
    frames: int = 0
    pose_sources: tuple[PoseSummary, ...] = ()
    poses_source: str = 'none'
    odom_source: str = 'none'
    tf_frames: tuple[str, ...] = ()
    length_m: float = 0.0
    problems: tuple[Problem, ...] = ()


@dataclass
class _Findings:
    """Collects problems while the survey goes on."""

    problems: list[Problem] = field(default_factory=list)

    def attempt(self, call: Callable[[], T], fatal: bool = True) -> T | None:
        try:
            return call()
        except VlocError as e:
            problem = Problem(e.what, e.fix, fatal)
            if all(problem.what != p.what for p in self.problems):
                self.problems.append(problem)
            return None


def survey(path: Path, options: BagOptions | None = None) -> BagSurvey:
    """Look a recording over; its faults go into ``problems``.

    Raises:
        BagError: if it cannot be opened at all.
    """
    path, options = Path(path), options or BagOptions()
    if is_folder_layout(path):
        return _survey_folder(path, options)
    with BagReader(path, options) as reader:
        recording = reader.recording
        reader.own_index = index = make_index(recording, everything=True)
        found = _Findings()
        if index.broken is not None:
            found.problems.append(Problem(index.broken.what, index.broken.fix))
            index.broken = None
        topics = tuple(
            _topic(index, t.name, t.msgtype, t.count) for t in recording.topics.values()
        )
        views = found.attempt(lambda: reader.views)
        moments = found.attempt(lambda: reader.moments) if views else None
        cameras = (found.attempt(lambda: reader.cameras) or ()) if moments else ()
        candidates: tuple[PoseSummary, ...] = ()
        if moments and views:
            stamps = [m.stamp_ns for m in moments[:: max(len(moments) // 200, 1)]]
            sources = pose_candidates(index, options, reader.body, views[0].frame_id)
            candidates = tuple(PoseSummary(s.words, s.share(stamps), s.drifts) for s in sources)
            if cameras:
                found.attempt(lambda: _first_frame(reader))
            found.attempt(lambda: check_mapping(reader))
            found.problems += jumps(reader.trajectory() if _has_poses(reader) else None)
        found.problems += [Problem(note, '', fatal=False) for note in reader.notes]
        return BagSurvey(
            recording.path,
            recording.storage,
            _size(recording.path),
            recording.duration_s,
            topics,
            cameras,
            len(moments or ()),
            candidates,
            reader.poses_source if moments and _has_poses(reader) else 'none',
            (found.attempt(lambda: reader.odom_source) or 'none') if moments else 'none',
            tuple(sorted(index.tree.frames)),
            reader.trajectory().length_m() if moments and _has_poses(reader) else 0.0,
            tuple(found.problems),
        )


def check_mapping(source: FrameSource) -> Trajectory:
    """Check that a map can be made, and return the poses at the frames' stamps.

    Raises:
        BagError: no images, no camera_info, no poses, one frame only, or poses that never move.
    """
    frames = len(source)
    if not source.cameras:
        raise BagError('no cameras', 'record one')
    poses = source.trajectory()
    if not len(poses):
        raise BagError(
            f'no poses in the map for any of {frames} frames (source: {source.poses_source})',
            'record /tf with map->base_link, or name a source with --poses',
        )
    if len(poses) < 2:
        raise BagError(
            f'only one frame with a pose, of {frames}', 'record some minutes while driving around'
        )
    moved, turned = extent(poses)
    if moved < _MIN_MOTION_M and turned < _MIN_TURN_DEG:
        raise BagError(
            f'the poses never move: {moved * 100:.1f} cm and {turned:.1f} deg over '
            f'{len(poses)} frames (source: {source.poses_source})',
            'drive around while recording, or name the source that moves with --poses',
        )
    return poses


def extent(poses: Trajectory) -> tuple[float, float]:
    """How far the poses get from the first one: metres and degrees."""
    away = np.linalg.norm(poses.T_map_body[:, :3, 3] - poses.T_map_body[0, :3, 3], axis=1)
    turned = poses.T_map_body[0, :3, :3].T @ poses.T_map_body[:, :3, :3]
    return float(away.max()), float(np.degrees(se3.angle_rad(turned)).max())


def jumps(poses: Trajectory | None) -> list[Problem]:
    """Where the poses move faster than a robot does."""
    if poses is None or len(poses) < 2:
        return []
    step = np.linalg.norm(np.diff(poses.T_map_body[:, :3, 3], axis=0), axis=1)
    speed = step / (np.diff(poses.stamps_ns) / 1e9)
    at = np.flatnonzero((speed > _MAX_SPEED) & (step > _JUMP_M))
    if not len(at):
        return []
    where = f'{poses.stamps_ns[at[0] + 1] / 1e9:.2f} s'
    what = f'the poses jump {len(at)} times, first by {step[at[0]]:.1f} m at {where}'
    return [Problem(what, 'check the source of the poses, or leave that part out', fatal=False)]


def _first_frame(source: FrameSource) -> None:
    """Check that at least one frame can be read."""
    if next(source.frames(), None) is None:
        raise BagError('no frame can be read, though there are images', 'see the notes')


def _has_poses(reader: BagReader) -> bool:
    try:
        return reader.poses is not None
    except VlocError:
        return False


def _topic(index: Index, name: str, msgtype: str, count: int) -> TopicSummary:
    times = index.times.get(name)
    if times is None:
        return TopicSummary(name, msgtype, count, 0.0, 0.0)
    return TopicSummary(name, msgtype, times.count, times.rate_hz, times.longest_gap_ns / 1e9)


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file())


def _survey_folder(path: Path, options: BagOptions) -> BagSurvey:
    reader, found = FolderReader(path, options), _Findings()
    frames = found.attempt(lambda: len(reader)) or 0
    cameras = (found.attempt(lambda: reader.cameras) or ()) if frames else ()
    poses = found.attempt(lambda: check_mapping(reader)) if cameras else None
    if cameras:
        found.attempt(lambda: _first_frame(reader))
    notes = [Problem(note, '', fatal=False) for note in reader.notes]
    return BagSurvey(
        path,
        'folder',
        sum(f.stat().st_size for f in path.rglob('*') if f.is_file()),
        (reader.span_ns[1] - reader.span_ns[0]) / 1e9 if frames else 0.0,
        cameras=cameras,
        frames=frames,
        poses_source=reader.poses_source,
        length_m=poses.length_m() if poses else 0.0,
        problems=(*found.problems, *jumps(poses), *notes),
    )
