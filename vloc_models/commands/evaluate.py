"""``vloc evaluate``: how right a map is, on a recording whose true poses are known."""

import json
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vloc_models.commands.evaluation_report import Result, figures, write_report
from vloc_models.commands.info import AS_RECORDED, placement
from vloc_models.commands.locate import check_outputs, with_progress
from vloc_models.errors import VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.localize.encoder import Precision
from vloc_models.localize.localizer import Localizer, LocalizerConfig, Use
from vloc_models.localize.replay import Replay
from vloc_models.maps import Map
from vloc_models.metrics import trajectory
from vloc_models.tum import write_tum

_DEFAULT = BagOptions(poses='truth', odom='none')


def evaluate(
    bag: tyro.conf.Positional[Path],
    map_folder: Annotated[Path, tyro.conf.arg(name='map', aliases=['-m'])],
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _DEFAULT,
    json_file: Annotated[Path | None, tyro.conf.arg(name='json')] = None,
    tum: Path | None = None,
    report_file: Annotated[Path | None, tyro.conf.arg(name='report')] = None,
    worst: int = 6,
    use: Use = 'both',
    threads: int = 0,
    precision: Precision = 'float32',
) -> None:
    """Locate every frame of a recording in a map and compare with its true poses.

        vloc evaluate run2 --map site --report report.html

    Args:
        bag: a rosbag2 folder, a .mcap, .db3 or .bag file, or a 7-Scenes or ACE folder.
        map_folder: the map, as "vloc map" made it.
        options: which topics to use, and where the true poses come from.
        json_file: write the figures to this file.
        tum: write T_map_base of every pose that was solved, accepted or not, to this file.
        report_file: write a report with plots and pictures to this HTML file.
        worst: how many of the worst frames the report shows.
        use: the map's head, its landmarks, or what is best of both.
        threads: processor cores to use; 0 takes all.
        precision: of the encoder; int8 is quicker on most processors, and hardly less precise.
    """
    if worst < 0:
        raise VlocError(f'--worst {worst} makes no sense', 'give 0 or more')
    check_outputs([f for f in (json_file, tum, report_file) if f], map_folder)
    localizer = Localizer.load(
        map_folder, LocalizerConfig(use, threads=threads, precision=precision)
    )
    site = Map(map_folder, localizer.info)
    placed = placement(np.array(localizer.info.T_frame_map))
    if placed != AS_RECORDED:
        words = f'the map is aligned ({placed}): true poses must be told in its frame'
        Console(stderr=True, soft_wrap=True).print(Text(words, 'yellow'))
    with open_source(bag, options) as source:
        if not len(source.trajectory()):
            fix = 'name a pose topic, tf or a TUM file with --poses, or use "vloc locate"'
            raise VlocError(f'{bag}: no true poses to compare with', fix)
        result = _scored(with_progress(localizer, source), source, site)
        if tum:
            write_tum(tum, result.done.estimates())
        if json_file:
            _write_json(json_file, result)
        _print(result)
        if report_file:
            write_report(report_file, (bag, map_folder), localizer, source, result, worst)
            Console(soft_wrap=True).print(Text(f'report: {report_file}'))


def _scored(done: Replay, source: FrameSource, site: Map) -> Result:
    """The figures, at the first camera's centre."""
    T_base_cam = source.cameras[0].T_base_cam
    truth, estimate = done.truth.moved(T_base_cam), done.estimates().moved(T_base_cam)
    seconds = site.info.provenance.self_test.get('map_seconds')
    score = trajectory.score(truth, estimate)
    return Result(done, score, truth, estimate, site.size_bytes(), seconds)


def _write_json(path: Path, result: Result) -> None:
    """The figures by the names of the peer localizer's, and some more; null for no number."""
    told = {
        **result.score.as_json(),
        'ms_per_query_median': result.percentile_ms(50),
        'ms_per_query_p99': result.percentile_ms(99),
        'map_seconds': result.map_seconds,
        'map_MB': result.map_bytes / 2**20,  # as the peer counts
    }
    finite = {k: x if x is not None and math.isfinite(x) else None for k, x in told.items()}
    try:
        path.write_text(json.dumps(finite, indent=1, allow_nan=False) + '\n', 'utf-8')
    except OSError as e:
        raise VlocError(f'{path}: {e.strerror}', 'name a place that can be written to') from e


def _print(result: Result) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(style='bold')
    for row in figures(result):
        table.add_row(*map(Text, row))
    Console(soft_wrap=True).print(table)
