"""What depth learned from a recording is worth to a map, where the robot has no depth sensor.

    python bench/no_depth_sensor.py MAP_BAG QUERY_BAG --json no_depth_sensor.json --keep maps

One recording is mapped with its depth sensor and without it. Without it, heads are trained with
poses alone, or with depth that ``vloc depth`` learned from the recording; that depth is also held
against the sensor's. Every map is asked by its head alone, by its landmarks alone, and by both.
Landmarks are placed by depth and matching, or by matching alone where there is no depth. In the
case "let go" learned depth pulls a head for the first 30 % of its training only. One case trains
HSCNet in place of ACE.

All options of mapping hold for all cases: ``--instant`` has landmarks only. Where they are not
named, ``$VLOC_DATA`` holds the bags. Maps and the bag with depth go into a folder that is removed,
or into --keep, where they are found again.
"""

import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from compare import MAP_BAG, QUERY_BAG, map_figures, named, run, score
from figures import Figures, save, table_of_cases
from our_maps import Maps, maps_of
from rich.console import Console

from vloc_models.commands.depth import in_words
from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.errors import VlocError
from vloc_models.frames.source import open_source
from vloc_models.frames.write_bag import WriteOptions
from vloc_models.localize.localizer import Localizer, LocalizerConfig, Use
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.mapping.depth_bag import DepthBagConfig, write_depth_bag
from vloc_models.mapping.heads import Method
from vloc_models.mapping.self_depth import DepthKind, SelfDepthConfig
from vloc_models.maps import Map
from vloc_models.records import Array, Frame, Verdict

_ASKED: tuple[Use, ...] = ('head', 'landmarks', 'both')
_SHOWN = (
    'queries',
    'recall_5cm_5deg',
    'recall_10cm_5deg',
    'median_cm',
    'median_deg',
    'map_seconds',
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording to map, with poses and a depth sensor."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is located, with true poses."""
    json: Path | None = None
    """Where the figures go, after every case."""
    keep: Path | None = None
    """Where maps and the bag with learned depth are kept."""
    every: int = 1
    """Ask every n-th query."""
    cases: tuple[str, ...] = ()
    """Only those whose name starts so."""
    depth: DepthBagConfig = field(default_factory=DepthBagConfig)
    """How depth is learned."""
    config: Annotated[MappingConfig, tyro.conf.arg(name='')] = field(default_factory=MappingConfig)
    """How maps are made; what depth they use is the case's."""


@dataclass(frozen=True)
class Case:
    """One way to map the recording."""

    kind: DepthKind
    learned_bag: bool = False  # of the bag with learned depth, not the recording
    until: float | None = None  # share of the training that learned depth pulls; None: default
    method: Method = 'ace'


CASES = {
    'depth sensor': Case('sensor'),
    'poses only': Case('none'),
    'learned depth': Case('auto', True),
    'let go': Case('auto', True, until=0.3),
    'hscnet, learned depth': Case('auto', True, method='hscnet'),
}


def main(options: Options) -> None:
    """Learn, map, ask and print."""
    map_bag, query_bag = named(options.map_bag, MAP_BAG), named(options.query_bag, QUERY_BAG)
    if options.every < 1:
        raise VlocError('--every makes no sense', 'give 1 or more')
    wanted = {n: c for n, c in CASES.items() if n.startswith(options.cases or ('',))}
    told: dict[str, Any] = {}
    with maps_of(map_bag, options.config, options.keep, options.json) as maps:
        if any(case.learned_bag for case in wanted.values()):
            told['depth against the sensor'] = learned(map_bag, options, maps.folder)
        queries = list(_frames(query_bag))[:: options.every]
        for name, case in wanted.items():
            site = mapped(map_bag, case, name, maps)
            uses = ('landmarks',) if options.config.instant else _ASKED
            told[name] = {use: {'ours': asked(site, use, queries)} for use in uses}
            save(told, options.json)
            Console(stderr=True).print(table_of_cases(name, told[name], _SHOWN))
    save(told, options.json)
    for name in wanted:
        Console().print(table_of_cases(name, told[name], _SHOWN))


def learned(map_bag: Path, options: Options, folder: Path) -> Figures:
    """Write the recording with learned depth, unless it is there; and how right that is."""
    out, figures_file = _learned_bag(folder), folder / 'learned_depth.json'
    if not (out.exists() and figures_file.exists()):
        started = time.perf_counter()
        writing = WriteOptions(overwrite=True, truth=False)
        with open_source(map_bag) as source, progress_bar(Console(stderr=True)) as progress:
            report = by_step(progress, 'depth')
            figures, _ = write_depth_bag(source, out, options.depth, writing, report)
        seconds = time.perf_counter() - started
        Console(stderr=True).print('\n'.join(in_words(figures)))
        figures_file.write_text(json.dumps(figures.as_json() | {'seconds': seconds}), 'utf-8')
    return json.loads(figures_file.read_text('utf-8'))


def mapped(map_bag: Path, case: Case, name: str, maps: Maps) -> Map:
    """The map of a case."""
    bag = _learned_bag(maps.folder) if case.learned_bag else map_bag
    settings = replace(maps.config, depth=case.kind, method=case.method)
    if case.until is not None:
        depth: SelfDepthConfig = replace(settings.self_depth, until=case.until)
        settings = replace(settings, self_depth=depth)
    with open_source(bag) as source:
        return replace(maps, bag=bag, config=settings).build(re.sub(r'\W+', '_', name), source)


def asked(site: Map, use: Use, queries: list[Frame]) -> Figures:
    """How right the answers of a map are, at the camera."""
    localizer = Localizer.of(site, LocalizerConfig(use))
    found: list[Array | None] = []
    truths, accepted = [], []
    for frame in queries:
        fix = localizer.locate(frame.views, stamp_ns=frame.stamp_ns)
        T_base_cam = frame.views[0].T_base_cam
        assert frame.T_map_base is not None
        found.append(fix.estimate.T_map_base @ T_base_cam if fix.estimate else None)
        truths.append(frame.T_map_base @ T_base_cam)
        accepted.append(fix.verdict is Verdict.ACCEPTED)
    return score(found, truths, accepted) | map_figures(site)


def _learned_bag(folder: Path) -> Path:
    return folder / 'learned_depth'


def _frames(bag: Path) -> Iterator[Frame]:
    """Those with a true pose."""
    with open_source(bag) as source:
        yield from (frame for frame in source.frames() if frame.T_map_base is not None)


if __name__ == '__main__':
    plain = (tyro.conf.AvoidSubcommands,)
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__, config=plain))))
