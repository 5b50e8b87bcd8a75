"""Sites are mapped one by one, or by several processes of this machine.

Each site has a process of its own: what kills one, such as too little memory, hurts no other (a
pool of processes would be broken as a whole), and all of its memory is free again afterwards.
"""

import logging
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch
from threadpoolctl import threadpool_limits

from vloc_models.mapping.site_job import Job, Outcome, failed, map_site, now_and_then
from vloc_models.mapping.sites import Site, SiteReport

_log = logging.getLogger(__name__)
TRIES = 3  # of a site whose workers die
_SPAWN = multiprocessing.get_context('spawn')  # torch's threads do not survive a fork


def in_turn(sites: Sequence[Site], report: SiteReport, job: Job = map_site) -> list[Outcome]:
    """One site after the other, here."""
    return [job(site, partial(report, site.name)) for site in sites]


def in_processes(
    sites: Sequence[Site], report: SiteReport, jobs: int, job: Job = map_site
) -> list[Outcome]:
    """Several sites at a time, each in a process of its own.

    Args:
        sites: to be mapped.
        report: called as the work goes on.
        jobs: how many at a time; they share the processor's cores.
        job: what is done for a site, a function that a new process can import.

    Returns:
        What became of each, in the order in which they ended. A site whose process was killed
        goes on in another one, from what is kept beside its map.
    """
    assert jobs > 0
    share = len(os.sched_getaffinity(0)) // jobs
    threads = max(1, min(torch.get_num_threads(), share))
    waiting, running, outcomes = deque(sites), dict[Connection, _Worker](), list[Outcome]()
    tries = Counter[str]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                worker = _started(waiting.popleft(), job, threads)
                running[worker.ear] = worker
            for ear in [e for e in wait(list(running)) if isinstance(e, Connection)]:
                site = running[ear].site
                said = running[ear].says()
                if isinstance(said, tuple):
                    report(site.name, *said)
                    continue
                running.pop(ear).end()
                tries[site.name] += 1
                if said is None and (said := lost(site, tries[site.name])) is None:
                    waiting.appendleft(site)
                else:
                    outcomes.append(said)
    finally:
        for worker in running.values():
            worker.end()
    return outcomes


def lost(
    site: Site, tries: int, why: str = 'killed, or the machine is out of memory'
) -> Outcome | None:
    """What becomes of a site whose worker is lost: None, to be tried again, or it has failed."""
    if tries < TRIES:
        _log.warning('%s: its worker was lost (%s); another one goes on', site.name, why)
        return None
    fix = 'see what kills it, and run the command again: it goes on where it was'
    return failed(site, f'its worker was lost {tries} times ({why}); {fix}')


@dataclass(frozen=True)
class _Worker:
    """A process at work."""

    site: Site
    ear: Connection
    process: SpawnProcess

    def says(self) -> Outcome | tuple[str, int, int] | None:
        """How far it is, what became of its site, or None: it is dead."""
        try:
            return self.ear.recv()
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.ear.close()


def _started(site: Site, job: Job, threads: int) -> _Worker:
    ear, mouth = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_work, args=(site, job, threads, mouth), daemon=True)
    with _deaf():
        process.start()
    mouth.close()  # the worker's is the only one left: its death is heard
    return _Worker(site, ear, process)


def _work(site: Site, job: Job, threads: int, mouth: Connection) -> None:
    """What a process does."""
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        outcome = job(site, now_and_then(lambda *said: mouth.send(said)))
    with suppress(OSError):  # nobody listens any more
        mouth.send(outcome)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started meanwhile do not hear Ctrl-C: we end them, and they say nothing."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
