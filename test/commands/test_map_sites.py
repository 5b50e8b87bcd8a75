"""``vloc map --sites``: a bar and a line for each site, and 2 where one has no map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vloc_models.commands import map as command
from vloc_models.commands.main import main
from vloc_models.frames.write_bag import write_bag
from vloc_models.mapping.site_job import Outcome
from vloc_models.mapping.sites import Site
from vloc_models.maps import open_map

LIST = """
sites:
  - {name: hall, bags: [run]}
  - {name: bad, bags: [broken]}
  - {name: kitchen, bags: [run], out: maps/kitchen, mapping: {max_images: 11}}
"""


@pytest.fixture(scope='module')
def run(gallery: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('runs') / 'run'
    write_bag(path, gallery.drawn[:12])
    return path


@pytest.fixture
def file(run: Path, tmp_path: Path, build_soon: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    build_soon(monkeypatch)
    (tmp_path / 'run').symlink_to(run)
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'run.mcap').write_bytes(b'no bag at all ' * 9)
    (tmp_path / 'sites.yaml').write_text(LIST)
    return tmp_path / 'sites.yaml'


def test_every_site_has_a_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ['map', '--sites', str(file), '--instant']
    assert main(words) == 2
    said = capsys.readouterr()
    assert not said.out
    lines = said.err.splitlines()
    assert sum(line.startswith('hall  ') and ' looking' in line for line in lines) == 1
    assert sum(line.startswith('kitchen  ') and ' 11/11 ' in line for line in lines) == 1
    hall, bad, kitchen = lines[-3:]
    assert hall.startswith('hall     written        self-test not tested')
    assert bad.startswith(f'bad      failed         {file.parent}/broken/run.mcap: damaged')
    assert kitchen.startswith('kitchen  written        self-test')
    assert open_map(file.parent / 'maps' / 'kitchen').info.submaps[0].head is None
    assert main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line[9:22].strip() for line in lines[-3:]] == [
        'already there',
        'failed',
        'already there',
    ]


def test_a_new_map_of_an_aligned_site_says_so(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('sites: [{name: hall, bags: [run]}]')
    words = ['map', '--sites', str(file), '--instant']
    assert main(words) == 0
    assert main(['align', str(file.parent / 'hall'), '--xyz', '1', '2', '3']) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert 'align this one anew' not in capsys.readouterr().err
    assert main([*words, '--seed', '7']) == 0
    assert 'written' in (line := capsys.readouterr().err.splitlines()[-1])
    assert 'align this one anew' in line


def test_how_they_are_made(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[tuple[str, Any]] = []

    def way(name: str) -> Any:
        def make(sites: Sequence[Site], report: Any, **how: Any) -> list[Outcome]:
            called.append((name, how))
            return [Outcome(site.name, 'written', 'POOR') for site in sites]

        return make

    for name in ('in_turn', 'in_processes', 'on_ray'):
        monkeypatch.setattr(command, name, way(name))
    for words in ([], ['--jobs', '3'], ['--ray', 'auto']):
        assert main(['map', '--sites', str(file), *words]) == 0
    assert called == [
        ('in_turn', {}),
        ('in_processes', {'jobs': 3}),
        ('on_ray', {'address': 'auto'}),
    ]


def test_bad_input_is_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = ['--sites', str(file)]
    for words, complaint in [
        ([*many, '-o', str(file.parent / 'site')], '--sites and a recording or --out'),
        ([str(file.parent / 'run'), *many], '--sites and a recording or --out'),
        ([str(file.parent / 'run')], 'no map is named; add -o FOLDER'),
        ([], 'no map is named'),
        (['run', '-o', 'site', '--jobs', '2'], '--jobs and --ray are for many sites'),
        (['run', '-o', 'site', '--ray', 'auto'], '--jobs and --ray are for many sites'),
        ([*many, '--jobs', '0'], '--jobs 0; give 1 or more'),
        ([*many, '--jobs', '2', '--ray', 'auto'], '--jobs 2 and --ray'),
        (['--sites', str(file.parent / 'none.yaml')], 'none.yaml: No such file'),
    ]:
        assert main(['map', *words]) == 2, words
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith('vloc: ')
        assert complaint in lines[0]
    assert not (file.parent / 'hall').exists()
