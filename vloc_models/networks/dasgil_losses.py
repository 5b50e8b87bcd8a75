"""What DASGIL learns from (TIP 2021, section III): each loss a function."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from vloc_models.checks import check_shape
from vloc_models.networks.dasgil import Maps


@dataclass(frozen=True)
class DasgilLoss:
    """How much each loss counts."""

    depth: float = 1.0
    classes: float = 100.0
    triplet: float = 25.0
    margin: float = 1.0
    layers: tuple[int, ...] = (3, 4, 5, 6)  # that places are told apart by, of 1..8
    adversarial: float = 100.0


def depth_loss(told: Sequence[Tensor], true: Tensor) -> Tensor:
    """Mean absolute error in metres, averaged over scales; 0 where nothing is known.

    Args:
        told: [B, 1, h, w] at each scale.
        true: [B, H, W], nan where it is not known; taken at the nearest pixel.
    """
    check_shape(true, 'B H W', 'true')
    total = true.new_zeros(())
    for scale in told:
        sizes = check_shape(scale, 'B 1 h w', 'told', B=len(true))
        there = F.interpolate(true[:, None], (sizes['h'], sizes['w']), mode='nearest-exact')
        known = there.isfinite()
        off = (scale[known] - there[known]).abs()
        total = total + off.sum() / known.sum().clamp(min=1)
    return total / len(told)


def ratio_triplet_loss(anchor: Maps, same: Maps, other: Maps, config: DasgilLoss) -> Tensor:
    """Maps of the same place should be nearer than those of another, by their ratio.

    25 max(0, 1 - d_other / (margin + d_same)) for each of some layers, d the mean squared
    difference; averaged over the batch.
    """
    total = anchor[0].new_zeros(())
    for layer in config.layers:
        a, p, n = (maps[layer - 1].flatten(1) for maps in (anchor, same, other))
        near, far = (a - p).square().mean(1), (a - n).square().mean(1)
        total = total + (1 - far / (config.margin + near)).clamp(min=0).mean()
    return config.triplet * total


def discriminator_loss(real: Tensor, synthetic: Tensor) -> Tensor:
    """Least squares: 1 for real features, 0 for synthetic ones (LSGAN, arXiv 1611.04076)."""
    return 0.5 * ((real - 1).square().mean() + synthetic.square().mean())


def deception_loss(synthetic: Tensor) -> Tensor:
    """What the encoder pays for synthetic features that are told from real ones."""
    return 0.5 * (synthetic - 1).square().mean()
