"""``vloc map``: a recording becomes a map."""

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.text import Text

from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.errors import MapError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.mapping.build_map import MappingConfig
from vloc_models.mapping.make_map import make_map
from vloc_models.mapping.self_test import in_words
from vloc_models.maps import open_map

_BAG, _CONFIG = BagOptions(), MappingConfig()


def map_(
    bags: tyro.conf.Positional[tuple[Path, ...]],
    out: Annotated[Path, tyro.conf.arg(aliases=['-o'])],
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _BAG,
    config: Annotated[MappingConfig, tyro.conf.arg(name='')] = _CONFIG,
) -> None:
    """Make a map of one or more recordings of a place; interrupted, the same command goes on.

        vloc map run1 run2 -o site

    Args:
        bags: rosbag2 folders, .mcap, .db3 or .bag files, 7-Scenes or ACE folders, with poses.
        out: the folder of the map; an old map there is replaced at the end.
        options: which topics, frames and poses to use.
        config: how the map is made.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
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
        words = 'the old map was aligned to another frame; align this one anew with "vloc align"'
        console.print(Text(words, 'yellow'))


def _is_aligned(path: Path) -> bool:
    """Whether there is a map that is told in another frame than its recording."""
    try:
        return not np.array_equal(open_map(path).info.T_frame_map, np.eye(4))
    except MapError:
        return False
