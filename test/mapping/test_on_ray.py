"""A Ray cluster of two nodes makes the same maps as one process, whichever workers die."""

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import site_jobs
from map_files import tree
from site_jobs import always_killed, killed_once, mark

import vloc_models
from vloc_models.errors import VlocError
from vloc_models.mapping import on_ray as module
from vloc_models.mapping import workers
from vloc_models.mapping.on_ray import on_ray
from vloc_models.mapping.site_job import Outcome
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
def cluster(ray: Any) -> Iterator[str]:
    """The address of two nodes with a core each; both are gone afterwards."""
    utils = importlib.import_module('ray.cluster_utils')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_USAGE_STATS_ENABLED', '0')
        ours = Path(vloc_models.__file__).parent.parent, Path(site_jobs.__file__).parent
        patch.setenv('PYTHONPATH', os.pathsep.join(map(str, ours)))  # of the workers
        node = {'num_cpus': 1, 'object_store_memory': 80 * 2**20}
        started = utils.Cluster(True, head_node_args={**node, 'include_dashboard': False})
        started.add_node(**node)
        yield started.address
        started.shutdown()


def test_a_killed_worker_is_replaced_and_the_map_is_the_same(
    cluster: str, two_sites: Sites, alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[str, str, int, int]] = []
    sites = two_sites(tmp_path / 'all')
    outcomes = {o.name: o for o in on_ray(sites, lambda *x: seen.append(x), cluster, killed_once)}
    assert {name: o.result for name, o in outcomes.items()} == {'hall': 'written', 'bad': 'failed'}
    assert str(sites[1].bags[0]) in outcomes['bad'].words
    assert 'hall: its worker was lost' in caplog.text
    assert mark(sites[0]).read_text() == '20'  # not from the start
    ours, others = (tree(folder / 'hall') for folder in (tmp_path / 'all', alone))
    for files in (ours, others):
        assert files['map.yaml']['provenance'].pop('bags')
    assert ours == others
    assert ('hall', 'training', 40, 40) in seen


def test_a_fault_of_the_workers_installation_is_told(
    ray: Any, cluster: str, two_sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another version of vloc, a package that is missing, and a worker that always dies."""

    def lacks(site: Site, report: Any) -> Outcome:
        if site.name == 'hall':
            importlib.import_module('a_package_that_is_missing')
        return always_killed(site, report)

    sites = two_sites(tmp_path)
    monkeypatch.setattr(workers, 'TRIES', 1)
    outcomes = {o.name: o for o in on_ray(sites, lambda *_: None, cluster, lacks)}
    assert {o.result for o in outcomes.values()} == {'failed'}
    assert "No module named 'a_package_that_is_missing'; install the" in outcomes['hall'].words
    assert 'its worker was lost 1 times (' in outcomes['bad'].words
    assert not ray.is_initialized()
    outcome = module._work(sites[0], always_killed, None, '0.0.1')
    assert f'{os.uname().nodename} has vloc 0.1.0, not 0.0.1; install the same' in outcome.words
