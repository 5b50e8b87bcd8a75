"""Held-out frames: blocks with gaps around them, as neighbours in a video are one picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HeldOutConfig:
    """Which frames the self-test asks for."""

    blocks: int = 3
    share: float = 0.15  # of the frames, in all blocks together
    gap: float = 0.02  # of the frames, left out on each side of a block


def held_out(count: int, config: HeldOutConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of ``count`` frames in time order are learned from, and which are asked for."""
    asked, near = np.zeros(count, bool), np.zeros(count, bool)
    length = max(1, round(count * config.share / config.blocks))
    gap = max(1, round(count * config.gap))
    for block in range(config.blocks):
        start = round((block + 0.5) * count / config.blocks - length / 2)
        asked[max(0, start) : start + length] = True
        near[max(0, start - gap) : start + length + gap] = True
    return ~near, asked
