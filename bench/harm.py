"""Harmed queries: how much is still found by ours and by the classical localizer?

    python bench/harm.py MAP_BAG QUERY_BAG --map MAP --peer sift_localizer.py --json harm.json

Each case harms every query in one way and gives the same file to both: a png without loss, or the
jpeg itself for jpeg_*. The peer's map is built once, of the pictures as they are. Errors are
counted as in compare.py; time is not measured.

- as_is: not harmed, for reference
- blur_N: mean of N x N pixels
- gamma_G: v -> v^G with v from 0 to 1, in every channel; below 1 it gets brighter
- noise_S: Gaussian with S of 255 grey levels; all channels of a pixel get the same, so that it is
  just so strong in the grey picture that both look at, and the colour stays
- jpeg_Q: encoded once more with quality Q
- covered_X: a mid-grey rectangle of this share of the picture lies wholly inside; place and shape
  are drawn
- half_resolution: halved by area, then enlarged again, bilinear

blur_9, gamma_0.5, gamma_2, noise_10, jpeg_30 and covered_third are mild, the others are hard. What
is drawn follows from the number of the query in its recording alone. The summary tells our worst
recall of the mild cases, and in which cases fewer of ours than of the peer's are within 10 cm and
5 deg.

Where they are not named, ``$VLOC_DATA`` holds the bags and ``$VLOC_PEER`` is the peer.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro
from compare import (
    MAP_BAG,
    PEER,
    QUERY_BAG,
    Ours,
    Recorded,
    camera_of,
    load_peer,
    named,
    named_map,
    rival_of,
    run,
    score,
)
from figures import ACCURACY, Figures, save, table_of_cases
from numpy.typing import NDArray
from rich.console import Console

from vloc_models.commands.progress import progress_bar
from vloc_models.errors import BagError, VlocError
from vloc_models.frames.cameras import CameraMount
from vloc_models.localize.localizer import Localizer

Picture = NDArray[np.uint8]  # [H, W, 3]; the order of the channels does not matter here
Change = Callable[[Picture, np.random.Generator], Picture]
_GREY = 128
_JUDGED = 'recall_10cm_5deg'


def unchanged(picture: Picture, rng: np.random.Generator) -> Picture:
    """As it is."""
    return picture


def blurred(picture: Picture, rng: np.random.Generator, pixels: int) -> Picture:
    """The mean of ``pixels`` x ``pixels``."""
    return cv2.blur(picture, (pixels, pixels)).astype(np.uint8, copy=False)


def to_power(picture: Picture, rng: np.random.Generator, gamma: float) -> Picture:
    """Each value from 0 to 1 to the power of ``gamma``."""
    levels = np.arange(256) / 255
    return (255 * levels**gamma).round().astype(np.uint8)[picture]


def noisy(picture: Picture, rng: np.random.Generator, sigma: float) -> Picture:
    """With noise of ``sigma`` grey levels."""
    noise = rng.normal(0, sigma, picture.shape[:2])[..., None]
    return (picture + noise).round().clip(0, 255).astype(np.uint8)


def covered(picture: Picture, rng: np.random.Generator, share: float) -> Picture:
    """A ``share`` of it under a rectangle."""
    height, width = picture.shape[:2]
    w = round(width * share ** rng.uniform())  # from all of the height to all of the width
    h = min(height, round(share * height * width / w))
    top, left = rng.integers(height - h, endpoint=True), rng.integers(width - w, endpoint=True)
    picture = picture.copy()
    picture[top : top + h, left : left + w] = _GREY
    return picture


def halved(picture: Picture, rng: np.random.Generator) -> Picture:
    """Half as fine, in the old size."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return large.astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Case:
    """One way to harm a query."""

    change: Change = unchanged
    quality: int | None = None
    """Of the jpeg that is given; none: a png."""

    def __call__(self, jpeg: Any, number: int) -> NDArray[np.uint8]:
        """The file that is given for the picture of this number."""
        picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            raise BagError(f'query {number} is no picture', 'leave it out of the recording')
        harmed = self.change(picture.astype(np.uint8), np.random.default_rng(number))
        if self.quality is None:
            return cv2.imencode('.png', harmed)[1]
        return cv2.imencode('.jpg', harmed, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]

    def words(self, words: str) -> str:
        """The format that a CompressedImage of the file tells, where that of the bag is given."""
        return words if self.quality is not None else words.replace('jpeg', 'png')


MILD = {
    'blur_9': Case(partial(blurred, pixels=9)),
    'gamma_0.5': Case(partial(to_power, gamma=0.5)),
    'gamma_2': Case(partial(to_power, gamma=2.0)),
    'noise_10': Case(partial(noisy, sigma=10.0)),
    'jpeg_30': Case(quality=30),
    'covered_third': Case(partial(covered, share=1 / 3)),
}
HARD = {
    'blur_15': Case(partial(blurred, pixels=15)),
    'gamma_0.35': Case(partial(to_power, gamma=0.35)),
    'gamma_2.8': Case(partial(to_power, gamma=2.8)),
    'noise_20': Case(partial(noisy, sigma=20.0)),
    'jpeg_12': Case(quality=12),
    'covered_half': Case(partial(covered, share=1 / 2)),
    'half_resolution': Case(halved),
}
CASES = {'as_is': Case(), **MILD, **HARD}


@dataclass(frozen=True)
class Options:
    """What is asked."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording that the peer builds its map from, and ours was made from."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is harmed and located, with true poses."""
    map: Path | None = None
    """Our map, as "vloc map" made it."""
    peer: Path | None = None
    """The peer's script, sift_localizer.py."""
    json: Path | None = None
    """Where the figures go, after every case."""
    every: int = 1
    """Ask every n-th query."""
    cases: tuple[str, ...] = tuple(CASES)
    """The ways to harm them."""


@dataclass(frozen=True, eq=False)
class Both:
    """Ours and the peer, and what they are asked."""

    localizer: Localizer
    mount: CameraMount
    words: str  # the format that the bag tells
    rival: Any
    queries: Recorded
    every: int

    def figures(self, name: str) -> dict[str, Figures]:
        """Ours and the peer's of one case."""
        case, K = CASES[name], self.queries.K
        ours = Ours(self.localizer, self.mount, case.words(self.words))
        fixes, found = [], []
        with progress_bar(Console(stderr=True)) as progress:
            numbers = range(0, len(self.queries.frames), self.every)
            for number in progress.track(numbers, task_id=progress.add_task(name, note='')):
                file = case(self.queries.frames[number][0], number)
                fixes.append(ours(file))
                found.append(self.rival.locate(file, K)[0])
        truths = self.queries.every(self.every).truths
        return {'ours': ours.figures(fixes, truths), 'peer': score(found, truths)}


def main(options: Options) -> None:
    """Ask and print."""
    both, told = _both(options), {}
    for name in options.cases:
        told[name] = both.figures(name)
        save(told | {'summary': summary(told)}, options.json)
    Console().print(table_of_cases('case', told, (*ACCURACY, 'accepted', 'false_accepts')))
    Console().print(in_words(summary(told)))


def summary(told: Mapping[str, Mapping[str, Figures]]) -> dict[str, Any]:
    """Our worst recall of the mild cases, and the cases in which the peer's is better."""
    recall = {
        name: [both[who][_JUDGED] or 0.0 for who in ('ours', 'peer')]
        for name, both in told.items()
    }
    mild = [ours for name, (ours, _) in recall.items() if name in MILD]
    return {
        f'worst_mild_{_JUDGED}': min(mild, default=None),
        'cases_below_peer': [name for name, (ours, peer) in recall.items() if ours < peer],
    }


def in_words(summary: Mapping[str, Any]) -> str:
    """The summary in a line."""
    worst, below = summary[f'worst_mild_{_JUDGED}'], summary['cases_below_peer']
    of_mild = 'no mild case' if worst is None else f'{worst:.1%} in the worst mild case'
    return f'within 10 cm, 5 deg: {of_mild}; below the peer: {", ".join(below) or "never"}'


def _both(options: Options) -> Both:
    """Both with their maps; all that is named is there, and the figures can be written."""
    peer_script, map_bag = named(options.peer, PEER), named(options.map_bag, MAP_BAG)
    query_bag = named(options.query_bag, QUERY_BAG)
    map_folder = named_map(options.map, options.json)
    if options.every < 1:
        raise VlocError('--every makes no sense', 'give 1 or more')
    if strange := [name for name in options.cases if name not in CASES]:
        raise VlocError(f'no case {strange[0]!r}', f'choose from {", ".join(CASES)}')
    peer, localizer = load_peer(peer_script), Localizer.load(map_folder)
    queries, mount_words = Recorded.of(peer, query_bag), camera_of(query_bag, peer.COLOR)
    rival, _ = rival_of(peer, Recorded.of(peer, map_bag))
    return Both(localizer, *mount_words, rival, queries, options.every)


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
