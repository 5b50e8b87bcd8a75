"""Is the synthetic world as hard as a real place? The classical localizer tells.

    python bench/worlds.py --peer sift_localizer.py --json worlds.json

For each kind of world: a mapping drive, a query drive on another way, and the share of queries
that the peer (SIFT, VLAD, RGB-D map, PoseLib) places within 5 cm and 5 deg. Ordinary worlds
are right at 80 to 98 %, low-texture ones below 20 %. Also prints the rendering speed.
"""

import importlib.util
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.looks import LookName
from vloc_models.frames.synthetic.materials import Richness

# texture, light while mapping, light of the queries
KINDS: tuple[tuple[Richness, LookName, LookName], ...] = (
    ('ordinary', 'day', 'day'),
    ('low', 'day', 'day'),
    ('ordinary', 'day', 'evening'),
    ('ordinary', 'day', 'night'),
    ('ordinary', 'day', 'winter'),
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    peer: Path
    """The peer's script, sift_localizer.py."""
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
    peer, rows = _load(options.peer), []
    with tempfile.TemporaryDirectory() as folder:
        for texture, map_look, query_look in KINDS:
            seeds = options.seeds if map_look == query_look else options.seeds[:1]
            for seed in seeds:
                world = WorldSpec(seed, rooms=options.rooms, texture=texture)
                row = {'texture': texture, 'map': map_look, 'query': query_look, 'seed': seed}
                row |= _measure(peer, world, map_look, query_look, options.every, Path(folder))
                rows.append(row)
                _console.print(row)
    table = Table('world', 'light map/query', 'seed', 'frames/s', '5 cm / 5 deg', 'median cm')
    for r in rows:
        recall, median = f'{r["recall_5cm_5deg"]:.1%}', f'{r["median_cm"]:.2f}'
        light = f'{r["map"]}/{r["query"]}'
        speed = f'{r["frames_per_s"]:.1f}' if r['map'] == r['query'] else 'cached'
        table.add_row(r['texture'], light, str(r['seed']), speed, recall, median)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


_console = Console(stderr=True)


def _measure(
    peer: ModuleType,
    world: WorldSpec,
    map_look: LookName,
    query_look: LookName,
    every: int,
    cache: Path,
) -> dict[str, Any]:
    mapping = SyntheticSource(SyntheticSpec(world, DriveSpec(), map_look), cache)
    query = SyntheticSource(SyntheticSpec(world, DriveSpec(kind='query'), query_look), cache)
    mapping.frame(0)  # builds the world and its light
    start = time.perf_counter()
    frames = list(_for_peer(mapping))
    speed = len(frames) / (time.perf_counter() - start)
    K = mapping.cameras[0].camera.K
    localizer = peer.SiftLocalizer(K, frames)
    asked = list(_for_peer(query))[::every]
    found = [localizer.locate(jpeg, K)[0] for jpeg, _, _ in asked]
    score = peer.score(found, [T_map_cam for _, _, T_map_cam in asked])
    return {**score, 'map_frames': len(frames), 'frames_per_s': speed}


def _for_peer(source: SyntheticSource) -> Iterator[tuple[Any, Any, Any]]:
    """(jpeg bytes, depth with 0 for unknown, T_map_cam), as the peer reads them from bags."""
    for frame in source.frames():
        view = frame.views[0]
        jpeg = cv2.imencode('.jpg', view.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        assert view.depth is not None
        assert frame.T_map_base is not None
        yield jpeg, np.nan_to_num(view.depth), frame.T_map_base @ view.T_base_cam


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location('peer', path)
    if spec is None or spec.loader is None or not path.is_file():
        _console.print(f'{path}: no such script; name sift_localizer.py with --peer')
        raise SystemExit(2)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == '__main__':
    main(tyro.cli(Options, description=__doc__))
