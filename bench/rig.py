"""What do more cameras bring, and what does a dead one harm?

    python bench/rig.py --json rig.json

A synthetic test world is mapped with one camera, as most users do. Then rigs of two cameras
(stereo), of four that look around (quad), and three of these drive another way, and are asked
every n-th moment: all cameras together, the first one alone, and all of them while the first one
is black, or sends noise. Errors are counted at the first camera, as in compare.py; the time is of
locating.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from compare import run, score
from figures import Figures, save, table_of_cases
from rich.console import Console

from vloc_models.errors import VlocError
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.rigs import RigName
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.mapping.build_map import MappingConfig, build_map
from vloc_models.records import Frame, Verdict, View

Views = Sequence[View]
_SHOWN = (
    'queries',
    'recall_5cm_5deg',
    'recall_10cm_5deg',
    'median_cm',
    'accepted',
    'false_accepts',
    'ms_per_query_median',
)
RIGS: dict[str, tuple[RigName, tuple[int, ...]]] = {  # a synthetic rig, and which of its cameras
    'stereo': ('stereo', (0, 1)),
    'three': ('quad', (0, 1, 3)),  # ahead, left, right
    'quad': ('quad', (0, 1, 2, 3)),
}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    json: Path | None = None
    """Where the figures go, after every rig."""
    world: WorldSpec = field(default_factory=WorldSpec)
    """The synthetic world."""
    every: int = 2
    """Every n-th moment is asked; only these are rendered."""
    cache: Path | None = None
    """Where rendered pictures and the map are kept; without, they are removed."""
    threads: int = 0
    """Of the networks; 0: as many as there are cores."""
    config: Annotated[MappingConfig, tyro.conf.arg(name='')] = field(
        default_factory=partial(MappingConfig, instant=True)
    )
    """How the map is made."""


def main(options: Options) -> None:
    """Measure and print."""
    if options.every < 1:
        raise VlocError('--every makes no sense', 'give 1 or more')
    rows: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.cache or Path(temporary)
        localizer = _mapped(options, folder)
        for name, (rig, cameras) in RIGS.items():
            frames = _asked(options, folder, rig)
            for case, change in _cases(cameras).items():
                rows[f'{name}{case}'] = {'ours': _figures(localizer, frames, change)}
            save(rows, options.json)
    Console().print(table_of_cases('rig', rows, _SHOWN))


def _mapped(options: Options, folder: Path) -> Localizer:
    """The world as one camera saw it."""
    source = SyntheticSource(SyntheticSpec(options.world), folder)
    out = folder / f'map_{source.folder.name}'
    if not out.exists():
        build_map(source, [out.name], out, options.config)
    return Localizer.load(out, LocalizerConfig(threads=options.threads))


def _asked(options: Options, folder: Path, rig: RigName) -> list[Frame]:
    """What a rig sees on another way."""
    drive = DriveSpec(kind='query')
    source = SyntheticSource(SyntheticSpec(options.world, drive, rig=rig), folder)
    return [source.frame(i) for i in range(0, len(source), options.every)]


def _cases(cameras: tuple[int, ...]) -> dict[str, Callable[[Views], list[View]]]:
    """What of the pictures of a moment is given, by what is said of it."""
    rng = np.random.default_rng(0)

    def all_of(views: Views) -> list[View]:
        return [views[i] for i in cameras]

    def black(views: Views) -> list[View]:
        first, *others = all_of(views)
        return [replace(first, image=np.zeros_like(first.image)), *others]

    def noise(views: Views) -> list[View]:
        first, *others = all_of(views)
        image = rng.integers(0, 256, first.image.shape, np.uint8)
        return [replace(first, image=image), *others]

    return {
        ', the first alone': lambda views: [views[0]],
        '': all_of,
        ', the first black': black,
        ', the first noise': noise,
    }


def _figures(
    localizer: Localizer, frames: Sequence[Frame], change: Callable[[Views], list[View]]
) -> Figures:
    fixes, ms, truths = [], [], []
    for frame in frames:
        assert frame.T_map_base is not None
        views = change(frame.views)
        start = time.perf_counter()
        fixes.append(localizer.locate(views))
        ms.append((time.perf_counter() - start) * 1e3)
        truths.append(frame.T_map_base @ views[0].T_base_cam)
    T_base_cam = frames[0].views[0].T_base_cam
    found = [fix.estimate.T_map_base @ T_base_cam if fix.estimate else None for fix in fixes]
    told = score(found, truths, [fix.verdict is Verdict.ACCEPTED for fix in fixes])
    return told | {
        'ms_per_query_median': float(np.median(ms)),
        'ms_per_query_p99': float(np.percentile(ms, 99)),
    }


if __name__ == '__main__':
    plain = (tyro.conf.AvoidSubcommands,)
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__, config=plain))))
