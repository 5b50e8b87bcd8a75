"""Sites are mapped by the machines of a Ray cluster, one processor core a site.

Recordings and maps lie on a disk that all machines share, at the same path. So nothing but words
travels, and a site whose worker or machine is lost goes on elsewhere, from what is kept beside
its map. We count the tries ourselves: Ray repeats for ever what dies for want of memory.
"""

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import torch

from vloc_models import __version__
from vloc_models.errors import VlocError
from vloc_models.mapping.site_job import Job, Outcome, failed, map_site, now_and_then
from vloc_models.mapping.sites import Site, SiteReport
from vloc_models.mapping.workers import lost

_log = logging.getLogger(__name__)
_LOOK_S = 0.5  # between two looks at how far they are
_ANSWER_S = 5.0  # in which a cluster answers
_STORE_BYTES = 80 * 2**20  # about the least that Ray takes; we share nothing
_START = 'start one with "ray start --head", or use --ray local'


def on_ray(
    sites: Sequence[Site], report: SiteReport, address: str, job: Job = map_site
) -> list[Outcome]:
    """As many sites at a time as the cluster has cores (with device cuda: GPUs).

    Args:
        sites: to be mapped.
        report: called as the work goes on.
        address: host:port of a cluster; auto: the one this machine is part of; local: a new one
            of this machine alone, ended afterwards.
        job: what is done for a site.

    Returns:
        What became of each, in the order in which they ended.

    Raises:
        VlocError: if Ray is not installed, or there is no such cluster.
    """
    ray = _imported()
    with _connected(ray, address):
        board = _board(ray)
        running, outcomes, tries = dict[Any, Site](), list[Outcome](), Counter[str]()

        def start(site: Site) -> None:
            gpus = int(site.config.device.startswith('cuda'))
            work = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_work)
            running[work.remote(site, job, board, __version__)] = site

        for site in sites:
            start(site)
        while running:
            ended, _ = ray.wait(list(running), timeout=_LOOK_S)
            _look(ray, board, report)
            for task in ended:
                site = running.pop(task)
                tries[site.name] += 1
                outcome = _outcome(ray, task, site, tries[site.name])
                outcomes.append(outcome) if outcome else start(site)
    return outcomes


def _imported() -> Any:
    try:
        return import_module('ray')
    except ImportError as e:
        raise VlocError('Ray is not installed', "pip install 'vloc_ros[cluster]'") from e


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Part of a cluster; one that the caller is part of already is used, and left alone."""
    if ray.is_initialized():
        yield
        return
    own: dict[str, Any] = {}
    if address == 'local':
        os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # nobody is told
        own = {'include_dashboard': False, 'object_store_memory': _STORE_BYTES}
    _check_answers(os.environ.get('RAY_ADDRESS', '') if address == 'auto' else address)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as e:
        raise VlocError(f'--ray {address}: {str(e).splitlines()[0]}', _START) from e
    try:
        what = ray.cluster_resources()
        _log.info('Ray: machines: %d, cores: %g', len(ray.nodes()), what.get('CPU', 0))
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes, and then end the process."""
    host, colon, port = address.removeprefix('ray://').rpartition(':')
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip('[]'), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as e:
        raise VlocError(f'--ray {address}: {e}', _START) from e


def _board(ray: Any) -> Any:
    """Where workers write how far they are."""

    class Board:  # in here it travels as a whole: its process needs no torch
        def __init__(self) -> None:
            self.told: dict[str, tuple[str, int, int]] = {}

        def tell(self, name: str, step: str, done: int, total: int) -> None:
            self.told[name] = step, done, total

        def read(self) -> dict[str, tuple[str, int, int]]:
            return self.told

    return ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()


def _work(site: Site, job: Job, board: Any, version: str) -> Outcome:
    """What a worker does."""
    if version != __version__:
        words = f'{socket.gethostname()} has vloc {__version__}, not {version}'
        return failed(site, f'{words}; install the same on all machines')
    torch.set_num_threads(1)
    return job(site, now_and_then(partial(board.tell.remote, site.name)))


def _look(ray: Any, board: Any, report: SiteReport) -> None:
    try:
        told = ray.get(board.read.remote(), timeout=_ANSWER_S)
    except ray.exceptions.RayError:  # its machine is lost; it begins anew elsewhere
        return
    for name, said in told.items():
        report(name, *said)


def _outcome(ray: Any, task: Any, site: Site, tries: int) -> Outcome | None:
    """What became of a site; None if its worker is lost and another one shall try."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as e:  # not by the job, which tells what goes wrong
        last = str(e).strip().splitlines()[-1]
        return failed(site, f'{last}; install the same vloc on all machines')
    except ray.exceptions.RayError as e:
        return lost(site, tries, str(e).splitlines()[0])
