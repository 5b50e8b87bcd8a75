"""The map folder: read, verify, write. It holds yaml, arrays and graphs; none of it can run code.

    site/map.yaml                  what is where, with size and SHA-256 of every other file
    site/submaps/00/head.onnx      the network, with probe.npz to verify an engine against
    site/submaps/00/landmarks.npz  3-D points with descriptors
    site/index.npz  site/prior.onnx  retrieval and pose prior, where there are any

A map may come from a stranger: sizes are bounded before anything is allocated, no name leaves the
folder, no pickle is read. It is written beside the old one and renamed: a crash leaves one whole.
"""

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vloc_models import atomic, config, npz
from vloc_models.errors import MapError, VlocError
from vloc_models.map_info import (
    DAMAGED,
    FORMAT,
    SHORT_SIDES_PX,
    Calibration,
    Encoder,
    ErrorAtInliers,
    FileEntry,
    MapCamera,
    MapInfo,
    PriorUse,
    Provenance,
    Rows,
    SubMap,
)

__all__ = [
    'FORMAT',
    'SHORT_SIDES_PX',
    'Calibration',
    'Encoder',
    'ErrorAtInliers',
    'FileEntry',
    'Map',
    'MapCamera',
    'MapInfo',
    'MapWriter',
    'PriorUse',
    'Provenance',
    'Rows',
    'SubMap',
    'open_map',
]

MAX_YAML_BYTES = 512 * 2**10
MAX_FILE_BYTES = 512 * 2**20
MAX_MAP_BYTES = 4 * 2**30
MAX_FILES = 4096

_YAML = 'map.yaml'
_NAME = re.compile(r'(?=.{1,200}\Z)\w[\w.-]*(/\w[\w.-]*){0,4}', re.ASCII)  # no '..', '\', '/etc'
_SHA256 = re.compile(r'[0-9a-f]{64}')
_CHANGED = f'open the map again if it was just rebuilt; otherwise {DAMAGED}'
_ROOM = 'make room or name another disk; the old map, if any, is as it was'
_FOREIGN = 'no vloc writes such a map: do not use it, build one with "vloc map"'


@dataclass(frozen=True, eq=False)
class Map:
    """A map folder that was whole when it was opened; every read is verified once more."""

    folder: Path
    info: MapInfo

    def read_bytes(self, name: str) -> bytes:
        """The contents of one file.

        Raises:
            MapError: if the map has no such file, or it is not what map.yaml says.
        """
        entry = self.info.files.get(name)
        if entry is None:
            raise MapError(f'{self.folder}: has no file {name!r}', DAMAGED)
        with _opened(self.folder, name, entry.size_bytes) as file:
            data = file.read(entry.size_bytes + 1)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise MapError(f'{self.folder}/{name}: is not the file that was written', _CHANGED)
        return data

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of one npz, writable.

        Raises:
            MapError: as ``read_bytes`` and ``npz.unpack``.
        """
        return npz.unpack(self.read_bytes(name), f'{self.folder}/{name}')

    def fault(self, submap: SubMap) -> MapError | None:
        """What is wrong with the files of a sub-map; None if they are whole."""
        try:
            return _verify(self, submap.files)
        except MapError as e:
            return e

    def size_bytes(self) -> int:
        """The size of the whole map on disk."""
        yaml = (self.folder / _YAML).stat().st_size
        return yaml + sum(entry.size_bytes for entry in self.info.files.values())


def open_map(path: Path) -> Map:
    """Open a map and verify all of it; put it back first if a writer died while replacing it.

    Raises:
        MapError: with the first fault, in the order version, names, existence, sizes, hashes. Of
            several sub-maps one must be whole; ``Map.fault`` tells what is wrong with the others.
    """
    with _os_errors(path, 'open the map'):
        path = path.resolve()
        atomic.recover(path)
        with atomic.locked(path.parent, shared=True):  # no writer replaces it meanwhile
            found = Map(path, _read_info(path))
            submaps = found.info.submaps
            _verify(found, set(found.info.files).difference(*(s.files for s in submaps)))
            if all(found.fault(submap) for submap in submaps):
                _verify(found, found.info.files)  # raises the first of them
            return found


def _verify(found: Map, names: Iterable[str]) -> None:
    for name in (names := sorted(names)):
        with _opened(found.folder, name, found.info.files[name].size_bytes):
            pass
    for name in names:
        found.read_bytes(name)


def _read_info(folder: Path) -> MapInfo:
    """map.yaml, its version and its names verified."""
    where = f'{folder}/{_YAML}'
    with _opened(folder, _YAML, None) as file:
        raw = file.read(MAX_YAML_BYTES + 1)
    if len(raw) > MAX_YAML_BYTES:
        raise MapError(f'{where}: larger than {MAX_YAML_BYTES} bytes', _FOREIGN)
    try:
        data = config.parse(raw, where)
    except VlocError as e:
        raise MapError(e.what, DAMAGED) from e
    if type(version := data.get('format')) is not int or version < 1:
        raise MapError(f'{where}: says no format number', DAMAGED)
    if version > FORMAT:
        raise MapError(f'{where}: written by a newer vloc (format {version})', 'update vloc')
    try:
        info = config.fill(MapInfo, data, where)
        _check_files(info)
    except VlocError as e:
        what = e.what if e.what.startswith(where) else f'{where}: {e.what}'
        raise MapError(what, e.fix if isinstance(e, MapError) else DAMAGED) from e
    return info


def _check_files(info: MapInfo) -> None:
    for name, entry in info.files.items():
        if not _NAME.fullmatch(name) or name == _YAML:
            raise MapError(f'file name {name!r} is not allowed', _FOREIGN)
        if not _SHA256.fullmatch(entry.sha256):
            raise MapError(f'{name}: sha256 is not 64 hexadecimal digits', DAMAGED)
        if not 0 <= entry.size_bytes <= MAX_FILE_BYTES:
            raise MapError(f'{name}: size {entry.size_bytes} is not allowed', _FOREIGN)
    total = sum(entry.size_bytes for entry in info.files.values())
    if len(info.files) > MAX_FILES or total > MAX_MAP_BYTES:
        raise MapError(f'{len(info.files)} files, {total} bytes: too much', _FOREIGN)
    if missing := sorted(info.named_files() - set(info.files)):
        raise MapError(f'{missing[0]!r} is named but not among the files', DAMAGED)


@contextmanager
def _opened(folder: Path, name: str, size: int | None) -> Iterator[io.BufferedReader]:
    """A regular file inside the folder, of that size unless None."""
    where = f'{folder}/{name}'
    with _os_errors(folder, f'read {name}'):
        if not folder.is_dir():
            raise MapError(f'{folder}: no such map folder', 'build it with "vloc map BAG -o MAP"')
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise MapError(f'{where}: is a link out of the map folder', _FOREIGN)
        fd = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not stop us
        with os.fdopen(fd, 'rb') as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise MapError(f'{where}: not a regular file', _FOREIGN)
            if size is not None and status.st_size != size:
                raise MapError(f'{where}: {status.st_size} bytes, not {size}', DAMAGED)
            yield file


@contextmanager
def _os_errors(folder: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as e:  # RuntimeError: a loop of links
        reason = getattr(e, 'strerror', None) or e
        fix = DAMAGED if isinstance(e, FileNotFoundError) else 'check the disk and its rights'
        raise MapError(f'{folder}: cannot {doing}: {reason}', fix) from e


class MapWriter:
    """Writes a map beside ``path`` and puts it in place at the end, whatever was there before.

        with MapWriter(Path('site')) as writer:
            writer.add_bytes('submaps/00/head.onnx', graph)
            writer.finish(info)

    Without ``finish`` nothing changes. A process that dies leaves at most a hidden folder beside
    the map, which the next writer removes. Only a map or an empty folder is ever replaced.

    Raises:
        MapError: if the place cannot be written to, or holds anything that is no map.
    """

    def __init__(self, path: Path) -> None:
        with _os_errors(path, 'write a map'):
            self._swap = atomic.FolderSwap(path.resolve(), _check_replaceable)
        self._files: dict[str, FileEntry] = {}

    def __enter__(self) -> 'MapWriter':
        with _os_errors(self._swap.path, 'write a map'):
            self._swap.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._swap.end()

    def add_bytes(self, name: str, data: bytes) -> None:
        """Write one file.

        Raises:
            MapError: if it does not fit the disk or the bounds of a map.
        """
        assert name not in self._files, f'{name} is written twice'
        entry = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
        if not _NAME.fullmatch(name) or len(data) > MAX_FILE_BYTES:
            raise MapError(f'{name}, {len(data)} bytes: cannot be in a map', 'split it')
        self._write(name, data)
        self._files[name] = entry

    def add_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Write one npz; raises as ``add_bytes``."""
        self.add_bytes(name, npz.pack(arrays))

    def finish(self, info: MapInfo) -> Map:
        """Write map.yaml, read everything back, and put the map in place.

        Raises:
            MapError: if the disk is full, or ``info`` names a file that was not added.
        """
        info = replace(info, files=dict(sorted(self._files.items())))
        self._write(_YAML, config.to_yaml(info).encode())
        _verify(Map(self._swap.folder, _read_info(self._swap.folder)), info.files)
        with _os_errors(self._swap.path, 'put the new map in place'):
            self._swap.commit()
        return Map(self._swap.path, info)

    def _write(self, name: str, data: bytes) -> None:
        try:
            atomic.write_file(self._swap.folder / name, data)
        except OSError as e:
            why = atomic.why_not_written(e, self._swap.folder, len(data))
            raise MapError(f'{self._swap.path}: {name}: {why}', _ROOM) from e


def _check_replaceable(path: Path) -> None:
    """Refuse to replace anything but a map with only its own files, or an empty folder."""
    if path.exists() and not path.is_dir():
        raise MapError(f'{path}: is a file', 'name a folder for the map')
    inside = {p.relative_to(path).as_posix() for p in path.rglob('*') if not p.is_dir()}
    if not inside:
        return
    if _YAML not in inside:
        raise MapError(f'{path}: holds files but no map.yaml', 'name a new or empty folder')
    try:
        strange = sorted(inside - {_YAML} - set(_read_info(path).files))
    except MapError as e:
        raise MapError(f'{path}: is not replaced: {e.what}', 'move it away first') from e
    if strange:
        raise MapError(f'{path}: {strange[0]!r} is no part of the map', 'move it away first')
