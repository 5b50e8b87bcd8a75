"""``vloc depth``: a recording gets depth that is learned from its own pictures."""

import json
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.text import Text

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.errors import BagError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.frames.write_bag import WriteOptions, check_replaceable
from vloc_models.mapping.depth_bag import DepthBagConfig, DepthFigures, write_depth_bag

_BAG, _CONFIG = BagOptions(), DepthBagConfig()


def depth(
    bags: tyro.conf.Positional[tuple[Path, ...]],
    out: Annotated[Path, tyro.conf.arg(aliases=['-o'])],
    options: Annotated[BagOptions, tyro.conf.arg(name='')] = _BAG,
    config: Annotated[DepthBagConfig, tyro.conf.arg(name='')] = _CONFIG,
    preview: bool = True,
    storage: Literal['mcap', 'sqlite3'] = 'mcap',
    overwrite: bool = False,
    json_file: Annotated[Path | None, tyro.conf.arg(name='json')] = None,
) -> None:
    """Learn metric depth from a recording's pictures and poses, and write a bag with it.

        vloc depth run1 -o run1_depth
        vloc map run1_depth -o site

    Interrupted, the same command goes on. The bag has the pictures, poses and odometry of the
    recording, /camera/self_depth/image_raw/compressedDepth, and, where other pictures confirm
    that, /camera/self_depth/valid/compressed. A sensor's depth is not copied, but compared with.

    Args:
        bags: rosbag2 folders, .mcap, .db3 or .bag files, 7-Scenes or ACE folders, with poses.
        out: the rosbag2 folder to write.
        options: which topics, frames and poses to use.
        config: how depth is learned.
        preview: write OUT.preview.jpg beside the bag: pictures and their depth.
        storage: the kind of bag.
        overwrite: replace a bag that is there.
        json_file: where the figures go.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if overwrite:
        check_replaceable(out)
    elif out.exists():  # before minutes of work, not after
        raise BagError(f'{out} exists already', 'choose another name, or add --overwrite')
    if json_file:
        check_outputs([json_file], out)
    writing = WriteOptions(storage, overwrite=overwrite, truth=False)
    with open_source(bags, options) as source, progress_bar(console) as progress:
        figures, drawn = write_depth_bag(source, out, config, writing, by_step(progress))
    console.print(Text(f'written: {out}'))
    for line in in_words(figures):
        console.print(Text(line))
    if json_file:
        json_file.write_text(json.dumps(figures.as_json(), indent=1) + '\n', 'utf-8')
    picture = out.with_name(f'{out.name}.preview.jpg')
    if preview and not drawn.write(str(picture)):
        raise BagError(f'{picture} cannot be written', 'make room, or give --no-preview')


def in_words(figures: DepthFigures) -> list[str]:
    """The figures, a line each."""
    lines = [f'{figures.frames} frames, {figures.valid:.0%} of their pixels confirmed']
    if figures.left_out:
        lines.append(f'{figures.left_out} frames are left out: not all cameras saw them')
    every, valid = figures.all_against_sensor, figures.valid_against_sensor
    if every.abs_rel is not None:
        confirmed = 'nothing is confirmed' if valid.abs_rel is None else f'{valid.abs_rel:.1%}'
        lines.append(
            f"against the sensor's depth, mean relative error: {confirmed} where confirmed, "
            f'{every.abs_rel:.1%} everywhere'
        )
    return lines
