"""Our own encoder ("lite"): a vector for each 8x8 cell of a grey picture, and how it is taught.

Supervision is self-made: two pictures of which exact pixel correspondences are known (a photo
under two homographies, two rendered views with depth). A cell's vector must be more like that of
the same surface point in the other picture than like any other vector of the batch (InfoNCE,
van den Oord et al. 2018, arXiv 1807.03748).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape

STRIDE = 8


class LiteEncoder(nn.Module):
    """About 1 M parameters, 6 GFLOP at 640x480; unit vectors.

    A narrow path down to stride 8 keeps detail; a second one at stride 32 sees 300 pixels around,
    so that cells which look alike close up differ.
    """

    channels = 128

    def __init__(self) -> None:
        super().__init__()
        self.detail = nn.Sequential(
            _conv(1, 16, 2),
            _conv(16, 16),
            _conv(16, 32, 2),
            _conv(32, 32),
            _conv(32, 32),
            _conv(32, 64, 2),
            _conv(64, 64),
            _conv(64, 64),
            _conv(64, 96),
            _conv(96, 96),
            _conv(96, 96),
        )
        self.context = nn.Sequential(
            _conv(96, 128, 2), _conv(128, 128, 2), _conv(128, 128), _conv(128, 128)
        )
        self.down = nn.Conv2d(128, 96, 1)
        self.merge = _conv(96, 96)
        self.out = nn.Conv2d(96, self.channels, 1)

    def forward(self, grey: Tensor) -> Tensor:
        """Unit features [B, 128, h, w] of normalised grey pictures [B, 1, H, W]."""
        check_shape(grey, 'B 1 H W', 'grey')
        x = self.detail(grey)
        context = self.down(self.context(x))
        x = x + F.interpolate(context, x.shape[2:], mode='bilinear', align_corners=False)
        return F.normalize(self.out(self.merge(x)), dim=1, eps=1e-6)


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride, 1), nn.ReLU())


@dataclass(frozen=True)
class ContrastConfig:
    """The contrastive loss."""

    temperature: float = 0.05
    same_px: float = 8.0  # points of one picture closer than this are no negatives


def sample(features: Tensor, pixels: Tensor) -> Tensor:
    """Unit features [B, N, C] at ``pixels`` [B, N, 2], bilinear between the cells' centres."""
    sizes = check_shape(features, 'B C h w', 'features')
    check_shape(pixels, 'B N 2', 'pixels', B=sizes['B'])
    cells = (pixels + 0.5) / STRIDE - 0.5  # cell i has its centre at pixel 8 (i + 0.5) - 0.5
    size = torch.tensor([sizes['w'], sizes['h']], device=cells.device)
    grid = (2 * cells + 1) / size - 1
    found = F.grid_sample(features, grid[:, :, None], 'bilinear', 'border', align_corners=False)
    return F.normalize(found[..., 0].transpose(1, 2), dim=2)


def contrastive_loss(
    a: Tensor,  # [B, N, C] unit features of the points in the first pictures
    b: Tensor,  # [B, N, C] of the same points in the second ones
    pixels_b: Tensor,  # [B, N, 2] where those are
    config: ContrastConfig,
) -> Tensor:
    """Symmetric InfoNCE: every point against all points of the batch, both ways.

    Points of one picture that are closer than ``same_px`` are left out of each other's
    negatives: they look alike because they are the same place.
    """
    sizes = check_shape(a, 'B N C', 'a')
    check_shape(b, 'B N C', 'b', **sizes)
    check_shape(pixels_b, 'B N 2', 'pixels_b', B=sizes['B'], N=sizes['N'])
    logits = a.flatten(0, 1) @ b.flatten(0, 1).T / config.temperature  # [B N, B N]
    near = torch.cdist(pixels_b, pixels_b) < config.same_px
    eye = torch.eye(sizes['N'], dtype=torch.bool, device=a.device)
    logits = logits.masked_fill(torch.block_diag(*(near & ~eye)), -torch.inf)
    target = torch.arange(len(logits), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
