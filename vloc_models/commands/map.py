"""``vloc map``: a recording becomes a map, or many recordings of many sites their maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.text import Text

from vloc_models.commands.progress import by_site, by_step, progress_bar
from vloc_models.errors import MapError, VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.mapping.make_map import make_map
from vloc_models.mapping.on_ray import on_ray
from vloc_models.mapping.self_test import in_words
from vloc_models.mapping.site_job import Way, make_maps
from vloc_models.mapping.sites import Site, read_sites
from vloc_models.mapping.workers import in_processes, in_turn
from vloc_models.maps import open_map

_BAG, _CONFIG = BagOptions(), MappingConfig()
_ALIGN = 'the old map was aligned to another frame; align this one anew with "vloc align"'


@dataclass(frozen=True)
class Many:
    """Maps of many sites, on several processes or machines (docs/many_sites.md)."""

    sites: Path | None = None
    """In place of recordings and --out: a yaml file that lists sites, each with its name, its
    "bags" and settings of its own. The options given here are those of all sites."""
    jobs: int = 1
    """How many sites are mapped at a time on this machine, each by a process."""
    ray: str = ''
    """Map on the machines of a Ray cluster: its host:port; auto, where this machine is part of
    one; local: on this machine. Needs vloc_ros[cluster]."""


_MANY = Many()


def map_(
    bags: tyro.conf.Positional[tuple[Path, ...]],
    out: Annotated[Path | None, tyro.conf.arg(aliases=['-o'], metavar='PATH')] = None,
    many: Annotated[Many, tyro.conf.arg(name='')] = _MANY,
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _BAG,
    config: Annotated[MappingConfig, tyro.conf.arg(name='')] = _CONFIG,
) -> int:
    """Make a map of one or more recordings of a place; interrupted, the same command goes on.

    One site:
        vloc map run1 run2 -o site

    Many sites, which a file lists, three at a time, or on all machines of a Ray cluster:
        vloc map --sites sites.yaml --jobs 3
        vloc map --sites sites.yaml --ray auto

    Args:
        bags: rosbag2 folders, .mcap, .db3 or .bag files, 7-Scenes or ACE folders, with poses.
        out: the folder of the map (needed but with --sites); an old one is replaced at the end.
        many: several sites at once.
        options: which topics, frames and poses to use.
        config: how the map is made.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if many.sites is not None:
        if bags or out is not None:
            raise VlocError(
                '--sites and a recording or --out', 'the file names them: leave them out'
            )
        sites = read_sites(many.sites, options, config)
        return _map_sites(sites, _way(many), console)
    if many != _MANY:
        raise VlocError('--jobs and --ray are for many sites', 'list them in a file for --sites')
    if out is None:
        raise VlocError('no map is named', 'add -o FOLDER, or list sites in a file for --sites')
    _map_one(bags, out, options, config, console)
    return 0


def _way(many: Many) -> Way:
    if many.jobs < 1 or (many.ray and many.jobs > 1):
        raise VlocError(
            f'--jobs {many.jobs}' + ' and --ray' * bool(many.ray),
            'Ray has as many as the cluster has cores' if many.ray else 'give 1 or more',
        )
    if many.ray:
        return partial(on_ray, address=many.ray)
    return in_turn if many.jobs == 1 else partial(in_processes, jobs=many.jobs)


def _map_sites(sites: Sequence[Site], way: Way, console: Console) -> int:
    """Returns the exit code: 2 if one of them has no map."""
    aligned = {site.name for site in sites if _is_aligned(site.out)}
    with progress_bar(console) as progress:
        outcomes = make_maps(sites, way, by_site(progress))
    width = max(len(outcome.name) for outcome in outcomes)
    for outcome in outcomes:
        words = f'{outcome.name:<{width}}  {outcome.result:<13}  {outcome.words}'
        if outcome.result == 'written' and outcome.name in aligned:
            words += f'; {_ALIGN}'
        bad = outcome.result == 'failed' or 'POOR' in words
        console.print(Text(words, 'bold red' if bad else ''))
    return 2 if any(outcome.result == 'failed' for outcome in outcomes) else 0


def _map_one(
    bags: Sequence[Path], out: Path, options: BagOptions, config: MappingConfig, console: Console
) -> None:
    was_aligned = _is_aligned(out)
    with open_source(bags, options) as source, progress_bar(console) as progress:
        made = make_map(source, [str(bag) for bag in bags], out, config, by_step(progress))
    figures = made.info.provenance.self_test
    seconds, size = figures.get('map_seconds') or 0.0, made.size_bytes() / 1e6
    console.print(Text(f'written: {out} ({size:.1f} MB, {seconds:.0f} s)'))
    words = in_words(figures)
    console.print(Text(f'self-test {words}', 'bold red' if 'POOR' in words else ''))
    if 'non-commercial' in made.info.encoder.licence:
        console.print(Text(f'licence of its encoder: {made.info.encoder.licence}', 'yellow'))
    if was_aligned:
        console.print(Text(_ALIGN, 'yellow'))


def _is_aligned(path: Path) -> bool:
    """Whether there is a map that is told in another frame than its recording."""
    try:
        return not np.array_equal(open_map(path).info.T_frame_map, np.eye(4))
    except MapError:
        return False
