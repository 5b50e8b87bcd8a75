"""Layers that several networks are built of."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation: TypeAlias = type[nn.ELU] | type[nn.ReLU]


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    activation: Activation = nn.ELU,
) -> nn.Sequential:
    """A convolution that keeps the size (divides it by ``stride``, rounded up), activated."""
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation)
    return nn.Sequential(layer, activation())


def dilated_down(in_channels: int, out_channels: int) -> nn.Sequential:
    """Half the size, rounded up, seeing far: two dilated 3x3 convolutions, ELU."""
    return nn.Sequential(
        conv(in_channels, out_channels, stride=2, dilation=2),
        conv(out_channels, out_channels, dilation=2),
    )


class Up(nn.Module):
    """Twice the size, each cell on its own, ELU; cut to the size of a neighbour."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 2, 2)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """[B, C', h, w] of ``x`` [B, C, h / 2, w / 2] rounded up, as ``beside`` [B, _, h, w]."""
        return F.elu(self.conv(x)[..., : beside.shape[2], : beside.shape[3]])


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[B, classes, h, w] of ``labels`` [B, h, w]; all 0 where the label is -1."""
    every = torch.arange(classes, device=labels.device)[:, None, None]
    return (labels[:, None] == every).to(dtype)


class Film(nn.Module):
    """Conditioning by feature-wise modulation (Perez et al. 2018; HSCNet, section 3.2)."""

    def __init__(self, code_channels: int, channels: int) -> None:
        super().__init__()
        self.gamma = conv(code_channels, channels, 1)
        self.beta = conv(code_channels, channels, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """``ELU(gamma x + beta)`` of ``x`` [B, C, h, w], each cell by its own ``code``."""
        return F.elu(self.gamma(code) * x + self.beta(code))


class CellBranch(nn.Module):
    """1x1 layers to an output that is not activated: what each cell says on its own.

    With a ``generator`` every hidden layer is conditioned on what is known of the cell (its
    labels): the generator's 1x1 layers turn that into a code, of which each layer has its own
    modulation.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: Sequence[int],
        out_channels: int,
        generator: Sequence[int] = (),
        activation: Activation = nn.ELU,
    ) -> None:
        """``generator`` are its widths from the known to the code; none for no conditioning."""
        super().__init__()
        widths = (in_channels, *hidden)
        layers = [conv(a, b, 1, activation=activation) for a, b in pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        self.out = nn.Conv2d(widths[-1], out_channels, 1)
        self.generator = nn.Sequential(*(conv(a, b, 1) for a, b in pairwise(generator)))
        films = [Film(generator[-1], width) for width in hidden] if generator else []
        self.films = nn.ModuleList(films)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """[B, C', h, w] of ``x`` [B, C, h, w] and, with a generator, of ``known`` [B, K, h, w]."""
        if not self.films:
            for layer in self.layers:
                x = layer(x)
            return self.out(x)
        assert known is not None
        code = self.generator(known)
        for layer, film in zip(self.layers, self.films, strict=True):
            x = film(layer(x), code)
        return self.out(x)


def init_xavier(module: nn.Module) -> None:
    """Xavier-uniform weights and no biases in every convolution below ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
