"""``vloc retrieve``: which of the map's pictures look most like those of a recording."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.errors import VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.geometry import se3
from vloc_models.localize.retrieve import Finder
from vloc_models.maps import open_map
from vloc_models.metrics.retrieval import SamePlace, Score, are_same, score
from vloc_models.metrics.retrieval_report import (
    RetrievalReport,
    Shown,
    write_retrieval_report,
)
from vloc_models.records import Array
from vloc_models.solvers.retrieval import Nearest

Report = Callable[[str, int, int], None]
_QUERIES, _MAPPED = BagOptions(poses='truth', odom='none'), BagOptions(odom='none')
_SAME = SamePlace()
_LOOKED_AT = 10  # finds of each query, for Recall@10
_SHOWN = 5
_SAME_PICTURE = 0.05  # metres and radians together, up to which a picture is the one indexed


def retrieve(
    bag: tyro.conf.Positional[Path],
    map_folder: Annotated[Path, tyro.conf.arg(name='map', aliases=['-m'])],
    output: Annotated[Path, tyro.conf.arg(aliases=['-o'])],
    map_bag: tuple[Path, ...] = (),
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _QUERIES,
    same: SamePlace = _SAME,
    rows: int = 40,
    json_file: Annotated[Path | None, tyro.conf.arg(name='json')] = None,
    threads: int = 0,
) -> None:
    """Show for the pictures of a recording which pictures of the map look most like them.

        vloc retrieve run2 --map site -o found.html --map-bag run1

    Where true poses are known, the right ones are framed green and the wrong ones red, and it is
    told how often the right place comes first (Recall@N, Recall@D); where they are not, add
    --poses none.

    Args:
        bag: a rosbag2 folder, a .mcap, .db3 or .bag file, or a 7-Scenes or ACE folder.
        map_folder: the map, as "vloc map" made it.
        output: the HTML file to write.
        map_bag: the recordings that the map was made from: a map keeps no pictures.
        options: which topics of the queries to use, and where true poses come from.
        same: how near a picture must be taken to show the same place.
        rows: so many queries are shown, evenly from all.
        json_file: where the figures go.
        threads: processor cores to use; 0 takes all.
    """
    if rows < 0:
        raise VlocError(f'--rows {rows} makes no sense', 'give 0 or more')
    check_outputs([f for f in (output, json_file) if f], map_folder)
    site = open_map(map_folder)
    finder = Finder.of(site, threads)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with progress_bar(console) as progress:
        report = by_step(progress)
        with open_source(bag, options) as source:
            asked = _ask(finder, source, rows, report)
        wanted = {n for a in asked if a.image is not None for n in a.found.numbers[:_SHOWN]}
        pictures = dict[int, NDArray[np.uint8]]()
        if map_bag:
            with open_source(map_bag, _MAPPED) as mapped:
                T_frame_map = np.array(site.info.T_frame_map)
                places = {n: finder.index.T_map_cam[n] for n in sorted(wanted)}
                pictures = _pictures(mapped, T_frame_map, places, report)
    judged = _judged(asked, finder, same)
    figures = _figures(judged, len(asked), len(finder.index))
    about = [('map', str(map_folder)), ('recording', str(bag))]
    shown = [_row(a, finder, pictures, same) for a in asked if a.image is not None]
    title = f'{bag.resolve().name} in {map_folder.resolve().name}'
    write_retrieval_report(output, RetrievalReport(title, about, figures, shown))
    if json_file:
        told = {} if judged is None else judged.as_json()
        _write(json_file, told | {'asked': len(asked), 'places': len(finder.index)})
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in (*figures, ('report', str(output))):
        table.add_row(*map(Text, row))
    Console(soft_wrap=True).print(table)


@dataclass(frozen=True, eq=False)
class _Asked:
    """One query and what was found."""

    stamp_ns: int
    found: Nearest
    T_map_cam: Array | None  # where it truly was
    image: NDArray[np.uint8] | None  # if it is shown


def _ask(finder: Finder, source: FrameSource, rows: int, report: Report) -> list[_Asked]:
    """Every frame's first camera."""
    shown = set(np.linspace(0, len(source) - 1, min(rows, len(source))).astype(int).tolist())
    asked = []
    for number, frame in enumerate(source.frames()):
        view, T = frame.views[0], frame.T_map_base
        T_map_cam = None if T is None else T @ view.T_base_cam
        image = view.image if number in shown else None
        asked.append(_Asked(frame.stamp_ns, finder(view, _LOOKED_AT), T_map_cam, image))
        report('asking', number + 1, len(source))
    return asked


def _pictures(
    source: FrameSource, T_frame_map: Array, places: dict[int, Array], report: Report
) -> dict[int, NDArray[np.uint8]]:
    """The pictures that were taken where the index says, by their numbers there."""
    found = dict[int, NDArray[np.uint8]]()
    best = dict.fromkeys(places, _SAME_PICTURE)
    for number, frame in enumerate(source.frames()):
        report('map pictures', number + 1, len(source))
        if frame.T_map_base is None:
            continue
        for view in frame.views:
            T = T_frame_map @ frame.T_map_base @ view.T_base_cam
            for place, there in places.items():
                away = float(np.linalg.norm(T[:3, 3] - there[:3, 3]))
                away += float(se3.angle_rad(T[:3, :3].T @ there[:3, :3]))
                if away < best[place]:
                    best[place], found[place] = away, view.image
    return found


def _judged(asked: Sequence[_Asked], finder: Finder, same: SamePlace) -> Score | None:
    """Of the queries with a true pose; None if there are none in sight of the map."""
    known = [(a.T_map_cam, a.found.numbers) for a in asked if a.T_map_cam is not None]
    if not known:
        return None
    truths, first = (np.stack(column) for column in zip(*known, strict=True))
    return score(truths, finder.index.T_map_cam, first, same)


def _figures(judged: Score | None, queries: int, places: int) -> list[tuple[str, str]]:
    """Name and value of everything that is told."""
    about = [('pictures in the index', str(places)), ('queries', str(queries))]
    if judged is None:
        return [*about, ('recall', 'no query with a true pose is of a mapped place')]
    at = [(f'Recall@{n}', f'{100 * x:.1f} %') for n, x in judged.recall_at.items()]
    within = judged.recall_within.items()
    return [
        *about,
        ('of mapped places', f'{judged.queries}, and {judged.unseen} elsewhere'),
        *at,
        *((f'first within {d:g} m', f'{100 * x:.1f} %') for d, x in within),
    ]


def _row(
    asked: _Asked, finder: Finder, pictures: dict[int, NDArray[np.uint8]], same: SamePlace
) -> tuple[Shown, list[Shown]]:
    """A query and what was found for it."""
    found = list[Shown]()
    numbers, alike = (x[:_SHOWN].tolist() for x in asked.found)
    for n, likeness in zip(numbers, alike, strict=True):
        words, right = f'{likeness:.2f} alike', None
        if asked.T_map_cam is not None:
            there = finder.index.T_map_cam[n]
            right = bool(are_same(asked.T_map_cam[None], there[None, None], same)[0, 0])
            away = np.linalg.norm(there[:3, 3] - asked.T_map_cam[:3, 3])
            turned = np.rad2deg(se3.angle_rad(there[:3, :3].T @ asked.T_map_cam[:3, :3]))
            words += f', {away:.1f} m, {turned:.0f} deg off'
        found.append(Shown(pictures.get(n), words, right))
    assert asked.image is not None
    return Shown(asked.image, f'{asked.stamp_ns / 1e9:.2f} s'), found


def _write(path: Path, told: dict[str, float]) -> None:
    try:
        path.write_text(json.dumps(told, indent=1, allow_nan=False) + '\n', 'utf-8')
    except OSError as e:
        raise VlocError(f'{path}: {e.strerror}', 'name a place that can be written to') from e
