"""CIE Lab: how light a colour is (L), and beside that which colour (a, b)."""

import torch
from torch import Tensor

from vloc_models.checks import check_shape

AB_RANGE = 110.0  # a and b of what a screen shows are within this, roughly
_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.950456, 1.0, 1.088754)  # D65
_DARK = 0.008856  # below it the cube root becomes a line


def lab(rgb: Tensor) -> Tensor:
    """L of 0..100, a and b [B, 3, H, W] of sRGB pictures [B, 3, H, W] of 0..1."""
    check_shape(rgb, 'B 3 H W', 'rgb')
    bent = ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    linear = torch.where(rgb > 0.04045, bent, rgb / 12.92)
    red, green, blue = linear.unbind(1)
    x, y, z = (
        _root((r * red + g * green + b * blue) / white)
        for (r, g, b), white in zip(_XYZ, _WHITE, strict=True)
    )
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _root(t: Tensor) -> Tensor:
    return torch.where(t > _DARK, t.clamp(min=_DARK) ** (1 / 3), 7.787 * t + 16 / 116)
