"""Is the right place found first? Ways to compare pictures, on the same maps and queries.

    python bench/retrieval.py --json retrieval.json --keep runs

Two kinds of places: three synthetic test worlds (rooms of the last look alike), mapped by day and
asked in winter, which nothing was trained with, and at night; and a kitchen
($VLOC_DATA/redkitchen_map, asked with redkitchen_dev), asked as it is and harmed as bench/harm.py
does. A find is right within 2 m and 45 deg, "near" within 0.5 m and 20 deg; queries that no map
picture is right for are left out.

- DASGIL, trained here for a short while on rendered training worlds and real photos, each way to
  train it and to compare its maps; as it ships, and as it is before training
- VLAD of RootSIFT, with words of the map's own pictures
- our encoder's VLAD, and whitened to fewer numbers, which is what maps hold ("product")

Figures are medians over seeds of training or of words, and their standard deviation; a line of
the table is the mean of a place's cases.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from compare import MAP_BAG, QUERY_BAG, named, run
from dasgil_runs import VARIANTS, Runs, shipped, untrained
from figures import Figures, save
from numpy.typing import NDArray
from retrieval_methods import Cells, Compared, dasgil_readings, ours, sift_vlad
from retrieval_places import HARMED, Place, kitchen, worlds
from rich.console import Console
from rich.table import Table

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.errors import VlocError
from vloc_models.mapping.encoder import EncoderChoice, choose_encoder
from vloc_models.metrics.retrieval import SamePlace, score
from vloc_models.records import Array

Report = Callable[[str, int, int], None]
Told = dict[str, dict[str, Figures]]  # case -> method -> figures
_MOST = 10  # that are looked at
_NEAR = SamePlace(0.5, 20.0)  # more than the same place: about the same picture
_NUMBERS = (256, 512)  # of our whitened descriptors
PRODUCT, VLAD = 'ours: whitened, 256', 'SIFT VLAD'
_SHIPPED, _FLOOR = 'DASGIL as it ships', 'DASGIL untrained'
_GROUPS = {  # of cases in the table
    'winter': tuple(f'world {n}, winter' for n in range(100)),
    'night': tuple(f'world {n}, night' for n in range(100)),
    'kitchen': ('kitchen, as_is',),
    'harmed': tuple(f'kitchen, {name}' for name in HARMED[1:]),
}
_SHOWN = ('recall_at_1', 'recall_at_5', 'recall_at_10', 'recall_at_1_near')


@dataclass(frozen=True)
class Options:
    """What to measure."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is the map; default $VLOC_DATA/redkitchen_map."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is asked, with true poses; default $VLOC_DATA/redkitchen_dev."""
    json: Path | None = None
    """Where the figures go, after every place."""
    keep: Path | None = None
    """Where rendered pictures and trained networks are kept, so that the bench goes on."""
    photos: Path | None = None
    """Real photos that DASGIL adapts to; none: no training of it here."""
    cases: tuple[str, ...] = ('worlds', 'kitchen')
    """Which of worlds, kitchen."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Ways to train DASGIL."""
    seeds: tuple[int, ...] = (0, 1)
    """Of training, words and centres."""
    steps: int = 150
    """Of each training."""
    train: bool = True
    """Train what is not in --keep yet; else a run that is missing is left out."""
    device: str = 'cpu'
    """Where DASGIL is trained."""


def main(options: Options) -> None:
    """Measure and print."""
    _check(options)
    told: Told = {}
    with _folder(options.keep) as folder, progress_bar(Console(stderr=True)) as progress:
        report = by_step(progress)
        if options.json:
            check_outputs([options.json], folder / 'rendered')
        runs = Runs(options.photos, folder, options.steps, device=options.device)
        if runs.photos is not None and options.train:
            runs.train_all(options.variants, options.seeds, report)
        for place in _places(options, folder, report):
            told |= _measured(place, runs, options)
            save(_summary(told) | {'cases': told}, options.json)
    Console().print(_table(told))
    Console().print(_summary(told))


def _check(options: Options) -> None:
    if strange := set(options.variants) - set(VARIANTS):
        raise VlocError(f'--variants {sorted(strange)[0]!r}', f'choose of {", ".join(VARIANTS)}')
    if strange := set(options.cases) - {'worlds', 'kitchen'}:
        raise VlocError(f'--cases {sorted(strange)[0]!r}', 'choose of worlds, kitchen')
    if not options.seeds or not options.cases:
        raise VlocError('nothing to measure', 'give one or more --seeds and --cases')
    if 'kitchen' in options.cases:  # before long work
        named(options.map_bag, MAP_BAG)
        named(options.query_bag, QUERY_BAG)


def _places(options: Options, folder: Path, report: Report) -> Iterator[Place]:
    if 'kitchen' in options.cases:
        yield kitchen(options.map_bag, options.query_bag, report)
    if 'worlds' in options.cases:
        yield from worlds(folder, report)


def _measured(place: Place, runs: Runs, options: Options) -> Told:
    """All methods' figures at one place."""
    found: dict[str, dict[str, list[Figures]]] = {case: {} for case in place.asked}

    def judge(case: str, method: str, compared: Compared) -> None:
        figures = judged(compared, place.mapped.T_map_cam, place.asked[case].T_map_cam)
        found[case].setdefault(method, []).append(figures)

    for method, case, compared in _everyone(place, runs, options):
        judge(case, method, compared)
    return {
        f'{place.name}, {case}': {name: over_seeds(figures) for name, figures in methods.items()}
        for case, methods in found.items()
    }


def _everyone(place: Place, runs: Runs, options: Options) -> Iterator[tuple[str, str, Compared]]:
    """Method, case, and how like each other pictures are by it; once a seed."""
    views = {case: shown.views for case, shown in place.asked.items()}
    encoder = choose_encoder(EncoderChoice())
    cells = {case: Cells.of(encoder, some) for case, some in views.items()}
    known = Cells.of(encoder, place.mapped.views)
    for seed in options.seeds:
        told = ours(known, place.mapped.T_map_cam, cells, _NUMBERS, seed)
        yield from _named('ours', told)
    for case, seeds in sift_vlad(place.mapped.views, views, options.seeds).items():
        yield from ((VLAD, case, compared) for compared in seeds)
    yield from _named(_SHIPPED, dasgil_readings(shipped(), place.mapped.views, views, seed=0))
    if runs.photos is None:
        return
    for seed in options.seeds:
        told = dasgil_readings(untrained(seed), place.mapped.views, views, seed)
        yield from _named(_FLOOR, told)
        for name in options.variants:
            if runs.file(name, seed).exists():
                encoder = runs.encoder(name, seed)
                told = dasgil_readings(encoder, place.mapped.views, views, seed)
                yield from _named(f'DASGIL {name}', told)


def _named(
    method: str, told: dict[str, dict[str, Compared]]
) -> Iterator[tuple[str, str, Compared]]:
    for case, ways in told.items():
        yield from ((f'{method}: {way}', case, compared) for way, compared in ways.items())


def judged(compared: Compared, mapped: Array, asked: Array) -> Figures:
    """How often the right place is found.

    Args:
        compared: likeness [Q, K].
        mapped: [K, 4, 4] T_map_cam.
        asked: [Q, 4, 4] T_map_cam.
    """
    first = np.argsort(-compared.likeness, axis=1, kind='stable')[:, :_MOST]
    told, near = (score(asked, mapped, first, same) for same in (SamePlace(), _NEAR))
    if told is None:
        raise VlocError('no query is of a mapped place', 'ask elsewhere')
    more = {} if near is None else {'recall_at_1_near': near.recall_at[1]}
    return {**told.as_json(), **more, 'bytes_a_picture': compared.bytes_a_picture}


def over_seeds(figures: Sequence[Figures]) -> Figures:
    """The median of each, and the spread of recalls."""
    told: Figures = {'seeds': float(len(figures))}
    for name in figures[0]:
        values: NDArray[np.float64] = np.array([f[name] for f in figures], float)
        told[name] = float(np.median(values))
        if name.startswith('recall'):
            told[f'{name}_std'] = float(values.std())
    return told


def _summary(told: Told) -> Figures:
    """Recall@1 of the product and of SIFT's VLAD, mean of all cases and of each kind of place."""
    found: Figures = {}
    for end, start in (('', ''), ('_worlds', 'world'), ('_kitchen', 'kitchen')):
        cases = [methods for case, methods in told.items() if case.startswith(start)]
        for key, method in (('recall_at_1', PRODUCT), ('recall_at_1_vlad', VLAD)):
            if cases:
                found[f'{key}{end}'] = _mean(cases, method, 'recall_at_1')
    return found


def _mean(cases: Sequence[dict[str, Figures]], method: str, key: str) -> float | None:
    values = [methods[method].get(key) for methods in cases if method in methods]
    values = [x for x in values if x is not None]
    return float(np.mean(values)) if values else None


def _table(told: Told) -> Table:
    """Means over the cases of each group."""
    heads = (*(f'{group}, R@1' for group in _GROUPS), 'R@5', 'R@10', 'near, R@1', 'bytes')
    shown = Table('method', *heads)
    chosen = [
        [methods for case, methods in told.items() if case.startswith(starts)]
        for starts in _GROUPS.values()
    ]
    for method in dict.fromkeys(name for methods in told.values() for name in methods):
        first = [_mean(cases, method, _SHOWN[0]) for cases in chosen]
        rest = [_mean(list(told.values()), method, key) for key in _SHOWN[1:]]
        size = _mean(list(told.values()), method, 'bytes_a_picture')
        cells = ('-' if x is None else f'{x:.1%}' for x in (*first, *rest))
        shown.add_row(method, *cells, '-' if size is None else f'{size:.0f}')
    return shown


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """``keep``, or a folder that is removed at the end."""
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
