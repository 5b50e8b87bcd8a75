"""Several processes make the same maps as one, whichever of them die."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
from map_files import same
from site_jobs import always_killed, killed_once, mark

from vloc_models.mapping import workers
from vloc_models.mapping.sites import Site
from vloc_models.mapping.workers import in_processes

Sites = Callable[[Path], list[Site]]


def test_a_killed_worker_is_replaced_and_the_map_is_the_same(
    two_sites: Sites, alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[str, str, int, int]] = []
    sites = two_sites(tmp_path / 'all')
    outcomes = {o.name: o for o in in_processes(sites, lambda *x: seen.append(x), 2, killed_once)}
    assert {name: o.result for name, o in outcomes.items()} == {'hall': 'written', 'bad': 'failed'}
    assert str(sites[1].bags[0]) in outcomes['bad'].words
    assert 'hall: its worker was lost' in caplog.text
    assert mark(sites[0]).read_text() == '20'  # not from the start
    same(sites[0].out, alone / 'hall')
    assert {('hall', 'looking'), ('hall', 'training')} <= {said[:2] for said in seen}
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_site_that_kills_all_its_workers_is_given_up(
    two_sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, 'TRIES', 1)
    hall = two_sites(tmp_path)[0]
    (outcome,) = in_processes([hall], lambda *_: None, 1, always_killed)
    assert outcome.result == 'failed'
    assert 'its worker was lost 1 times (killed, or' in outcome.words


def test_a_site_is_tried_again_but_not_for_ever(two_sites: Sites, tmp_path: Path) -> None:
    hall = two_sites(tmp_path)[0]
    assert workers.lost(hall, 1) is None
    assert workers.lost(hall, 2) is None
    outcome = workers.lost(hall, 3, 'the cat')
    assert outcome is not None
    assert outcome.words.startswith('its worker was lost 3 times (the cat); see what kills it')


def test_interrupted_no_process_stays(two_sites: Sites, tmp_path: Path) -> None:
    def stops(*_: object) -> None:
        raise KeyboardInterrupt

    hall = two_sites(tmp_path)[0]
    with pytest.raises(KeyboardInterrupt):
        in_processes([hall], stops, 1)
    assert not multiprocessing.active_children()
