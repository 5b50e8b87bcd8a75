"""Tell real pictures' features from synthetic ones' (DASGIL, section III-C).

The encoder learns to make them alike. Both look at all eight of its maps: the one at all values at
once, which ties it to a size of pictures, the other at one map after the other.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.networks.dasgil import LAYERS, Maps, flat, start_small

DiscriminatorName = Literal['none', 'flatten', 'cascade']
_GROUPS = 4  # of the normalisation


class FlattenDiscriminator(nn.Module):
    """Three layers on all values of all maps; at 256x1024 pixels these are 1,004,800."""

    def __init__(self, widths: tuple[int, ...], size: tuple[int, int]) -> None:
        """Of an encoder's channels, for pictures of ``size`` (height, width)."""
        super().__init__()
        H, W = size
        values = sum(w * (H >> i) * (W >> i) for i, w in enumerate(widths, 1))
        self.norm = nn.BatchNorm1d(values)
        self.layers = nn.Sequential(
            nn.Linear(values, 64), nn.PReLU(), nn.Linear(64, 64), nn.PReLU(), nn.Linear(64, 1)
        )
        self.apply(start_small)

    def forward(self, maps: Maps) -> Tensor:
        """How real they look [B, 1]; 1 for real ones and 0 for others are aimed at."""
        return self.layers(self.norm(flat(maps)))


class CascadeDiscriminator(nn.Module):
    """Each map joins what is known of those before it, at half their size."""

    def __init__(self, widths: tuple[int, ...], size: tuple[int, int]) -> None:
        """Of an encoder's channels, for pictures of ``size`` (height, width)."""
        super().__init__()
        self.blocks, known = nn.ModuleList(), widths[0]
        for number, beside in enumerate(widths[1:]):
            out = 2 * known if number == 0 else known
            self.blocks.append(Down(known, out))
            known = out + beside
        self.mix = nn.Conv2d(known, known, 3, 1, 1)
        H, W = size
        self.score = nn.Linear(known * (H >> LAYERS) * (W >> LAYERS), 1)
        self.apply(start_small)

    def forward(self, maps: Maps) -> Tensor:
        """How real they look [B, 1]; 1 for real ones and 0 for others are aimed at."""
        x = maps[0]
        for block, beside in zip(self.blocks, maps[1:], strict=True):
            x = torch.cat([block(x), beside], 1)
        return self.score(self.mix(F.relu(x)).flatten(1))


class Down(nn.Module):
    """Half the size: two normalised convolutions, and a way around them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(in_channels, out_channels, 1)
        self.layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, in_channels, 3, 1, 1, bias=False),
            nn.GroupNorm(_GROUPS, in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, out, h / 2, w / 2] of x [B, in, h, w]."""
        return F.avg_pool2d(self.layers(x), 2) + self.around(F.avg_pool2d(x, 2))


DISCRIMINATORS: dict[str, Callable[[tuple[int, ...], tuple[int, int]], nn.Module]] = {
    'flatten': FlattenDiscriminator,
    'cascade': CascadeDiscriminator,
}
