"""Residual networks (He et al., CVPR 2016, arXiv 1512.03385) as encoders at five strides.

Parameter names are torchvision's, so that a user's ImageNet state dict can be loaded.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from vloc_models.checks import check_shape

Depth = Literal[18, 50]
_BLOCKS: dict[Depth, tuple[int, int, int, int]] = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


class ResNet(nn.Module):
    """ResNet-18 (11,176,512 parameters) or ResNet-50 (23,508,032) without its classifier.

    ``widths`` are the channels at strides 2, 4, 8, 16 and 32. If ``dilated``, the last stage stays
    at stride 16 and its 3x3 convolutions reach as far by being dilated.
    """

    def __init__(self, depth: Depth, in_channels: int = 3, dilated: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        block = BasicBlock if depth == 18 else Bottleneck
        layers, width, channels = [], 64, 64
        for number, count in enumerate(_BLOCKS[depth]):
            wide = dilated and number == 3
            stride, dilation = 1 if number == 0 or wide else 2, 2 if wide else 1
            blocks = [block(channels, width, stride, dilation)]
            channels = width * block.expansion
            blocks += [block(channels, width, 1, dilation) for _ in range(count - 1)]
            layers.append(nn.Sequential(*blocks))
            width *= 2
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.widths = (64, *(64 * 2**i * block.expansion for i in range(4)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features [B, widths[i], H / 2^(i+1), W / 2^(i+1)] of pictures [B, C, H, W].

        Dilated, the last are as large as those before.
        """
        check_shape(x, f'B {self.conv1.in_channels} H W', 'picture')
        features = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(features[0], 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return tuple(features)


def without_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of an ImageNet state dict belongs to the encoder."""
    return {name: tensor for name, tensor in state.items() if not name.startswith('fc.')}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a short cut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _short_cut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3x3 convolution of a quarter of the channels, between two 1x1, beside a short cut."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _short_cut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _short_cut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))
