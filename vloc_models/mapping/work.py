"""The hidden folder beside a map in which a build keeps what it has finished.

A build that was killed finds it again, if it is the same build: settings, recording and encoder
are part of its fingerprint.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from vloc_models.errors import MapError, VlocError
from vloc_models.frames.keyframes import Keyframe

_log = logging.getLogger(__name__)
_ROOM = 'make room or name another disk; the old map, if any, is as it was'


def fingerprint(settings: Sequence[str], keyframes: Sequence[Keyframe]) -> str:
    """Changes with anything that the work depends on."""
    digest = hashlib.sha256(' '.join(settings).encode())
    for k in keyframes:
        digest.update(f'{k.stamp_ns} {k.camera}'.encode() + k.T_map_cam.tobytes())
        digest.update(k.grey[::16, ::16].tobytes())
        digest.update(b'' if k.depth is None else k.depth[::16, ::16].tobytes())
    return digest.hexdigest()


class Work:
    """Named results of one build.

        with Work(Path('site'), fingerprint) as work:
            arrays = work.load('buffer') or compute()

    Raises:
        MapError: if another process is building the same map, or the disk cannot be written.
    """

    def __init__(self, out: Path, fingerprint: str) -> None:
        self.folder = out.resolve().with_name(f'.{out.resolve().name}.work')
        self._fingerprint = fingerprint
        self._lock = -1

    def __enter__(self) -> 'Work':
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.folder.is_symlink():  # what it points to is not ours to empty
                raise NotADirectoryError(errno.ENOTDIR, 'is a link')
            # a file: writers of maps lock the folder itself
            self._lock = os.open(self.folder / 'lock', os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._settle()
        except BlockingIOError as e:
            self._release()
            raise MapError(
                f'{self.folder}: another process is building this map', 'wait for it, or stop it'
            ) from e
        except OSError as e:
            self._release()
            raise MapError(f'{self.folder}: {e.strerror}', _ROOM) from e
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _settle(self) -> None:
        """Keep what an earlier try of the same build left; remove anything else."""
        name = self.folder / 'fingerprint'
        if name.is_file() and name.read_bytes() == self._fingerprint.encode():
            _log.info('going on with the build that was interrupted')
            return
        for old in self.folder.iterdir():
            if old.name == 'lock':
                continue
            old.unlink() if old.is_file() else shutil.rmtree(old)
        name.write_text(self._fingerprint)

    def load(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The arrays kept under a name; None if there are none, or they are damaged."""
        path = self.folder / f'{name}.safetensors'
        if not path.is_file():
            return None
        try:
            return safetensors.load_file(path)
        except (SafetensorError, OSError):
            _log.warning('%s: damaged; made again', path)
            return None

    def save(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep arrays."""
        path = self.folder / f'{name}.safetensors'
        temporary = path.with_name(f'.{name}.new')
        try:
            safetensors.save_file(arrays, temporary)
            temporary.replace(path)
        except (SafetensorError, OSError) as e:
            temporary.unlink(missing_ok=True)
            raise VlocError(f'{path}: {e}', _ROOM) from e

    def load_figures(self, name: str) -> dict[str, Any] | None:
        """Figures kept under a name."""
        try:
            return json.loads((self.folder / f'{name}.json').read_text())
        except (OSError, ValueError):
            return None

    def save_figures(self, name: str, figures: dict[str, Any]) -> None:
        """Keep figures."""
        path = self.folder / f'{name}.json'
        try:
            temporary = path.with_name(f'.{name}.new')
            temporary.write_text(json.dumps(figures))
            temporary.replace(path)
        except OSError as e:
            raise VlocError(f'{path}: {e.strerror}', _ROOM) from e
