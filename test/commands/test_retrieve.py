"""Finds are shown and judged, with and without true poses and pictures of the map."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from indexed_map import write_indexed

from vloc_models.commands.main import main
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.frames.write_bag import WriteOptions, write_bag
from vloc_models.geometry import se3

N = 12


@pytest.fixture(scope='module')
def ready(gallery: Any, toy_encoder: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A recording, a map of it, and the same one without true poses."""
    folder = tmp_path_factory.mktemp('retrieve')
    frames = type(gallery)(N).drawn
    write_bag(folder / 'run', frames, WriteOptions(truth=True))
    write_bag(folder / 'blind', frames, WriteOptions(map_tf=False, truth=False))
    with BagReader(folder / 'run', BagOptions(odom='none')) as reader:
        write_indexed(folder / 'site', reader, toy_encoder)
        write_indexed(folder / 'moved', reader, toy_encoder, se3.exp([50.0, 0, 0, 0, 0, 0]))
    return SimpleNamespace(folder=folder)


def told(ready: Any, tmp_path: Path, bag: str, *more: str, site: str = 'site') -> tuple[str, Any]:
    """The report and the figures."""
    out, figures = tmp_path / 'r.html', tmp_path / 'f.json'
    words = ['retrieve', str(ready.folder / bag), '--map', str(ready.folder / site)]
    assert main([*words, '-o', str(out), '--json', str(figures), *more]) == 0
    return out.read_text(), json.loads(figures.read_text())


def test_right_and_wrong_ones(
    ready: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each finds itself first; then come others of the wall, half a metre off or more."""
    mapped = '--map-bag', str(ready.folder / 'run')
    text, figures = told(ready, tmp_path, 'run', *mapped, '--same.metres', '0.1', '--rows', '4')
    assert figures['recall_at_1'] == figures['recall_at_10'] == 1
    assert figures['queries'] == figures['asked'] == figures['places'] == N
    assert figures['unseen'] == 0
    assert text.count('data:image/jpeg') == 4 * 6
    assert text.count('class="right"') == 4
    assert text.count('class="wrong"') == 4 * 4
    assert 'Recall@1' in capsys.readouterr().out


def test_places_elsewhere_are_not_counted(ready: Any, tmp_path: Path) -> None:
    """The map is told fifty metres off, and so nothing there is right."""
    text, figures = told(ready, tmp_path, 'run', site='moved')
    assert figures == {'asked': N, 'places': N}
    assert 'class="right"' not in text
    assert 'no query with a true pose is of a mapped place' in text


def test_a_map_in_another_frame_finds_its_pictures(ready: Any, tmp_path: Path) -> None:
    more = '--poses', 'none', '--map-bag', str(ready.folder / 'run')
    text, _ = told(ready, tmp_path, 'blind', *more, site='moved')
    assert 'no picture' not in text
    assert text.count('data:image/jpeg') == N * 6


def test_nothing_is_known(ready: Any, tmp_path: Path) -> None:
    """Neither true poses nor pictures of the map: queries alone are shown, in grey."""
    text, figures = told(ready, tmp_path, 'blind', '--poses', 'none')
    assert figures == {'asked': N, 'places': N}
    assert text.count('data:image/jpeg') == N
    assert text.count('<p>no picture</p>') == 5 * N
    assert 'class="right"' not in text
    assert 'class="wrong"' not in text


@pytest.mark.parametrize(
    ('more', 'line'),
    [
        (['--rows', '-1'], '--rows -1'),
        (['--same.metres', '0'], 'same place within 0 m'),
        (['--map-bag', 'nowhere'], 'nowhere'),
        (['--json', 'nowhere/f.json'], 'no such folder'),
    ],
)
def test_what_makes_no_sense_is_refused(
    ready: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], line: str
) -> None:
    words = ['retrieve', str(ready.folder / 'run'), '--map', str(ready.folder / 'site')]
    assert main([*words, '-o', str(tmp_path / 'r.html'), *more]) == 2
    assert line in capsys.readouterr().err


def test_a_map_without_an_index_is_refused(
    ready: Any, site: Path, tmp_path: Path, sites: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that says what to do."""
    sites.edit(site, lambda data: data.update(index=None))
    bag = str(ready.folder / 'run')
    assert main(['retrieve', bag, '--map', str(site), '-o', str(tmp_path / 'r.html')]) == 2
    said = capsys.readouterr().err
    assert 'has no index of places; build it again' in said
    assert said.count('\n') == 1
    assert not list(tmp_path.glob('*.html'))
