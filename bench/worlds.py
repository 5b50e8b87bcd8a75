"""How hard is the synthetic world, and how well do we do in it?

    python bench/worlds.py --peer sift_localizer.py --ours --json worlds.json

For each kind of world: a mapping drive, a query drive on another way, and the share of queries
that are placed within 5 cm and 5 deg: by the peer (SIFT, VLAD, RGB-D map, PoseLib) and by us, with
a map of the same drive and the same jpegs to locate. The peer tells whether a world is as hard as
a real place: ordinary worlds are right at 80 to 98 %, low-texture ones below 20 %. Also prints the
rendering speed.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import tyro
from compare import Figures, Ours, load_peer, run, score
from rich.console import Console
from rich.table import Table

from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.looks import LookName
from vloc_models.frames.synthetic.materials import Richness
from vloc_models.localize.localizer import Localizer
from vloc_models.mapping.build_map import MappingConfig, build_map

# texture, light while mapping, light of the queries
KINDS: tuple[tuple[Richness, LookName, LookName], ...] = (
    ('ordinary', 'day', 'day'),
    ('low', 'day', 'day'),
    ('ordinary', 'day', 'evening'),
    ('ordinary', 'day', 'night'),
    ('ordinary', 'day', 'winter'),
)
_Query = tuple[Any, Any, Any]  # jpeg bytes, depth with 0 for unknown, T_map_cam


@dataclass(frozen=True)
class Options:
    """What to measure."""

    peer: Path | None = None
    """The peer's script, sift_localizer.py; without, only ours is measured."""
    ours: bool = False
    """Make our map of each world too, and ask it; always without a peer."""
    steps: int | None = None
    """Of our training; none: as vloc map takes."""
    cells: int | None = None
    """That our training learns from; none: as vloc map takes."""
    json: Path | None = None
    """Where the figures go."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Worlds of each kind; the look changes are measured on the first only."""
    rooms: int = 2
    """Rooms beside the corridor."""
    every: int = 4
    """Every n-th query is asked (the peer takes its time)."""


def main(options: Options) -> None:
    """Measure and print."""
    peer, rows = load_peer(options.peer) if options.peer else None, []
    with tempfile.TemporaryDirectory() as folder:
        for texture, map_look, query_look in KINDS:
            seeds = options.seeds if map_look == query_look else options.seeds[:1]
            for seed in seeds:
                world = WorldSpec(seed, rooms=options.rooms, texture=texture)
                row = {'texture': texture, 'map': map_look, 'query': query_look, 'seed': seed}
                row |= _measure(options, peer, world, map_look, query_look, Path(folder))
                rows.append(row)
                Console(stderr=True).print(_table([row]))
                if options.json:  # after each: a map takes minutes, and later ones may fail
                    options.json.write_text(json.dumps(rows, indent=1, allow_nan=False))
    Console().print(_table(rows))


def _measure(
    options: Options,
    peer: ModuleType | None,
    world: WorldSpec,
    map_look: LookName,
    query_look: LookName,
    folder: Path,
) -> dict[str, Any]:
    mapping = SyntheticSource(SyntheticSpec(world, DriveSpec(), map_look), folder)
    query = SyntheticSource(SyntheticSpec(world, DriveSpec(kind='query'), query_look), folder)
    mapping.frame(0)  # builds the world and its light
    start = time.perf_counter()
    count = sum(1 for _ in mapping.frames())
    row: dict[str, Any] = {
        'map_frames': count,
        'frames_per_s': count / (time.perf_counter() - start),
    }
    asked = list(_jpegs(query))[:: options.every]
    if peer is not None:
        row['peer'] = _of_peer(peer, mapping, asked)
    if options.ours or peer is None:
        out = folder / f'{world.texture}_{world.seed}_{map_look}'
        row['ours'] = _of_ours(options, mapping, asked, out)
    return row


def _of_peer(peer: ModuleType, mapping: SyntheticSource, asked: list[_Query]) -> Figures:
    K = mapping.cameras[0].camera.K
    localizer = peer.SiftLocalizer(K, list(_jpegs(mapping)))
    found = [localizer.locate(jpeg, K)[0] for jpeg, _, _ in asked]
    return score(found, [T_map_cam for _, _, T_map_cam in asked])


def _of_ours(
    options: Options, mapping: SyntheticSource, asked: list[_Query], out: Path
) -> Figures:
    if not out.exists():  # another light of the queries, the same map
        build_map(mapping, [out.name], out, _config(options))
    localizer = Localizer.load(out)
    ours = Ours(localizer, mapping.cameras[0], 'jpeg')
    figures = ours.figures([ours(jpeg) for jpeg, _, _ in asked], [T for _, _, T in asked])
    return figures | {'map_seconds': localizer.info.provenance.self_test.get('map_seconds')}


def _config(options: Options) -> MappingConfig:
    config = MappingConfig()
    training, buffer = config.training, config.buffer
    if options.steps:
        training = replace(training, loop=replace(training.loop, steps=options.steps))
    if options.cells:
        buffer = replace(buffer, cells=options.cells)
    return replace(config, training=training, buffer=buffer)


def _jpegs(source: SyntheticSource) -> Iterator[_Query]:
    """The first camera's pictures, as the peer reads them from bags."""
    for frame in source.frames():
        view = frame.views[0]
        jpeg = cv2.imencode('.jpg', view.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        assert view.depth is not None
        assert frame.T_map_base is not None
        yield jpeg, np.nan_to_num(view.depth), frame.T_map_base @ view.T_base_cam


def _table(rows: list[dict[str, Any]]) -> Table:
    who = [name for name in ('ours', 'peer') if name in rows[0]]
    figures = [f'{name}\n{what}' for name in who for what in ('5 cm', 'median')]
    names = ('world', 'light\nmap/query', 'seed', 'asked', 'frames/s', *figures)
    table = Table(*names, box=None, pad_edge=False)
    for r in rows:
        speed = f'{r["frames_per_s"]:.1f}' if r['map'] == r['query'] else 'cached'
        cells = [r['texture'], f'{r["map"]}/{r["query"]}', str(r['seed'])]
        cells += [str(r[who[0]]['queries']), speed]
        for name in who:
            median = r[name]['median_cm']
            cells.append(f'{r[name]["recall_5cm_5deg"]:.1%}')
            cells.append('none' if median is None else f'{median:.2f}')
        table.add_row(*cells)
    return table


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
