import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vloc_models import maps, npz
from vloc_models.errors import MapError
from vloc_models.geometry.camera import Camera
from vloc_models.maps import Map, MapInfo, MapWriter, open_map

ROWS = ((0.0, 0.0, 1.0, 0.1), (-1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 0.5), (0.0, 0.0, 0.0, 1.0))
INFO = MapInfo(
    encoder=maps.Encoder('vloc-s', 'a' * 64, 'MIT'),
    cameras=(
        maps.MapCamera(
            'camera/color',
            Camera(640, 480, 520.1, 519.9, 321, 243, 'plumb_bob', (0.1, -0.2, 1e-4, 0, 0.05)),
            ROWS,
        ),
    ),
    submaps=(
        maps.SubMap(
            '00',
            (1.5, -2.0, 0.25),
            floor='ground',
            network='ace',
            head='submaps/00/head.onnx',
            landmarks='submaps/00/landmarks.npz',
        ),
    ),
    calibration=maps.Calibration(('inliers', 'coverage'), (0.02, 3.0), -4.0, 0.95, 120),
    index='index.npz',
    provenance=maps.Provenance(
        ('run1',), ('/camera',), '0.1.0', 'c0ffee', '2026-01-02T03:04:05Z', {'median_cm': None}
    ),
)


def contents(word: str) -> dict[str, bytes]:
    points = np.arange(12, dtype=np.float32).reshape(4, 3) + len(word)
    return {
        'submaps/00/head.onnx': f'graph {word}'.encode() * 50,
        'submaps/00/landmarks.npz': npz.pack({'points': points}),
        'index.npz': npz.pack({'desc': np.full((2, 5), len(word), np.uint8)}),
    }


SMALL = MapInfo(INFO.encoder, (), ())  # soon parsed


def write(path: Path, word: str = 'old', info: MapInfo = INFO) -> Map:
    with MapWriter(path) as writer:
        for name, data in contents(word).items():
            writer.add_bytes(name, data)
        return writer.finish(info)


def holds(path: Path, word: str) -> bool:
    site = open_map(path)
    return all(site.read_bytes(name) == data for name, data in contents(word).items())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(tmp_path / 'site')
    return tmp_path / 'site'


def edit(site: Path, change: Callable[[dict], object]) -> None:
    """Edit map.yaml by hand."""
    data = yaml.safe_load((site / 'map.yaml').read_text())
    change(data)
    (site / 'map.yaml').write_text(yaml.safe_dump(data))


# --- what is written comes back ---


def test_round_trip(site: Path) -> None:
    found = open_map(site)
    assert set(found.info.files) == set(contents('old'))
    assert MapInfo(**{**vars(found.info), 'files': {}}) == INFO
    np.testing.assert_array_equal(found.read_arrays('index.npz')['desc'], np.full((2, 5), 3))
    assert found.size_bytes() == sum(map(len, tree(site).values()))
    assert [p.name for p in site.parent.iterdir()] == ['site']


def test_same_contents_same_bytes(site: Path) -> None:
    write(site.parent / 'again')
    assert tree(site) == tree(site.parent / 'again')
    assert npz.pack({'a': np.eye(2), 'b': np.eye(3)}) == npz.pack({'b': np.eye(3), 'a': np.eye(2)})
    assert npz.pack({'a': np.eye(2).astype('>f8')}) == npz.pack(
        {'a': np.asfortranarray(np.eye(2))}
    )


def test_replace(site: Path) -> None:
    old = open_map(site)
    write(site, 'new')
    assert holds(site, 'new')
    assert [p.name for p in site.parent.iterdir()] == ['site']
    with pytest.raises(MapError, match='open the map again'):
        old.read_bytes('submaps/00/head.onnx')


def test_through_a_link(tmp_path: Path) -> None:
    (tmp_path / 'current').symlink_to('v1')
    write(tmp_path / 'current')
    assert (tmp_path / 'current').is_symlink()
    assert holds(tmp_path / 'current', 'old')
    assert holds(tmp_path / 'v1', 'old')


# --- a map that must not be trusted ---


def set_(*keys: str | int, to: object) -> Callable[[dict], None]:
    def change(data: dict) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = to

    return change


BAD_NAMES = ['/etc/passwd', '../x', 'a/../../x', 'a\\..\\x', '.hidden', 'a//b', 'a/', 'C:x', '',
             'a\nb', 'a b', 'map.yaml', 'x' * 201, 'ä', 'a/b/c/d/e/f', './a', '~/a']  # fmt: skip


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (set_('format', to=2), r'written by a newer vloc \(format 2\); update vloc'),
        (set_('format', to=0), 'no format number'),
        (set_('format', to=True), 'no format number'),
        (set_('format', to='1'), 'no format number'),
        (lambda d: d.pop('format'), 'no format number'),
        (lambda d: d.pop('encoder'), 'missing value for field "encoder"'),
        (set_('colour', to=1), r"unknown key \['colour'\]"),
        (set_('encoder', 'licence_text', to=''), 'unknown key'),
        (set_('frame', to=3), 'frame must be str'),
        (set_('cameras', 0, 'camera', 'fx', to=-1.0), 'map.yaml: camera 640x480: fx -1'),
        (set_('cameras', 0, 'camera', 'model', to='x'), 'model must be'),
        (set_('cameras', 0, 'T_base_cam', to=[[1.0]]), 'T_base_cam is not 4x4'),
        (
            set_('cameras', 0, 'T_base_cam', to=[[2.0] * 4 for _ in range(4)]),
            'T_base_cam has the last row',
        ),
        (set_('submaps', 0, 'centre_m', to=[0, 1]), 'centre_m must be'),
        (set_('calibration', 'weights', to=[1.0]), 'not one finite weight a feature'),
        (set_('calibration', 'bias', to=float('nan')), 'not one finite weight a feature'),
        (set_('index', to='other.npz'), "'other.npz' is named but not among the files"),
        (set_('index', to='../index.npz'), 'is named but not among the files'),
        (set_('files', 'index.npz', 'sha256', to='A' * 64), '64 hexadecimal'),
        (set_('files', 'index.npz', 'sha256', to='0' * 64), 'is not the file that was written'),
        (set_('files', 'index.npz', 'size_bytes', to=-1), 'size -1 is not allowed'),
        (set_('files', 'index.npz', 'size_bytes', to=10**13), 'is not allowed'),
        (set_('files', 'index.npz', 'size_bytes', to=7), r'bytes, not 7'),
        (set_('files', to=['index.npz']), 'files'),
        *[
            (set_('files', name, to={'sha256': '0' * 64, 'size_bytes': 0}), 'is not allowed')
            for name in BAD_NAMES
        ],
    ],
)
def test_bad_yaml(site: Path, change: Callable[[dict], object], words: str) -> None:
    edit(site, change)
    with pytest.raises(MapError, match=words) as e:
        open_map(site)
    assert '\n' not in str(e.value)
    assert len(str(e.value)) < 1000


def test_future_map_is_told_before_anything_else(site: Path) -> None:
    (site / 'map.yaml').write_text('{format: 7, everything: [is, different]}')
    with pytest.raises(MapError, match='update vloc'):
        open_map(site)


@pytest.mark.parametrize(
    'text',
    ['', 'a: [', '- 1', 'a: &a [x]\nb: [*a, *a]', 'a: ' + '[' * 3000, 'a: !!python/name:os.system',
     'a: !!timestamp x', 'a: 2026-13-01', '? {}', '%', 'format: 1\n---\nformat: 1'],
)  # fmt: skip
def test_no_yaml(site: Path, text: str) -> None:
    (site / 'map.yaml').write_text(text)
    with pytest.raises(MapError, match=r'map\.yaml: '):
        open_map(site)


def test_bounds(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, words in [
        ('MAX_FILES', 2, '3 files, .* too much'),
        ('MAX_MAP_BYTES', 100, 'too much'),
        ('MAX_FILE_BYTES', 100, 'is not allowed'),
        ('MAX_YAML_BYTES', 100, 'larger than 100 bytes'),
    ]:
        with monkeypatch.context() as m:
            m.setattr(maps, name, value)
            with pytest.raises(MapError, match=words):
                open_map(site)


def test_no_map(tmp_path: Path) -> None:
    with pytest.raises(MapError, match='no such map folder; build it with'):
        open_map(tmp_path / 'no')
    (tmp_path / 'file').touch()
    with pytest.raises(MapError, match='no such map folder'):
        open_map(tmp_path / 'file')
    (tmp_path / 'loop').symlink_to('loop')
    with pytest.raises(MapError):
        open_map(tmp_path / 'loop')
    with pytest.raises(MapError, match=r'cannot read map\.yaml: No such file'):
        open_map(tmp_path)


def test_missing_and_unlisted(site: Path) -> None:
    with pytest.raises(MapError, match=r"has no file 'prior\.onnx'"):
        open_map(site).read_bytes('prior.onnx')
    (site / 'index.npz').unlink()
    with pytest.raises(MapError, match=r'cannot read index\.npz: No such file'):
        open_map(site)


def test_links_and_special_files(site: Path) -> None:
    file, raw = site / 'index.npz', (site / 'index.npz').read_bytes()
    file.rename(site.parent / 'outside')
    file.symlink_to('../outside')
    with pytest.raises(MapError, match='link out of the map folder'):
        open_map(site)
    file.unlink()
    file.symlink_to('/dev/zero')
    with pytest.raises(MapError, match='link out of the map folder'):
        open_map(site)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(MapError, match='not a regular file'):
        open_map(site)
    file.unlink()
    file.mkdir()
    with pytest.raises(MapError):
        open_map(site)
    file.rmdir()
    (site / 'inside').write_bytes(raw)
    file.symlink_to('inside')
    assert holds(site, 'old')


def test_a_folder_that_links_outside(site: Path) -> None:
    (site / 'submaps').rename(site.parent / 'elsewhere')
    (site / 'submaps').symlink_to('../elsewhere')
    with pytest.raises(MapError, match='link out of the map folder'):
        open_map(site)


@st.composite
def mutated(draw: st.DrawFn, raw: bytes) -> bytes:
    """Some bytes changed, cut out or doubled."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.integers(0, 12))
        data[at : at + size] = draw(
            st.binary(max_size=12) | st.just(bytes(data[at : at + 2 * size]))
        )
    return bytes(data)


@pytest.fixture(scope='module')
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp('fuzz') / 'site'
    write(path)
    return path, (path / 'map.yaml').read_bytes()


yaml_words = st.sampled_from(
    [b'!!int', b'!!timestamp x', b'&a', b'*a', b'{', b'[', b'? ', b'- ', b'\n', b': ', b'.nan',
     b'null', b'"', b'!!binary', b'<<: ', b'%', b'\t', b'..', b'\xff', b'!!set', b'|', b'=']
)  # fmt: skip


@given(st.data())
def test_any_map_yaml_is_a_map_or_a_map_error(
    shared: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, raw = shared
    if data.draw(st.booleans()):
        raw = data.draw(mutated(raw))
    else:
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(yaml_words) + raw[at + data.draw(st.integers(0, 9)) :]
    (path / 'map.yaml').write_bytes(raw)
    with suppress(MapError):
        assert isinstance(open_map(path), Map)


def test_arrays_from_a_stranger(site: Path) -> None:
    raw = npz.pack({'a': np.zeros(4)}).replace(b'(4,)', b'(9,)')
    (site / 'index.npz').write_bytes(raw)
    entry = {'sha256': hashlib.sha256(raw).hexdigest(), 'size_bytes': len(raw)}
    edit(site, lambda d: d['files'].update({'index.npz': entry}))
    with pytest.raises(MapError, match=r'site/index\.npz: '):
        open_map(site).read_arrays('index.npz')


# --- what must not be replaced, and what survives ---


def test_only_a_map_is_replaced(tmp_path: Path) -> None:
    def refused(words: str) -> None:
        before = tree(tmp_path)
        with pytest.raises(MapError, match=words):
            write(tmp_path / 'site', 'new')
        assert tree(tmp_path) == before

    (tmp_path / 'site').mkdir()
    (tmp_path / 'site' / 'thesis.tex').write_text('years')
    refused('holds files but no map.yaml')
    (tmp_path / 'site' / 'thesis.tex').unlink()
    write(tmp_path / 'site', 'new')  # an empty folder is fine
    (tmp_path / 'site' / 'notes.txt').touch()
    refused("'notes.txt' is no part of the map; move it away")
    (tmp_path / 'site' / 'notes.txt').unlink()
    edit(tmp_path / 'site', set_('format', to=2))
    refused('newer vloc')
    edit(tmp_path / 'site', set_('format', to=1))
    (tmp_path / 'site' / 'index.npz').write_bytes(b'damaged')
    write(tmp_path / 'site', 'newer')
    assert holds(tmp_path / 'site', 'newer')
    (tmp_path / 'file').touch()
    with pytest.raises(MapError, match='is a file'):
        write(tmp_path / 'file')


def test_what_appears_while_writing_is_not_replaced(tmp_path: Path) -> None:
    with MapWriter(tmp_path / 'site') as writer:
        for name, data in contents('new').items():
            writer.add_bytes(name, data)
        (tmp_path / 'site').mkdir()
        (tmp_path / 'site' / 'thesis.tex').touch()
        with pytest.raises(MapError, match=r'no map\.yaml'):
            writer.finish(INFO)
    assert [p.name for p in tmp_path.iterdir()] == ['site']


def test_exception_and_no_finish(site: Path) -> None:
    def interrupted(error: type[BaseException]) -> None:
        with MapWriter(site) as writer:
            writer.add_bytes('prior.onnx', b'half')
            raise error

    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            interrupted(error)
    with MapWriter(site) as writer:
        writer.add_bytes('prior.onnx', b'half')
    assert holds(site, 'old')
    assert [p.name for p in site.parent.iterdir()] == ['site']


def test_info_must_name_what_is_there(site: Path) -> None:
    with MapWriter(site) as writer, pytest.raises(MapError, match='named but not among'):
        writer.finish(INFO)
    with MapWriter(site) as writer:
        with pytest.raises(MapError, match='cannot be in a map'):
            writer.add_bytes('../x', b'')
        writer.add_arrays('x.npz', a=np.zeros(1))
        with pytest.raises(AssertionError, match='twice'):
            writer.add_bytes('x.npz', b'')
    assert holds(site, 'old')


def test_failing_rename_leaves_the_old_map(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith('.new'):
            raise OSError(5, 'Input/output error')
        return rename(self, target)

    with monkeypatch.context() as m:
        m.setattr(Path, 'rename', fail)
        with pytest.raises(MapError, match='Input/output error'):
            write(site, 'new')
    assert holds(site, 'old')
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


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Before each system call in turn: afterwards there is one whole map, old or new."""
    path, outcomes, between_renames = tmp_path / 'site', [], 0
    write(path, 'old')
    for step in range(1000):

        def work(step: int = step) -> None:
            kill_at(step)
            write(path, 'new', SMALL)

        status = forked(work)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        between_renames += not path.exists()
        if step % 2 or path.exists():  # else the next writer finds it first
            outcomes.append('old' if holds(path, 'old') else 'new')
            assert holds(path, outcomes[-1])
        write(path, 'old', SMALL)
        assert [p.name for p in tmp_path.iterdir()] == ['site']
    assert holds(path, 'new')
    assert between_renames
    assert set(outcomes) == {'old', 'new'}
    assert len(outcomes) > 50


# --- disk full ---

FULL = """
import resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
from test_maps import INFO, MapError, MapWriter, contents, holds, write
site = Path({site!r})
write(site, 'old')
{limit}
try:
    with MapWriter(site) as writer:
        for name, data in contents('new').items():
            writer.add_bytes(name, data)
        writer.add_bytes('prior.onnx', bytes(3_000_000))
        writer.finish(INFO)
except MapError as e:
    assert holds(site, 'old')
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
