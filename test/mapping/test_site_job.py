"""One site's job: made once, made again when anything changed, and its faults are its own."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vloc_models.commands.main import main
from vloc_models.mapping import site_job
from vloc_models.mapping.site_job import Outcome, make_maps, map_site, now_and_then
from vloc_models.mapping.sites import Site, SiteReport
from vloc_models.mapping.workers import in_turn
from vloc_models.maps import open_map

Sites = Callable[[Path], list[Site]]


@pytest.fixture(autouse=True)
def soon(build_soon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_soon(monkeypatch)


@pytest.fixture
def hall(two_sites: Sites, tmp_path: Path) -> Site:
    """A site that is mapped in an instant."""
    site = two_sites(tmp_path / 'all')[0]
    return replace(site, config=replace(site.config, instant=True))


def made(*sites: Site) -> list[str]:
    return [o.result for o in make_maps(sites, in_turn, lambda *_: None)]


def test_a_map_is_made_once(hall: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    (outcome,) = make_maps([hall], in_turn, lambda *said: seen.append(said[:2]))
    assert outcome == Outcome('hall', 'written', outcome.words)
    assert outcome.words.startswith('self-test not tested')
    assert {name for name, _ in seen} == {'hall'}
    assert 'looking' in {step for _, step in seen}
    assert open_map(hall.out).info.provenance.bags == (str(hall.bags[0]),)

    def busy(sites: Sequence[Site], report: SiteReport) -> list[Outcome]:
        raise AssertionError('works')

    (again,) = make_maps([hall], busy, lambda *_: None)
    assert again == Outcome('hall', 'already there', outcome.words)


def test_a_map_is_made_again_when_anything_changed(
    hall: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(hall) == ['written']
    other = replace(hall, config=replace(hall.config, seed=5))
    assert made(other) == ['written']
    assert made(other) == ['already there']
    other = replace(other, options=replace(hall.options, every=1, start_s=0.1))
    assert made(other) == ['written']
    recorded = next(p for p in other.files() if p.suffix == '.mcap')
    os.utime(recorded, ns=(0, recorded.stat().st_mtime_ns + 1))
    assert made(other) == ['written']
    monkeypatch.setattr(site_job, '__version__', '77.0')
    assert made(other) == ['written']
    assert made(other) == ['already there']


def test_another_map_in_its_place_is_not_taken_for_it(hall: Site, tmp_path: Path) -> None:
    assert made(hall) == ['written']
    elsewhere = replace(hall, out=tmp_path / 'x', config=replace(hall.config, seed=5))
    assert map_site(elsewhere, lambda *_: None).result == 'written'
    hall.out.rename(tmp_path / 'gone')
    assert made(hall) == ['written']
    hall.out.rename(tmp_path / 'gone too')
    elsewhere.out.rename(hall.out)
    assert made(hall) == ['written']
    graph = hall.out / 'submaps' / '00' / 'landmarks.npz'
    graph.write_bytes(graph.read_bytes()[:-1])
    assert made(hall) == ['written']  # nor is a damaged one


def test_an_aligned_map_is_still_the_one_that_was_made(hall: Site) -> None:
    assert made(hall) == ['written']
    assert main(['align', str(hall.out), '--xyz', '1', '2', '3']) == 0
    assert made(hall) == ['already there']
    assert open_map(hall.out).info.T_frame_map[0][3] == 1


def test_a_fault_is_told_and_hurts_no_other(two_sites: Sites, tmp_path: Path) -> None:
    hall, bad = two_sites(tmp_path)
    hall = replace(hall, config=replace(hall.config, instant=True))
    outcomes = make_maps([bad, hall], in_turn, lambda *_: None)
    assert [(o.name, o.result) for o in outcomes] == [('bad', 'failed'), ('hall', 'written')]
    assert outcomes[0].words.startswith(str(bad.bags[0]))
    assert '\n' not in outcomes[0].words
    assert not bad.out.exists()
    assert made(bad, hall) == ['failed', 'already there']


def test_a_fault_of_ours_is_told_too(hall: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError('two\nlines')

    monkeypatch.setattr(site_job, 'make_map', breaks)
    outcome = map_site(hall, lambda *_: None)
    assert outcome == Outcome('hall', 'failed', 'ZeroDivisionError: two lines')


def test_a_map_that_cannot_be_remembered_is_there_all_the_same(
    hall: Site, caplog: pytest.LogCaptureFixture
) -> None:
    hall.out.with_name('.hall.made').mkdir()
    assert made(hall) == ['written']
    assert '.hall.made: Is a directory; the next run makes this map again' in caplog.text
    assert made(hall) == ['written']


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


def test_a_full_disk_is_the_fault_of_its_sites_only(hall: Site, full: Path) -> None:
    cramped = replace(hall, name='cramped', out=full / 'cramped')
    outcomes = make_maps([cramped, hall], in_turn, lambda *_: None)
    assert [o.result for o in outcomes] == ['failed', 'written']
    assert 'No space left on device' in outcomes[0].words
    assert 'make room' in outcomes[0].words
    assert not cramped.out.exists()


def test_few_reports_go_far(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []
    now = iter(range(1000))
    monkeypatch.setattr(site_job.time, 'monotonic', lambda: next(now) * 0.01)
    report = now_and_then(lambda *said: seen.append(said))
    for step in ('looking', 'training'):
        for k in range(1, 101):
            report(step, k, 100)
    for step in ('looking', 'training'):
        done = [k for name, k, _ in seen if name == step]
        assert (done[0], done[-1]) == (1, 100)
        assert 4 <= len(done) <= 6
