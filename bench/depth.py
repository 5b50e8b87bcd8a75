"""How well is depth learned from a video alone, and what does each part of FSRE-Depth bring?

    python bench/depth.py MAP_BAG --json depth.json --keep runs

A network is trained on a recording with poses but without its depth, and asked about blocks of
neighbouring pictures that it never saw. Its depth is scored in metres, nothing is rescaled:
``abs_rel`` is the mean of |told - true| / true over the pixels with a true depth. The constant is
the mean depth of the pictures that were learned from. Variants: full; without the triplet loss;
without the attention between the decoders; plain (photometric, without classes). In a recording
classes are clusters of our encoder's features, in a synthetic world (``--worlds 0 1``) exact ones;
there "border" tells the error within 3 pixels of where two classes meet.

Where it is not named, ``$VLOC_DATA`` holds the bag. Finished runs in --keep are not done again.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from compare import MAP_BAG, named, run
from depth_data import EXACT_CLASSES, Held, Mask, Material, kitchen, split, world
from figures import save
from rich.console import Console
from rich.table import Table

from vloc_models.networks.fsre import Fsre
from vloc_models.training.fsre import FsreTraining, Video, predict_depth, train_fsre

Variant = Literal['full', 'no triplet', 'no attention', 'plain']
Scores = dict[str, float | None]
VARIANTS: tuple[Variant, ...] = ('full', 'plain', 'no triplet', 'no attention')
_SHOWN = ('abs_rel', 'spread', 'd1', 'border', 'inside', 'median_ratio', 'seconds')


@dataclass(frozen=True)
class Options:
    """What to measure."""

    bag: tyro.conf.Positional[Path | None] = None
    """A recording with poses and depth."""
    json: Path | None = None
    """Where the figures go, after every run."""
    keep: Path | None = None
    """Where the scores of finished runs stay."""
    seeds: int = 3
    """Runs of each variant."""
    steps: int | None = None
    """Of the training [as FsreTraining]."""
    worlds: tuple[int, ...] = ()
    """Seeds of synthetic worlds to measure too."""
    seconds: float = 40.0
    """Of the drive through a world that is used."""
    only: tuple[Variant, ...] = VARIANTS
    """Variants to measure."""
    kitchen: bool = True
    """Measure the recording."""
    held: Held = 'reported'
    """Which blocks are asked for; settings are chosen on the others."""
    size: tuple[int, int] = (96, 128)
    """Height and width of the pictures that are learned from."""
    clusters: int = 16
    """Classes in a recording."""
    config: Annotated[FsreTraining, tyro.conf.arg(name='')] = field(default_factory=FsreTraining)
    """The recipe."""


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)  # threads of two runs beside each other are slower than one each
    told: dict[str, Any] = {'held': options.held}
    cases: dict[str, Callable[[], Material]] = {}
    if options.kitchen:
        bag = named(options.bag, MAP_BAG)
        cases['kitchen'] = lambda: kitchen(bag)
    for seed in options.worlds:
        cases[f'world {seed}'] = lambda seed=seed: world(seed, options.seconds)
    for name, read in cases.items():
        case = _Case(options, name, read())
        told[name] = case.told
        for seed in range(options.seeds):
            for variant in options.only:
                case.measure(variant, seed)
                save(_headline(told) | told, options.json)
        Console().print(table(name, case.told))


class _Case:
    """One recording, and what is known of it so far."""

    def __init__(self, options: Options, name: str, material: Material) -> None:
        self.options, self.name, self.material = options, name, material
        self.train, self.asked = split(len(material.images), options.held)
        self.classes = options.clusters if material.labels is None else EXACT_CLASSES
        self.told: dict[str, Any] = {'constant': constant(material, self.train, self.asked)}

    def measure(self, variant: Variant, seed: int) -> None:
        """Add the scores of one network, perhaps of an earlier call."""
        options = self.options
        config = recipe(options, variant, seed, self.classes)
        scores = None
        if options.keep:
            told = f'{self.name} {options.size} {options.held} {options.seconds} {config}'
            digest = hashlib.sha256(told.encode()).hexdigest()[:12]
            name = f'{self.name}_{variant}_{seed}_{digest}.json'.replace(' ', '_')
            options.keep.mkdir(parents=True, exist_ok=True)
            file = options.keep / name
            if file.exists():
                scores = json.loads(file.read_text('utf-8'))
            else:
                save(scores := self._run(config), file)
        runs = self.told.setdefault(variant, {'runs': []})['runs']
        runs.append(scores or self._run(config))
        self.told[variant] |= summary(runs)
        Console(stderr=True).print(f'{self.name}, {variant}, seed {seed}:', runs[-1])

    def _run(self, config: FsreTraining) -> Scores:
        video, labelling_s = self._video
        if not config.network.classes:
            video, labelling_s = replace(video, labels=None), 0.0
        start, busy = time.perf_counter(), time.process_time()
        network = train_fsre(video, config)
        took = {
            'seconds': time.process_time() - busy,  # of one core, whatever else it was doing
            'seconds_wall': time.perf_counter() - start,
            'seconds_labels': labelling_s,
        }
        return score(network, self.material, self.asked) | took

    @cached_property
    def _video(self) -> tuple[Video, float]:
        """What all networks learn from, and the seconds that its classes took."""
        busy = time.process_time()
        video = self.material.video(self.train, self.options.size, self.classes)
        return video, time.process_time() - busy


def recipe(options: Options, variant: Variant, seed: int, classes: int) -> FsreTraining:
    """A variant of the recipe."""
    config = options.config
    steps = options.steps or config.loop.steps
    parted = variant in ('no attention', 'plain')
    network = replace(
        config.network,
        classes=0 if variant == 'plain' else classes,
        attention=config.network.attention and not parted,
    )
    triplet = 0.0 if variant in ('no triplet', 'plain') else config.loss.triplet
    loss = replace(config.loss, triplet=triplet)
    loop = replace(config.loop, steps=steps)
    return replace(config, seed=seed, network=network, loss=loss, loop=loop)


def score(network: Fsre, material: Material, asked: Mask) -> Scores:
    """How far off a network is: the mean over pictures, each over its pixels with a true depth."""
    rows = []
    for i, border in enumerate(material.borders()):
        if not asked[i]:
            continue
        told, true = predict_depth(network, material.images[i]), material.depth[i].astype(float)
        rows.append(_of_picture(told, true, border))
    columns = {k: [r[k] for r in rows if r[k] is not None] for k in rows[0]}
    return {k: float(np.mean(column)) if column else None for k, column in columns.items()}


def _of_picture(told: np.ndarray, true: np.ndarray, border: Mask | None) -> Scores:
    known = np.isfinite(true)
    off, ratio = np.abs(told - true) / true, told / true
    found: Scores = {
        'abs_rel': float(off[known].mean()),
        'd1': float((np.maximum(ratio, 1 / ratio)[known] < 1.25).mean()),
        'median_ratio': float(np.median(ratio[known])),
        'border': None,
        'inside': None,
    }
    if border is not None and (known & border).any():
        found['border'] = float(off[known & border].mean())
        found['inside'] = float(off[known & ~border].mean())
    return found


def constant(material: Material, train: Mask, asked: Mask) -> Scores:
    """The scores of the mean true depth of the pictures that are learned from."""
    mean = float(np.nanmean(material.depth[train].astype(np.float64)))
    truths = material.depth[asked].astype(np.float64)
    each = [np.nanmean(np.abs(mean - true) / true) for true in truths]
    return {'abs_rel': float(np.mean(each)), 'metres': mean}


def summary(runs: list[Scores]) -> Scores:
    """The mean of several runs, and the standard deviation of abs_rel between them."""
    found: Scores = {}
    for key in runs[0]:
        told = [x for r in runs if (x := r[key]) is not None]
        found[key] = float(np.mean(told)) if told else None
    first = [x for r in runs if (x := r['abs_rel']) is not None]
    return found | {'spread': float(np.std(first, ddof=1)) if len(first) > 1 else None}


def _headline(told: dict[str, Any]) -> Scores:
    """The figures that a reader asks for first: of the recording."""
    found: dict[str, Any] = told.get('kitchen', {})
    keys = {'abs_rel': 'full', 'abs_rel_plain': 'plain', 'abs_rel_constant': 'constant'}
    return {k: found[name]['abs_rel'] for k, name in keys.items() if name in found}


def table(name: str, told: dict[str, Any]) -> Table:
    """What is printed; a dash for no number."""
    shown = Table(name, *_SHOWN, box=None)
    for variant, scores in told.items():
        cells = (scores.get(key) for key in _SHOWN)
        shown.add_row(variant, *('-' if x is None else f'{x:.4g}' for x in cells))
    return shown


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
