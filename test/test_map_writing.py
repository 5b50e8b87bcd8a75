"""What a map may replace, and what survives a crash or a full disk."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import MapError
from vloc_models.maps import MapWriter


def test_only_a_map_is_replaced(sites: Any, tmp_path: Path) -> None:
    def refused(words: str) -> None:
        before = sites.tree(tmp_path)
        with pytest.raises(MapError, match=words):
            sites.write(tmp_path / 'site', 'new')
        assert sites.tree(tmp_path) == before

    (tmp_path / 'site').mkdir()
    (tmp_path / 'site' / 'thesis.tex').write_text('years')
    refused('holds files but no map.yaml')
    (tmp_path / 'site' / 'thesis.tex').unlink()
    sites.write(tmp_path / 'site', 'new')  # an empty folder is fine
    (tmp_path / 'site' / 'notes.txt').touch()
    refused("'notes.txt' is no part of the map; move it away")
    (tmp_path / 'site' / 'notes.txt').unlink()
    sites.edit(tmp_path / 'site', lambda data: data.update(format=2))
    refused('newer vloc')
    sites.edit(tmp_path / 'site', lambda data: data.update(format=1))
    (tmp_path / 'site' / 'index.npz').write_bytes(b'damaged')
    sites.write(tmp_path / 'site', 'newer')
    assert sites.holds(tmp_path / 'site', 'newer')
    (tmp_path / 'file').touch()
    with pytest.raises(MapError, match='is a file'):
        sites.write(tmp_path / 'file')


def test_what_appears_while_writing_is_not_replaced(sites: Any, tmp_path: Path) -> None:
    with MapWriter(tmp_path / 'site') as writer:
        for name, data in sites.contents('new').items():
            writer.add_bytes(name, data)
        (tmp_path / 'site').mkdir()
        (tmp_path / 'site' / 'thesis.tex').touch()
        with pytest.raises(MapError, match=r'no map\.yaml'):
            writer.finish(sites.INFO)
    assert [p.name for p in tmp_path.iterdir()] == ['site']


def test_exception_and_no_finish(sites: Any, site: Path) -> None:
    def interrupted(error: type[BaseException]) -> None:
        with MapWriter(site) as writer:
            writer.add_bytes('prior.onnx', b'half')
            raise error

    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            interrupted(error)
    with MapWriter(site) as writer:
        writer.add_bytes('prior.onnx', b'half')
    assert sites.holds(site, 'old')
    assert [p.name for p in site.parent.iterdir()] == ['site']


def test_info_must_name_what_is_there(sites: Any, site: Path) -> None:
    with MapWriter(site) as writer, pytest.raises(MapError, match='named but not among'):
        writer.finish(sites.INFO)
    with MapWriter(site) as writer:
        with pytest.raises(MapError, match='cannot be in a map'):
            writer.add_bytes('../x', b'')
        writer.add_arrays('x.npz', a=np.zeros(1))
        with pytest.raises(AssertionError, match='twice'):
            writer.add_bytes('x.npz', b'')
    assert sites.holds(site, 'old')


def test_failing_rename_leaves_the_old_map(
    sites: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith('.new'):
            raise OSError(5, 'Input/output error')
        return rename(self, target)

    with monkeypatch.context() as m:
        m.setattr(Path, 'rename', fail)
        with pytest.raises(MapError, match='Input/output error'):
            sites.write(site, 'new')
    assert sites.holds(site, 'old')
    assert [p.name for p in site.parent.iterdir()] == ['site']


def forked(work: Callable[[], None]) -> int:
    """Run in a child process; how it ended."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        work()
        os._exit(0)
    except BaseException:
        os._exit(1)


def kill_at(step: int) -> None:
    """Die by SIGKILL before the step-th call that touches the file system."""
    count = iter(range(step + 1))

    def hook(event: str, _: tuple) -> None:
        ours = event.partition('.')[0] in ('open', 'os', 'shutil', 'fcntl') and event != 'os.kill'
        if ours and next(count) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def test_killed_at_any_moment(sites: Any, tmp_path: Path) -> None:
    """Before each system call in turn: afterwards there is one whole map, old or new."""
    path, outcomes, between_renames = tmp_path / 'site', [], 0
    sites.write(path, 'old')
    for step in range(1000):

        def work(step: int = step) -> None:
            kill_at(step)
            sites.write(path, 'new', sites.SMALL)

        status = forked(work)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        between_renames += not path.exists()
        if step % 2 or path.exists():  # else the next writer finds it first
            outcomes.append('old' if sites.holds(path, 'old') else 'new')
            assert sites.holds(path, outcomes[-1])
        sites.write(path, 'old', sites.SMALL)
        assert [p.name for p in tmp_path.iterdir()] == ['site']
    assert sites.holds(path, 'new')
    assert between_renames
    assert set(outcomes) == {'old', 'new'}
    assert len(outcomes) > 50


# --- disk full ---

FULL = """
import resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
import conftest as sites
from vloc_models.errors import MapError
from vloc_models.maps import MapWriter
site = Path({site!r})
sites.write(site, 'old')
{limit}
try:
    with MapWriter(site) as writer:
        for name, data in sites.contents('new').items():
            writer.add_bytes(name, data)
        writer.add_bytes('prior.onnx', bytes(3_000_000))
        writer.finish(sites.INFO)
except MapError as e:
    assert sites.holds(site, 'old')
    assert [p.name for p in site.parent.iterdir()] == ['site']
    sys.exit(str(e))
"""


def run_full(site: Path, limit: str = '', prefix: tuple[str, ...] = ()) -> str:
    """What a writer says that finds no room; the old map is found whole after it."""
    path = [str(Path(__file__).parent), *sys.path]
    script = FULL.format(path=path, limit=limit, site=str(site))
    run = subprocess.run([*prefix, sys.executable, '-c', script], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith(str(site)), run.stderr
    assert 'the old map, if any, is as it was' in run.stderr
    return run.stderr


def test_file_size_limit_leaves_the_old_map(tmp_path: Path) -> None:
    limit = 'resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))'
    said = run_full(tmp_path / 'site', limit)
    assert 'prior.onnx: File too large: 3000000 bytes to write' in said


def test_disk_full_while_writing(tmp_path: Path) -> None:
    """A real disk of one megabyte, in a name space of its own; root where that needs it."""
    user = () if os.geteuid() == 0 else ('--user', '--map-root-user')
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    small_disk = ('unshare', *user, '--mount', 'sh', '-c', mount, str(tmp_path))
    if (
        not shutil.which('unshare')
        or subprocess.run([*small_disk, 'true'], check=False).returncode
    ):
        pytest.skip(
            'no tmpfs may be mounted here: only the file size limit stands for a full disk'
        )
    said = run_full(tmp_path / 'site', prefix=small_disk)
    assert 'prior.onnx: No space left on device: 3000000 bytes to write' in said
    missing = int(said.split(' missing')[0].split()[-1])
    assert 1_900_000 < missing < 3_000_000
