"""How hard is the synthetic world, and how well do we do in it?

    python bench/worlds.py --peer sift_localizer.py --json worlds.json

Ten test worlds, which nothing of ours was made from: ordinary ones, some with little texture, and
some with rooms that look alike; one of them in each light, mapped in each other, or in two of them
together ("runs"); and one asked with other cameras than mapped ("camera"). Everywhere a
mapping drive, a query drive on another way, and the queries' jpegs to ours and to the peer (SIFT,
VLAD, RGB-D map, PoseLib). The peer tells whether a world is as hard as a real place: ordinary ones
are right at 80 to 98 % within 5 cm and 5 deg, low-texture ones below 20 %. Our maps are instant
ones; --no-instant trains heads too (minutes each). Also tells the rendering speed.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import cv2
import numpy as np
import tyro
from compare import Ours, load_peer, run, score
from figures import Figures, save, table_of_cases
from rich.console import Console

from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.source import Chain, FrameSource
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.looks import LOOK_NAMES, LookName
from vloc_models.frames.synthetic.rigs import RigName
from vloc_models.localize.localizer import Localizer
from vloc_models.mapping.build_map import MappingConfig, build_map

_Query = tuple[Any, Any, Any]  # jpeg bytes, depth with 0 for unknown, T_map_cam
_OTHER_RIGS: tuple[RigName, ...] = ('webcam', 'fisheye')
_SHOWN = (
    'queries',
    'recall_5cm_5deg',
    'recall_10cm_5deg',
    'recall_50cm_10deg',
    'median_cm',
    'accepted',
    'false_accepts',
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    peer: Path | None = None
    """The peer's script, sift_localizer.py; without, only ours is measured."""
    json: Path | None = None
    """Where the figures go, after every case."""
    every: int = 4
    """Every n-th query is asked (the peer takes its time)."""
    cases: tuple[str, ...] = ()
    """Only those whose name starts so, e.g. low or look."""
    cache: Path | None = None
    """Where rendered pictures and maps are kept; without, they are removed."""
    config: Annotated[MappingConfig, tyro.conf.arg(name='')] = field(
        default_factory=partial(MappingConfig, instant=True)
    )
    """How ours are made."""


@dataclass(frozen=True)
class Case:
    """One world, mapped in some light and asked in another, perhaps with another camera."""

    world: WorldSpec
    mapped: tuple[LookName, ...] = ('day',)  # a run in each
    asked: LookName = 'day'
    rig: RigName = 'mono'  # that asks


def cases() -> dict[str, Case]:
    """All of them by name."""
    ordinary = [WorldSpec(seed) for seed in (0, 1, 2, 3)]
    low = [WorldSpec(seed, texture='low') for seed in (10, 11, 12)]
    alike = [WorldSpec(seed, rooms=3, lookalikes=1) for seed in (20, 21, 22)]
    found = {f'ordinary {w.seed}': Case(w) for w in ordinary}
    found |= {f'low {w.seed}': Case(w) for w in low}
    found |= {f'alike {w.seed}': Case(w) for w in alike}
    for mapped in LOOK_NAMES:
        for asked in LOOK_NAMES:
            found[f'look {mapped}/{asked}'] = Case(ordinary[1], (mapped,), asked)
    for asked in LOOK_NAMES:
        found[f'runs day+night/{asked}'] = Case(ordinary[1], ('day', 'night'), asked)
    for rig in _OTHER_RIGS:
        found[f'camera {rig}'] = Case(ordinary[1], rig=rig)
    return found


def main(options: Options) -> None:
    """Measure and print."""
    peer = load_peer(options.peer) if options.peer else None
    rows: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.cache or Path(temporary)
        for name, case in cases().items():
            if name.startswith(options.cases or ('',)):
                rows[name] = _measure(options, peer, case, folder)
                Console(stderr=True).print(table_of_cases('world', {name: rows[name]}, _SHOWN))
                save(rows, options.json)
    Console().print(table_of_cases('world', rows, _SHOWN))


def _measure(
    options: Options, peer: ModuleType | None, case: Case, folder: Path
) -> dict[str, Figures]:
    runs = [
        SyntheticSource(SyntheticSpec(case.world, DriveSpec(), look), folder)
        for look in case.mapped
    ]
    drive = DriveSpec(kind='query')
    query = SyntheticSource(SyntheticSpec(case.world, drive, case.asked, case.rig), folder)
    for source in runs:
        source.frame(0)  # builds the world and its light
    mapping = runs[0] if len(runs) == 1 else Chain(runs)
    start = time.perf_counter()
    count = sum(1 for _ in mapping.frames())
    speed = count / (time.perf_counter() - start)  # of reading, where they are in the cache
    asked = list(_jpegs(query))[:: options.every]
    out = folder / '_'.join(['map', *(source.folder.name for source in runs)])
    if not out.exists():  # another light of the queries, the same map
        build_map(mapping, [out.name], out, options.config)
    of_ours = _of_ours(Localizer.load(out), query.cameras[0], asked)
    told = {'ours': of_ours | {'map_pictures': count, 'frames_per_s': speed}}
    if peer is not None and not query.cameras[0].camera.distortion:  # it knows no other ones
        told['peer'] = _of_peer(peer, mapping, asked)
    return told


def _of_peer(peer: ModuleType, mapping: FrameSource, asked: list[_Query]) -> Figures:
    K = mapping.cameras[0].camera.K
    localizer = peer.SiftLocalizer(K, list(_jpegs(mapping)))
    found = [localizer.locate(jpeg, K)[0] for jpeg, _, _ in asked]
    return score(found, [T_map_cam for _, _, T_map_cam in asked])


def _of_ours(localizer: Localizer, mount: CameraMount, asked: list[_Query]) -> Figures:
    ours = Ours(localizer, mount, 'jpeg')
    figures = ours.figures([ours(jpeg) for jpeg, _, _ in asked], [T for _, _, T in asked])
    return figures | {'map_seconds': localizer.info.provenance.self_test.get('map_seconds')}


def _jpegs(source: FrameSource) -> Iterator[_Query]:
    """The first camera's pictures, as the peer reads them from bags."""
    for frame in source.frames():
        view = frame.views[0]
        jpeg = cv2.imencode('.jpg', view.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        assert view.depth is not None
        assert frame.T_map_base is not None
        yield jpeg, np.nan_to_num(view.depth), frame.T_map_base @ view.T_base_cam


if __name__ == '__main__':
    plain = (tyro.conf.AvoidSubcommands,)
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__, config=plain))))
