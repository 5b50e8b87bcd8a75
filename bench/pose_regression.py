"""Does learning colours help a pose prior? Beside it classes, nothing, and the most alike picture.

    python bench/pose_regression.py --json pose_regression.json --keep runs

A recording ($VLOC_DATA/redkitchen_map, asked with redkitchen_dev) and a synthetic test world,
asked on another drive. Each prior is trained, calibrated on held-out blocks and exported as
``vloc map`` does it, and asked through its graph. "untaught" has C-Net, which is taught nothing of
its own: as many parameters, no colours to learn. "retrieved" answers with the pose of the most
alike picture of the map (VLAD of an instant map's landmarks). NEES is the mean of squared errors
in standard deviations: 6 where the covariance is right; "in 95 %" the share within the ellipsoid
that should hold 95 %.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from compare import MAP_BAG, QUERY_BAG, named, run, score
from figures import Figures, save
from hscnet import kept_folder
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.errors import VlocError
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.working import working_view
from vloc_models.localize.cells import encode
from vloc_models.localize.prior import Prior
from vloc_models.mapping.encoder import EncoderChoice, choose_encoder
from vloc_models.mapping.landmarks import LandmarkConfig, choose_landmarks
from vloc_models.mapping.prior import PriorConfig, prior_files
from vloc_models.mapping.refine import refine
from vloc_models.mapping.sightings import look
from vloc_models.networks.color_apr import Aux
from vloc_models.records import Array, View
from vloc_models.solvers.fusion import difference
from vloc_models.solvers.landmarks import Matcher

_TAUGHT: dict[str, tuple[Aux, float]] = {  # what C-Net learns, and how much it counts
    'colour': ('colour', 1.0),
    'classes': ('classes', 1.0),
    'untaught': ('colour', 0.0),
    'none': ('none', 0.0),
}
_MAPPED_HZ, _ASKED_HZ, _EVERY = 2.5, 2.5, 2
_SHOWN = (  # key in the JSON, name in the table, format
    ('median_cm', 'median, cm', '{:.1f}'),
    ('median_deg', 'median, deg', '{:.1f}'),
    ('recall_50cm_10deg', '50 cm, 10 deg', '{:.1%}'),
    ('nees', 'NEES', '{:.1f}'),
    ('within_95', 'in 95 %', '{:.1%}'),
    ('sigma_cm', 'sigma, cm', '{:.0f}'),
    ('sigma_deg', 'sigma, deg', '{:.0f}'),
    ('queries', 'of', '{:.0f}'),
    ('graph_MB', 'graph, MB', '{:.1f}'),
    ('ms_per_query_median', 'ms a query', '{:.1f}'),
    ('train_cpu_seconds', 'trained, CPU s', '{:.0f}'),
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording with colours and poses; default $VLOC_DATA/redkitchen_map."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is asked for, with true poses; default $VLOC_DATA/redkitchen_dev."""
    json: Path | None = None
    """Where the figures go, after every run."""
    keep: Path | None = None
    """Where rendered pictures and finished runs are kept, so that the bench goes on."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the training on the recording; none: leave it out."""
    worlds: tuple[int, ...] = (0,)
    """Synthetic worlds."""
    taught: tuple[str, ...] = ('colour', 'untaught', 'none')
    """On the recording: which of colour, untaught, none."""
    world_taught: tuple[str, ...] = ('colour', 'classes', 'none')
    """On the worlds: which of them and classes."""
    steps: int = 900
    """Of each training on the recording."""
    world_steps: int = 1000
    """Of each training on a world."""
    config: PriorConfig = field(default_factory=PriorConfig)
    """The rest of the recipe."""


@dataclass(frozen=True, eq=False)
class Query:
    """A picture and the truth."""

    view: View
    T_map_cam: Array  # [4, 4]


@dataclass(frozen=True, eq=False)
class Place:
    """One place and what is asked there."""

    name: str
    mapped: FrameSource
    asked: FrameSource
    taught: tuple[str, ...]
    seed: int
    steps: int


def main(options: Options) -> None:
    """Measure and print."""
    if unknown := {*options.taught, *options.world_taught} - set(_TAUGHT):
        raise VlocError(f'taught {" ".join(sorted(unknown))}', 'see --help for what there is')
    told = dict[str, dict[str, Figures]]()
    with kept_folder(options.keep) as folder:
        if options.json:
            check_outputs([options.json], folder / 'rendered')
        for place in _places(options, folder):
            told[place.name] = _measured(place, options.config, folder)
            save({'places': told, 'means': _means(told)}, options.json)
            Console(stderr=True).print(_table(told))
    Console().print(_table(told))
    Console().print(_table(_means(told)))


def _places(options: Options, folder: Path) -> Iterator[Place]:
    for seed in options.seeds:
        bags = named(options.map_bag, MAP_BAG), named(options.query_bag, QUERY_BAG)
        with (
            open_source(bags[0]) as mapped,
            open_source(bags[1], BagOptions(odom='none')) as asked,
        ):
            name = f'kitchen, seed {seed}'
            yield Place(name, mapped, asked, options.taught, seed, options.steps)
    for world in options.worlds:
        drives = DriveSpec(rate_hz=_MAPPED_HZ), DriveSpec(kind='query', rate_hz=_ASKED_HZ)
        mapped, asked = (
            SyntheticSource(SyntheticSpec(WorldSpec(world), drive), folder / 'rendered')
            for drive in drives
        )
        name, steps = f'world {world}', options.world_steps
        yield Place(name, mapped, asked, options.world_taught, 0, steps)


def _measured(place: Place, config: PriorConfig, folder: Path) -> dict[str, Figures]:
    """The figures of each prior and of retrieval, those of finished runs as they were kept."""
    names = (*place.taught, 'retrieved')
    where = {n: folder / f'{place.name} {n} {place.steps}.json'.replace(' ', '_') for n in names}
    told = {n: json.loads(where[n].read_text()) for n in names if where[n].is_file()}
    if len(told) == len(names):
        return told
    keyframes = read_keyframes(place.mapped, 1000, 360, colour=True)
    queries = [
        Query(f.views[0], f.T_map_base @ f.views[0].T_base_cam)
        for f in place.asked.frames()
        if f.T_map_base is not None
    ]
    for name in [n for n in names if n not in told]:
        if name == 'retrieved':
            told[name] = _retrieved(keyframes, queries, place.seed)
        else:
            told[name] = _regressed(keyframes, queries, _recipe(config, name, place), place.seed)
        save(told[name], where[name])
    return told


def _recipe(config: PriorConfig, name: str, place: Place) -> PriorConfig:
    aux, weight = _TAUGHT[name]
    training = config.training
    return replace(
        config,
        training=replace(
            training,
            network=replace(training.network, aux=aux),
            loss=replace(training.loss, auxiliary=weight),
            loop=replace(training.loop, steps=place.steps),
        ),
    )


def _regressed(
    keyframes: list[Keyframe], queries: list[Query], config: PriorConfig, seed: int
) -> Figures:
    """A prior as a map has it, asked for all queries."""
    start = time.process_time()
    with progress_bar(Console(stderr=True)) as progress:
        files = prior_files(keyframes, config, seed, 'cpu', None, by_step(progress))
    seconds = time.process_time() - start
    engine = OnnxEngine(files.graph, 'prior', 1)
    prior = Prior(engine, files.use, np.eye(4))
    found, ms = list[Array | None](), list[float]()
    errors, sigmas = list[float](), list[Array]()
    for query in queries:
        start = time.perf_counter()
        told = prior.told(replace(query.view, T_base_cam=np.eye(4)))
        ms.append((time.perf_counter() - start) * 1e3)
        found.append(told and told.T_map_base)
        if told is not None:
            off = difference(query.T_map_cam, told.T_map_base)
            errors.append(float(off @ np.linalg.solve(told.covariance, off)))
            sigmas.append(np.sqrt(np.diag(told.covariance)))
    sigma = np.median(sigmas, 0)
    return score(found, [q.T_map_cam for q in queries]) | {
        'nees': float(np.mean(errors)),
        'nees_median': float(np.median(errors)),
        'within_95': float(np.mean(np.array(errors) < chi2.ppf(0.95, 6))),
        'sigma_cm': 100 * float(sigma[0]),
        'sigma_deg': float(np.degrees(sigma[3])),
        'scale_position': files.use.sigma_scale[0],
        'scale_rotation': files.use.sigma_scale[1],
        'graph_MB': len(files.graph) / 2**20,
        'probe_differs': check_probe(engine, files.probe, 'probe'),
        'ms_per_query_median': float(np.median(ms)),
        'train_cpu_seconds': seconds,
    }


def _retrieved(keyframes: list[Keyframe], queries: list[Query], seed: int) -> Figures:
    """The pose of the most alike picture of an instant map."""
    encoder = choose_encoder(EncoderChoice())
    with progress_bar(Console(stderr=True)) as progress:
        seen = look(keyframes, encoder, partial(by_step(progress), 'looking'))
    refined = refine(seen, keyframes)
    T_map_cam = np.stack([k.T_map_cam for k in keyframes])
    landmarks = choose_landmarks(refined.sightings, T_map_cam, LandmarkConfig(), seed)
    assert landmarks is not None
    places, found = Matcher(landmarks), list[Array | None]()
    for query in queries:
        view = working_view(query.view, encoder.record.short_side_px)
        spots = encode(encoder.engine, view, _EVERY).spots
        best = places.alike_pictures(places.short(spots.features), spots.sure, 1)
        found.append(places.T_map_cam(best[0]))
    return score(found, [q.T_map_cam for q in queries])


def _means(told: dict[str, dict[str, Figures]]) -> dict[str, dict[str, Figures]]:
    """Of the seeds of a place."""
    means = dict[str, dict[str, Figures]]()
    for place in dict.fromkeys(name.partition(',')[0] for name in told):
        runs = [runs for name, runs in told.items() if name.partition(',')[0] == place]
        means[place] = {}
        for name in runs[0]:
            found = [r[name] for r in runs if name in r]
            means[place][name] = {
                key: float(np.mean([f[key] or 0.0 for f in found])) for key in found[0]
            }
    return means


def _table(told: dict[str, dict[str, Figures]]) -> Table:
    shown = Table('place', 'prior', *(name for _, name, _ in _SHOWN))
    for place, runs in told.items():
        for name, figures in runs.items():
            values = ((figures.get(key), form) for key, _, form in _SHOWN)
            shown.add_row(place, name, *('-' if x is None else f.format(x) for x, f in values))
    return shown


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
