"""A folder is replaced as a whole: after a crash at any moment the old or the new one is there.

The new folder is written beside the old one under a hidden name; at the end the old one is renamed
to ``.NAME.old``, the new one takes its place, and the old one is removed. Between the two renames
the name is missing: ``recover`` puts the old folder back if the writer died just there.

Writers and readers hold a lock on the parent folder while names change, and a writer one on its
hidden folder for as long as it lives. The kernel releases both however a process ends, so a hidden
folder that can be locked has no writer any more.
"""

import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a folder against others; on a file system without locks, or without a folder, go on."""
    fd = -1
    try:
        with suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def recover(path: Path) -> None:
    """Put the old folder back if a writer died between its two renames.

    Raises:
        OSError: if it cannot be renamed.
    """
    if not path.exists() and _aside(path).exists():
        with locked(path.parent):
            _put_back(path)


def write_file(file: Path, data: bytes) -> None:
    """Write a new file through to the disk; on failure nothing of it stays.

    Raises:
        OSError: if it exists, or the disk is full.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('xb') as f:
        try:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        except OSError:
            file.unlink(missing_ok=True)
            raise


def why_not_written(e: OSError, folder: Path, size: int) -> str:
    """In words, why so many bytes could not be written into a folder."""
    if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f'cannot be written: {e.strerror}'
    free = shutil.disk_usage(folder).free
    text = f'{e.strerror}: {size} bytes to write, {free} free'
    return f'{text}, {size - free} missing' if free < size else text


class FolderSwap:
    """A new ``folder`` that ``commit`` puts in the place of ``path``.

    Args:
        path: the folder to create or replace.
        check: called with ``path`` while nothing can change there; raises if what is there must
            not be replaced.
    """

    def __init__(self, path: Path, check: Callable[[Path], None]) -> None:
        self.path = path
        self.folder = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.new')
        self._check = check
        self._lock = -1

    def begin(self) -> None:
        """Create the new folder, and remove those of dead writers; raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.parent):
            _settle(self.path)
            self._check(self.path)
            self.folder.mkdir()
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_EX)

    def commit(self) -> None:
        """Put the new folder in place; on an OSError the old one is still there."""
        for folder, _, _ in os.walk(self.folder):
            _sync(Path(folder))
        with locked(self.path.parent):
            _settle(self.path)
            self._check(self.path)
            try:
                if self.path.exists():
                    self.path.rename(_aside(self.path))
                self.folder.rename(self.path)
            finally:
                _put_back(self.path)
            _sync(self.path.parent)
            _settle(self.path)

    def end(self) -> None:
        """Remove the new folder if it was not put in place."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _aside(path: Path) -> Path:
    """Where the old folder waits for the moment in which the new one takes its place."""
    return path.with_name(f'.{path.name}.old')


def _put_back(path: Path) -> None:
    if not path.exists() and _aside(path).exists():
        _log.warning('%s: its replacement was interrupted; the old one is back', path)
        _aside(path).rename(path)


def _settle(path: Path) -> None:
    """Undo or finish what dead writers left beside ``path`` (parent locked)."""
    _put_back(path)
    if _aside(path).exists():  # renamed before removal: half a folder must never be put back
        _aside(path).rename(path.with_name(f'.{path.name}.{secrets.token_hex(4)}.dead'))
    ours = re.compile(rf'\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.(new|dead)')
    for folder in [p for p in path.parent.iterdir() if ours.fullmatch(p.name)]:
        with suppress(OSError):  # its writer is alive, or nobody can tell
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if folder.suffix == '.new':
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(fd)


def _sync(folder: Path) -> None:
    """Write the names in a folder through to the disk, where the file system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
