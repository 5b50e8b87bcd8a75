"""Any recording as frames: a bag or a folder of pictures, or several in a row."""

import logging
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from vloc_models.errors import BagError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.folder import FolderReader, is_folder_layout
from vloc_models.frames.options import BagOptions
from vloc_models.records import Frame, Trajectory

log = logging.getLogger(__name__)
_BETWEEN_NS = 10**9  # made-up time between two recordings whose stamps overlap


class FrameSource(Protocol):
    """What BagReader, FolderReader and Chain have in common."""

    @property
    def notes(self) -> list[str]:
        """What was found odd."""
        ...

    @property
    def cameras(self) -> tuple[CameraMount, ...]:
        """The cameras, the one that accuracy is measured at first."""
        ...

    @property
    def poses_source(self) -> str:
        """Where the poses T_map_base come from, in words."""
        ...

    @property
    def odom_source(self) -> str:
        """Where odometry comes from, in words."""
        ...

    @property
    def span_ns(self) -> tuple[int, int]:
        """The stamps of the first and the last frame."""
        ...

    def __len__(self) -> int: ...

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """The frames in rising stamps, one at a time; those of some stamps only, if given."""
        ...

    def trajectory(self) -> Trajectory:
        """T_map_base at the frames' stamps, where known; decodes no image."""
        ...

    def odometry(self) -> Trajectory:
        """T_odom_base at its own rate; empty where there is none."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


def open_source(
    paths: Path | Sequence[Path], options: BagOptions | None = None
) -> 'BagReader | FolderReader | Chain':
    """A reader of a bag or a folder, or of several in a row; nothing is read yet.

    Args:
        paths: rosbag2 folders, .mcap, .db3 or .bag files, 7-Scenes or ACE folders.
        options: which topics, frames and poses.

    Raises:
        BagError: if a path does not exist, or none is given.
    """
    given = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(p) for p in paths]
    if not given:
        raise BagError('no recording is named', 'name a bag or a folder')
    sources: list[BagReader | FolderReader] = []
    for path in given:
        if not path.exists():
            raise BagError(f'{path}: no such bag or folder', 'check the path')
        if is_folder_layout(path):
            sources.append(FolderReader(path, options))
            continue
        if path.is_dir() and any(path.glob('seq-*/frame-*.color.png')):
            names = ' '.join(sorted(p.name for p in path.glob('seq-*') if p.is_dir()))
            raise BagError(f'{path}: a scene of several sequences', f'name some of them: {names}')
        sources.append(BagReader(path, options))
    bags = [source for source in sources if isinstance(source, BagReader)]
    for i, bag in enumerate(bags):
        bag.relatives = [*bags[:i][::-1], *bags[i + 1 :]]
    return sources[0] if len(sources) == 1 else Chain(sources)


class Chain:
    """Several recordings in a row, by their time; the same calls as BagReader.

    Where stamps overlap (simulated clocks all start at 0), the later recording is moved in time.
    """

    def __init__(self, sources: Sequence[FrameSource]) -> None:
        self._sources = list(sources)
        self._notes: list[str] = []

    def __enter__(self) -> 'Chain':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        for source in self._sources:
            source.close()

    @cached_property
    def parts(self) -> list[tuple[int, FrameSource]]:
        """(what is added to its stamps in ns, recording), in the order they come."""
        parts: list[tuple[int, FrameSource]] = []
        end = None
        for source in sorted(self._sources, key=lambda s: s.span_ns[0]):
            first, last = source.span_ns
            shift = 0 if end is None or first > end else end + _BETWEEN_NS - first
            if shift:
                self._notes.append(f'recording {len(parts) + 1} is moved by {shift / 1e9:.1f} s')
                log.warning('stamps overlap: %s', self._notes[-1])
            parts.append((shift, source))
            end = last + shift
        return parts

    @property
    def notes(self) -> list[str]:
        """What was found odd in any of them."""
        return self._notes + [note for s in self._sources for note in s.notes]

    @property
    def cameras(self) -> tuple[CameraMount, ...]:
        """The cameras of the first recording."""
        return self.parts[0][1].cameras

    @property
    def poses_source(self) -> str:
        """Where the poses come from, in words."""
        return '; '.join(dict.fromkeys(s.poses_source for _, s in self.parts))

    @property
    def odom_source(self) -> str:
        """Where odometry comes from, in words."""
        return '; '.join(dict.fromkeys(s.odom_source for _, s in self.parts))

    @property
    def span_ns(self) -> tuple[int, int]:
        """The stamps of the first and the last frame."""
        shift, last = self.parts[-1]
        return self.parts[0][1].span_ns[0], last.span_ns[1] + shift

    def __len__(self) -> int:
        return sum(len(s) for s in self._sources)

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """The frames of all recordings, in rising stamps; those of some stamps only, if given."""
        for shift, source in self.parts:
            for frame in source.frames(None if only is None else _Earlier(only, shift)):
                yield replace(frame, stamp_ns=frame.stamp_ns + shift) if shift else frame

    def trajectory(self) -> Trajectory:
        """The poses of all recordings."""
        return self._joined([(shift, s.trajectory()) for shift, s in self.parts])

    def odometry(self) -> Trajectory:
        """The odometry of all recordings; it starts anew in each."""
        return self._joined([(shift, s.odometry()) for shift, s in self.parts])

    @staticmethod
    def _joined(parts: Sequence[tuple[int, Trajectory]]) -> Trajectory:
        stamps: list[int] = []
        poses = []
        for shift, part in parts:
            end = stamps[-1] if stamps else -(1 << 62)
            for stamp, T in zip((part.stamps_ns + shift).tolist(), part.T_map_body, strict=True):
                if stamp > end:
                    stamps.append(stamp)
                    poses.append(T)
        return Trajectory.of(stamps, poses)


@dataclass(frozen=True)
class _Earlier:
    """Stamps, as a recording has them that is moved in time by ``shift_ns``."""

    stamps: Container[int]
    shift_ns: int

    def __contains__(self, stamp_ns: object) -> bool:
        return isinstance(stamp_ns, int) and stamp_ns + self.shift_ns in self.stamps
