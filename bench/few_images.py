"""Maps of few pictures: how much do ours and the classical localizer find with them?

    python bench/few_images.py MAP_BAG QUERY_BAG --peer sift_localizer.py --json few_images.json

For each n of --every, both map every n-th picture of MAP_BAG, and are asked all of QUERY_BAG as in
compare.py. Our maps are made as ``vloc map`` makes them, with all its options of mapping, but of
fewer than its 10 pictures too. Map seconds: ours with reading the bag, the peer's without.

Where they are not named, ``$VLOC_DATA`` holds the bags and ``$VLOC_PEER`` is the peer. Maps go
into a folder that is removed, or into --keep, where they are found again: started once more, the
bench goes on.
"""

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated

import tyro
from compare import (
    MAP_BAG,
    PEER,
    QUERY_BAG,
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
from figures import ACCURACY, Figures, save, table_of_cases
from our_maps import Maps, maps_of
from rich.console import Console

from vloc_models.errors import VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.localize.localizer import Localizer
from vloc_models.mapping.build_map import MappingConfig

_SHOWN = (*ACCURACY, 'map_pictures', 'map_MB', 'map_seconds')


@dataclass(frozen=True)
class Options:
    """What is mapped and asked."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording that maps are made of, with depth."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is located, with true poses."""
    peer: Path | None = None
    """The peer's script, sift_localizer.py."""
    json: Path | None = None
    """Where the figures go, after every n."""
    keep: Path | None = None
    """Where our maps stay; finished ones are used again."""
    every: tuple[int, ...] = (1, 4, 10, 25)
    """Map every n-th picture, for each n."""
    config: Annotated[MappingConfig, tyro.conf.arg(name='')] = field(
        default_factory=partial(MappingConfig, min_images=1)
    )
    """How ours are made."""


def main(options: Options) -> None:
    """Map, ask and print."""
    peer_script, map_bag = named(options.peer, PEER), named(options.map_bag, MAP_BAG)
    query_bag = named(options.query_bag, QUERY_BAG)
    if min(options.every, default=0) < 1:
        raise VlocError('--every makes no sense', 'give 1 or more')
    peer, told = load_peer(peer_script), {}
    with maps_of(map_bag, options.config, options.keep, options.json) as maps:
        queries = Recorded.of(peer, query_bag)
        for n in options.every:
            told[f'every_{n}'] = measured(peer, maps, queries, n)
            save(told, options.json)
    Console().print(table_of_cases('mapped', told, _SHOWN))


def measured(peer: ModuleType, maps: Maps, queries: Recorded, n: int) -> dict[str, Figures]:
    """The figures of both with maps of every n-th picture."""
    with open_source(maps.bag, BagOptions(every=n)) as source:
        site = maps.build(f'every_{n}', source)
        given: Figures = {'map_pictures': len(source)}
    ours = Ours(Localizer.of(site), *camera_of(queries.bag, peer.COLOR))
    recorded = Recorded.of(peer, maps.bag).every(n)
    rival, map_of_peer = rival_of(peer, recorded)
    of_ours, of_peer = ask_both(ours, rival, queries).figures(ours)
    of_ours |= map_figures(site) | given
    return {
        'ours': of_ours,
        'peer': of_peer | map_of_peer | {'map_pictures': len(recorded.frames)},
    }


if __name__ == '__main__':
    plain = (tyro.conf.AvoidSubcommands,)
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__, config=plain))))
