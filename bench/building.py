"""A building at the cost of a room: sub-maps, which of them are looked in, and what that costs.

    python bench/building.py --json building.json --keep runs

First buildings of eight rooms, three of which have the furniture of another, each mapped whole,
in parts and undivided; every query is asked alone, without odometry. A picture is one of a
look-alike room where most of what it shows is in one, from wherever it was taken. Then such
buildings are piled up to one of several floors, cut into 32 sub-maps or more: the same queries are
asked in turn of the whole map and of a map that has nothing but the part they lie in, so that the
ratio of the times is not the machine's mood. How mapping grows is told by its seconds and its peak
of memory for one floor and for all of them, each made in a process of its own.
"""

import multiprocessing
import shutil
import sys
import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro
from compare import run, score
from figures import Figures, save
from hscnet import kept_folder
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.source import Chain, FrameSource
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.grid import CELL_M
from vloc_models.frames.synthetic.world import World, build_world
from vloc_models.geometry import se3
from vloc_models.localize.by_landmarks import Answer
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.mapping.make_map import make_map
from vloc_models.mapping.split import SplitConfig
from vloc_models.maps import Map, MapWriter, open_map
from vloc_models.records import Frame, Trajectory, Verdict
from vloc_models.solvers.retrieval import Places

Array = NDArray[np.float64]
_FIRST_WORLD, _ROOMS, _ALIKE = 40, 8, 3
_FLOOR_M = 4.0
_WALL_M = 0.1
_TIMED_PARTS = 4  # those with the most queries
_WARM = 3  # queries before time is taken
_SHOWN = (  # key in the JSON, name in the table, format
    ('recall_10cm_5deg', '10 cm, 5 deg', '{:.1%}'),
    ('median_cm', 'median, cm', '{:.2f}'),
    ('accepted', 'accepted', '{:.0f}'),
    ('false_accepts', 'wrong accepts', '{:.0f}'),
    ('ambiguous', 'ambiguous', '{:.0f}'),
    ('queries', 'of', '{:.0f}'),
    ('heads_per_query', 'parts a query', '{:.2f}'),
    ('sub_maps', 'sub-maps', '{:.0f}'),
    ('map_seconds', 'made in, s', '{:.0f}'),
    ('map_MB', 'MB', '{:.1f}'),
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    json: Path | None = None
    """Where the figures go, after every step."""
    keep: Path | None = None
    """Where rendered pictures and maps are kept, so that the bench goes on."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the buildings; all of them are piled up to the large one."""
    part_m: float = 9.0
    """How large a part of a building may be."""
    small_m: float = 4.0
    """And of the large one, so that it has 32."""
    drive: DriveSpec = field(default_factory=lambda: DriveSpec(rate_hz=2.5, reach_m=1.5))
    """The mapping drive: it turns around near every place where a robot could stop."""
    every: int = 1
    """Ask every n-th query of the large building."""
    mapping: MappingConfig = field(default_factory=lambda: MappingConfig(instant=True))
    """How maps are made."""


@dataclass(frozen=True, eq=False)
class Raised:
    """A recording on another floor; a FrameSource."""

    source: FrameSource
    height_m: float

    @property
    def notes(self) -> list[str]:
        """What was found odd."""
        return self.source.notes

    @property
    def cameras(self) -> tuple[CameraMount, ...]:
        """The cameras."""
        return self.source.cameras

    @property
    def poses_source(self) -> str:
        """Where the poses come from, in words."""
        return self.source.poses_source

    @property
    def odom_source(self) -> str:
        """Where odometry comes from, in words."""
        return self.source.odom_source

    @property
    def span_ns(self) -> tuple[int, int]:
        """The stamps of the first and the last frame."""
        return self.source.span_ns

    def __len__(self) -> int:
        return len(self.source)

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """The frames, with poses on that floor."""
        for frame in self.source.frames(only):
            assert frame.T_map_base is not None
            yield replace(frame, T_map_base=self._up @ frame.T_map_base)

    def trajectory(self) -> Trajectory:
        """The poses on that floor."""
        way = self.source.trajectory()
        return Trajectory(way.stamps_ns, self._up @ way.T_map_body)

    def odometry(self) -> Trajectory:
        """As it is."""
        return self.source.odometry()

    def close(self) -> None:
        """Release the files."""
        self.source.close()

    @property
    def _up(self) -> Array:
        T = np.eye(4)
        T[2, 3] = self.height_m
        return T


@dataclass(frozen=True)
class Building:
    """One of eight rooms; plain, so that another process can open it."""

    seed: int
    folder: Path
    mapping: DriveSpec

    @property
    def world(self) -> WorldSpec:
        """What it is like."""
        return WorldSpec(_FIRST_WORLD + self.seed, rooms=_ROOMS, lookalikes=_ALIKE)

    def drive(self, mapping: bool) -> SyntheticSource:
        """The recording it is mapped with, or the one that is asked."""
        drive = self.mapping if mapping else DriveSpec(kind='query', rate_hz=0.5)
        return SyntheticSource(SyntheticSpec(self.world, drive), self.folder)


def piled(buildings: Sequence[Building], mapping: bool) -> FrameSource:
    """One above the other."""
    drives = [building.drive(mapping) for building in buildings]
    if len(drives) == 1:
        return drives[0]
    return Chain([Raised(drive, _FLOOR_M * n) for n, drive in enumerate(drives)])


def main(options: Options) -> None:
    """Measure and print."""
    told: dict[str, Figures] = {}
    summary: Figures = {}
    with kept_folder(options.keep) as folder:
        if options.json:
            check_outputs([options.json], folder / 'rendered')
        some = [Building(s, folder / 'rendered', options.drive) for s in options.seeds]
        for building in some:
            told |= _building(building, options, folder)
            summary = _of_buildings(told)
            save(summary | {'rows': told}, options.json)
            Console(stderr=True).print(_table(told))
        told |= _large(some, options, folder)
        summary |= {k: told['large'][k] for k in ('latency_ratio_32_to_1', *_GROWTH)}
        save(summary | {'rows': told}, options.json)
    Console().print(_table(told))
    Console().print(summary)


_GROWTH = ('seconds_growth', 'memory_growth', 'pictures_growth', 'index_bytes_per_frame')


def _of_buildings(told: dict[str, Figures]) -> Figures:
    """What others look for, of the maps in parts; means over seeds, and wrong ones added."""
    distinct = [f for name, f in told.items() if name.endswith('in parts, distinct')]
    whole = [f for name, f in told.items() if name.endswith('in parts')]
    return {
        'recall_10cm_5deg': float(np.mean([f['recall_10cm_5deg'] or 0.0 for f in distinct])),
        'wrong_accepts': sum(f['false_accepts'] or 0.0 for f in whole),
        'heads_per_query': float(np.mean([f['heads_per_query'] or 0.0 for f in whole])),
    }


def _building(building: Building, options: Options, folder: Path) -> dict[str, Figures]:
    """A building in parts and undivided: all queries, and by the kind of room."""
    told, world = dict[str, Figures](), build_world(building.world)
    for name, size_m in (('in parts', options.part_m), ('undivided', 1000.0)):
        config = replace(options.mapping, split=SplitConfig(size_m))
        site = _made([building], config, folder / f'{building.seed}_{name}'.replace(' ', '_'))
        frames = list(piled([building], mapping=False).frames())
        alike = np.array([shows_alike(world, frame) for frame in frames])
        answers = _asked(Localizer.of(site, LocalizerConfig(threads=1)), frames)
        title = f'building {building.seed} {name}'
        told[title] = _figures(frames, answers, np.ones(len(frames), bool)) | _of_map(site)
        told[f'{title}, distinct'] = _figures(frames, answers, ~alike)
        told[f'{title}, look-alike'] = _figures(frames, answers, alike)
    return told


def shows_alike(world: World, frame: Frame) -> bool:
    """Whether most of what it shows is in rooms whose furniture others have too."""
    view = frame.views[0]
    assert frame.T_map_base is not None
    assert view.depth is not None
    rays = view.camera.unproject(view.camera.pixel_grid()[::8, ::8])
    depth = view.depth[::8, ::8, None] - _WALL_M  # walls are no part of a room
    points = se3.apply(frame.T_map_base @ view.T_base_cam, (rays * depth)[depth[..., 0] > 0])
    styles = [placed.plan.style_seed for placed in world.rooms]
    alike = np.array([*(styles.count(style) > 1 for style in styles), False])  # -1: in no room
    cells = np.round((points[:, :2] - world.floor.origin) / CELL_M).astype(int)
    columns, rows = np.clip(cells, 0, np.array(world.floor.room.shape)[::-1] - 1).T
    return float(alike[world.floor.room[rows, columns]].mean()) > 0.5


def _made(buildings: Sequence[Building], config: MappingConfig, path: Path) -> Map:
    if path.exists():
        return open_map(path)
    with progress_bar(Console(stderr=True)) as progress:
        report = by_step(progress, path.name)
        return make_map(piled(buildings, mapping=True), [path.name], path, config, report)


def _asked(localizer: Localizer, frames: Sequence[Frame]) -> list[Answer]:
    return [localizer.explain(frame.views) for frame in frames]


def _figures(
    frames: Sequence[Frame], answers: Sequence[Answer], some: NDArray[np.bool_]
) -> Figures:
    chosen = [(f, a) for f, a, s in zip(frames, answers, some, strict=True) if s]
    found, truths, verdicts = [], [], [a.fix.verdict for _, a in chosen]
    for frame, answer in chosen:
        T_base_cam, estimate = frame.views[0].T_base_cam, answer.fix.estimate
        assert frame.T_map_base is not None
        truths.append(frame.T_map_base @ T_base_cam)
        found.append(estimate.T_map_base @ T_base_cam if estimate else None)
    return score(found, truths, [v is Verdict.ACCEPTED for v in verdicts]) | {
        'ambiguous': verdicts.count(Verdict.AMBIGUOUS),
        'heads_per_query': float(np.mean([a.looked_in for _, a in chosen])),
    }


def _of_map(site: Map) -> Figures:
    seconds = site.info.provenance.self_test.get('map_seconds')
    return {
        'sub_maps': len(site.info.submaps),
        'map_seconds': seconds,
        'map_MB': site.size_bytes() / 2**20,
    }


def _large(some: Sequence[Building], options: Options, folder: Path) -> dict[str, Figures]:
    """Of all buildings, one above the other."""
    config = replace(options.mapping, split=SplitConfig(options.small_m))
    grown = [_grown(some[:n], config, folder / f'large_{n}') for n in (1, len(some))]
    site = open_map(folder / f'large_{len(some)}')
    assert site.info.index is not None
    index = site.info.files[site.info.index].size_bytes / len(places_of(site).submap)
    frames = list(piled(some, mapping=False).frames())[:: options.every]
    localizer = Localizer.of(site, LocalizerConfig(threads=1))
    answers = _asked(localizer, frames)
    told = _figures(frames, answers, np.ones(len(frames), bool)) | _of_map(site)
    told |= {k: grown[1][k] / grown[0][k] for k in grown[0]}
    told |= {'index_bytes_per_frame': index}
    told['latency_ratio_32_to_1'] = _ratio(localizer, site, frames, answers, folder)
    return {'large': told}


def _grown(some: Sequence[Building], config: MappingConfig, path: Path) -> dict[str, float]:
    """Seconds, peak memory and pictures of a map, made in a process of its own."""
    note = path.with_suffix('.txt')
    if not note.exists():
        for left in (path, path.with_name(f'.{path.name}.parts')):  # begun before: not timed
            shutil.rmtree(left, ignore_errors=True)
        context = multiprocessing.get_context('spawn')
        process = context.Process(target=_measured, args=(list(some), config, path, note))
        process.start()
        process.join()
    seconds, kib, pictures = map(float, note.read_text().split())
    return {'seconds_growth': seconds, 'memory_growth': kib, 'pictures_growth': pictures}


def _measured(some: list[Building], config: MappingConfig, path: Path, note: Path) -> None:
    start = time.process_time()
    site = _made(some, config, path)
    note.write_text(f'{time.process_time() - start} {_peak_kib()} {len(places_of(site).submap)}')


def _peak_kib() -> int:
    """Of this process; ru_maxrss would be that of the one that started it, where it was larger."""
    status = Path('/proc/self/status').read_text()
    return int(status.partition('VmHWM:')[2].split()[0])


def places_of(site: Map) -> Places:
    """A map's index."""
    assert site.info.index is not None
    return Places.of_arrays(site.read_arrays(site.info.index), str(site.folder))


def _ratio(
    localizer: Localizer,
    site: Map,
    frames: Sequence[Frame],
    answers: Sequence[Answer],
    folder: Path,
) -> float:
    """The whole map's time for a query over that of a map of its part alone; the median."""
    where = [a.submap.name if a.accepted and a.submap else '' for a in answers]
    counts = {s.name: where.count(s.name) for s in site.info.submaps}
    ratios = []
    for name in sorted(counts, key=lambda name: -counts[name])[:_TIMED_PARTS]:
        alone = Localizer.of(_part_alone(site, name, folder / f'part_{name}'), localizer.config)
        asked = [f for f, w in zip(frames, where, strict=True) if w == name]
        for number, frame in enumerate([*asked[:_WARM], *asked]):
            ms = [_ms(one, frame) for one in (localizer, alone)]
            if number >= _WARM:
                ratios.append(ms[0] / ms[1])
    return float(np.median(ratios))


def _ms(localizer: Localizer, frame: Frame) -> float:
    start = time.perf_counter()
    localizer.locate(frame.views)
    return 1000 * (time.perf_counter() - start)


def _part_alone(site: Map, name: str, path: Path) -> Map:
    """A map that has one of the sub-maps only."""
    (number,) = (n for n, s in enumerate(site.info.submaps) if s.name == name)
    submap, places = site.info.submaps[number], places_of(site)
    kept = places.submap == number
    files = (submap.head, submap.probe, submap.weights, submap.landmarks)
    with MapWriter(path) as writer:
        for file in files:
            if file is not None:
                writer.add_bytes(file, site.read_bytes(file))
        few = replace(
            places,
            descriptors=places.descriptors[kept],
            T_map_cam=places.T_map_cam[kept],
            submap=0 * places.submap[kept],
        )
        assert site.info.index is not None
        writer.add_arrays(site.info.index, **few.arrays())
        return writer.finish(replace(site.info, submaps=(submap,)))


def _table(told: dict[str, Figures]) -> Table:
    shown = Table('', *(name for _, name, _ in _SHOWN))
    for name, figures in told.items():
        values = ((figures.get(key), form) for key, _, form in _SHOWN)
        shown.add_row(name, *('-' if x is None else form.format(x) for x, form in values))
    return shown


if __name__ == '__main__':
    plain = (tyro.conf.AvoidSubcommands,)
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__, config=plain))))
