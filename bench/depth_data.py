"""Recordings for bench/depth.py: pictures to learn from, others to be asked, and their truth."""

from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.frames.source import FrameSource, open_source
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.world import Split

Mask = NDArray[np.bool_]
Held = Literal['reported', 'tuning']
_ASKED, _GAP = 0.08, 0.03  # of the pictures: in a held-out block, and left out on each side


def kitchen(bag: Path) -> list[Keyframe]:
    """A recording with poses, colours and depth.

    Raises:
        BagError: if it has no depth to be scored with.
    """
    with open_source((bag,)) as source:
        return _frames(source, bag)


def world(seed: int, split_: Split, seconds: float) -> list[Keyframe]:
    """The beginning of a mapping drive through a synthetic world, with exact classes."""
    drive = DriveSpec(duration_s=seconds)
    source = SyntheticSource(SyntheticSpec(WorldSpec(seed, split=split_), drive))
    return _frames(source, source.folder)


def _frames(source: FrameSource, where: Path) -> list[Keyframe]:
    frames = read_keyframes(source, 1000, 480, colour=True)
    if any(k.depth is None for k in frames):
        raise BagError(f'{where}: has no depth to score with', 'give another recording')
    return frames


def parted(frames: list[Keyframe], held: Held) -> tuple[list[Keyframe], list[Keyframe]]:
    """The pictures to learn from, and those to be asked; others are left out."""
    learned, asked = split(len(frames), held)
    return list(compress(frames, learned)), list(compress(frames, asked))


def split(count: int, held: Held) -> tuple[Mask, Mask]:
    """Which of ``count`` pictures are learned from, and which are asked for.

    Of four blocks of neighbours two are for choosing settings and the two others for reporting.
    """
    asked, near = np.zeros(count, bool), np.zeros(count, bool)
    length, gap = max(1, round(_ASKED * count)), max(1, round(_GAP * count))
    for block in (0, 2) if held == 'tuning' else (1, 3):
        start = round((block + 0.5) * count / 4 - length / 2)
        asked[start : start + length] = True
        near[start - gap : start + length + gap] = True
    return ~near, asked
