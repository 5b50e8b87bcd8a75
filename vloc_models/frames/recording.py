"""A recording on disk, as messages in log order: rosbag2 (mcap, sqlite3), split or zstd, rosbag1.

Whatever the library raises on a damaged file becomes one BagError that says how to repair it.
"""

import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rosbags.rosbag1 import Reader as Rosbag1
from rosbags.rosbag2 import Reader as Rosbag2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from vloc_models.errors import BagError

_TF_MESSAGE = 'geometry_msgs/TransformStamped[] transforms'
T = TypeVar('T')
_SUFFIXES = ('.mcap', '.db3', '.bag')
_REPAIR = {
    '.mcap': 'repair it with "mcap recover {0} -o fixed.mcap", or copy it again',
    '.db3': 'repair it with "sqlite3 {0} .recover | sqlite3 fixed.db3", or copy it again',
    '.bag': 'repair it with "rosbag reindex {0}", or copy it again',
    '': 'repair it with "ros2 bag reindex {0}" (mcap files first with "mcap recover"), '
    'or copy it again',
}


@dataclass(frozen=True)
class Topic:
    """A topic of the recording."""

    name: str
    msgtype: str  # e.g. sensor_msgs/msg/Image
    count: int  # messages


class RawMessage(NamedTuple):
    """A message, not yet decoded."""

    topic: str
    log_ns: int  # when it was recorded
    raw: bytes


class Recording:
    """An open bag; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the folder of a rosbag2, or a lone .mcap, .db3 or .bag file.

        Raises:
            BagError: if there is no bag, or it cannot be opened.
        """
        self.path = path.parent if path.name == 'metadata.yaml' else path
        self.notes: list[str] = []  # what is odd about the files
        self._readers: list[Rosbag1 | Rosbag2] = []
        self._files = _storage_files(self.path, self.notes)
        self.is_ros1 = self._files[0].suffix == '.bag'
        self._types = _typestore(self.is_ros1)
        try:
            for file in self._files:
                self._open(file)
        except BagError:
            self.close()
            raise
        self._readers.sort(key=lambda reader: reader.start_time)
        self.topics = self._topics()

    def __enter__(self) -> 'Recording':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        for reader in self._readers:
            reader.close()
        self._readers = []

    @property
    def duration_s(self) -> float:
        """From the first message to the last."""
        used = [r for r in self._readers if r.message_count]
        if not used:
            return 0.0
        return (max(r.end_time for r in used) - min(r.start_time for r in used)) / 1e9

    @property
    def start_ns(self) -> int:
        """The log time of the first message; 0 of an empty recording."""
        return min((r.start_time for r in self._readers if r.message_count), default=0)

    @property
    def storage(self) -> str:
        """The kind of file, in words."""
        first = self._files[0]
        suffixes = [f.suffixes for f in (first.iterdir() if first.is_dir() else self._files)]
        kinds = {s for found in suffixes for s in found if s in _SUFFIXES}
        words = ['rosbag1' if self.is_ros1 else 'rosbag2', *sorted(k[1:] for k in kinds)]
        if any('.zstd' in found for found in suffixes):
            words.append('zstd')
        return ' '.join(words)

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[RawMessage]:
        """The messages of some topics in the order they were recorded, one at a time.

        Args:
            topics: their names.
            start_ns: recorded at this time or later.
            stop_ns: recorded before this time.

        Raises:
            BagError: where the file is damaged.
        """
        for reader in self._readers:
            where = Path(str(reader.path))
            wanted = [c for c in reader.connections if c.topic in topics]
            if not wanted:
                continue
            stream = iter(reader.messages(wanted, start_ns, stop_ns))
            while (item := self._guard(lambda s=stream: next(s, None), where)) is not None:
                if not isinstance(item[1], int) or not isinstance(item[2], bytes | memoryview):
                    what = f'{where}: damaged: a message without a time or contents'  # sqlite
                    raise BagError(what, self._fix(where))
                yield RawMessage(item[0].topic, item[1], item[2])

    def decode(self, raw: bytes, msgtype: str) -> Any:
        """The message of its bytes.

        Raises:
            BagError: if the bytes are no such message.
        """
        read = self._types.deserialize_ros1 if self.is_ros1 else self._types.deserialize_cdr
        try:
            return read(raw, msgtype)
        except Exception as e:  # the library raises nearly every type on damaged bytes
            raise BagError(f'a damaged message: {_reason(e)}', self._fix(self.path)) from e

    def cdr(self, raw: bytes, msgtype: str) -> bytes:
        """The bytes of a message as ROS 2 sends them.

        Raises:
            BagError: if the bytes of a ROS 1 message are no such message.
        """
        if not self.is_ros1:
            return bytes(raw)
        try:
            return bytes(_ros2_types().ros1_to_cdr(raw, msgtype))
        except Exception as e:  # as in decode
            raise BagError(f'a damaged message: {_reason(e)}', self._fix(self.path)) from e

    def header(self, raw: bytes) -> tuple[int, str]:
        """The stamp (ns) and frame of a message that begins with a std_msgs/Header.

        Both serialisations have four bytes in front (ROS 1 the sequence number, CDR its kind).

        Raises:
            BagError: if the bytes are too few.
        """
        order = '>' if not self.is_ros1 and raw[1:2] == b'\0' else '<'
        try:
            sec, nanosec, size = struct.unpack_from(f'{order}iII', raw, 4)
        except struct.error as e:
            what = f'a damaged message of {len(raw)} bytes'
            raise BagError(what, self._fix(self.path)) from e
        name = bytes(raw[16 : 16 + size]).split(b'\0')[0]
        return sec * 10**9 + nanosec, name.decode(errors='replace').lstrip('/')

    def _open(self, file: Path) -> None:
        kind = Rosbag1 if self.is_ros1 else Rosbag2
        reader = self._guard(lambda: kind(file), file)
        self._guard(reader.open, file)
        self._readers.append(reader)

    def _topics(self) -> dict[str, Topic]:
        counts: dict[str, Topic] = {}
        for reader in self._readers:
            for c in reader.connections:
                before = counts[c.topic].count if c.topic in counts else 0
                counts[c.topic] = Topic(c.topic, c.msgtype, before + c.msgcount)
        return dict(sorted(counts.items()))

    @staticmethod
    def _fix(path: Path) -> str:
        suffix = path.suffix if path.suffix in _SUFFIXES else ''
        return _REPAIR[suffix].format(path)

    def _guard(self, call: Callable[[], T], path: Path) -> T:
        """Call the library on a file or folder; whatever it raises becomes a BagError."""
        try:
            return call()
        except PermissionError as e:
            raise BagError(f'{path}: no permission to read it', 'chmod it') from e
        except Exception as e:  # the library raises nearly every type on damaged files
            culprit = _first_damaged(path)
            what = f'{culprit}: damaged or not a bag: {_reason(e)}'
            raise BagError(what, self._fix(culprit)) from e


def _reason(e: Exception) -> str:
    return (str(e).strip() or type(e).__name__)[:200]


def _first_damaged(path: Path) -> Path:
    """The part of a split bag that cannot be opened; the bag itself where all can, or none is."""
    parts = sorted(f for f in path.iterdir() if f.suffix == '.mcap') if path.is_dir() else []
    return next((part for part in parts if not _opens(part)), path)


def _opens(file: Path) -> bool:
    try:
        with Rosbag2(file):
            return True
    except Exception:  # as in _guard
        return False


@cache
def _typestore(ros1: bool) -> Typestore:
    """The standard messages, which have been the same since Foxy; a bag's own are not needed."""
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.LATEST)
    if ros1:  # lacks TF
        for kind in ('tf2_msgs/msg/TFMessage', 'tf/msg/tfMessage'):
            store.register(get_types_from_msg(_TF_MESSAGE, kind))
    return store


@cache
def _ros2_types() -> Typestore:
    """What ROS 1 messages become: those of ROS 2, under the names ROS 1 also has."""
    store = get_typestore(Stores.LATEST)
    store.register(get_types_from_msg(_TF_MESSAGE, 'tf/msg/tfMessage'))
    return store


def _storage_files(path: Path, notes: list[str]) -> list[Path]:
    """What to open: the folder itself, a file, or all files of a folder without metadata."""
    if not path.exists():
        raise BagError(f'{path}: no such bag', 'name the folder of a rosbag2, or a bag file')
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        files = sorted(f for f in path.iterdir() if f.suffix in _SUFFIXES)
        if not files or len({f.suffix for f in files}) > 1:
            raise BagError(
                f'{path}: a folder without metadata.yaml and without bag files of one kind',
                f'name the bag itself, or run "ros2 bag reindex {path}"',
            )
        notes.append(f'the folder has no metadata.yaml: all {len(files)} bag files in it are read')
        return files
    if path.is_file() and path.suffix not in _SUFFIXES:
        raise BagError(
            f'{path}: not a .mcap, .db3 or .bag file',
            'name the folder that holds metadata.yaml (compressed bags need it)',
        )
    if path.is_file() and path.stat().st_size == 0:
        raise BagError(f'{path}: the file is empty', 'record again, or copy it again')
    wal = path.with_name(path.name + '-wal')
    if path.suffix == '.db3' and wal.exists() and wal.stat().st_size:
        notes.append(f'the recorder was killed; the messages in {wal.name} are not read')
    return [path]
