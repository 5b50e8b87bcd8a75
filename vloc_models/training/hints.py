"""Depths at which neighbouring pictures look alike, as hints to learn from (arXiv 1909.09051).

The photometric loss only finds the way downhill: from a wrong depth a wall looks no better a
little nearer or further, and a network that starts wrong stays so. With known poses all depths can
be tried for each pixel, a plane sweep; where one fits clearly better than the others it is a hint.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vloc_models.errors import VlocError
from vloc_models.networks.fsre_losses import Neighbours, photometric_error, reprojected
from vloc_models.training.video import NeighbourConfig, Video, neighbours_of


@dataclass(frozen=True)
class HintConfig:
    """How depths are tried."""

    depths: int = 48  # tried, evenly in 1 / depth
    # a wider base line than that of the photometric loss: there is no way downhill to lose
    neighbours: NeighbourConfig = field(
        default_factory=lambda: NeighbourConfig(count=4, overlap=0.4, parallax=(0.04, 0.3))
    )
    window: int = 7  # pixels across that are compared together
    least_gain: float = 0.02  # by which a depth must fit better than the others do on average

    def __post_init__(self) -> None:
        if self.depths < 3 or self.window < 1 or not self.window % 2 or self.least_gain < 0:
            raise VlocError(
                f'hints: {self.depths} depths, a window of {self.window}, '
                f'a gain of {self.least_gain:g}',
                'give three depths or more, an odd window and no negative gain',
            )


def depth_hints(
    video: Video,
    config: HintConfig,
    depths_m: tuple[float, float],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """What a plane sweep tells of each picture.

    Args:
        video: with poses.
        config: how depths are tried.
        depths_m: the nearest and the furthest.
        report: called after every picture.

    Returns:
        [M, H, W] depth z in metres, nan where no depth fits clearly better than others.

    Raises:
        VlocError: if no two pictures show the same from two places.
    """
    assert video.T_map_cam is not None
    inverse = torch.linspace(1 / depths_m[1], 1 / depths_m[0], config.depths)
    grey = torch.from_numpy(video.images.mean(3, dtype=np.float32))[:, None] / 255
    K = torch.from_numpy(video.K).float()
    choices = neighbours_of(video, config.neighbours)
    hints = np.full(video.images.shape[:3], np.nan, np.float32)
    for i, others in enumerate(choices):
        if len(others):
            some = others[
                np.linspace(0, len(others) - 1, config.neighbours.count).round().astype(int)
            ]
            T = np.linalg.inv(video.T_map_cam[some]) @ video.T_map_cam[i]
            near = Neighbours(grey[some][None], K[some][None], torch.from_numpy(T).float()[None])
            costs = _costs(grey[i][None], K[i][None], near, inverse, config.window)
            hints[i] = _clearest(costs, inverse, config.least_gain).numpy()
        report(i + 1, len(choices))
    return hints


def _costs(image: Tensor, K: Tensor, near: Neighbours, inverse: Tensor, window: int) -> Tensor:
    """How badly each inverse depth fits each pixel [D, H, W].

    It is the mean over the better half of the neighbours: in the others it may be hidden.
    """
    costs, count = [], near.images.shape[1]
    same = image.expand(count, -1, -1, -1)
    for told in inverse:
        warped = reprojected(torch.ones_like(image) / told, K, near)[0]
        error = photometric_error(warped, same)
        error = F.avg_pool2d(error, window, 1, window // 2, count_include_pad=False)[:, 0]
        costs.append(error.topk((count + 1) // 2, 0, largest=False).values.mean(0))
    return torch.stack(costs)


def _clearest(costs: Tensor, inverse: Tensor, least_gain: float) -> Tensor:
    """The depth [H, W] of the least cost, between two of those tried; nan where it is unclear."""
    best, at = costs.min(0)
    at = at.clamp(1, len(inverse) - 2)
    before, here, after = (costs.gather(0, at[None] + n)[0] for n in (-1, 0, 1))
    bend = before - 2 * here + after
    shift = (0.5 * (before - after) / bend.clamp(min=1e-9)).clamp(-0.5, 0.5)
    depth = 1 / (inverse[at] + shift * (inverse[1] - inverse[0]))
    clear = (costs.mean(0) - best >= least_gain) & (here <= torch.minimum(before, after))
    return torch.where(clear, depth, torch.nan)
