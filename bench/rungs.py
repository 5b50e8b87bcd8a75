"""On which rung of the chain does each picture end, and does any rung lie?

    python bench/rungs.py --map MAP --json rungs.json

Queries of a recording are harmed as in harm.py, and then so much that hardly anything is left.
Told are, of each case, how many answers were accepted, weak, ambiguous, coarse, a place only, or
none; how far off poses and guesses are; and the lies: accepted poses off by more than half a metre
or 10 deg, and guesses whose truth is outside of their ellipsoid of 99.7 %. After them the same map
is asked for pictures of elsewhere: photos of another building, blank walls, noise. There every
pose and every guess is a lie.

MAP was made with "vloc map --prior"; without a prior there are no coarse answers.
Where they are not named, ``$VLOC_DATA`` holds the recording and the photos.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from compare import QUERY_BAG, named, named_map, run
from figures import Figures, save
from harm import CASES, Case, blurred, covered, noisy, to_power
from negatives import blank_walls, noise_and_black, photos
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2

from vloc_models.commands.progress import progress_bar
from vloc_models.errors import VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.localize.localizer import Localizer
from vloc_models.metrics.trajectory import FALSE_DEG, FALSE_M, pose_errors
from vloc_models.records import Array, Fix, Verdict, View
from vloc_models.solvers.fusion import difference

RUINED = {
    'blur_31': Case(partial(blurred, pixels=31)),
    'blur_61': Case(partial(blurred, pixels=61)),
    'noise_60': Case(partial(noisy, sigma=60.0)),
    'noise_120': Case(partial(noisy, sigma=120.0)),
    'covered_three_quarters': Case(partial(covered, share=0.75)),
    'covered_nine_tenths': Case(partial(covered, share=0.9)),
    'gamma_8': Case(partial(to_power, gamma=8.0)),
}
_HARMS = {name: case for name, case in CASES.items() if case.quality is None} | RUINED
_INSIDE = float(chi2.ppf(0.997, 6))


@dataclass(frozen=True)
class Options:
    """What is asked."""

    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is harmed and located, with true poses."""
    map: Path | None = None
    """Our map, as "vloc map --prior" made it."""
    json: Path | None = None
    """Where the figures go, after every case."""
    every: int = 1
    """Ask every n-th query."""
    elsewhere: int = 100
    """Pictures of each kind that show no mapped place."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A picture, and where it was taken if that is in the map."""

    view: View
    T_map_base: Array | None = None


def main(options: Options) -> None:
    """Ask and print."""
    localizer = Localizer.load(named_map(options.map, options.json))
    told = dict[str, Figures]()
    with progress_bar(Console(stderr=True)) as progress:
        for name, asked in _cases(options):
            task = progress.add_task(name, total=len(asked), note='')
            fixes = list[Fix]()
            for one in asked:
                fixes.append(localizer.locate([one.view]))
                progress.advance(task)
            told[name] = figures(asked, fixes)
            save({'cases': told} | summary(told), options.json)
    Console().print(table(told))
    Console().print(summary(told))


def _cases(options: Options) -> Iterator[tuple[str, list[Asked]]]:
    if options.every < 1 or options.elsewhere < 1:
        raise VlocError('--every or --elsewhere makes no sense', 'give 1 or more')
    with open_source([named(options.query_bag, QUERY_BAG)], BagOptions(odom='none')) as source:
        frames = [f for f in source.frames() if f.T_map_base is not None][:: options.every]
    for name, case in _HARMS.items():
        yield (
            name,
            [
                Asked(_harmed(frame.views[0], case, number * options.every), frame.T_map_base)
                for number, frame in enumerate(frames)
            ],
        )
    kinds = {'blank walls': blank_walls, 'noise and black': noise_and_black}
    if 'VLOC_DATA' in os.environ:
        kinds['photos'] = partial(photos, Path(os.environ['VLOC_DATA']) / 'photos')
    for name, views in kinds.items():
        yield name, [Asked(view) for view in views(options.elsewhere)]


def _harmed(view: View, case: Case, number: int) -> View:
    return replace(view, image=case.change(view.image, np.random.default_rng(number)))


def figures(asked: Sequence[Asked], fixes: Sequence[Fix]) -> Figures:
    """How many ended on each rung, how far off they are, and how many lie."""
    told: Figures = {'queries': len(fixes)}
    for verdict in Verdict:
        pairs = [(a, f) for a, f in zip(asked, fixes, strict=True) if f.verdict is verdict]
        told[verdict.value] = len(pairs)
        found = [
            (a.T_map_base, estimate.T_map_base)
            for a, f in pairs
            if a.T_map_base is not None and (estimate := f.estimate or f.guess) is not None
        ]
        if found:
            off_m, _ = pose_errors(*(np.stack(side) for side in zip(*found, strict=True)))
            told[f'{verdict.value}_cm'] = 100 * float(np.median(off_m))
            told[f'{verdict.value}_cm_90'] = 100 * float(np.quantile(off_m, 0.9))
    told['lies'] = sum(lies(a.T_map_base, f) for a, f in zip(asked, fixes, strict=True))
    return told


def lies(T_map_base: Array | None, fix: Fix) -> bool:
    """Whether an accepted pose or a guess is not what it says; a weak pose says nothing."""
    told = fix.estimate if fix.verdict is Verdict.ACCEPTED else fix.guess
    if told is None or T_map_base is None:
        return told is not None
    if fix.guess is not None:
        off = difference(T_map_base, told.T_map_base)
        return float(off @ np.linalg.solve(told.covariance, off)) > _INSIDE
    off_m, off_deg = pose_errors(T_map_base[None], told.T_map_base[None])
    return bool(off_m[0] > FALSE_M or off_deg[0] > FALSE_DEG)


def summary(told: dict[str, Figures]) -> Figures:
    """Of all cases: answers with a pose or a guess in the map, and lies there and elsewhere."""
    here = [told[name] for name in _HARMS if name in told]
    there = [case for name, case in told.items() if name not in _HARMS]
    rungs = ('accepted', 'weak', 'coarse', 'place_only')
    return {
        'queries': sum(c['queries'] or 0 for c in here),
        **{rung: sum(c[rung] or 0 for c in here) for rung in (*rungs, 'ambiguous', 'none')},
        'lies': sum(c['lies'] or 0 for c in here),
        'queries_elsewhere': sum(c['queries'] or 0 for c in there),
        'lies_elsewhere': sum(c['lies'] or 0 for c in there),
    }


def table(told: dict[str, Figures]) -> Table:
    """A row a case; behind the counts how far off, the median in cm."""
    rungs = [verdict.value for verdict in Verdict]
    shown = Table('', 'of', *rungs, 'lies')
    for name, case in told.items():
        cells = []
        for rung in rungs:
            off = case.get(f'{rung}_cm')
            count = f'{case[rung]:.0f}' if case[rung] else ''
            cells.append(f'{count} ({off:.0f} cm)' if off is not None else count)
        shown.add_row(name, f'{case["queries"]:.0f}', *cells, f'{case["lies"]:.0f}')
    return shown


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
