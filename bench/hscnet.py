"""Does hierarchy help? HSCNet's light preset beside an ACE head of its size, on the same cells.

    python bench/hscnet.py --json hscnet.json --keep runs

Two kinds of places: a recording ($VLOC_DATA/redkitchen_map, asked with redkitchen_dev), and
synthetic buildings of eight rooms, three of which look like another, one a seed. In each the same
cells, steps and batches go to each network: HSCNet, the same without conditioning, and
plain regression (ACE with depth) with as many parameters; its sparse variant if it is named. Then
all queries are asked with the network alone; landmarks only tell the sparse one what looks alike.
Recall of buildings is within 10 cm and 5 deg. "cells, cm" is the median error of the points that
the network tells.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from compare import MAP_BAG, QUERY_BAG, named, run, score
from figures import Figures, save
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.errors import VlocError
from vloc_models.export.to_onnx import as_exported
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.working import working_view
from vloc_models.localize.by_head import Head
from vloc_models.localize.localizer import Localizer
from vloc_models.mapping.encoder import ChosenEncoder, EncoderChoice, choose_encoder
from vloc_models.mapping.heads import Material, Training, label_tree, told_pictures, train
from vloc_models.mapping.landmarks import LandmarkConfig, choose_landmarks
from vloc_models.mapping.refine import refine
from vloc_models.mapping.sightings import look
from vloc_models.maps import MapInfo
from vloc_models.networks.ace import HeadConfig
from vloc_models.records import Verdict
from vloc_models.solvers.landmarks import Matcher
from vloc_models.training.ace import AceTraining, BufferConfig, fill_buffer
from vloc_models.training.hscnet import HscnetTraining
from vloc_models.training.loop import LoopConfig

Bar = Callable[[str, int, int], None]
_FIRST_WORLD, _ROOMS, _ALIKE = 40, 8, 3
_MAPPED_HZ, _ASKED_HZ = 2.5, 0.5
_EQUAL = HeadConfig(128, 256, 2)  # of ACE: as many parameters as the light HSCNet of a kitchen
_SHOWN = (  # key in the JSON, name in the table, format
    ('recall_5cm_5deg', '5 cm, 5 deg', '{:.1%}'),
    ('recall_10cm_5deg', '10 cm, 5 deg', '{:.1%}'),
    ('recall_50cm_10deg', '50 cm, 10 deg', '{:.1%}'),
    ('median_cm', 'median, cm', '{:.2f}'),
    ('accepted', 'accepted', '{:.0f}'),
    ('false_accepts', 'false', '{:.0f}'),
    ('queries', 'of', '{:.0f}'),
    ('cell_cm', 'cells, cm', '{:.1f}'),
    ('parameters', 'parameters', '{:.0f}'),
    ('train_cpu_seconds', 'trained, CPU s', '{:.0f}'),
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording with depth and poses; default $VLOC_DATA/redkitchen_map."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is located, with true poses; default $VLOC_DATA/redkitchen_dev."""
    json: Path | None = None
    """Where the figures go, after every run."""
    keep: Path | None = None
    """Where rendered pictures and finished runs are kept, so that the bench goes on."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the buildings and their training."""
    kitchen_seeds: tuple[int, ...] = (0,)
    """Of the training on the recording; none: leave it out."""
    networks: tuple[str, ...] = ('hscnet', 'unconditioned', 'ace')
    """Which of hscnet, unconditioned, ace, sparse."""
    steps: int = 11_000
    """Of each training on the recording."""
    building_steps: int = 4000
    """Of each training on a building."""
    rooms: int = _ROOMS
    """Of a building; scenes of HSCNet, with 25 regions each."""
    cells: int = 1_000_000
    """That are learned from."""
    device: str = 'cpu'
    """Where networks are trained."""


@dataclass(frozen=True, eq=False)
class Place:
    """One place and what is asked there."""

    name: str
    mapped: FrameSource
    asked: FrameSource
    scenes: int
    seed: int
    steps: int


def main(options: Options) -> None:
    """Measure and print."""
    told = dict[str, dict[str, Figures]]()
    if unknown := set(options.networks) - set(_networks(1, 1, 0)):
        raise VlocError(f'--networks {" ".join(sorted(unknown))}', 'see --help for what there is')
    with kept_folder(options.keep) as folder:
        if options.json:
            check_outputs([options.json], folder / 'rendered')
        for place in _places(options, folder):
            told[place.name] = _measured(place, options, folder)
            save(_summary(told) | {'places': told}, options.json)
            Console(stderr=True).print(_table(told))
    Console().print(_table(told))
    Console().print(_summary(told))


def _places(options: Options, folder: Path) -> Iterator[Place]:
    for seed in options.kitchen_seeds:
        bags = named(options.map_bag, MAP_BAG), named(options.query_bag, QUERY_BAG)
        with (
            open_source(bags[0]) as mapped,
            open_source(bags[1], BagOptions(odom='none')) as asked,
        ):
            yield Place(f'kitchen, seed {seed}', mapped, asked, 1, seed, options.steps)
    for seed in options.seeds:
        world = WorldSpec(_FIRST_WORLD + seed, rooms=options.rooms, lookalikes=_ALIKE)
        drives = DriveSpec(rate_hz=_MAPPED_HZ), DriveSpec(kind='query', rate_hz=_ASKED_HZ)
        sources = [
            SyntheticSource(SyntheticSpec(world, drive), folder / 'rendered') for drive in drives
        ]
        name, scenes = f'building, seed {seed}', options.rooms
        yield Place(name, sources[0], sources[1], scenes, seed, options.building_steps)


def _networks(scenes: int, steps: int, seed: int) -> dict[str, Training]:
    """All with about as many parameters."""
    loop = LoopConfig(steps, max_lr=2e-3, checkpoint_s=60)
    ours = HscnetTraining(scenes=scenes, seed=seed, loop=loop)
    unconditioned = replace(ours, lite=replace(ours.lite, conditioned=False))
    plain = AceTraining(seed=seed, head=_EQUAL, loop=replace(loop, max_lr=5e-3))
    sparse = replace(ours, preset='sparse')
    return {'hscnet': ours, 'unconditioned': unconditioned, 'ace': plain, 'sparse': sparse}


def _measured(place: Place, options: Options, folder: Path) -> dict[str, Figures]:
    """The figures of each network, those of finished runs as they were kept."""
    trainings = _networks(place.scenes, place.steps, place.seed)
    where = {
        n: folder / f'{place.name} {n} {place.steps}.json'.replace(' ', '_') for n in trainings
    }
    told = {n: json.loads(where[n].read_text()) for n in options.networks if where[n].is_file()}
    if len(told) == len(options.networks):
        return told
    encoder = choose_encoder(EncoderChoice())
    known = _known(place, encoder, options)
    for name in [n for n in options.networks if n not in told]:
        checkpoint, start = where[name].with_suffix('.pt'), time.process_time()
        with progress_bar(Console(stderr=True)) as progress:
            bar, words = by_step(progress), f'{place.name}: {name}'
            report = partial(_step, bar, words, place.steps)
            material = known.material
            head = train(material, trainings[name], None, options.device, checkpoint, report)
        seconds = time.process_time() - start
        exported = as_exported(told_pictures(head, known.pictures))
        engine = TorchEngine(exported.module, tuple(exported.inputs), exported.outputs)
        info = MapInfo(encoder.record, (), ())
        localizer = Localizer(info, encoder.engine, Head(engine, np.eye(4), known.places))
        told[name] = _asked(localizer, place.asked) | {
            'train_cpu_seconds': seconds,
            'parameters': float(sum(p.numel() for p in head.parameters())),
        }
        save(told[name], where[name])
    return told


def _step(bar: Bar, words: str, steps: int, step: int, loss: float) -> None:
    bar(words, step, steps)


@dataclass(frozen=True, eq=False)
class _Known:
    material: Material
    pictures: NDArray[np.int64]  # numbers of the keyframes that can be found again
    places: Matcher | None  # finds them


def _known(place: Place, encoder: ChosenEncoder, options: Options) -> _Known:
    """The cells that all networks learn from, with depth as the pictures agree on it."""
    with progress_bar(Console(stderr=True)) as progress:
        bar = by_step(progress)
        keyframes = read_keyframes(
            place.mapped, 1000, encoder.record.short_side_px, lambda n, of: bar('reading', n, of)
        )
        seen = look(keyframes, encoder, lambda n, of: bar('looking', n, of))
        refined = refine(seen, keyframes)
        keyframes = [k.scaled(refined.depth_scale) for k in keyframes]
        buffer = fill_buffer(
            keyframes,
            encoder,
            BufferConfig(cells=options.cells),
            place.seed,
            lambda n, of: bar('encoding', n, of),
        )
    regions = HscnetTraining(scenes=place.scenes, seed=place.seed)
    T_map_cam = np.stack([k.T_map_cam for k in keyframes])
    landmarks = choose_landmarks(refined.sightings, T_map_cam, LandmarkConfig(), place.seed)
    material = Material(keyframes, buffer, label_tree(keyframes, buffer, regions))
    return _Known(material, refined.sightings.pictures, landmarks and Matcher(landmarks))


def _asked(localizer: Localizer, source: FrameSource) -> Figures:
    """How right poses by the network alone are, and its points."""
    truths, found, accepted, errors = [], [], [], list[float]()
    for frame in source.frames():
        if frame.T_map_base is None:
            continue
        view = working_view(frame.views[0], localizer.info.encoder.short_side_px)
        answer = localizer.explain([view])
        truths.append(frame.T_map_base @ view.T_base_cam)
        told = answer.fix.estimate
        found.append(told.T_map_base @ view.T_base_cam if told else None)
        accepted.append(answer.fix.verdict is Verdict.ACCEPTED)
        seen = answer.observations[0].coordinates
        depth = None if view.depth is None else view.depth.astype(np.float16)
        true = Keyframe(0, view.image[..., 0], view.camera, truths[-1], depth).points(seen.pixels)
        off = np.linalg.norm(seen.points - true, axis=1)
        errors += off[np.isfinite(off)].tolist()
    median = float(np.median(errors)) * 100 if errors else None
    return score(found, truths, accepted) | {'cell_cm': median}


def _summary(told: dict[str, dict[str, Figures]]) -> Figures:
    """Means over seeds, of the names that others look for."""
    figures: Figures = {}
    for kind, key, start in (
        ('kitchen', 'recall_5cm_5deg', ''),
        ('building', 'recall_10cm_5deg', 'building_'),
    ):
        for network in _networks(1, 1, 0):
            found = [
                runs[network][key] or 0.0
                for place, runs in told.items()
                if place.startswith(kind) and network in runs
            ]
            if found:
                name = f'{start}{network}_recall{"" if start else "_5cm_5deg"}'
                figures[name] = float(np.mean(found))
                figures[f'{name}_spread'] = float(np.std(found))
    return figures


def _table(told: dict[str, dict[str, Figures]]) -> Table:
    shown = Table('place', 'network', *(name for _, name, _ in _SHOWN))
    for place, runs in told.items():
        for name, figures in runs.items():
            values = ((figures.get(key), form) for key, _, form in _SHOWN)
            shown.add_row(place, name, *('-' if x is None else f.format(x) for x, f in values))
    return shown


@contextmanager
def kept_folder(keep: Path | None) -> Iterator[Path]:
    """``keep``, or a folder that is removed at the end."""
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
