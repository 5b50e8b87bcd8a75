"""What it costs to map through Ray, what more workers gain, and what a killed one takes.

    python bench/ray_mapping.py --json out.json

Each site is a synthetic world of the training split, recorded as a bag. "vloc map --sites" makes
their maps, as a user calls it, start of Python and all: in one process (A), and by a Ray cluster
of this machine with one worker (B), in turns A B A B; then with two workers, and with one that is
killed (SIGKILL) in the middle of its training. All have one thread. The cluster runs already, as
a user's does. On a machine that others use too, processor seconds tell the overhead better than
seconds on the clock: they are those of all processes, of the cluster's own too.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf('SC_CLK_TCK')


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
        start, cpu = time.monotonic(), _cpu_seconds()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            if kill:
                _kill_worker(folder, process)
            _, said = process.communicate()
        seconds = time.monotonic() - start
        if process.returncode:
            raise VlocError(f'run {self._count} failed: {said[-400:]}', 'see what it says')
        return Run(folder, seconds, _cpu_seconds() - cpu, said)


def main(options: Options) -> None:
    """Measure and print."""
    # Ray's workers leave their parents: as ours, also when they have ended, their time is counted
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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


def _kill_worker(folder: Path, driver: subprocess.Popen[str]) -> None:
    """Kill the process that holds the work of a map, once that has a checkpoint."""
    while not (kept := list(folder.glob('.*.work/first.pt'))):
        if driver.poll() is not None:
            raise VlocError('no checkpoint was written', 'raise --steps')
        time.sleep(0.1)
    lock = kept[0].with_name('lock')
    for file in Path('/proc').glob('[0-9]*/fd/*'):
        try:
            held = file.resolve() == lock
        except OSError:  # it is gone
            continue
        if held:
            os.kill(int(file.parts[2]), signal.SIGKILL)
            return
    raise VlocError(f'nobody holds {lock}', 'raise --steps')


def _cpu_seconds() -> float:
    """Of all processes under this one, with those that have ended."""
    ticks, parents = dict[int, float](), dict[int, int]()
    for file in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = file.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        pid = int(file.parts[2])
        parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks[pid] for pid in ours) / _TICKS


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
