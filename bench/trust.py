"""Can the localizer be trusted: are its covariances right, and what does it accept wrongly?

    python bench/trust.py --cache rendered --json trust.json

Positive queries are pictures of mapped places: synthetic test worlds that nothing was calibrated
on (a map of one drive, asked for another one), ordinary ones, some with little texture and some
with rooms that look alike, and a real kitchen where ``$VLOC_DATA`` holds it. Told are the share
that is accepted; of accepted fixes within half a metre and 10 deg the mean error in sigmas squared
(NEES, 3 where a covariance is exactly right, for position and rotation), how many lie in their
ellipsoid of 95 %, and the median sigma in median errors. What is off by more is a false accept.

Negative queries: a world's pictures asked in another world's map; rooms that look alike (the share
of all queries there that was accepted wrongly); blank walls, noise and black pictures, and photos
of another building (where ``$VLOC_DATA`` holds them), 300 and more of each.

Queries of a drive are judged as the node judges them: by the picture, and by whether it agrees
with odometry and the pictures before. "alone" is what the same pictures give without odometry;
all other queries are single pictures.

The kitchen's truth errs, too: by how much is taken from how far each of its poses is off a smooth
motion through its neighbours, and added to the covariance (an upper bound: a hand trembles).
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from compare import run
from figures import Figures, save
from negatives import blank_walls, noise_and_black, photos
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2
from simulated import Played

from vloc_models.commands.progress import progress_bar
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.localize.localizer import Localizer
from vloc_models.localize.tracker import Tracker, TrackerConfig
from vloc_models.mapping.build_map import MappingConfig, build_map
from vloc_models.metrics.trajectory import FALSE_DEG, FALSE_M, pose_errors
from vloc_models.records import Array, Fix, Frame, Trajectory, Verdict, View
from vloc_models.solvers.fusion import difference

_WORLDS = {
    'ordinary': [WorldSpec(seed) for seed in (0, 1, 2, 3)],
    'low texture': [WorldSpec(seed, texture='low') for seed in (10, 11, 12)],
    'look-alike rooms': [WorldSpec(seed, rooms=3, lookalikes=1) for seed in (20, 21, 22)],
}
_ALIKE = 'look-alike rooms'
_NEES = ('nees_translation', 'nees_rotation')
_IN_95 = float(chi2.ppf(0.95, 3))
_ROWS = (  # key, name in the table, format
    ('queries', 'queries', '{:.0f}'),
    ('accepted', 'accepted', '{:.1%}'),
    ('false_accepts', 'of that false', '{:.0f}'),
    ('false_accept_percent', 'false, % of queries', '{:.2f}'),
    ('accepted_alone', 'accepted alone', '{:.1%}'),
    ('false_accepts_alone', 'of that false', '{:.0f}'),
    ('nees_translation', 'NEES position', '{:.2f}'),
    ('nees_rotation', 'NEES rotation', '{:.2f}'),
    ('inside_translation', 'in 95 %, position', '{:.1%}'),
    ('inside_rotation', 'in 95 %, rotation', '{:.1%}'),
    ('sharp_translation', 'sigma / error, position', '{:.2f}'),
    ('sharp_rotation', 'sigma / error, rotation', '{:.2f}'),
)


@dataclass(frozen=True)
class Options:
    """What is asked."""

    json: Path | None = None
    """Where the figures go, after every place."""
    cache: Path | None = None
    """Where rendered pictures and maps are kept; without, they are removed."""
    every: int = 4
    """Every n-th picture of a query drive is asked for."""
    seeds: tuple[int, ...] = ()
    """Of the worlds; empty: all."""
    negatives: int = 300
    """Blank walls, noise pictures and photos, each."""


@dataclass(frozen=True, eq=False)
class Told:
    """Queries and what was said to them."""

    fixes: Sequence[Fix]
    truths: Sequence[Array]  # T_map_base; empty: no query is of the map
    truth_covariance: Array = field(default_factory=lambda: np.zeros((6, 6)))
    alone: Sequence[Fix] = ()  # what the same pictures gave without odometry

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Which were."""
        return np.array([fix.verdict is Verdict.ACCEPTED for fix in self.fixes], bool)

    @property
    def false(self) -> NDArray[np.bool_]:
        """Which were accepted though they are wrong."""
        return self.accepted & ~self.right

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which have a pose that is about right."""
        if not self.truths:
            return np.zeros(len(self.fixes), bool)
        return np.array([_right(*pair) for pair in zip(self.fixes, self.truths, strict=True)])

    def figures(self) -> Figures:
        """Of these alone."""
        count, false = len(self.fixes), int(self.false.sum())
        told: Figures = {
            'queries': count,
            'accepted': float(self.accepted.mean()),
            'false_accepts': false,
            'false_accept_percent': 100 * false / count,
        }
        if self.truth_covariance.any():
            sigma = np.sqrt(np.diag(self.truth_covariance))
            told |= {'truth_mm': float(1e3 * sigma[0]), 'truth_deg': float(np.degrees(sigma[3]))}
        if self.alone:
            alone = Told(self.alone, self.truths).figures()
            told |= {f'{key}_alone': alone[key] for key in ('accepted', 'false_accepts')}
            told |= {
                f'{key}_alone': alone.get(key) for key in ('nees_translation', 'nees_rotation')
            }
        return told | self._covariances() if (self.accepted & self.right).any() else told

    def _covariances(self) -> Figures:
        rows = [
            (difference(T, fix.estimate.T_map_base), fix.estimate.covariance)
            for fix, T, good in zip(
                self.fixes, self.truths, self.accepted & self.right, strict=True
            )
            if good and fix.estimate is not None
        ]
        told: Figures = {}
        for name, part in (('translation', slice(0, 3)), ('rotation', slice(3, 6))):
            error = np.array([e[part] for e, _ in rows])
            own = np.array([C[part, part] for _, C in rows])
            both = own + self.truth_covariance[part, part]
            squared = np.einsum('ni,ni->n', error, np.linalg.solve(both, error[..., None])[..., 0])
            sigma = np.sqrt(np.trace(own, axis1=1, axis2=2))
            told[f'nees_{name}'] = float(squared.mean())
            told[f'inside_{name}'] = float((squared < _IN_95).mean())
            off = np.median(np.linalg.norm(error, axis=1))
            told[f'sharp_{name}'] = float(np.median(sigma) / off)
        return told


def _right(fix: Fix, T_map_base: Array) -> bool:
    if fix.estimate is None:
        return False
    error_m, error_deg = pose_errors(T_map_base[None], fix.estimate.T_map_base[None])
    return bool(error_m[0] <= FALSE_M and error_deg[0] <= FALSE_DEG)


def pooled(parts: Iterable[Told]) -> Told:
    """Several as one."""
    parts = list(parts)
    return Told(
        [fix for part in parts for fix in part.fixes],
        [T for part in parts for T in part.truths],
        alone=[fix for part in parts for fix in part.alone],
    )


@dataclass(frozen=True, eq=False)
class Place:
    """A mapped place, and pictures of it that the map has not seen."""

    localizer: Localizer
    source: FrameSource
    every: int = 1

    def queries(self) -> Iterator[Frame]:
        """Those that are asked."""
        if isinstance(self.source, SyntheticSource):
            return (self.source.frame(i) for i in range(0, len(self.source), self.every))
        return self.source.frames()

    def asked(self) -> Told:
        """Its own pictures, judged by odometry where there is some."""
        frames = list(self.queries())
        fixes = [self.localizer.locate(f.views, stamp_ns=f.stamp_ns) for f in frames]
        truths = [f.T_map_base for f in frames if f.T_map_base is not None]
        if isinstance(self.source, SyntheticSource):
            return Told(_judged(fixes, self.source.odometry()), truths, alone=fixes)
        return Told(fixes, truths, _truth_covariance(self.source.trajectory()))


def _judged(fixes: Sequence[Fix], odometry: Trajectory) -> list[Fix]:
    """What a tracker says of each."""
    tracker, judged = Tracker(TrackerConfig()), []
    played = Played(odometry, tracker)
    for fix in fixes:
        played.until(fix.stamp_ns)
        judged.append(tracker.add_fix(fix))
    return judged


def _truth_covariance(truth: Trajectory, around: int = 3) -> Array:
    """[6, 6] of the truth: how far each pose is off a parabola through those near it.

    The same along all axes of position, and of rotation.
    """
    t, T = (truth.stamps_ns - truth.stamps_ns[0]) / 1e9, truth.T_map_body
    off = []
    for i in range(around, len(truth) - around):
        near = np.r_[i - around : i, i + 1 : i + around + 1]
        smooth = np.linalg.pinv(np.vander(t[near] - t[i], 3))[2]  # its value at t[i]
        apart = np.stack([difference(T[i], T[n]) for n in near])
        off.append(smooth @ apart / np.sqrt(1 + (smooth**2).sum()))
    variance = np.mean(np.square(off), 0)
    return np.diag(np.repeat([variance[:3].mean(), variance[3:].mean()], 3))


def _world(world: WorldSpec, options: Options, folder: Path) -> Place:
    mapping = SyntheticSource(SyntheticSpec(world, DriveSpec()), folder)
    query = SyntheticSource(SyntheticSpec(world, DriveSpec(kind='query')), folder)
    out = folder / f'trust_{mapping.folder.name}'
    if not out.exists():
        build_map(mapping, [out.name], out, MappingConfig(instant=True))
    return Place(Localizer.load(out), query, options.every)


def _kitchen(data: Path, folder: Path) -> Place:
    out = folder / 'trust_kitchen'
    if not out.exists():
        with open_source([data / 'redkitchen_map']) as source:
            build_map(source, ['redkitchen_map'], out, MappingConfig(instant=True))
    return Place(Localizer.load(out), open_source([data / 'redkitchen_dev']))


def _of_nowhere(places: Sequence[Place], views: Iterable[View]) -> Told:
    """Pictures that no map shows, asked in one map after the other."""
    fixes = [places[i % len(places)].localizer.locate([view]) for i, view in enumerate(views)]
    return Told(fixes, [])


def main(options: Options) -> None:
    """Ask, print, write."""
    with tempfile.TemporaryDirectory() as temporary:
        told = _ask(options, options.cache or Path(temporary))
    headline = _headline(told)
    save({'cases': {name: part.figures() for name, part in told.items()}} | headline, options.json)
    console = Console(width=200)
    console.print(_table({name: part.figures() for name, part in told.items()}))
    console.print(headline, highlight=False)


def _ask(options: Options, folder: Path) -> dict[str, Told]:
    told, places = dict[str, Told](), list[Place]()
    data = Path(os.environ.get('VLOC_DATA', ''))
    with progress_bar(Console(stderr=True)) as progress:
        for name, worlds in _WORLDS.items():
            chosen = [w for w in worlds if not options.seeds or w.seed in options.seeds]
            parts = []
            task = progress.add_task(name, total=len(chosen), note='')
            for world in chosen:
                place = _world(world, options, folder)
                parts.append(place.asked())
                if name != _ALIKE:
                    places.append(place)
                progress.advance(task)
            if parts:
                told[name] = pooled(parts)
        if 'VLOC_DATA' in os.environ:
            kitchen = _kitchen(data, folder)
            told['kitchen'] = kitchen.asked()
            places.append(kitchen)
        else:
            Console(stderr=True).print('VLOC_DATA is not set: no kitchen, no photos')
        if len(places) > 1:
            told['unmapped worlds'] = pooled(
                Told([place.localizer.locate(f.views) for f in other.queries()], [])
                for place, other in zip(places, [*places[1:], places[0]], strict=True)
            )
        count = options.negatives
        told['blank walls'] = _of_nowhere(places, blank_walls(count))
        told['noise and black'] = _of_nowhere(places, noise_and_black(count))
        if 'VLOC_DATA' in os.environ:
            told['photos'] = _of_nowhere(places, photos(data / 'photos', count))
    return told


def _headline(told: dict[str, Told]) -> Figures:
    """Of all synthetic worlds; the worst negative class; ordinary worlds and the kitchen."""
    worlds = pooled(told[name] for name in _WORLDS if name in told).figures()
    negative = [part for name, part in told.items() if not part.truths or name == _ALIKE]
    positive = pooled(told[name] for name in ('ordinary', 'kitchen') if name in told)
    return {
        'nees_translation': worlds.get('nees_translation'),
        'nees_rotation': worlds.get('nees_rotation'),
        'false_accept_percent': max(p.figures()['false_accept_percent'] or 0 for p in negative),
        'positive_recall': float((positive.accepted & positive.right).mean()),
        'queries': sum(len(part.fixes) for part in told.values()),
    }


def _table(cases: dict[str, Figures]) -> Table:
    shown = Table(box=None, pad_edge=False)
    shown.add_column('', no_wrap=True)
    for _, name, _ in _ROWS:
        shown.add_column(name, justify='right')
    for case, told in cases.items():
        cells = ((told.get(key), form) for key, _, form in _ROWS)
        shown.add_row(case, *('-' if x is None else form.format(x) for x, form in cells))
    return shown


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
