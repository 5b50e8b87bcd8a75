"""What a build keeps is found by the same build only, and no damaged file or full disk hurts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as safetensors

from vloc_models.errors import MapError, VlocError
from vloc_models.mapping.work import Work

ARRAYS = {'a': np.arange(6, dtype=np.float16).reshape(2, 3), 'b': np.array([np.nan], np.float32)}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The map's path beside the work of a build that was interrupted."""
    out = tmp_path / 'site'

    def interrupted() -> None:
        with Work(out, 'one') as work:
            work.save('buffer', ARRAYS)
            work.save_figures('self_test', {'queries': 7, 'median_cm': None, 'x': 0.1 + 0.2})
            (work.folder / 'tested').mkdir()
            (work.folder / 'tested' / 'map.yaml').write_text('')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    return out


def test_the_same_build_finds_what_was_kept(kept: Path) -> None:
    with Work(kept, 'one') as work:
        found = work.load('buffer')
        assert found is not None
        assert sorted(found) == ['a', 'b']
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
        figures = work.load_figures('self_test')
        assert figures == {'queries': 7, 'median_cm': None, 'x': 0.1 + 0.2}
        assert (work.folder / 'tested').is_dir()


def test_another_build_starts_anew(kept: Path) -> None:
    with Work(kept, 'two') as work:
        assert work.load('buffer') is None
        assert work.load_figures('self_test') is None
        assert not (work.folder / 'tested').exists()


@pytest.mark.parametrize('damage', [b'', b'\xff\xfe\x00', b'on', b'one\n'])
def test_a_damaged_fingerprint_starts_anew(kept: Path, damage: bytes) -> None:
    (kept.with_name('.site.work') / 'fingerprint').write_bytes(damage)
    with Work(kept, 'one') as work:
        assert work.load('buffer') is None


def test_nothing_is_left_after_success(kept: Path) -> None:
    with Work(kept, 'one'):
        pass
    assert not list(kept.parent.iterdir())


def test_a_map_named_from_elsewhere_has_the_same_work(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kept.parent)
    with Work(Path('site'), 'one') as work:
        assert work.load('buffer') is not None


@pytest.mark.parametrize('size', [0, 5, 40, -1])
def test_damaged_results_are_made_again(kept: Path, size: int) -> None:
    folder = kept.with_name('.site.work')
    for name in ('buffer.safetensors', 'self_test.json'):
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[: size % len(raw)] if size < 40 else raw[:-9])
    with Work(kept, 'one') as work:
        assert work.load('buffer') is None
        assert work.load_figures('self_test') is None
        work.save('buffer', ARRAYS)
        assert work.load('buffer') is not None


def test_names_never_kept_are_none(kept: Path) -> None:
    with Work(kept, 'one') as work:
        assert work.load('other') is None
        assert work.load_figures('other') is None


HOLD = """
import sys
from pathlib import Path
from vloc_models.mapping.work import Work
with Work(Path(sys.argv[1]), 'one'):
    print('held', flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_while_the_first_lives(kept: Path) -> None:
    words = [sys.executable, '-c', HOLD, str(kept)]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == 'held\n'
        for fingerprint in ('one', 'two'):
            with (
                pytest.raises(MapError, match=r'site.work: another process.*wait'),
                Work(kept, fingerprint),
            ):
                pass
        first.kill()
    with Work(kept, 'one') as work:  # a dead process holds nothing, and has lost nothing
        assert work.load('buffer') is not None


@pytest.mark.parametrize('place', ['/dev/null/site', '/proc/site'])
def test_a_folder_that_cannot_be_made_is_named(place: str) -> None:
    with pytest.raises(MapError, match=r'\.site\.work.*room'), Work(Path(place), 'one'):
        pass


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / '.site.work').write_text('mine')
    with pytest.raises(MapError, match=r'\.site\.work'), Work(tmp_path / 'site', 'one'):
        pass
    assert (tmp_path / '.site.work').read_text() == 'mine'


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'letter').write_text('mine')
    (tmp_path / '.site.work').symlink_to('home')
    with pytest.raises(MapError, match='link'), Work(tmp_path / 'site', 'one'):
        pass
    assert [p.name for p in (tmp_path / 'home').iterdir()] == ['letter']


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    words = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(disk)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip('may not mount a small disk')
    yield disk
    subprocess.run(['umount', str(disk)], check=True)


def test_a_full_disk_is_named_and_what_was_kept_stays(full: Path) -> None:
    def fill() -> None:
        with Work(full / 'site', 'one') as work:
            work.save('small', ARRAYS)
            work.save('buffer', {'a': np.zeros(2**18)})

    with pytest.raises(VlocError, match=r'buffer.*[Nn]o space.*make room.*old map'):
        fill()
    with Work(full / 'site', 'one') as work:
        assert work.load('small') is not None
        assert work.load('buffer') is None
        assert not list(work.folder.glob('.*.new'))
        with pytest.raises(VlocError, match=r'self_test.*[Nn]o space.*make room'):
            work.save_figures('self_test', {'x' * 2**17: 0})
        assert work.load_figures('self_test') is None


def test_a_disk_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, 'Input/output error')

    with Work(tmp_path / 'site', 'one') as work:
        monkeypatch.setattr(safetensors, 'save_file', fails)
        monkeypatch.setattr(Path, 'write_text', fails)
        with pytest.raises(VlocError, match=r'buffer.*Input/output error'):
            work.save('buffer', ARRAYS)
        with pytest.raises(VlocError, match=r'self_test.*Input/output error'):
            work.save_figures('self_test', {})
        monkeypatch.undo()
