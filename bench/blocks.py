"""Leave a block out: one recording with depth is its own query, for ours and for the peer.

    python bench/blocks.py MAP_BAG --peer sift_localizer.py --json blocks.json

The frames are split, in time order, into --blocks contiguous blocks. For each block both map the
frames that are neither in it nor within --gap frames of it, and are then asked the block, in turn
as in compare.py. With --turns above 1 all is done again with the borders of the blocks moved by
1/turns of a block, so that each frame is asked once a turn, with another map; the block that runs
over the end is a part at the end and a part at the start, each with its gap.

All queries together are told, with ms per query as in compare.py and means over the maps for their
size and seconds (ours with reading the whole bag, the peer's without), and each block alone.
Ratios are ours / the peer's. Our maps are made as ``vloc map`` makes them, with all its options of
mapping.

Where they are not named, ``$VLOC_DATA`` holds the bag and ``$VLOC_PEER`` is the peer. Maps go into
a folder that is removed, or into --keep, where they are found again: started once more, the bench
goes on.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import tyro
from compare import (
    MAP_BAG,
    PEER,
    Answers,
    Ours,
    Recorded,
    ask_both,
    camera_of,
    load_peer,
    map_figures,
    named,
    rival_of,
    run,
)
from figures import ACCURACY, Figures, compared, save, table, table_of_cases
from numpy.typing import NDArray
from our_maps import Maps, maps_of
from rich.console import Console

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.chosen import Chosen
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.localize.localizer import Localizer
from vloc_models.mapping.build_map import MappingConfig

_SHOWN = ('queries', *ACCURACY, 'accepted', 'false_accepts')


@dataclass(frozen=True)
class SplitConfig:
    """How a recording is split."""

    blocks: int = 5
    """That are left out one after the other."""
    gap: int = 5
    """Frames on each side of a block that are neither mapped nor asked."""
    turns: int = 2
    """How often all is done, each time with other borders."""


@dataclass(frozen=True)
class Options:
    """What is mapped and asked."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording, with depth and true poses."""
    peer: Path | None = None
    """The peer's script, sift_localizer.py."""
    json: Path | None = None
    """Where the figures go, after every block."""
    keep: Path | None = None
    """Where our maps stay; finished ones are used again."""
    split: Annotated[SplitConfig, tyro.conf.arg(name='')] = SplitConfig()
    """Where the blocks lie."""
    config: Annotated[MappingConfig, tyro.conf.arg(name='')] = field(default_factory=MappingConfig)
    """How ours are made."""


@dataclass(frozen=True, eq=False)
class Split:
    """One block, by the numbers of frames."""

    name: str
    asked: NDArray[np.int64]  # [Q] rising
    mapped: NDArray[np.int64]  # [M] rising


def splits(count: int, config: SplitConfig) -> Iterator[Split]:
    """The blocks of all turns.

    Raises:
        VlocError: if a block would be empty, or leave nothing to map.
    """
    blocks, gap, turns = config.blocks, config.gap, config.turns
    if not 2 <= blocks <= count or gap < 0 or turns < 1:
        raise VlocError(f'{count} frames: {blocks} blocks, gap {gap}, {turns} turns', _FIX)
    for turn in range(turns):
        borders = (np.arange(blocks + 1) * turns + turn) * count // (blocks * turns)
        for block, (start, stop) in enumerate(pairwise(borders)):
            asked = np.sort(np.arange(start, stop) % count)
            mapped = _far(asked, count, gap)
            if not len(mapped):
                raise VlocError(f'gap {gap}: leaves none of {count} frames to map', _FIX)
            yield Split(f'turn_{turn + 1}_block_{block + 1}', asked, mapped)


_FIX = 'choose 2 or more --blocks, a small --gap and 1 or more --turns'


def _far(asked: NDArray[np.int64], count: int, gap: int) -> NDArray[np.int64]:
    """The frames further than ``gap`` from all that are asked; the first is far from the last."""
    near = np.zeros(count + 2 * gap, bool)
    for shift in range(2 * gap + 1):
        near[asked + shift] = True
    return np.flatnonzero(~near[gap : gap + count])


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording for both: as frames with stamps, and as the peer reads it."""

    peer: ModuleType
    source: FrameSource
    stamps_ns: NDArray[np.int64]  # [N] of the frames with a pose
    recorded: Recorded  # the same N

    @staticmethod
    def of(peer: ModuleType, bag: Path, source: FrameSource) -> 'Recording':
        """All of a bag.

        Raises:
            BagError: if the peer and we do not read the same pictures.
        """
        recorded, stamps_ns = Recorded.of(peer, bag), source.trajectory().stamps_ns
        if len(recorded.frames) != len(stamps_ns):
            raise BagError(
                f'{bag}: the peer reads {len(recorded.frames)} pictures with a pose, we '
                f'{len(stamps_ns)}',
                'name a recording with a true pose for every picture',
            )
        return Recording(peer, source, stamps_ns, recorded)


@dataclass(frozen=True, eq=False)
class Block:
    """What one block, or all of them together, came to."""

    ours: Ours  # of any block: knows the camera
    answers: Answers
    map_of_ours: Figures
    map_of_peer: Figures

    @staticmethod
    def pooled(parts: Sequence['Block']) -> 'Block':
        """All queries of the parts, and the mean of their maps."""
        answers = Answers.pooled([part.answers for part in parts])
        maps = (_mean([getattr(p, f'map_of_{who}') for p in parts]) for who in ('ours', 'peer'))
        return Block(parts[0].ours, answers, *maps)

    def figures(self) -> dict[str, Figures]:
        """Ours, the peer's, and the ratios."""
        of_ours, of_peer = self.answers.figures(self.ours)
        return compared(of_ours | self.map_of_ours, of_peer | self.map_of_peer)


def main(options: Options) -> None:
    """Map, ask and print."""
    peer_script, bag = named(options.peer, PEER), named(options.map_bag, MAP_BAG)
    peer, done = load_peer(peer_script), {}
    with (
        maps_of(bag, options.config, options.keep, options.json) as maps,
        open_source(bag) as source,
    ):
        recording = Recording.of(peer, bag, source)
        for split in list(splits(len(recording.stamps_ns), options.split)):
            done[split.name] = asked(recording, split, maps, options.split)
            save(told(done), options.json)
    final = told(done)
    Console().print(table_of_cases('block', final['blocks'], _SHOWN))
    Console().print(table(final))


def asked(recording: Recording, split: Split, maps: Maps, config: SplitConfig) -> Block:
    """Both map what is not of the block, and are asked the block."""
    peer, recorded = recording.peer, recording.recorded
    name = f'{split.name}_of_{config.turns}_{config.blocks}_gap_{config.gap}'
    site = maps.build(name, Chosen(recording.source, recording.stamps_ns[split.mapped]))
    ours = Ours(Localizer.of(site), *camera_of(recorded.bag, peer.COLOR))
    given: Figures = {'map_pictures': len(split.mapped)}
    rival, map_of_peer = rival_of(peer, recorded.only(split.mapped))
    answers = ask_both(ours, rival, recorded.only(split.asked))
    return Block(ours, answers, map_figures(site) | given, map_of_peer | given)


def told(done: Mapping[str, Block]) -> dict[str, Any]:
    """What goes into the JSON: all queries together, then each block."""
    pooled = Block.pooled(list(done.values())).figures()
    return pooled | {'blocks': {name: block.figures() for name, block in done.items()}}


def _mean(parts: Sequence[Figures]) -> Figures:
    """Of each figure; None where one has none."""
    return {key: _mean_of([part[key] for part in parts]) for key in parts[0]}


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


if __name__ == '__main__':
    plain = (tyro.conf.AvoidSubcommands,)
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__, config=plain))))
