"""What limits accuracy? One setting at a time is changed, and the same queries are asked.

    python bench/limits.py MAP_BAG QUERY_BAG --json limits.json

Maps are instant ones, but for those of which the head is asked (minutes each, with --head). Every
row tells what of the queries was placed within 5 and 10 cm (and 5 deg), the median error, the
milliseconds of a query and the size of the map. The first row has all settings as they are.

Where they are not named, ``$VLOC_DATA`` holds the bags.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro
from compare import MAP_BAG, QUERY_BAG, named, run
from figures import Figures, save, table_of_cases
from our_maps import maps_of
from rich.console import Console

from vloc_models.commands.locate import with_progress
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.metrics.trajectory import score
from vloc_models.solvers.pnp import PnpConfig

_SHOWN = (
    'queries',
    'recall_5cm_5deg',
    'recall_10cm_5deg',
    'median_cm',
    'median_deg',
    'ms_per_query_median',
    'map_MB',
)


@dataclass(frozen=True)
class Options:
    """What is mapped and asked."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording to map, with poses."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is located, with true poses."""
    json: Path | None = None
    """Where the figures go, after every row."""
    keep: Path | None = None
    """Where maps stay; finished ones are used again."""
    head: bool = False
    """Train heads too."""


@dataclass(frozen=True)
class Setting:
    """One row."""

    mapping: MappingConfig
    asking: LocalizerConfig = field(default_factory=LocalizerConfig)
    every: int = 1  # picture that is mapped


def settings(head: bool) -> Iterator[tuple[str, Setting]]:
    """The rows by name."""
    mapping, asking = MappingConfig(instant=True), LocalizerConfig()
    landmarks, encoder = mapping.landmarks, mapping.encoder
    yield 'as it is', Setting(mapping)
    for every in (2, 4, 8):
        yield f'every {every}. picture mapped', Setting(mapping, every=every)
    for count in (30, 60, 240):
        marks = replace(landmarks, per_picture=count)
        yield f'{count} landmarks a picture', Setting(replace(mapping, landmarks=marks))
    for numbers in (16, 64, 128):
        marks = replace(landmarks, numbers=numbers)
        yield f'{numbers} numbers a landmark', Setting(replace(mapping, landmarks=marks))
    for pixels in (240, 300, 480):
        choice = replace(encoder, short_side_px=pixels)
        yield f'pictures of {pixels} px', Setting(replace(mapping, encoder=choice))
    for every in (1, 3, 4):
        yield f'one of {every}x{every} cells', Setting(mapping, replace(asking, every=every))
    for inlier_px in (3.0, 5.0, 15.0):
        pnp = PnpConfig(inlier_px=inlier_px)
        yield f'inliers within {inlier_px:g} px', Setting(mapping, replace(asking, pnp=pnp))
    if head:
        trained = replace(mapping, instant=False)
        for use in ('head', 'landmarks', 'both'):
            yield f'trained, by {use}', Setting(trained, replace(asking, use=use))


def main(options: Options) -> None:
    """Map, ask and print."""
    map_bag, query_bag = named(options.map_bag, MAP_BAG), named(options.query_bag, QUERY_BAG)
    rows: dict[str, dict[str, Figures]] = {}
    for name, setting in settings(options.head):
        with maps_of(map_bag, setting.mapping, options.keep, options.json) as maps:
            with open_source(map_bag, BagOptions(every=setting.every)) as source:
                site = maps.build(f'every_{setting.every}', source)
            localizer = Localizer.of(site, setting.asking)
            with open_source(query_bag) as queries:
                done = with_progress(localizer, queries)
                T_base_cam = queries.cameras[0].T_base_cam
            found = score(done.truth.moved(T_base_cam), done.estimates().moved(T_base_cam))
            ms, size = float(np.median(done.latency_ms)), site.size_bytes() / 2**20
        told = found.as_json() | {'ms_per_query_median': ms, 'map_MB': size}
        rows[name] = {'ours': told}
        save(rows, options.json)
    Console().print(table_of_cases('setting', rows, _SHOWN))


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
