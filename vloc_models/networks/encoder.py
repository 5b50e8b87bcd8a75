"""Our own encoder ("lite"): for each 8x8 cell of a grey picture a vector, and how sure it is.

Supervision is self-made: two pictures of which exact correspondences are known (a photo under two
homographies, two rendered views with depth). Two things are learned together:

- the vector of a cell must be more like those of the cells around the same surface point in the
  other picture than like any other's (InfoNCE, van den Oord et al. 2018, arXiv 1807.03748). The
  nearer of these four cells must be the likelier, so that the mean over them, weighted by
  likeness, is finer than a cell (solvers/subcell.py);
- whether it will find its like; what is covered will not.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vloc_models.checks import check_shape

STRIDE = 8


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
        self.sure = nn.Conv2d(128, 1, 1)

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        """What is in the cells of normalised grey pictures [B, 1, H, W].

        Returns:
            Unit features [B, 128, h, w], and sure [B, 1, h, w]: the logit of each one's being
            found again.
        """
        check_shape(grey, 'B 1 H W', 'grey')
        x = self.detail(grey)
        context = self.down(self.context(x))
        x = x + F.interpolate(context, x.shape[2:], mode='bilinear', align_corners=False)
        x = self.merge(x)
        return F.normalize(self.out(x), dim=1, eps=1e-6), self.sure(x)

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
    beyond: int = 64  # points of each other pair that count as different
    sure_weight: float = 0.2  # of the loss of the confidence


@dataclass(frozen=True, eq=False)
class Seen:
    """The cells of one batch of pictures."""

    features: Tensor  # [B, C, h, w]
    sure: Tensor  # [B, 1, h, w]

    def around(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The four cells [B, N, 4] around ``pixels`` [B, N, 2], and their bilinear weights."""
        h, w = self.features.shape[2:]
        at = (pixels - (STRIDE - 1) / 2) / STRIDE
        low = at.floor()
        part = at - low
        cells, weights = [], []
        for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
            column = (low[..., 0] + right).long().clamp(0, w - 1)
            row = (low[..., 1] + down).long().clamp(0, h - 1)
            across = part[..., 0] if right else 1 - part[..., 0]
            along = part[..., 1] if down else 1 - part[..., 1]
            cells.append(row * w + column)
            weights.append(across * along)
        return torch.stack(cells, -1), torch.stack(weights, -1)

    def at(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Unit features [B, N, C], between cells, and the nearest cell's sure [B, N]."""
        cells, weights = self.around(pixels)
        corners = _gather(self.features, cells.flatten(1)).unflatten(1, cells.shape[1:])
        features = F.normalize((corners * weights[..., None]).sum(2), dim=2, eps=1e-6)
        nearest = cells.gather(2, weights.argmax(2, keepdim=True))[..., 0]
        return features, _gather(self.sure, nearest)[..., 0]


@dataclass(frozen=True, eq=False)
class Truth:
    """Which points of two batches of pictures are the same, and which cells are covered."""

    first: Tensor  # [B, N, 2] pixels
    second: Tensor  # [B, N, 2] where the same points are in the second pictures
    hidden_first: Tensor  # [B, h, w] bool
    hidden_second: Tensor


def encoder_loss(a: Seen, b: Seen, truth: Truth, config: ContrastConfig) -> Tensor:
    """The sum of the two losses of a batch of pairs."""
    n = check_shape(truth.first, 'B N 2', 'first', B=len(a.features))['N']
    check_shape(truth.second, 'B N 2', 'second', B=len(a.features), N=n)
    for hidden, seen in ((truth.hidden_first, a), (truth.hidden_second, b)):
        B, _, h, w = seen.sure.shape
        check_shape(hidden, 'B h w', 'hidden', B=B, h=h, w=w)
    features_a, sure_a = a.at(truth.first)
    features_b, sure_b = b.at(truth.second)
    forth, found_b = _contrast(features_a, features_b, b, truth.second, config)
    back, found_a = _contrast(features_b, features_a, a, truth.first, config)
    covered = torch.cat([a.sure[:, 0][truth.hidden_first], b.sure[:, 0][truth.hidden_second]])
    asked = torch.cat([sure_a.flatten(), sure_b.flatten(), covered])
    found = torch.cat([found_b.flatten(), found_a.flatten(), torch.zeros_like(covered)])
    sure = F.binary_cross_entropy_with_logits(asked, found)
    return (forth + back) / 2 + config.sure_weight * sure


def _contrast(
    asked: Tensor, same: Tensor, other: Seen, pixels: Tensor, config: ContrastConfig
) -> tuple[Tensor, Tensor]:
    """InfoNCE of features against all cells of the other picture, and against other pairs' points.

    Args:
        asked: [B, N, C] unit features.
        same: [B, N, C] those of the same points in the other pictures.
        other: the other pictures.
        pixels: [B, N, 2] where the points are there; each of the four cells around is right in
            proportion to its bilinear weight.
        config: temperature and number of others.

    Returns:
        The loss, and for each point whether one of the right ones was the most similar, [B, N] of
        0 and 1.
    """
    B, N = pixels.shape[:2]
    cells, weights = other.around(pixels)
    inside = torch.bmm(asked, other.features.flatten(2)) / config.temperature  # [B, N, h w]
    others = same[:, :: max(1, N // config.beyond)]
    beyond = torch.einsum('bnc,dmc->bndm', asked, others) / config.temperature
    own = torch.eye(B, dtype=torch.bool, device=asked.device)[:, None, :, None]
    beyond = beyond.masked_fill(own, -torch.inf).flatten(2)  # [B, N, B M]
    everything = torch.logaddexp(inside.logsumexp(2), beyond.logsumexp(2))
    right = (inside.gather(2, cells) * weights).sum(2)
    best, where = inside.detach().max(2)
    found = ((cells == where[..., None]) & (weights > 0)).any(2)
    found &= best > beyond.detach().amax(2)
    return (everything - right).mean(), found.float()


def _gather(grid: Tensor, cells: Tensor) -> Tensor:
    """[B, N, C] of [B, C, h, w] at cells [B, N]."""
    channels = grid.shape[1]
    index = cells[:, None].expand(-1, channels, -1)
    return grid.flatten(2).gather(2, index).transpose(1, 2)
