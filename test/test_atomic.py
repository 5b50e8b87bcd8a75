"""What stays beside a folder that several writers replace, alive and dead (see also test_maps)."""

import os
from pathlib import Path

import pytest

from vloc_models import atomic


def allow(_: Path) -> None:
    """Everything may be replaced."""


def begin(path: Path, word: str) -> atomic.FolderSwap:
    swap = atomic.FolderSwap(path, allow)
    swap.begin()
    atomic.write_file(swap.folder / 'deep' / 'file', word.encode())
    return swap


def swap(path: Path, word: str) -> None:
    writer = begin(path, word)
    writer.commit()
    writer.end()


def holds(path: Path) -> str:
    return (path / 'deep' / 'file').read_text()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    swap(tmp_path / 'site', 'old')
    return tmp_path / 'site'


def beside(path: Path) -> set[str]:
    return {p.name for p in path.parent.iterdir()} - {path.name}


def test_two_writers(path: Path) -> None:
    """Both finish; the last one stands, and neither sweeps the other's folder away."""
    a = begin(path, 'first')
    b = begin(path, 'second')
    a.commit()
    assert holds(path) == 'first'
    b.commit()
    assert holds(path) == 'second'
    assert not beside(path)
    a.end()
    b.end()
    assert holds(path) == 'second'


def test_dead_writer_is_swept_a_living_one_not(path: Path) -> None:
    dead, alive = begin(path, 'dead'), begin(path, 'alive')
    os.close(dead._lock)  # as the kernel does it for a process that ends
    swap(path, 'new')
    assert beside(path) == {alive.folder.name}
    alive.commit()
    alive.end()
    assert holds(path) == 'alive'


def test_recover(path: Path) -> None:
    path.rename(path.with_name('.site.old'))
    atomic.recover(path)
    assert holds(path) == 'old'
    assert not beside(path)
    atomic.recover(path)
    assert holds(path) == 'old'
    atomic.recover(path.with_name('never'))


def test_half_removed_folder_never_comes_back(path: Path) -> None:
    """A writer died before it removed the old folder; the user removes the new one later."""
    path.with_name('.site.old').mkdir()
    atomic.recover(path)
    assert holds(path) == 'old'
    swap(path, 'new')
    assert holds(path) == 'new'
    assert not beside(path)


def test_names_that_only_look_like_ours(path: Path) -> None:
    names = {'.site.12345678.old', '.site.123.new', '.site.b.12345678.new', '.sit.12345678.new'}
    for name in names:
        path.with_name(name).mkdir()
    path.with_name('.site.87654321.new').symlink_to('.site.123.new')
    os.mkfifo(path.with_name('.site.00000000.new'))
    swap(path, 'new')
    assert beside(path) == {*names, '.site.87654321.new', '.site.00000000.new'}


def test_a_refusal_changes_nothing(path: Path) -> None:
    def refuse(_: Path) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        atomic.FolderSwap(path, refuse).begin()
    assert holds(path) == 'old'
    assert not beside(path)


def test_write_file_leaves_no_half(tmp_path: Path) -> None:
    atomic.write_file(tmp_path / 'a' / 'b', b'1')
    with pytest.raises(FileExistsError):
        atomic.write_file(tmp_path / 'a' / 'b', b'2')
    assert (tmp_path / 'a' / 'b').read_bytes() == b'1'
