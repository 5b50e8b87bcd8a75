"""How well is depth learned from a video alone, and what does each part of FSRE-Depth bring?

    python bench/depth.py MAP_BAG --json depth.json --keep runs

A network is trained on a recording with poses but without its depth, and asked about blocks of
neighbouring pictures that it never saw. Its depth is scored in metres, nothing is rescaled:
``abs_rel`` is the mean of |told - true| / true over the pixels with a true depth. The constant is
the mean depth of the pictures that were learned from. Variants: full; without the triplet loss;
without the attention between the decoders; without the hints of a plane sweep; plain (photometric
alone: neither hints nor classes). In a recording
classes are clusters of our encoder's features, in a synthetic world (``--worlds 0 1``) exact ones;
there "border" tells the error within 3 pixels of where two classes meet. Depth is learned and told
as ``vloc depth`` does, unchecked.

Where it is not named, ``$VLOC_DATA`` holds the bag. Finished runs in --keep are not done again.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from compare import MAP_BAG, named, run
from depth_data import Held, kitchen, parted, world
from figures import save
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vloc_models.frames.keyframes import Keyframe
from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.world import Split
from vloc_models.mapping.encoder import ChosenEncoder, EncoderChoice, choose_encoder
from vloc_models.mapping.self_depth import (
    SelfDepth,
    SelfDepthConfig,
    Teacher,
    learn_depth,
    near_borders,
)
from vloc_models.training.fsre import FsreTraining

Variant = Literal['full', 'no triplet', 'no attention', 'no hints', 'plain']
Scores = dict[str, float | None]
VARIANTS: tuple[Variant, ...] = ('full', 'plain', 'no triplet', 'no attention', 'no hints')
_NEAR_BORDER_PX = 3
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
    world_split: Split = 'test'
    """Which kind of worlds; settings are chosen on train ones."""
    seconds: float = 0.0
    """Of the drive through a world that is used; 0: all."""
    only: tuple[Variant, ...] = VARIANTS
    """Variants to measure."""
    kitchen: bool = True
    """Measure the recording."""
    held: Held = 'reported'
    """Which blocks are asked for; settings are chosen on the others."""
    short_side_px: int = SelfDepthConfig().short_side_px
    """About how many pixels the shorter side of the pictures has that are learned from."""
    clusters: int = 16
    """Classes in a recording."""
    config: Annotated[FsreTraining, tyro.conf.arg(name='')] = field(default_factory=FsreTraining)
    """The recipe."""


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)  # threads of two runs beside each other are slower than one each
    told: dict[str, Any] = {'held': options.held}
    cases: dict[str, Callable[[], list[Keyframe]]] = {}
    if options.kitchen:
        cases['kitchen'] = partial(kitchen, named(options.bag, MAP_BAG))
    for seed in options.worlds:
        cases[f'world {seed}'] = partial(world, seed, options.world_split, options.seconds)
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

    def __init__(self, options: Options, name: str, frames: list[Keyframe]) -> None:
        self.options, self.name = options, name
        self.train, self.asked = parted(frames, options.held)
        self.classes = options.clusters if frames[0].labels is None else len(Label)
        self.told: dict[str, Any] = {'constant': constant(self.train, self.asked)}

    def measure(self, variant: Variant, seed: int) -> None:
        """Add the scores of one network, perhaps of an earlier call."""
        options = self.options
        config = recipe(options, variant, seed, self.classes)
        scores = None
        if options.keep:
            told = (self.name, options.short_side_px, options.held, options.seconds, config)
            digest = hashlib.sha256(f'{told} {options.world_split}'.encode()).hexdigest()[:12]
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
        how = SelfDepthConfig(short_side_px=self.options.short_side_px, training=config)
        start, busy = time.perf_counter(), time.process_time()
        learned = learn_depth(self.train, Teacher(encoder(), how))
        took = {
            'seconds': time.process_time() - busy,  # of one core, whatever else it was doing
            'seconds_wall': time.perf_counter() - start,
        }
        return score(learned, self.asked) | took


@cache
def encoder() -> ChosenEncoder:
    """The one that ships."""
    return choose_encoder(EncoderChoice(), threads=1)


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
    hints = 0.0 if variant in ('no hints', 'plain') else config.loss.hints
    loss = replace(config.loss, triplet=triplet, hints=hints)
    loop = replace(config.loop, steps=steps)
    return replace(config, seed=seed, network=network, loss=loss, loop=loop)


def score(learned: SelfDepth, asked: list[Keyframe]) -> Scores:
    """How far off depth is: the mean over pictures, each over its pixels with a true depth."""
    rows = []
    for k in asked:
        assert k.image is not None
        assert k.depth is not None
        told = learned.depth_of(k.image, k.camera, k.T_map_cam).depth
        whole = learned.rectified(k.camera).depth_back(told)
        rows.append(_of_picture(whole.astype(float), k.depth.astype(float), k.labels))
    columns = {key: [r[key] for r in rows if r[key] is not None] for key in rows[0]}
    return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def _of_picture(told: np.ndarray, true: np.ndarray, labels: NDArray[np.uint8] | None) -> Scores:
    known = np.isfinite(true) & np.isfinite(told)
    off, ratio = np.abs(told - true) / true, told / true
    found: Scores = {
        'abs_rel': float(off[known].mean()),
        'd1': float((np.maximum(ratio, 1 / ratio)[known] < 1.25).mean()),
        'median_ratio': float(np.median(ratio[known])),
        'border': None,
        'inside': None,
    }
    border = False if labels is None else near_borders(labels, _NEAR_BORDER_PX)
    if (known & border).any():
        found['border'] = float(off[known & border].mean())
        found['inside'] = float(off[known & ~border].mean())
    return found


def constant(train: list[Keyframe], asked: list[Keyframe]) -> Scores:
    """The scores of the mean true depth of the pictures that are learned from."""
    mean = float(np.nanmean(np.stack([k.depth for k in train]).astype(np.float64)))  # pyright: ignore
    truths = [k.depth.astype(float) for k in asked if k.depth is not None]
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
