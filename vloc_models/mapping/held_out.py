"""Held-out frames: blocks with gaps around them, as neighbours in a video are one picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError


@dataclass(frozen=True)
class HeldOutConfig:
    """Which frames the self-test asks for."""

    blocks: int = 4  # of neighbouring frames
    share: float = 0.16  # of the frames, in all blocks together
    gap: float = 0.015  # of the frames, left out on each side of a block


def held_out(count: int, config: HeldOutConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of ``count`` frames in time order are learned from, and which are asked for.

    Raises:
        VlocError: if nothing is left to learn from.
    """
    blocks, share, gap = config.blocks, config.share, config.gap
    if blocks < 1 or not share > 0 or not gap >= 0:
        raise VlocError(f'held out: {blocks} blocks, share {share:g}, gap {gap:g}', _FIX)
    asked, near = np.zeros(count, bool), np.zeros(count, bool)
    length = max(1, round(count * share / blocks))
    margin = max(1, round(count * gap))
    for block in range(blocks):
        start = round((block + 0.5) * count / blocks - length / 2)
        asked[max(0, start) : start + length] = True
        near[max(0, start - margin) : start + length + margin] = True
    if near.all():
        raise VlocError(f'held out: all of {count} pictures, none to learn from', _FIX)
    return ~near, asked


_FIX = 'choose one block or more, of a small share'
