"""One vector for a map of features of any size: what is tried on top of DASGIL's encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape

_OVERLAP = 0.4  # of neighbouring regions


def rmac(features: Tensor, levels: int = 3) -> Tensor:
    """Regional maximum activations (Tolias et al., ICLR 2016, arXiv 1511.05879) [B, C], unit.

    The largest of each channel in squares of several sizes, each made unit, and added up.

    Args:
        features: [B, C, h, w].
        levels: sizes of the squares; the l-th is 2 / (l + 1) of the shorter side.
    """
    sizes = check_shape(features, 'B C h w', 'features')
    h, w = sizes['h'], sizes['w']
    total = torch.zeros_like(features[..., 0, 0])
    more = _more(h, w)
    for level in range(1, levels + 1):
        side = max(1, 2 * min(h, w) // (level + 1))
        for top in _starts(h, side, level + (more if h > w else 0)):
            for left in _starts(w, side, level + (more if w > h else 0)):
                region = features[..., top : top + side, left : left + side]
                total = total + F.normalize(region.amax((2, 3)), dim=1)
    return F.normalize(total, dim=1)


def _more(h: int, w: int) -> int:
    """How many squares more along the longer side overlap as they should."""
    short, long = min(h, w), max(h, w)
    if short == long:
        return 0
    return min(range(1, 7), key=lambda n: abs(_OVERLAP - (1 - (long - short) / (n * short))))


def _starts(length: int, side: int, count: int) -> list[int]:
    """Where ``count`` squares begin along a side."""
    return [int(s) for s in torch.linspace(0, length - side, count).tolist()]


class NetVlad(nn.Module):
    """Sums of what differs from typical features (Arandjelovic et al., CVPR 2016, 1511.07247).

    Args:
        centres: [K, C] typical features, unit.
        sharpness: of the first assignment of a feature to them.
    """

    def __init__(self, centres: Tensor, sharpness: float = 10.0) -> None:
        super().__init__()
        check_shape(centres, 'K C', 'centres')
        self.centres = nn.Parameter(centres.clone())
        self.assign = nn.Conv2d(centres.shape[1], len(centres), 1)
        with torch.no_grad():  # softmax of -sharpness |x - c|^2
            self.assign.weight.copy_(2 * sharpness * centres[:, :, None, None])
            self.assign.bias.copy_(-sharpness * centres.square().sum(1))  # pyright: ignore

    def forward(self, features: Tensor) -> Tensor:
        """A unit vector [B, K C] of features [B, C, h, w]."""
        check_shape(features, 'B C h w', 'features', C=self.centres.shape[1])
        x = F.normalize(features, dim=1)
        share = self.assign(x).softmax(1).flatten(2)  # [B, K, h w]
        summed = share @ x.flatten(2).transpose(1, 2) - share.sum(2, keepdim=True) * self.centres
        return F.normalize(F.normalize(summed, dim=2).flatten(1), dim=1)
