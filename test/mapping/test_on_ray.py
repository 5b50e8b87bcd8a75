"""A Ray cluster of two nodes makes the same maps as one process, whichever workers die."""

import importlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import site_jobs
from map_files import same
from site_jobs import always_killed, killed_once, mark

import vloc_models
from vloc_models.errors import VlocError
from vloc_models.mapping import on_ray as module
from vloc_models.mapping import workers
from vloc_models.mapping.on_ray import on_ray
from vloc_models.mapping.site_job import Outcome, map_site
from vloc_models.mapping.sites import Site

Sites = Callable[[Path], list[Site]]


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module, 'import_module', fails)
    with pytest.raises(
        VlocError, match=r"Ray is not installed; pip install 'vloc_ros\[cluster\]'"
    ):
        on_ray([], lambda *_: None, 'auto')


@pytest.fixture(scope='module')
def ray() -> Any:
    return pytest.importorskip('ray')


@pytest.mark.parametrize(
    ('address', 'complaint'),
    [
        ('127.0.0.1:1', r'--ray 127.0.0.1:1: .*refused; start one with "ray start --head"'),
        ('127.0.0.1:123456', r'--ray 127.0.0.1:123456: '),
        ('nonsense', r'--ray nonsense: .*nonsense'),
        ('auto', r'--ray 127.0.0.1:1: .*refused'),
    ],
)
def test_no_cluster_is_told_at_once(
    ray: Any, monkeypatch: pytest.MonkeyPatch, address: str, complaint: str
) -> None:
    monkeypatch.setenv('RAY_ADDRESS', '127.0.0.1:1')
    with pytest.raises(VlocError, match=complaint):
        on_ray([], lambda *_: None, address)


@pytest.fixture(scope='module')
def cluster(ray: Any) -> Iterator[Any]:
    """Two nodes with a core each; both are gone afterwards."""
    utils = importlib.import_module('ray.cluster_utils')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_USAGE_STATS_ENABLED', '0')
        ours = Path(vloc_models.__file__).parent.parent, Path(site_jobs.__file__).parent
        patch.setenv('PYTHONPATH', os.pathsep.join(map(str, ours)))  # of the workers
        node = {'num_cpus': 1, 'object_store_memory': 80 * 2**20}
        started = utils.Cluster(True, head_node_args={**node, 'include_dashboard': False})
        started.add_node(**node)
        yield started
        started.shutdown()


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_map_is_the_same(
    cluster: Any, two_sites: Sites, alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[str, str, int, int]] = []
    sites = two_sites(tmp_path / 'all')
    outcomes = {
        o.name: o for o in on_ray(sites, lambda *x: seen.append(x), cluster.address, killed_once)
    }
    assert {name: o.result for name, o in outcomes.items()} == {'hall': 'written', 'bad': 'failed'}
    assert str(sites[1].bags[0]) in outcomes['bad'].words
    assert 'hall: its worker was lost' in caplog.text
    assert mark(sites[0]).read_text() == '20'  # not from the start
    same(sites[0].out, alone / 'hall')
    assert ('hall', 'training', 40, 40) in seen


def test_what_ray_says_of_a_worker_becomes_a_line(
    ray: Any, two_sites: Sites, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hall = two_sites(tmp_path)[0]

    def told(error: Exception, tries: int) -> Outcome | None:
        def get(_: object) -> None:
            raise error

        return module._outcome(SimpleNamespace(get=get, exceptions=ray.exceptions), 0, hall, tries)

    crashed = ray.exceptions.WorkerCrashedError()
    assert told(crashed, 1) is None
    assert 'hall: its worker was lost (The worker died unexpectedly' in caplog.text
    outcome = told(crashed, 3)
    assert outcome is not None
    assert (outcome.result, outcome.name) == ('failed', 'hall')
    assert outcome.words.startswith('its worker was lost 3 times (The worker died unexpectedly')
    lacking = ray.exceptions.RayTaskError('f', 'Traceback\nImportError: x', ImportError('x'))
    outcome = told(lacking, 1)
    assert outcome == Outcome(
        'hall', 'failed', 'ImportError: x; install the same vloc on all machines'
    )
    outcome = module._work(hall, always_killed, None, '0.0.1')
    assert f'{os.uname().nodename} has vloc 0.1.0, not 0.0.1; install the same' in outcome.words


@pytest.mark.slow
def test_a_worker_without_a_package_and_one_that_always_dies(
    ray: Any, cluster: Any, two_sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(site: Site, report: Any) -> Outcome:
        if site.name == 'hall':
            importlib.import_module('a_package_that_is_missing')
        return always_killed(site, report)

    sites = two_sites(tmp_path)
    monkeypatch.setattr(workers, 'TRIES', 2)
    outcomes = {o.name: o for o in on_ray(sites, lambda *_: None, cluster.address, lacks)}
    assert {o.result for o in outcomes.values()} == {'failed'}
    assert "No module named 'a_package_that_is_missing'; install the" in outcomes['hall'].words
    assert 'its worker was lost 2 times (' in outcomes['bad'].words
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_lost_machine_is_replaced_and_the_maps_are_the_same(
    cluster: Any, two_sites: Sites, alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both machines are in the middle of a training when one of them is taken away."""
    hall, gone, training = two_sites(tmp_path)[0], tmp_path / 'gone', set[str]()
    sites = [replace(hall, name=name, out=tmp_path / name) for name in ('one', 'two')]

    def waits(site: Site, report: Any) -> Outcome:
        def until_gone(step: str, done: int, total: int) -> None:
            report(step, done, total)
            while step == 'training' and done == 20 and not gone.exists():
                time.sleep(0.1)

        return map_site(site, until_gone)

    def report(name: str, step: str, done: int, total: int) -> None:
        training.update({name} if step == 'training' else ())
        if len(training) == 2 and not gone.exists():
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            gone.touch()

    outcomes = on_ray(sites, report, cluster.address, waits)
    assert [o.result for o in outcomes] == ['written', 'written']
    assert caplog.text.count('its worker was lost') == 1
    for site in sites:
        same(site.out, alone / 'hall')
