"""What the pose prior learns from: poses with learned weights, colours or classes, its own error.

The weights of position and rotation are learned beside the network (arXiv 1704.00390), as of
MapNet and AtLoc, with lengths (L2) as of arXiv 2107.00222.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.networks.color_apr import ColorAprOutput
from vloc_models.networks.fsre_losses import class_loss
from vloc_models.networks.lab import AB_RANGE, lab

_FASTER = 20.0


@dataclass(frozen=True)
class ColorAprLoss:
    """How much each loss counts."""

    auxiliary: float = 1.0  # of colours or classes
    sigma: float = 0.1  # of how far off it says to be
    first_beta: float = -1.0  # the weight of position is exp(-beta)
    first_gamma: float = -3.0  # the weight of rotation is exp(-gamma)

    def __post_init__(self) -> None:
        if min(self.auxiliary, self.sigma) < 0:
            raise VlocError('prior: a loss counts less than nothing', 'give 0 or more')


@dataclass(frozen=True, eq=False)
class Poses:
    """True poses of a batch of pictures."""

    position: Tensor  # [B, 3] metres, map
    log_quat: Tensor  # [B, 3] of the rotation, seen from the place's mean rotation


class PoseCriterion(nn.Module):
    """``|x - x*| exp(-beta) + beta + |log q - log q*| exp(-gamma) + gamma``, averaged.

    Both are learned at many times the rate of the network's weights: by the optimiser's rate
    alone they would not leave their start within the few steps of a small place.
    """

    def __init__(self, config: ColorAprLoss) -> None:
        super().__init__()
        first = torch.tensor([config.first_beta, config.first_gamma])
        self.slow = nn.Parameter(first / _FASTER)

    def forward(self, output: ColorAprOutput, true: Poses) -> Tensor:
        """The loss of poses."""
        weights = _FASTER * self.slow
        errors = torch.stack([x.mean() for x in distances(output, true)])
        return (errors * (-weights).exp() + weights).sum()


def distances(output: ColorAprOutput, true: Poses) -> tuple[Tensor, Tensor]:
    """How far off positions [B] in metres and logarithms of rotations [B] are.

    q and -q are one rotation, of which the nearer name counts: there is no jump at half a turn.
    """
    check_shape(true.position, 'B 3', 'position', B=len(output.position))
    check_shape(true.log_quat, 'B 3', 'log_quat', B=len(output.position))
    away = (output.position - true.position).norm(dim=1)
    half = true.log_quat.norm(dim=1, keepdim=True)
    other = true.log_quat * (1 - math.pi / half.clamp(min=1e-6))  # the logarithm of -q
    turned = [(output.log_quat - name).norm(dim=1) for name in (true.log_quat, other)]
    return away, torch.minimum(*turned)


def sigma_loss(output: ColorAprOutput, true: Poses) -> Tensor:
    """Unlikelihood of the errors that were made, of which only the sigmas learn; averaged.

    Errors are normal in three axes: ``e^2 / (2 sigma^2) + 3 log sigma``.
    """
    away, turned = distances(output, true)
    error = torch.stack([away, 2 * turned], 1).detach()  # the logarithm is half the angle
    return (0.5 * (error / output.log_sigma.exp()) ** 2 + 3 * output.log_sigma).sum(1).mean()


def colour_loss(told: Tensor, image: Tensor) -> Tensor:
    """Mean absolute error of a and b [B, 2, h, w], as shares of 110, of pictures [B, 3, H, W]."""
    sizes = check_shape(told, 'B 2 h w', 'told', B=len(image))
    true = F.interpolate(lab(image)[:, 1:] / AB_RANGE, (sizes['h'], sizes['w']), mode='area')
    return (told - true).abs().mean()


def class_loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits [B, C, h, w]; labels [B, H, W] at the nearest pixel, 255 unknown."""
    sizes = check_shape(logits, 'B C h w', 'logits', B=len(labels))
    near = F.interpolate(labels[:, None].float(), (sizes['h'], sizes['w']), mode='nearest-exact')
    return class_loss(logits, near[:, 0].long())
