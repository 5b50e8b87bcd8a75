"""What it costs to map through Ray, what more workers gain, and what a killed one takes.

    python bench/ray_mapping.py --json out.json

Each site is a synthetic world of the training split, recorded as a bag. "vloc map --sites" makes
their maps, as a user calls it, start of Python and all: in one process (A), and by a Ray cluster
of this machine with one worker (B), in turns A B A B; then with two workers, and with one that is
killed (SIGKILL) in the middle of its training. All have one thread. The cluster runs already, as
a user's does. On a machine that others use too, processor seconds tell the overhead better than
seconds on the clock: they are those of all processes, of the cluster's own too.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import tyro
import yaml
from compare import run
from figures import Figures, save
from rich.console import Console
from rich.table import Table

from vloc_models.commands.locate import check_outputs
from vloc_models.errors import VlocError
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.write_bag import write_bag
from vloc_models.maps import open_map

_STORE_BYTES = 80 * 2**20
_CHECKPOINT_S = 5.0
_LOOK_S = 0.2


@dataclass(frozen=True)
class Options:
    """What to measure."""

    json: Path | None = None
    """Where the figures go, after every run."""
    keep: Path | None = None
    """Where recordings are kept for the next time."""
    worlds: tuple[int, ...] = (100, 101)
    """Seeds of the sites' worlds."""
    rate_hz: float = 1.0
    """Pictures a second of their recordings."""
    steps: int = 1000
    """Of each training."""
    repeats: int = 2
    """Of A and B."""
    two: bool = True
    """Also with two workers; needs two free cores."""


@dataclass(frozen=True)
class Run:
    """One call of the command."""

    folder: Path
    seconds: float
    cpu_seconds: float  # of all processes
    said: str

    def files(self) -> dict[str, bytes]:
        """Its maps but map.yaml, which tells the date."""
        maps = [open_map(path.parent) for path in sorted(self.folder.glob('*/map.yaml'))]
        return {
            f'{m.folder.name}/{name}': m.read_bytes(name) for m in maps for name in m.info.files
        }


class Bench:
    """Calls of the command on the same sites, each in a folder of its own."""

    def __init__(self, options: Options, bags: list[Path], folder: Path) -> None:
        self._steps, self._bags, self._folder = options.steps, bags, folder
        self._count = 0

    def __call__(self, *words: str, kill: bool = False) -> Run:
        """Map all sites; ``kill`` one worker at its first checkpoint."""
        self._count += 1
        folder = self._folder / f'run{self._count}'
        folder.mkdir()
        sites = [
            {'name': bag.name, 'bags': [str(bag)], 'out': f'map_{bag.name}'} for bag in self._bags
        ]
        (folder / 'sites.yaml').write_text(yaml.safe_dump({'sites': sites}))
        command = [
            sys.executable,
            '-m',
            'vloc_models.commands.main',
            'map',
            '--sites',
            str(folder / 'sites.yaml'),
        ]
        command += ['--training.loop.steps', str(self._steps), '--buffer.cells', '200000']
        command += ['--training.loop.checkpoint-s', str(_CHECKPOINT_S), *words]
        start, clock, log = time.monotonic(), _Clock(), folder / 'log.txt'
        with log.open('w') as file, subprocess.Popen(command, stderr=file) as process:
            while process.poll() is None:
                clock.look()
                kill = kill and not _killed_worker(folder)
                time.sleep(_LOOK_S)
        seconds, said = time.monotonic() - start, log.read_text()
        if kill:
            raise VlocError('no worker could be killed', 'raise --steps')
        if process.returncode:
            raise VlocError(f'run {self._count} failed: {said[-400:]}', 'see what it says')
        return Run(folder, seconds, clock.seconds(), said)


def main(options: Options) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix='vloc_ray_') as name:
        folder = Path(name)
        if options.json:
            check_outputs([options.json], folder)
        bags = [_recorded(seed, options, options.keep or folder) for seed in options.worlds]
        bench, alone, by_ray = Bench(options, bags, folder), list[Run](), list[Run]()
        told: Figures = {'sites': len(bags)}
        with _cluster(1) as address:
            for _ in range(options.repeats):
                alone.append(bench())
                by_ray.append(bench('--ray', address))
                told |= _compared(alone, by_ray)
                save(told, options.json)
            killed = bench('--ray', address, kill=True)
        recovered = 'its worker was lost' in killed.said and _same(killed, alone[0])
        told |= {
            'killed_recovered': float(recovered),
            'killed_seconds': killed.seconds,
            'killed_costs_cpu_seconds': killed.cpu_seconds - (told['ray_cpu_seconds'] or 0),
        }
        save(told, options.json)
        if options.two:
            with _cluster(2) as address:
                two = bench('--ray', address)
            told |= {
                'ray_2_seconds': two.seconds,
                'speedup_2': (told['alone_seconds'] or 0) / two.seconds,
                'maps_equal': float(bool(told['maps_equal']) and _same(two, alone[0])),
            }
    save(told, options.json)
    shown = Table('', '')
    for key, value in told.items():
        shown.add_row(key, '-' if value is None else f'{value:.3f}')
    Console().print(shown)


def _compared(alone: list[Run], by_ray: list[Run]) -> Figures:
    a, b = (float(np.median([r.seconds for r in runs])) for runs in (alone, by_ray))
    c, d = (float(np.median([r.cpu_seconds for r in runs])) for runs in (alone, by_ray))
    return {
        'alone_seconds': a,
        'ray_seconds': b,
        'overhead': b / a - 1,
        'alone_cpu_seconds': c,
        'ray_cpu_seconds': d,
        'overhead_cpu': d / c - 1,
        'maps_equal': float(all(_same(r, alone[0]) for r in alone + by_ray)),
    }


def _same(run: Run, other: Run) -> bool:
    """Byte by byte."""
    return run.files() == other.files()


def _recorded(seed: int, options: Options, folder: Path) -> Path:
    """The bag of a world."""
    bag = folder / f'world{seed}_{options.rate_hz:g}hz'
    if not bag.exists():
        drive = DriveSpec(rate_hz=options.rate_hz)
        source = SyntheticSource(SyntheticSpec(WorldSpec(seed, split='train'), drive))
        write_bag(bag, source.frames(), odometry=source.odometry())
    return bag


@contextmanager
def _cluster(workers: int) -> Iterator[str]:
    """The address of a cluster of this machine."""
    own: dict[str, Any] = {'log_to_driver': False, 'logging_level': 'error'}
    own |= {'include_dashboard': False, 'object_store_memory': _STORE_BYTES}
    ray.init('local', num_cpus=workers, **own)
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def _killed_worker(folder: Path) -> bool:
    """Kill the process that holds the work of a map, once that has a checkpoint."""
    for kept in folder.glob('.*.work/first.pt'):
        lock = kept.with_name('lock')
        for file in Path('/proc').glob('[0-9]*/fd/*'):
            with suppress(OSError):  # it is gone, or not ours
                if file.resolve() == lock:
                    os.kill(int(file.parts[2]), signal.SIGKILL)
                    return True
    return False


class _Clock:
    """Processor time of all processes under this one, those included that end meanwhile.

    Ray's workers leave no time to their parents, so that all are looked at as they run.
    """

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self.look(self._first)

    def look(self, ticks: dict[str, int] | None = None) -> None:
        """Take down how much each has used."""
        ticks = self._last if ticks is None else ticks
        parents, used = dict[str, str](), dict[str, int]()
        for file in Path('/proc').glob('[0-9]*/stat'):
            with suppress(OSError):  # it is gone
                fields = file.read_text().rpartition(')')[2].split()
                parents[file.parts[2]], used[file.parts[2]] = (
                    fields[1],
                    sum(map(int, fields[11:13])),
                )
        ours = {str(os.getpid())}
        while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= more
        ticks |= {pid: used[pid] for pid in ours}

    def seconds(self) -> float:
        """Used between the first look and the last."""
        ticks = sum(used - self._first.get(pid, 0) for pid, used in self._last.items())
        return ticks / os.sysconf('SC_CLK_TCK')


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
