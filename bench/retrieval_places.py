"""Where the bench of retrieval asks: synthetic worlds in other light, and a kitchen, harmed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from compare import MAP_BAG, QUERY_BAG, named
from harm import CASES

from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.looks import LookName
from vloc_models.records import Array, View

Report = Callable[[str, int, int], None]
_WORLDS = WorldSpec(0), WorldSpec(1), WorldSpec(20, rooms=3, lookalikes=1)
_LOOKS: tuple[LookName, ...] = ('winter', 'night')  # winter is in nobody's training
HARMED = ('as_is', 'covered_half', 'noise_20', 'gamma_2.8', 'blur_15')
_RATE_HZ = 1.0


@dataclass(frozen=True, eq=False)
class Shown:
    """Pictures and where they were taken."""

    views: Sequence[View]
    T_map_cam: Array  # [N, 4, 4]


@dataclass(frozen=True, eq=False)
class Place:
    """A map's pictures, and what is asked there, by the name of the case."""

    name: str
    mapped: Shown
    asked: dict[str, Shown]


def worlds(keep: Path, report: Report) -> Iterator[Place]:
    """Three test worlds, mapped by day; rooms of the last look alike."""
    for world in _WORLDS:
        name = f'world {world.seed}'
        drives = DriveSpec(rate_hz=_RATE_HZ), DriveSpec(kind='query', rate_hz=_RATE_HZ)
        specs = [SyntheticSpec(world, drives[0])]
        specs += [SyntheticSpec(world, drives[1], look) for look in _LOOKS]
        shown = [
            _shown(SyntheticSource(spec, keep / 'rendered'), f'{name}, {spec.look}', report)
            for spec in specs
        ]
        yield Place(name, shown[0], dict(zip(_LOOKS, shown[1:], strict=True)))


def kitchen(map_bag: Path | None, query_bag: Path | None, report: Report) -> Place:
    """A recording, asked as it is and harmed in four ways."""
    bags = named(map_bag, MAP_BAG), named(query_bag, QUERY_BAG)
    with open_source(bags[0]) as mapped, open_source(bags[1], BagOptions(odom='none')) as asked:
        known, seen = _shown(mapped, 'kitchen, map', report), _shown(asked, 'kitchen', report)
    return Place('kitchen', known, {name: _harmed(seen, name) for name in HARMED})


def _harmed(shown: Shown, name: str) -> Shown:
    views = []
    for number, view in enumerate(shown.views):
        image = CASES[name].change(view.image, np.random.default_rng(number))
        views.append(replace(view, image=image))
    return Shown(views, shown.T_map_cam)


def _shown(source: FrameSource, words: str, report: Report) -> Shown:
    """All pictures of a source's first camera that have a pose, without depth."""
    views, poses = [], []
    for number, frame in enumerate(source.frames()):
        report(words, number + 1, len(source))
        if frame.T_map_base is not None:
            view = frame.views[0]
            views.append(replace(view, depth=None, labels=None, valid=None))
            poses.append(frame.T_map_base @ view.T_base_cam)
    return Shown(views, np.stack(poses))
