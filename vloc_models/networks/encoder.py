"""Our own encoder ("lite"): for each 8x8 cell of a grey picture a vector and a spot within it.

Supervision is self-made: two pictures of which exact correspondences are known (a photo under two
homographies, two rendered views with depth). Four things are learned together:

- the vector of a cell must be more like that of the same surface point in the other picture than
  like any other's (InfoNCE, van den Oord et al. 2018, arXiv 1807.03748);
- the spot, a place within the cell, must be the same surface point in both pictures, so that
  matches are finer than cells (as the points of UnsuperPoint, Christiansen et al. 2019,
  arXiv 1907.04011), with
- the distance by which it will be missed, and
- whether the vector will find its like.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vloc_models.checks import check_shape

STRIDE = 8
SPOT = ('u', 'v', 'log_sigma', 'sure')  # channels of ``spots``


class LiteEncoder(nn.Module):
    """About 1.5 M parameters, 2.5 GFLOP at 480x360; unit vectors.

    A narrow path down to stride 8 keeps detail; a second one at strides 16 and 32 sees most of the
    picture, so that cells which look alike close up differ.
    """

    channels = 128

    def __init__(self, norm: bool = True) -> None:
        """With batch normalisation to be trained, without it to be used (see ``fused``)."""
        super().__init__()
        conv = partial(_Block, norm)
        self.detail = nn.Sequential(
            conv(1, 16, 2),
            conv(16, 32, 2),
            conv(32, 32),
            conv(32, 64, 2),
            conv(64, 64),
            conv(64, 64),
            conv(64, 96),
        )
        self.context = nn.Sequential(
            conv(96, 128, 2),
            conv(128, 128),
            conv(128, 192, 2),
            conv(192, 192),
            conv(192, 192),
        )
        self.down = nn.Conv2d(192, 96, 1)
        self.merge = conv(96, 128)
        self.out = nn.Conv2d(128, self.channels, 1)
        self.spot = nn.Conv2d(128, len(SPOT), 1)

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        """What is in the cells of normalised grey pictures [B, 1, H, W].

        Returns:
            Unit features [B, 128, h, w], and spots [B, 4, h, w]: how far from the cell's centre to
            the right and down (px, less than half a cell), the logarithm of the expected miss
            (px), and the logit of the feature's being found again.
        """
        check_shape(grey, 'B 1 H W', 'grey')
        x = self.detail(grey)
        context = self.down(self.context(x))
        x = x + F.interpolate(context, x.shape[2:], mode='bilinear', align_corners=False)
        x = self.merge(x)
        raw = self.spot(x)
        spots = torch.cat([STRIDE / 2 * torch.tanh(raw[:, :2]), raw[:, 2:]], 1)
        return F.normalize(self.out(x), dim=1, eps=1e-6), spots

    def fused(self) -> 'LiteEncoder':
        """The same function without normalisation layers, as it is exported; evaluation mode."""
        twin = LiteEncoder(norm=False)
        for name, module in self.named_modules():
            if isinstance(module, _Block):
                twin.get_submodule(name).load_state_dict(module.fused().state_dict())
            elif isinstance(module, nn.Conv2d) and '.' not in name:
                twin.get_submodule(name).load_state_dict(module.state_dict())
        return twin.eval()


class _Block(nn.Sequential):
    """A 3x3 convolution, its normalisation or none, ReLU."""

    def __init__(self, norm: bool, in_channels: int, out_channels: int, stride: int = 1) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=not norm)
        between = [nn.BatchNorm2d(out_channels)] if norm else []
        super().__init__(conv, *between, nn.ReLU())

    def fused(self) -> '_Block':
        """The same without normalisation; of a block in evaluation mode."""
        conv, norm, _ = self
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        twin = _Block(False, conv.in_channels, conv.out_channels, conv.stride[0])
        twin[0] = fuse_conv_bn_eval(conv, norm)
        return twin


@dataclass(frozen=True)
class ContrastConfig:
    """What the encoder is taught, and how much of each."""

    temperature: float = 0.05
    same_px: float = 12.0  # cells of a picture closer than this are no negatives
    spot_weight: float = 1.0  # of the spots' loss
    sure_weight: float = 0.2  # of the loss of the confidence


@dataclass(frozen=True, eq=False)
class Seen:
    """The cells of one batch of pictures."""

    features: Tensor  # [B, C, h, w]
    spots: Tensor  # [B, 4, h, w]

    def cell_of(self, pixels: Tensor) -> Tensor:
        """The number [B, N] of the cell that each of ``pixels`` [B, N, 2] lies in."""
        h, w = self.features.shape[2:]
        cells = ((pixels + 0.5) / STRIDE).long()  # never negative
        column, row = cells[..., 0].clamp(0, w - 1), cells[..., 1].clamp(0, h - 1)
        return row * w + column

    def centres(self) -> Tensor:
        """The cells' centres [h w, 2], px."""
        h, w = self.features.shape[2:]
        v, u = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
        centres = torch.stack([u, v], -1).reshape(-1, 2).float() * STRIDE + (STRIDE - 1) / 2
        return centres.to(self.features.device)

    def at(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, N, C] and spots [B, N, 4] of ``cells`` [B, N]."""
        return _gather(self.features, cells), _gather(self.spots, cells)


@dataclass(frozen=True, eq=False)
class Truth:
    """Which points of two batches of pictures are the same."""

    first: Tensor  # [B, N, 2] pixels, centres of cells
    second: Tensor  # [B, N, 2] where the same points are in the second pictures
    jacobian: Tensor  # [B, N, 2, 2] how second moves with first


def encoder_loss(a: Seen, b: Seen, truth: Truth, config: ContrastConfig) -> Tensor:
    """The sum of the three losses of a batch of pairs."""
    n = check_shape(truth.first, 'B N 2', 'first', B=len(a.features))['N']
    check_shape(truth.second, 'B N 2', 'second', B=len(a.features), N=n)
    check_shape(truth.jacobian, 'B N 2 2', 'jacobian', B=len(a.features), N=n)
    here = a.cell_of(truth.first)
    features_a, spots_a = a.at(here)
    moved = truth.second + (truth.jacobian @ spots_a[..., :2, None])[..., 0]
    there = b.cell_of(moved.detach())
    features_b, spots_b = b.at(there)
    spot = b.centres()[there] + spots_b[..., :2]
    missed = (spot - moved).norm(dim=-1)
    forth, found_b = _contrast(features_a, features_b, b, there, config)
    back, found_a = _contrast(features_b, features_a, a, here, config)
    sure = F.binary_cross_entropy_with_logits(
        torch.cat([spots_a[..., 3], spots_b[..., 3]]), torch.cat([found_b, found_a])
    )
    log_sigma = (spots_a[..., 2] + spots_b[..., 2]) / 2
    return (
        (forth + back) / 2
        + config.spot_weight * spot_loss(missed, log_sigma)
        + config.sure_weight * sure
    )


def spot_loss(missed: Tensor, log_sigma: Tensor) -> Tensor:
    """Negative log likelihood of distances (px) of a Laplace distribution, but for constants."""
    return (missed * torch.exp(-log_sigma) + log_sigma).mean()


def _contrast(
    asked: Tensor, same: Tensor, other: Seen, cells: Tensor, config: ContrastConfig
) -> tuple[Tensor, Tensor]:
    """InfoNCE of features against all cells of the other picture, and against other pairs' points.

    Args:
        asked: [B, N, C] unit features.
        same: [B, N, C] those of the same points in the other pictures.
        other: the other pictures; cells within ``same_px`` of the right one are no negatives.
        cells: [B, N] which cells of theirs are right.
        config: temperature and distance.

    Returns:
        The loss, and for each point whether the right one was the most similar, [B, N] of 0 and 1.
    """
    B, N = cells.shape
    centres = other.centres()
    inside = torch.einsum('bnc,bck->bnk', asked, other.features.flatten(2))  # [B, N, h w]
    near = torch.cdist(centres[cells], centres.expand(B, -1, -1)) < config.same_px
    near = near.scatter(2, cells[..., None], False)
    beyond = asked.flatten(0, 1) @ same.flatten(0, 1).T  # [B N, B N]
    own = torch.block_diag(*torch.ones(B, N, N, dtype=torch.bool, device=asked.device))
    logits = torch.cat(
        [
            inside.masked_fill(near, -torch.inf).flatten(0, 1),
            beyond.masked_fill(own, -torch.inf),
        ],
        1,
    )
    logits = logits / config.temperature
    target = cells.flatten()
    found = (logits.detach().argmax(1) == target).float().view(B, N)
    return F.cross_entropy(logits, target), found


def _gather(grid: Tensor, cells: Tensor) -> Tensor:
    """[B, N, C] of [B, C, h, w] at cells [B, N]."""
    channels = grid.shape[1]
    index = cells[:, None].expand(-1, channels, -1)
    return grid.flatten(2).gather(2, index).transpose(1, 2)
